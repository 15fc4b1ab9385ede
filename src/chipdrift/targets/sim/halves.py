"""Products of 16-bit floats under a profile's rules: MatMul, Gemm and Conv (N80 to N85).

Rules with ``format = "float16"`` are for float16 tensors. ``format = "bfloat16"`` is for float32
tensors, as processors have it that multiply float32 models in bfloat16: inputs are rounded to
bfloat16, and the answer is a float32 that holds one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chipdrift.graph.program import Program, Step
from chipdrift.numerics.fast.halves import compile_sums
from chipdrift.numerics.ops.conv import windows
from chipdrift.numerics.smallfloat import SmallFloat, dot

Array = np.ndarray[Any, Any]

# Outputs computed at a time: what is added to stays in the processor's cache.
_TILE = 1 << 15


def takes(step: Step, program: Program, rules: SmallFloat | None) -> str | None:
    """Why ``step`` is not a product under ``rules``, or None where it is."""
    if rules is None:
        return "the profile has no rules for small floats"
    if step.op not in ("MatMul", "Gemm", "Conv") or step.domain:
        return f"{step.op} has no rules for small floats"
    kind = "float16" if rules.format == "float16" else "float32"
    if any(program.dtypes.get(name) != kind for name in step.inputs if name):
        return f"not all of its inputs are {kind}"
    if any(step.attributes.get(key, 1.0) != 1.0 for key in ("alpha", "beta")):
        return "alpha and beta other than 1 have no rules for small floats"
    return None


class HalfNode:
    """One product; inputs by name, those that the model holds among ``constants``.

    ``fast`` False adds the products by the reference functions.
    """

    def __init__(
        self,
        step: Step,
        constants: Mapping[str, Array],
        rules: SmallFloat,
        fast: bool = True,
    ) -> None:
        self._step, self._rules = step, rules
        self._fast = fast
        self._constants = {name: constants[name] for name in step.inputs if name in constants}
        self._out = np.float16 if rules.format == "float16" else np.float32

    def run(self, feed: Mapping[str, Array]) -> dict[str, Array]:
        """The output by name: float16, or float32 that holds bfloat16."""
        held = {**self._constants, **feed}
        inputs = [held[name] if name else None for name in self._step.inputs]
        a, b = inputs[0], inputs[1]
        assert a is not None and b is not None
        bias = inputs[2] if len(inputs) > 2 else None
        compute = {"MatMul": self._matmul, "Gemm": self._gemm, "Conv": self._conv}[self._step.op]
        with np.errstate(over="ignore"):
            return {self._step.outputs[0]: compute(a, b, bias).astype(self._out)}

    def _dot(self, a: Array, b: Array, bias: Array | None = None, groups: int = 1) -> Array:
        sums = compile_sums(self._rules, groups) if self._fast else None
        rows = max(1, _TILE // max(1, groups * b.shape[1]))
        parts = [
            dot(a[i : i + rows], b, self._rules, bias, sums)
            for i in range(0, max(1, a.shape[0]), rows)
        ]
        return np.concatenate(parts)

    def _matmul(self, a: Array, b: Array, bias: Array | None) -> Array:
        del bias
        dropped = tuple(axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1)
        a, b = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
        if b.ndim == 2:
            out = self._dot(a.reshape(-1, a.shape[-1]), b).reshape(*a.shape[:-1], b.shape[1])
        else:
            lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
            left = np.broadcast_to(a, (*lead, *a.shape[-2:])).reshape(-1, *a.shape[-2:])
            right = np.broadcast_to(b, (*lead, *b.shape[-2:])).reshape(-1, *b.shape[-2:])
            made = [self._dot(x, y) for x, y in zip(left, right, strict=True)]
            out = np.array(made).reshape(*lead, a.shape[-2], b.shape[-1])
        return out.squeeze(dropped)

    def _gemm(self, a: Array, b: Array, bias: Array | None) -> Array:
        turned = self._step.attributes
        a, b = (a.T if turned.get("transA", 0) else a), (b.T if turned.get("transB", 0) else b)
        if bias is None or (bias.size in (1, b.shape[1]) and bias.shape[:-1] in ((), (1,))):
            row = None if bias is None else np.broadcast_to(bias.reshape(-1), (b.shape[1],))
            return self._dot(a, b, row)
        full = np.broadcast_to(bias, (a.shape[0], b.shape[1]))
        return np.concatenate([self._dot(a[i : i + 1], b, full[i]) for i in range(a.shape[0])])

    def _conv(self, x: Array, w: Array, bias: Array | None) -> Array:
        attributes = self._step.attributes
        group, spatial = int(attributes.get("group", 1)), w.ndim - 2
        seen = windows(x, w.shape[2:], attributes, 0)  # (N, *out, C, *kernel)
        lead, inputs, outputs = seen.shape[: 1 + spatial], w.shape[1], w.shape[0] // group
        parts = []
        if self._fast and compile_sums(self._rules) is not None:
            kernel = w.reshape(group, outputs, -1).transpose(0, 2, 1).reshape(-1, outputs)
            made = self._dot(seen.reshape(-1, kernel.shape[0]), kernel, bias, group)
            return np.ascontiguousarray(np.moveaxis(made.reshape(*lead, w.shape[0]), -1, 1))
        for g in range(group):
            mine = slice(g * outputs, (g + 1) * outputs)
            rows = seen.take(range(g * inputs, (g + 1) * inputs), axis=1 + spatial)
            kernel = w[mine].reshape(outputs, -1).T
            part = self._dot(
                rows.reshape(-1, kernel.shape[0]), kernel, None if bias is None else bias[mine]
            )
            parts.append(part.reshape(*lead, outputs))
        return np.ascontiguousarray(np.moveaxis(np.concatenate(parts, axis=-1), -1, 1))

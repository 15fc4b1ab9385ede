"""The inputs of a node as the engine has them: operands, constants, bounds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chipdrift.graph.program import Program, Step
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.quantize import dequantize
from chipdrift.numerics.tensors import Operand, Quant
from chipdrift.targets.sim.quantizers import DEQUANTIZE, Quantizers
from chipdrift.targets.sim.weights import bias_integers, transformed

Array = np.ndarray[Any, Any]

# Indices, shapes and conditions: what needs no quantizer.
_PLAIN = frozenset({"int64", "int32", "bool"})


class Operands:
    """Reads the inputs of a program's nodes; ``constants`` may grow while it does."""

    def __init__(
        self,
        program: Program,
        profile: Profile,
        makers: Mapping[str, Step],
        constants: Mapping[str, Array],
        quantizers: Quantizers,
    ) -> None:
        self._program, self._profile, self._makers = program, profile, makers
        self._constants, self._quantizers = constants, quantizers

    def real(self, name: str) -> Array | None:
        """A constant's real values, through its DequantizeLinear where it has one."""
        if name in self._constants:
            return self._constants[name]
        maker = self._makers.get(name)
        if maker is None or maker.op != DEQUANTIZE or maker.inputs[0] not in self._constants:
            return None
        return dequantize(
            self._constants[maker.inputs[0]], self._quantizers.of(maker, maker.inputs[0])
        )

    def operand(
        self, step: Step, index: int, name: str, before: list[Operand], output: Quant
    ) -> tuple[Operand | str, str | None]:
        """An operand, or why the node must run in float, with the name to feed at run time."""
        if not name:
            return Operand(), None
        maker = self._makers.get(name)
        if maker is not None and maker.op == DEQUANTIZE:
            source = maker.inputs[0]
            quant = self._quantizers.of(maker, source)
            if source not in self._constants:
                return Operand(quant), source
            integers = self._constants[source]
            if index == 2 and step.op in ("Conv", "ConvTranspose", "Gemm"):
                return self._bias(integers, quant, before), None
            return self._weight(step, index, Operand(quant, integers)), None
        if name in self._constants:
            value = self._constants[name]
            if index == 2 and step.op in ("Conv", "ConvTranspose", "Gemm"):
                return self._bias(value, None, before), None
            return Operand(None, value), None
        if maker is not None and maker.op == "Transpose":
            inner = self.operand(step, -1, maker.inputs[0], before, output)
            if isinstance(inner[0], Operand) and inner[0].constant is not None:
                turned = _transpose(inner[0], maker.attributes.get("perm"))
                if turned is not None:
                    return self._weight(step, index, turned), None
        if self._program.dtypes.get(name) in _PLAIN:
            return Operand(live=True), name
        return "one of its inputs comes as real numbers, without a quantizer", None

    def _weight(self, step: Step, index: int, held: Operand) -> Operand | str:
        """Input 1 as the profile holds weights; any other input as it is."""
        if index != 1 or held.constant is None or held.quant is None:
            return held
        rules = self._profile.weights_for(step.op, step.name)
        made = transformed(held.constant, held.quant, rules, step.op, step.attributes)
        return made if isinstance(made, str) else Operand(made[1], made[0])

    def _bias(self, values: Array, quant: Quant | None, before: list[Operand]) -> Operand | str:
        x, w = before[0].quant, before[1].quant
        if x is None or w is None:
            return "its bias has no scale to be brought to"
        if w.block_size:  # a real number for each channel: its accumulators have many scales
            return Operand(None, values if quant is None else dequantize(values, quant))
        if not {x.scale.size, w.scale.size} <= {1, values.size}:
            return "its bias and its weights have scales along different axes"
        return Operand(None, bias_integers(values, quant, x, w))

    def clamp(self, step: Step) -> tuple[float | None, float | None] | None:
        """The bounds of a Relu or Clip in real numbers; None where the model does not hold them."""
        if step.op == "Relu":
            return (0.0, None)
        bounds: list[float | None] = []
        for index, key in ((1, "min"), (2, "max")):
            name = step.inputs[index] if index < len(step.inputs) else ""
            if not name:
                bounds.append(step.attributes.get(key))
                continue
            maker = self._makers.get(name)
            if name in self._constants:
                bounds.append(float(self._constants[name].reshape(-1)[0]))
            elif (
                maker is not None and maker.op == DEQUANTIZE and maker.inputs[0] in self._constants
            ):
                quant = self._quantizers.of(maker, maker.inputs[0])
                raw = int(self._constants[maker.inputs[0]].reshape(-1)[0])
                bounds.append(
                    float(np.float32(raw - int(quant.zero_point)) * np.float32(quant.scale))
                )
            else:
                return None
        return bounds[0], bounds[1]


def _transpose(operand: Operand, perm: Any) -> Operand | None:
    assert operand.constant is not None and operand.quant is not None
    axes = list(perm) if perm else list(range(operand.constant.ndim))[::-1]
    quant = operand.quant
    if quant.block_size:
        return None
    if quant.axis is not None:
        quant = replace(quant, axis=axes.index(quant.axis % operand.constant.ndim))
    return Operand(quant, np.ascontiguousarray(operand.constant.transpose(axes)))

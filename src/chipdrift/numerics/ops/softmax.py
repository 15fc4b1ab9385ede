"""Softmax and LogSoftmax (N44, N45, N47); a Softmax that is fused with its scores (N75)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chipdrift.numerics.functions import Floats, arithmetic_of, real, to_output
from chipdrift.numerics.limits import needs
from chipdrift.numerics.ops.matmul import accumulators, second_operand
from chipdrift.numerics.ops.matmul import limit as product_limit
from chipdrift.numerics.tensors import Array, OpSpec


def softmax(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """``exp(x - max) / sum(exp(x - max))`` along ``axis``, or its logarithm.

    Before opset 13 all dimensions from ``axis`` on are one. ``attributes["scores"]`` marks a fused
    one, whose x is made of a product: see :func:`_scores`.
    """
    m = arithmetic_of(spec)
    fused = "scores" in spec.attributes
    x = _scores(spec, arrays, m) if fused else arrays[0]
    assert x is not None
    old = spec.attributes.get("opset", 13) < 13
    axis = int(spec.attributes.get("axis", 1 if old else -1)) % x.ndim
    axes = tuple(range(axis, x.ndim)) if old else (axis,)
    with np.errstate(all="ignore"):
        if fused:
            low = x - x.max(axis=axes, keepdims=True)
            grown = m.exp(low)
        else:
            # Of the integers: what all inputs share drops out, and the difference is exact.
            steps = x.astype(np.int64) - x.max(axis=axes, keepdims=True).astype(np.int64)
            low = real(steps + int(spec.quant(0).zero_point), spec.quant(0), m)
            table = spec.rules.function.arithmetic == "table"
            grown = _looked_up(spec, steps) if table else m.exp(low)
        total = m.total(grown, axes)
        found = low - m.log(total) if spec.op == "LogSoftmax" else grown / total
    return to_output(spec if fused else _whole_steps(spec), found)


def _looked_up(spec: OpSpec, steps: Array) -> Array:
    """The exponential of ``steps``, 0 and below, linear between a table's entries (N47)."""
    quant = spec.quant(0)
    span = quant.high - quant.low + 1
    entries = min(spec.rules.function.entries, span)
    knots = np.exp(-np.arange(entries + 1) * (span / entries) * float(quant.scale))
    index, rest = np.divmod(-steps * entries, span)
    found: Array = knots[index] + (knots[index + 1] - knots[index]) * (rest / span)
    return found


def _scores(spec: OpSpec, arrays: Sequence[Array | None], m: Floats) -> Array:
    """A x B of integers as real numbers of ``m``'s type, then a step for each of ``scores`` (N75).

    ``attributes["scores"]`` are pairs: Mul, Div or Add, and which of its inputs carries the scores.
    The other ones are the operands behind A and B.
    """
    a, b = arrays[:2]
    assert a is not None and b is not None
    spec, b = second_operand(spec, b)
    sx, sw = (q.scale.astype(np.float64) for q in (spec.quant(0), spec.quant(1)))
    with np.errstate(all="ignore"):
        x: Array = (accumulators(spec, a, b) * (sx * sw)).astype(m.dtype)
        steps: Sequence[tuple[str, int]] = spec.attributes["scores"]
        for (op, side), operand, values in zip(steps, spec.operands[2:], arrays[2:], strict=True):
            assert values is not None
            other = real(values, operand.quant, m)
            x = {"Add": np.add, "Mul": np.multiply, "Div": np.divide}[op](
                *((x, other) if side == 0 else (other, x))
            )
    return x


def _whole_steps(spec: OpSpec) -> OpSpec:
    """onnxruntime's 8-bit Softmax multiplies by ``floor(1 / scale)``, a whole number (N44).

    Found by comparing: with a scale of 1/256 nothing differs, with others up to a tenth.
    """
    out = spec.output
    kernel = spec.op == "Softmax" and out.bits == 8 and spec.quant(0).dtype == out.dtype
    if spec.rules.function.arithmetic != "float32" or not kernel or out.scale > 1:
        return spec
    scale = np.float32(1) / np.floor(np.float32(1) / np.asarray(out.scale, np.float32))
    return replace(spec, output=replace(out, scale=np.asarray(scale)))


def _limit(spec: OpSpec) -> str | None:
    if "scores" not in spec.attributes:
        return needs(0)(spec)
    blocks = any(o.quant is not None and o.quant.block_size for o in spec.operands)
    return "it has scales per block" if blocks else product_limit(spec)


OPS = {"Softmax": softmax, "LogSoftmax": softmax}
LIMITS = dict.fromkeys(OPS, _limit)
TABLES = ("elementwise", "function")

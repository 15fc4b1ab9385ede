"""Add, Sub, Sum, Mul, Div, Neg, Abs, PRelu, Min, Max: where scales meet (N32, N34)."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from chipdrift.numerics.elementwise import (
    from_real,
    from_sum,
    fused_add,
    fused_mul,
    quotient,
    ratio,
    rescale,
)
from chipdrift.numerics.fixedpoint import Term, fixed_product, fixed_sum
from chipdrift.numerics.limits import both, narrow, needs
from chipdrift.numerics.quantize import dequantize
from chipdrift.numerics.tensors import Array, OpSpec


def _steps(spec: OpSpec, arrays: Sequence[Array | None], index: int) -> Array:
    x = arrays[index]
    assert x is not None
    return x.astype(np.int64) - int(spec.quant(index).zero_point)


def _reals(spec: OpSpec, arrays: Sequence[Array | None]) -> list[Array] | None:
    """The inputs in float32, where the rules ask for that; None where they stay integers."""
    if spec.rules.elementwise.arithmetic != "float32":
        return None
    return [dequantize(x, spec.quant(i)) for i, x in enumerate(arrays) if x is not None]


def _fixed(spec: OpSpec) -> bool:
    return spec.rules.elementwise.arithmetic == "fixed_point"


def _terms(spec: OpSpec, arrays: Sequence[Array | None], *signs: int) -> list[Term]:
    """All inputs as stored integers with their quantizers."""
    given = [np.asarray(x) for x in arrays]
    return [(x, spec.quant(i), s) for (i, x), s in zip(enumerate(given), signs, strict=True)]


def _bytes(spec: OpSpec) -> bool:
    """Whether onnxruntime has an 8-bit kernel: two operands of the output's type.

    It leaves int8 with a constant operand to float32 (1.31, seen on all 65,536 pairs). Rules that
    place the zero point or multiply by a reciprocal are of no such kernel.
    """
    if spec.rules.elementwise.zero_point == "inside" or spec.rules.elementwise.reciprocal:
        return False
    kinds = {spec.quant(i).dtype for i in range(len(spec.operands))}
    if spec.output.dtype == "int8" and any(o.constant is not None for o in spec.operands):
        return False
    return len(spec.operands) == 2 and kinds == {spec.output.dtype} and spec.output.bits == 8


def add(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """The sum of all inputs."""
    reals = _reals(spec, arrays)
    if reals is not None and _bytes(spec) and spec.op == "Add":
        return fused_add(spec, *(np.asarray(x) for x in arrays))
    if reals is not None:
        return from_real(spec, functools.reduce(np.add, reals))
    if _fixed(spec):
        return fixed_sum(spec, _terms(spec, arrays, *[1] * len(arrays)))
    terms = [
        (_steps(spec, arrays, i), ratio(spec.quant(i), spec.output)) for i in range(len(arrays))
    ]
    return from_sum(spec, terms, 1)


def sub(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """A - B."""
    if (reals := _reals(spec, arrays)) is not None:
        return from_real(spec, reals[0] - reals[1])
    if _fixed(spec):
        return fixed_sum(spec, _terms(spec, arrays, 1, -1))
    a, b = _steps(spec, arrays, 0), _steps(spec, arrays, 1)
    x, y = ratio(spec.quant(0), spec.output), ratio(spec.quant(1), spec.output)
    return from_sum(spec, [(a, x), (-b, y)], 1)


def mul(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """A * B: the exact product of steps, one factor (N34)."""
    a, b = _steps(spec, arrays, 0), _steps(spec, arrays, 1)
    reals = _reals(spec, arrays)
    if reals is not None:
        return fused_mul(spec, a, b) if _bytes(spec) else from_real(spec, reals[0] * reals[1])
    if _fixed(spec):
        scaled = _scaled(spec, arrays)
        return fixed_product(spec, a, b) if scaled is None else scaled
    return from_sum(spec, [(a * b, _product_factor(spec))], 1)


def div(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """A / B; by zero it is the nearest end of the range, 0 / 0 is 0 (N34, N46)."""
    if (reals := _reals(spec, arrays)) is not None:
        with np.errstate(all="ignore"):
            return from_real(spec, reals[0] / reals[1])
    scaled = _scaled(spec, arrays) if _fixed(spec) else None
    if scaled is not None:
        return scaled
    return quotient(spec, _steps(spec, arrays, 0), _steps(spec, arrays, 1))


def sign(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """Neg and Abs: -X, the magnitude of X."""
    change = np.negative if spec.op == "Neg" else np.abs
    if (reals := _reals(spec, arrays)) is not None:
        return from_real(spec, change(reals[0]))
    if spec.op == "Neg" and _fixed(spec):
        return fixed_sum(spec, _terms(spec, arrays, -1))
    return from_sum(spec, [(change(_steps(spec, arrays, 0)), ratio(spec.quant(0), spec.output))], 1)


def prelu(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X where it is not negative, else X * slope; slope is broadcast to X (N34)."""
    if (reals := _reals(spec, arrays)) is not None:
        return from_real(spec, np.where(reals[0] >= 0, reals[0], reals[0] * reals[1]))
    x, slope = np.broadcast_arrays(_steps(spec, arrays, 0), _steps(spec, arrays, 1))
    plain, scaled = np.where(x >= 0, x, 0), np.where(x >= 0, 0, x * slope)
    terms = [(plain, ratio(spec.quant(0), spec.output)), (scaled, _product_factor(spec))]
    return from_sum(spec, terms, 1)


def extreme(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """The least or greatest of the inputs once each has the output's quantizer (N35)."""
    choose = np.minimum if spec.op == "Min" else np.maximum
    out: Array | None = None
    for index, x in enumerate(arrays):
        assert x is not None
        y = rescale(spec, x, spec.quant(index))
        out = y if out is None else choose(out, y)
    assert out is not None
    return out


def _scaled(spec: OpSpec, arrays: Sequence[Array | None]) -> Array | None:
    """Mul or Div by a constant of one element, not 0, as a change of the quantizer (N34).

    None under rules without ``guard``, and where there is no such constant.
    """
    places = (0, 1) if spec.op == "Mul" else (1,)
    held = [i for i in places if (c := spec.operands[i].constant) is not None and c.size == 1]
    if spec.rules.elementwise.guard is None or len(held) != 1:
        return None
    index = held[0]
    x, constant = np.asarray(arrays[1 - index]), spec.operands[index].constant
    assert constant is not None
    steps = int(constant.reshape(-1)[0]) - int(spec.quant(index).zero_point)
    if steps == 0:
        return None
    gain = abs(steps) * Fraction(float(spec.quant(index).scale))
    term = (x, spec.quant(1 - index), 1 if steps > 0 else -1)
    out = fixed_sum(spec, [term], gain=gain if spec.op == "Mul" else 1 / gain)
    return out.reshape(np.broadcast_shapes(x.shape, constant.shape))


def _product_factor(spec: OpSpec) -> Fraction:
    return ratio(spec.quant(0), spec.output) * Fraction(float(spec.quant(1).scale))


OPS = {
    "Add": add,
    "Sum": add,
    "Sub": sub,
    "Mul": mul,
    "Div": div,
    "Neg": sign,
    "Abs": sign,
    "PRelu": prelu,
    "Min": extreme,
    "Max": extreme,
}
LIMITS = {
    **{op: needs() for op in ("Add", "Sum", "Sub", "Neg", "Abs", "Min", "Max")},
    **{op: both(needs(), narrow()) for op in ("Mul", "Div", "PRelu")},
}
TABLES = ("elementwise",)

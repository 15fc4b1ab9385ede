"""Integers of one quantizer as integers of another. Rules N30 to N34 of docs/numerics.md."""

from __future__ import annotations

from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np

from chipdrift.numerics.fixedpoint import fixed, fixed_sum
from chipdrift.numerics.products import clamp_limits
from chipdrift.numerics.quantize import dequantize
from chipdrift.numerics.rounding import Rounding, divide, noise_of, round_float
from chipdrift.numerics.tensors import Array, OpSpec, Quant

_FAR = 2.0**33  # beyond every integer that can be asked for


def rescale(spec: OpSpec, values: Array, quant: Quant, positions: Array | None = None) -> Array:
    """``values`` of ``quant`` as integers of ``spec.output``, clamped.

    Equal quantizers keep the integers, whatever the rules (N31); ``float32`` goes by way of a real
    number. ``positions`` as in :func:`from_sum`.
    """
    if quant.same_as(spec.output):
        low, high = clamp_limits(spec)
        return np.clip(values, low, high).astype(spec.output.storage)
    if spec.rules.elementwise.arithmetic == "float32":
        return from_real(spec, dequantize(values, quant), positions)
    if spec.rules.elementwise.arithmetic == "fixed_point":
        return fixed_sum(spec, [(values, quant, 1)], positions)
    steps = values.astype(np.int64) - int(quant.zero_point)
    return from_sum(spec, [(steps, ratio(quant, spec.output))], 1, positions)


def ratio(x: Quant, y: Quant) -> Fraction:
    """The exact quotient of two scales."""
    return Fraction(float(x.scale)) / Fraction(float(y.scale))


def from_sum(
    spec: OpSpec,
    terms: list[tuple[Array, Fraction]],
    divisor: int | Array,
    positions: Array | None = None,
) -> Array:
    """``round(sum(steps * factor) / divisor) + zero_point``, clamped, for int64 ``steps``.

    ``exact`` is one rounding of the rational number; ``float32`` rounds every factor, product and
    sum to float32 on the way, from left to right, as the pools of onnxruntime do; ``fixed_point``
    holds every factor as a fixed-point number (:func:`multipliers`) and sums exactly (N32).
    ``divisor`` may differ from one output to the next, broadcast (N33). ``positions`` are the
    outputs' own, for the noise of STOCHASTIC, where ``terms`` are a part of the output only.
    """
    rules, low_high = spec.rules.elementwise, clamp_limits(spec)
    if rules.arithmetic == "fixed_point" and np.any(divisor != 1):
        return _fixed_means(spec, terms, divisor, positions)
    shape = np.broadcast_shapes(*(steps.shape for steps, _ in terms))
    noise = _noise(spec, shape, positions)
    inside, outside = zero_points(spec)
    if rules.arithmetic == "float32":
        total: Any = np.zeros(shape, np.float32)
        for index, (steps, factor) in enumerate(terms):
            term = steps.astype(np.float32) * np.float32(float(factor))
            total = total + term if index else term
        if np.any(divisor != 1):
            total = total / np.asarray(divisor, np.float32)
        total = np.clip(total, -_FAR, _FAR).astype(np.float32) + np.float32(inside)
        out = round_float(total, rules.rounding, noise).astype(np.int64)
    else:
        held = [factor for _, factor in terms]
        if rules.arithmetic == "fixed_point":
            held = fixed(held, rules)
        unit = lcm(*(factor.denominator for factor in held))
        wide = sum(
            steps.astype(object) * int(factor * unit)
            for (steps, _), factor in zip(terms, held, strict=True)
        )
        divisor = divisor.astype(object) if isinstance(divisor, np.ndarray) else divisor
        # One dimension at least: without, an object array's results are plain Python numbers.
        whole = np.atleast_1d(np.asarray(wide, object))
        out = divide(whole + inside * divisor * unit, divisor * unit, rules.rounding, noise)
        out = np.clip(out, -int(_FAR), int(_FAR)).astype(np.int64).reshape(shape)
    out = np.broadcast_to(out, shape) + outside
    return np.clip(out, *low_high).astype(spec.output.storage)


def _fixed_means(
    spec: OpSpec, terms: list[tuple[Array, Fraction]], divisor: int | Array, positions: Array | None
) -> Array:
    """What is held as a fixed-point number is the factor over the count (N33)."""
    shape = np.broadcast_shapes(*(steps.shape for steps, _ in terms))
    counts = np.broadcast_to(divisor, shape)
    out = np.zeros(shape, spec.output.storage)
    for count in np.unique(counts):
        held = [(steps, factor / int(count)) for steps, factor in terms]
        out = np.where(counts == count, from_sum(spec, held, 1, positions), out)
    return out.astype(spec.output.storage)


def zero_points(spec: OpSpec) -> tuple[int, int]:
    """What is added before and after the rounding: the output's zero point and 0, or 0 and it."""
    zero = int(spec.output.zero_point)
    return (zero, 0) if spec.rules.elementwise.zero_point == "inside" else (0, zero)


def quotient(spec: OpSpec, a: Array, b: Array) -> Array:
    """``round(a * scale_a / (b * scale_b) / scale_y) + zero_point`` of int64 steps, clamped (N34).

    Of rational numbers, exactly. By zero it is the nearest end of the output's range, 0 / 0 the
    zero point (N46).
    """
    rules = spec.rules.elementwise
    a, b = np.broadcast_arrays(a, b)
    factor = ratio(spec.quant(0), spec.quant(1)) / Fraction(float(spec.output.scale))
    if rules.arithmetic == "fixed_point":
        factor = fixed([factor], rules)[0]
    over = np.atleast_1d(np.where(b < 0, -a, a)).astype(object) * factor.numerator
    under = np.atleast_1d(np.where(b == 0, 1, np.abs(b))).astype(object) * factor.denominator
    inside, outside = zero_points(spec)
    out = divide(over + inside * under, under, rules.rounding, _noise(spec, a.shape, None))
    out = np.clip(out, -int(_FAR), int(_FAR)).astype(np.int64).reshape(a.shape)
    steps = np.where(b == 0, np.sign(a) * np.int64(_FAR) + inside, out) + outside
    return np.asarray(np.clip(steps, *clamp_limits(spec))).astype(spec.output.storage)


def from_real(spec: OpSpec, values: Array, positions: Array | None = None) -> Array:
    """``round(value / scale) + zero_point``, clamped; NaN is the zero point (N46, N50).

    float64 is divided in float64, any other type in float32; ``reciprocal``: times
    1 / scale.
    """
    wide: Any = np.float64 if values.dtype == np.float64 else np.float32
    with np.errstate(all="ignore"):
        scale = wide(spec.output.scale)
        reciprocal = spec.rules.elementwise.reciprocal
        steps = values.astype(wide) * (1 / scale) if reciprocal else values.astype(wide) / scale
    steps = np.clip(np.nan_to_num(steps, nan=0.0, posinf=_FAR, neginf=-_FAR), -_FAR, _FAR)
    noise = _noise(spec, values.shape, positions)
    inside, outside = zero_points(spec)
    whole = round_float(steps + wide(inside), spec.rules.elementwise.rounding, noise)
    out: Array = np.clip(whole.astype(np.int64) + outside, *clamp_limits(spec))
    return out.astype(spec.output.storage)


def real_mean(spec: OpSpec, total: Array, count: int) -> Array:
    """int64 steps' sum as a real number of float32, divided by ``count``, then quantized (N33).

    The sum is rounded once; a runtime that adds in float32 may part from it by its order.
    """
    real = (total * np.float64(spec.quant(0).scale)).astype(np.float32)
    return from_real(spec, real / np.float32(count))


def fused(spec: OpSpec, values: Array) -> Array:
    """``round(value / scale + zero_point)`` in float32: a kernel that rounds both at once (N33)."""
    steps = values / np.float32(spec.output.scale) + np.float32(spec.output.zero_point)
    return _whole(spec, steps)


def fused_add(spec: OpSpec, a: Array, b: Array) -> Array:
    """onnxruntime's 8-bit Add (MLAS): ``round(fma(ra, a, fma(rb, b, c)))``, float32 (N32).

    ``ra = scale_a / scale_y``, ``rb`` alike, ``c = zero_y - (ra * zero_a + rb * zero_b)``, each
    step in float32; ``a`` and ``b`` are the integers as they are. The zero point is part of what is
    rounded, so it decides where a tie goes. Found by comparing formulas on all 65,536 pairs.
    """
    f, x, y, z = np.float32, spec.quant(0), spec.quant(1), spec.output
    ra, rb = f(x.scale) / f(z.scale), f(y.scale) / f(z.scale)
    constant = f(z.zero_point) - (ra * f(x.zero_point) + rb * f(y.zero_point))
    return _whole(spec, _fma(ra, a, _fma(rb, b, constant)))


def fused_mul(spec: OpSpec, a: Array, b: Array) -> Array:
    """onnxruntime's 8-bit Mul (MLAS): ``round(a * b * r + zero_y)`` of steps, float32 (N34).

    ``r = scale_a * scale_b / scale_y``, each step in float32.
    """
    f = np.float32
    r = f(spec.quant(0).scale) * f(spec.quant(1).scale) / f(spec.output.scale)
    return _whole(spec, (a * b).astype(f) * r + f(spec.output.zero_point))


def _fma(a: Any, b: Any, c: Any) -> Array:
    """``a * b + c`` rounded to float32 by way of float64, which holds the product exactly."""
    wide = np.float64(a) * np.asarray(b, np.float64) + np.asarray(c, np.float64)
    return np.asarray(wide.astype(np.float32))


def _whole(spec: OpSpec, values: Array) -> Array:
    noise = _noise(spec, values.shape, None)
    values = np.clip(values, -_FAR, _FAR).astype(np.float32)
    steps = round_float(values, spec.rules.elementwise.rounding, noise).astype(np.int64)
    return np.clip(steps, *clamp_limits(spec)).astype(spec.output.storage)


def _noise(spec: OpSpec, shape: tuple[int, ...], positions: Array | None) -> Array | None:
    if spec.rules.elementwise.rounding is not Rounding.STOCHASTIC:
        return None
    if positions is None:
        positions = np.arange(int(np.prod(shape))).reshape(shape)
    return noise_of(spec.seed, spec.stream, positions)

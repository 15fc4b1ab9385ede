"""Fixed-point sums and products of integers with zero points. Rules N30, N32 and N34.

The formulas are those of Qualcomm's Hexagon, found by comparing the inputs and outputs of its
simulator; the fields of ``Elementwise`` are what they need.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np

from chipdrift.numerics.products import clamp_limits
from chipdrift.numerics.profile import Elementwise
from chipdrift.numerics.requantize import floor_log2
from chipdrift.numerics.rounding import Rounding, divide, noise_of
from chipdrift.numerics.tensors import Array, OpSpec, Quant

# (integers as they are stored, their quantizer, 1 or -1)
Term = tuple[Array, Quant, int]
_FAR = 1 << 33  # beyond every integer that can be asked for


def multipliers(factors: Sequence[Fraction], rules: Elementwise) -> tuple[list[int], int]:
    """``m`` for every factor, and ``sh``: ``factor ~ m * 2**-sh``, halves to even (N32)."""
    leading = {"largest": max(factors), "sum": sum(factors), "one": Fraction(1)}[rules.leading]
    sh = (rules.bits or 1) - 1 - floor_log2(Fraction(leading))
    if rules.fraction is not None:
        sh = min(sh, rules.fraction)
    return [round(factor * Fraction(2) ** sh) for factor in factors], sh


def fixed(factors: Sequence[Fraction], rules: Elementwise) -> list[Fraction]:
    """The factors as fixed-point numbers hold them."""
    held, sh = multipliers(factors, rules)
    return [m * Fraction(2) ** -sh for m in held]


def fixed_sum(
    spec: OpSpec,
    terms: Sequence[Term],
    positions: Array | None = None,
    gain: Fraction | int = 1,
) -> Array:
    """``sum(+-(q - z) * scale) / scale_y + z_y`` in fixed point, clamped (N30, N32).

    With ``m``, ``sh`` of the factors, ``A = sum(+-q*m)`` and ``Z = sum(+-z*m)``, the latter rounded
    to multiples of g = ``zero_step``:

    - without ``guard``: ``y = R((A + g*C) / 2**sh)``, ``C = floor(z_y * 2**sh / g) - round(Z/g)``,
      which wraps to ``zero_width`` bits; under HALF_UP the half is part of C:
      ``y = floor((A + g*C) / 2**sh)``, ``C = floor((z_y * 2**sh + 2**(sh-1)) / g) - round(Z/g)``;
    - with ``guard``: ``y = R(t / 2**k) + z_y``, ``t = hu((A - Z) * 2**(k-sh))``, hu being HALF_UP,
      ``k = max(min(guard, 3), guard - max(0, floor(log2(largest factor))))``; parts ``apart``:
      ``t = hu(A * 2**(k-sh)) + hu(-Z * 2**(k-sh))`` with q and z counted from the range's middle
      (32768 for uint16).

    ``positions`` are the outputs' own, for the noise of STOCHASTIC. ``gain``, above 0, multiplies
    every factor (N34).
    """
    rules = spec.rules.elementwise
    factors = [gain * factor(rules, [quant], spec.output) for _, quant, _ in terms]
    held, sh = multipliers(factors, rules)
    shape = np.broadcast_shapes(*(values.shape for values, _, _ in terms))
    dtype = np.int64 if 1 <= sh <= 40 and max(held) < 1 << 40 else object
    signed = [sign * m for (_, _, sign), m in zip(terms, held, strict=True)]
    middle = [
        quant.low + quant.high + 1 >> 1 if rules.parts == "apart" else 0 for _, quant, _ in terms
    ]
    total: Any = np.zeros((1,) * max(1, len(shape)), dtype)
    for (values, _, _), m, mid in zip(terms, signed, middle, strict=True):
        total = total + (values.astype(np.int64) - mid).astype(dtype) * m
    zero = sum(
        m * (int(quant.zero_point) - mid)
        for (_, quant, _), m, mid in zip(terms, signed, middle, strict=True)
    )
    step = rules.zero_step
    zero = _cut(zero, step, rules.zero_rounding)
    z_y = int(spec.output.zero_point)
    if rules.guard is not None:
        k = max(min(rules.guard, 3), rules.guard - max(0, floor_log2(max(factors))))
        if rules.parts == "apart":
            t = _half_up(total, sh - k) + int(_half_up(np.array([-step * zero], object), sh - k)[0])
        else:
            t = _half_up(total - step * zero, sh - k)
        return _ended(spec, t, k, z_y, rules.rounding, shape, positions)
    half_up = rules.rounding is Rounding.HALF_UP
    unit = Fraction(2) ** sh
    constant = floor((z_y * unit + (unit / 2 if half_up else 0)) / step) - zero
    if rules.zero_width is not None:
        half = 1 << (rules.zero_width - 1)
        constant = (constant + half) % (2 * half) - half
    last = Rounding.FLOOR if half_up else rules.rounding
    return _ended(spec, total + step * constant, sh, 0, last, shape, positions)


def fixed_product(spec: OpSpec, a: Array, b: Array) -> Array:
    """``a * b * scale_a * scale_b / scale_y + z_y`` of int64 steps, in fixed point, clamped (N34).

    ``y = R((a*b*m + d) / 2**sh) + z_y``. With g = ``zero_step`` above 1, d is the error of rounding
    the zero points' share K*m to multiples of g: ``d = g*hu(K*m/g) - K*m``,
    ``K = 256 * hu((2*u*v + u + v)/256)``, u and v being the zero points counted from the middle of
    their range.
    """
    rules, x, y = spec.rules.elementwise, spec.quant(0), spec.quant(1)
    (m,), sh = multipliers([factor(rules, [x, y], spec.output)], rules)
    dtype = np.int64 if 1 <= sh <= 40 and m < 1 << 31 else object
    total: Any = np.atleast_1d(a * b).astype(dtype) * m
    if rules.zero_step > 1:
        u, v = (int(q.zero_point) - (q.low + q.high + 1 >> 1) for q in (x, y))
        share = 256 * _cut(2 * u * v + u + v, 256, "HALF_UP") * m
        total = total + (rules.zero_step * _cut(share, rules.zero_step, "HALF_UP") - share)
    z_y = int(spec.output.zero_point)
    shape = np.broadcast_shapes(a.shape, b.shape)
    return _ended(spec, total, sh, z_y, rules.rounding, shape, None)


def factor(rules: Elementwise, inputs: Sequence[Quant], output: Quant) -> Fraction:
    """The product of the inputs' scales over the output's, as ``scale`` makes it."""
    if rules.scale == "float32":
        product = np.float32(1)
        for quant in inputs:
            product = product * np.float32(quant.scale)
        return Fraction(float(product / np.float32(output.scale)))
    exact = Fraction(1)
    for quant in inputs:
        exact *= Fraction(float(quant.scale))
    return exact / Fraction(float(output.scale))


def _ended(
    spec: OpSpec,
    total: Array,
    sh: int,
    zero: int,
    rounding: Rounding,
    shape: tuple[int, ...],
    positions: Array | None,
) -> Array:
    """``total / 2**sh`` rounded, the zero point added, clamped."""
    noise = None
    if rounding is Rounding.STOCHASTIC:
        if positions is None:
            positions = np.arange(int(np.prod(shape))).reshape(shape)
        noise = noise_of(spec.seed, spec.stream, positions).reshape(total.shape)
    if sh < 0:
        total, sh = total * (1 << -sh), 0
    if spec.rules.elementwise.zero_point == "inside":
        total, zero = total + (zero << sh), 0
    out = divide(total, 1 << sh, rounding, noise)
    out = np.clip(out, -_FAR, _FAR).astype(np.int64).reshape(shape)
    return np.asarray(np.clip(out + zero, *clamp_limits(spec))).astype(spec.output.storage)


def _half_up(values: Array, shift: int) -> Array:
    """``values / 2**shift``, halves up; exact where ``shift`` is negative."""
    if shift <= 0:
        return values.astype(object) * (1 << -shift)
    return (values + (1 << (shift - 1))) >> shift


def _cut(value: int, step: int, rounding: str) -> int:
    """``value / step``, rounded."""
    return (value + (step // 2 if rounding == "HALF_UP" else 0)) // step

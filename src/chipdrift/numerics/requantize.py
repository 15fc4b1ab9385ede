"""From sums of products to output integers. Rules N20 to N29 of docs/numerics.md.

This is the reference: Python's integers and fractions, nothing approximate unless a rule says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import numpy as np

from chipdrift.numerics.accumulate import fit
from chipdrift.numerics.profile import Accumulator, Requantize
from chipdrift.numerics.rounding import Rounding, divide, round_float

Array = np.ndarray[Any, Any]

_FAR = 2.0**40  # beyond every output integer, within int64


@dataclass(frozen=True)
class Channel:
    """What is constant for an output channel.

    ``factor`` is S; ``addend`` the integer that joins the accumulator: the bias, and the zero point
    where the rules put it there.
    """

    factor: Fraction
    addend: int = 0


def scales(x_scale: Array, w_scale: Array, y_scale: Array, arithmetic: str) -> list[Fraction]:
    """S = x_scale * w_scale / y_scale for every output channel, as the given arithmetic has it.

    ``float32`` and ``float64`` round after every operation, from left to right; ``float32_max`` is
    ``(x_scale * max(w_scale) / y_scale) * (w_scale / max(w_scale))`` in float32 (N20).
    """
    x, w, y = (np.atleast_1d(scale) for scale in (x_scale, w_scale, y_scale))
    if arithmetic == "exact":
        x, w, y = np.broadcast_arrays(x, w, y)
        return [
            Fraction(float(a)) * Fraction(float(b)) / Fraction(float(c))
            for a, b, c in zip(x, w, y, strict=True)
        ]
    dtype = np.float64 if arithmetic == "float64" else np.float32
    x, w, y = x.astype(dtype), w.astype(dtype), y.astype(dtype)
    top = w.max() if arithmetic == "float32_max" else None
    product = x * w / y if top is None else (x * top / y) * (w / top)
    return [Fraction(float(value)) for value in product]


def channels(
    factors: Sequence[Fraction],
    bias: Array | None,
    x_scale: Array,
    w_scale: Array,
    zero_point: int,
    rules: Requantize,
) -> list[Channel]:
    """The constants of every channel; ``bias`` is (C,) int64 in steps of ``x_scale * w_scale``."""
    count = len(factors) if bias is None else max(len(factors), bias.size)
    factors = [factors[c % len(factors)] for c in range(count)]
    whole = np.zeros(count, np.int64) if bias is None else np.resize(bias, count)
    if rules.bias == "float32":
        real = float32_bias(whole, x_scale, w_scale)
        if rules.zero_point == "accumulator":
            joined = [np.float32(zero_point) / np.float32(float(f)) for f in factors]
            real = np.asarray(joined, np.float32) + real
        return [
            Channel(f, _to_integer(value, rules.bias_rounding))
            for f, value in zip(factors, real, strict=True)
        ]
    if rules.bias == "float32_reciprocal":
        real = float32_bias(whole, x_scale, w_scale, reciprocal=True)
        whole = np.array([_to_integer(value, rules.bias_rounding) for value in real], np.int64)
    found = []
    for factor, b in zip(factors, whole, strict=True):
        inner = 0
        if rules.zero_point == "accumulator" and rules.scale.startswith("float32"):
            inner = _to_integer(np.float32(zero_point) / np.float32(float(factor)), "HALF_AWAY")
        elif rules.zero_point == "accumulator":
            inner = floor(zero_point / factor + Fraction(1, 2))
        found.append(Channel(factor, int(b) + inner))
    return found


def float32_bias(bias: Array, x_scale: Array, w_scale: Array, reciprocal: bool = False) -> Array:
    """The bias in accumulator units after a trip through float32 (N27), (C,) float32.

    Per tensor: to a real number and back, ``(bias * scale) / scale``. Per channel the biases share
    one int32 grid on the way, whose step is the largest one's 2**-28, and are divided by the step
    of the largest weight scale (``reciprocal``: multiplied by its reciprocal, rounded).
    """
    x, w = np.atleast_1d(x_scale).astype(np.float32), np.atleast_1d(w_scale).astype(np.float32)
    step = (x * w.max())[0]
    real = bias.astype(np.float32) * (step if w.size > 1 else (x * w)[0])
    if w.size > 1 and np.abs(real).max() > 0:
        grid = np.abs(real).max() * np.float32(2.0**-28)
        real = np.rint(real * (np.float32(1) / grid)).astype(np.float32) * grid
    return np.asarray(real * (np.float32(1) / step) if reciprocal else real / step, np.float32)


def _to_integer(value: np.floating[Any], rounding: str) -> int:
    """A float32 as an integer; HALF_AWAY is C's ``(int)(x + copysignf(0.5f, x))``, in float32."""
    if rounding == "HALF_AWAY":
        return int(np.trunc(np.float32(value + np.copysign(np.float32(0.5), value))))
    return int(np.rint(value) if rounding == "HALF_EVEN" else np.trunc(value))


def floor_log2(value: Fraction) -> int:
    """The greatest e with ``2**e <= value``, exactly; ``value`` is positive."""
    top, bottom = value.numerator, value.denominator
    e = top.bit_length() - bottom.bit_length()
    reached = top >= bottom << e if e >= 0 else top << -e >= bottom
    return e if reached else e - 1


def significand(value: Fraction, bits: int) -> tuple[int, int]:
    """``value`` as ``m * 2**e`` with ``2**(bits-1) <= m < 2**bits``, a half upwards (N23)."""
    e = floor_log2(value) - bits + 1
    top, bottom = value.numerator << max(0, -e), value.denominator << max(0, e)
    m = (2 * top + bottom) // (2 * bottom)
    return (m, e) if m < 1 << bits else (m >> 1, e + 1)


def scaled(m: int, e: int) -> Fraction:
    """``m * 2**e``."""
    return Fraction(m << e) if e >= 0 else Fraction(m, 1 << -e)


def represent(factor: Fraction, rules: Requantize) -> Fraction:
    """``factor`` as the multiplier holds it (N22 to N25)."""
    match rules.multiplier:
        case "fixed_point":
            unit = 1 << (rules.bits or 0)
            return Fraction(floor(factor * unit + Fraction(1, 2)), unit)
        case "significand":
            return scaled(*significand(factor, rules.bits or 0))
        case "power_of_two":
            return scaled(1, significand(factor, 1)[1])
    return factor


def kept_bits(factor: Fraction, rules: Requantize) -> int:
    """How many more low bits go, so that ``keep`` are left below the output's step (N26).

    ``-(e + 1) - keep - drop`` with ``2**e <= S < 2**(e+1)``, S as the multiplier holds it; negative
    where there are fewer bits than that.
    """
    if rules.keep is None:
        return 0
    held = represent(factor, rules) if rules.multiplier == "significand" else factor
    return -(floor_log2(held) + 1) - rules.keep - rules.drop


def requantize(
    products: Array,
    correction: Array,
    constants: Sequence[Channel],
    zero_point: int,
    low: int,
    high: int,
    accumulator: Accumulator,
    rules: Requantize,
    noise: Array | None = None,
) -> Array:
    """Output integers of int64 ``products`` (..., C); ``correction`` is taken off them.

    ``y = clip(round(multiplier * drop(products - correction + addend)) + zero_point, low, high)``:
    N21 to N29. ``constants`` are per channel, or one for all.
    """
    correction = np.broadcast_to(correction, products.shape)
    out = np.empty(products.shape, np.int64)
    one = len(constants) == 1
    for c in range(1 if one else products.shape[-1]):
        where = (...,) if one else (..., c)
        kept = _drop(products[where], correction[where], constants[c], accumulator, rules)
        drawn = None if noise is None else noise[where]
        out[where] = _multiply(kept, constants[c].factor, rules, drawn)
    outer = 0 if rules.zero_point == "accumulator" else zero_point
    return np.clip(out + outer, low, high)


def _drop(
    products: Array,
    correction: Array,
    channel: Channel,
    accumulator: Accumulator,
    rules: Requantize,
) -> Array:
    """What is left of the accumulator when its low bits have gone, in units of what is kept."""
    unit = 1 << rules.drop
    if rules.parts == "apart":
        kept = (
            divide(products, unit, Rounding.FLOOR)
            - divide(correction, unit, Rounding(rules.correction_drop))
            + divide(np.asarray(channel.addend), unit, Rounding(rules.bias_drop))
        )
    else:
        total = fit(products - correction + channel.addend, accumulator.width, accumulator.overflow)
        kept = divide(total, unit, _plain(rules.drop_rounding))
    more = max(0, kept_bits(channel.factor, rules))
    return divide(kept, 1 << more, _plain(rules.drop_rounding))


def _plain(drop_rounding: str) -> Rounding:
    return Rounding.HALF_UP if drop_rounding == "HALF_UP" else Rounding.FLOOR


def _multiply(kept: Array, factor: Fraction, rules: Requantize, noise: Array | None) -> Array:
    more = kept_bits(factor, rules)
    unit = Fraction(2) ** (rules.drop + max(0, more))
    multiplier = represent(factor * unit, rules)
    if rules.steps == "double":
        return _double(kept, factor * unit, rules)
    # Half a unit of what is kept, in units of ``kept``; a finer one where fewer bits went.
    half = Fraction(0)
    if rules.drop_rounding.startswith("MIDPOINT") and (rules.drop or rules.keep is not None):
        half = Fraction(2) ** (min(0, more) - 1)
    grain = half.denominator
    wide = kept.astype(object) * grain
    if half:
        zero = (kept == 0) & (rules.drop_rounding == "MIDPOINT_NONZERO")
        wide = wide + np.where(zero, 0, half.numerator)
    if rules.multiplier == "float32":
        product = (wide / grain).astype(np.float32) * np.float32(float(multiplier))
        return np.clip(round_float(product, rules.rounding, noise), -_FAR, _FAR).astype(np.int64)
    top, bottom = multiplier.numerator, multiplier.denominator * grain
    out = divide(wide * top, bottom, rules.rounding, noise)
    return np.clip(out, -int(_FAR), int(_FAR)).astype(np.int64)


def _double(kept: Array, factor: Fraction, rules: Requantize) -> Array:
    """gemmlowp's two roundings (N24): the product's high half HALF_UP, then the shift HALF_AWAY.

    With the n-bit multiplier m, ``factor = m * 2**(e - n)``: ``divide(acc * 2**max(e, 0) * m,
    2**n, HALF_UP)``, then divided by ``2**max(-e, 0)``.
    """
    bits = rules.bits or 0
    m, e = significand(factor, bits)
    e += bits
    high = divide(kept.astype(object) * (m << max(e, 0)), 1 << bits, Rounding.HALF_UP)
    out = divide(high, 1 << max(-e, 0), Rounding.HALF_AWAY)
    return np.clip(out, -int(_FAR), int(_FAR)).astype(np.int64)

"""Requantization against gemmlowp's C code, NumPy's floats and examples worked by hand."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from chipdrift.numerics.profile import Accumulator, Requantize
from chipdrift.numerics.requantize import (
    Channel,
    channels,
    floor_log2,
    kept_bits,
    represent,
    requantize,
    scales,
    significand,
)

Array = np.ndarray[Any, Any]
WIDE = Accumulator(width=64)
NOTHING = np.zeros((1,), np.int64)


def one(
    total: int | list[int], factor: Fraction, zero_point: int = 0, addend: int = 0, **rules: Any
) -> list[int]:
    """Accumulators of one channel to 16-bit integers."""
    sums = np.atleast_1d(np.array(total, np.int64))[:, None]
    found = requantize(
        sums,
        NOTHING,
        [Channel(factor, addend)],
        zero_point,
        -32768,
        32767,
        WIDE,
        Requantize(**rules),
    )
    assert found.dtype == np.int64
    return [int(v) for v in found[:, 0]]


# gemmlowp, fixedpoint/fixedpoint.h and TensorFlow Lite, kernels/internal/common.h: the C code.


def quantize_multiplier(real: float) -> tuple[int, int]:
    """QuantizeMultiplier: (multiplier of 31 bits, shift)."""
    mantissa, shift = np.frexp(real)
    fixed = int(np.round(mantissa * 2.0**31))
    if fixed == 1 << 31:
        fixed, shift = fixed // 2, shift + 1
    return fixed, int(shift)


def saturating_rounding_doubling_high_mul(a: Array, b: int) -> Array:
    """``(ab_64 + nudge) / (1ll << 31)``, C's division."""
    ab = a.astype(np.int64) * np.int64(b)
    nudge = np.where(ab >= 0, 1 << 30, 1 - (1 << 30))
    quotient = np.abs(ab + nudge) // (1 << 31)
    return np.sign(ab + nudge) * quotient


def rounding_divide_by_pot(x: Array, exponent: int) -> Array:
    """``(x >> exponent) + (remainder > threshold ? 1 : 0)``."""
    mask = (1 << exponent) - 1
    remainder = x & mask
    threshold = (mask >> 1) + np.where(x < 0, 1, 0)
    return (x >> exponent) + np.where(remainder > threshold, 1, 0)


def multiply_by_quantized_multiplier(x: Array, real: float) -> Array:
    multiplier, shift = quantize_multiplier(real)
    left, right = max(shift, 0), max(-shift, 0)
    high = saturating_rounding_doubling_high_mul(x << left, multiplier)
    return rounding_divide_by_pot(high, right)


GEMMLOWP = {"scale": "float64", "multiplier": "significand", "bits": 31, "steps": "double"}


@pytest.mark.parametrize("seed", range(8))
def test_double_rounding_is_gemmlowp_s(seed: int) -> None:
    rng = np.random.default_rng(seed)
    for power in range(-24, 8):
        real = float(2.0**power * rng.choice([1.0, 0.5 + rng.random() / 2, 0.75, 1 - 2.0**-33]))
        # The left shift of a multiplier above 1 must fit 32 bits.
        top = 2 ** (30 - max(0, power + 1))
        sums = rng.integers(-top, top, 600)
        sums[:200] = rng.integers(-300, 300, 200)
        if power < -1:  # at ties of the whole, and beside them
            ties = (2 * rng.integers(-100, 100, 150) + 1) * 2 ** (-power - 1)
            sums[200:350] = ties.clip(-top, top) + rng.integers(-1, 2, 150)
        wanted = multiply_by_quantized_multiplier(sums, real).clip(-32768, 32767)
        assert one(sums.tolist(), Fraction(real), **GEMMLOWP) == wanted.tolist()


def test_the_two_roundings_are_seen() -> None:
    """Where gemmlowp parts from one rounding, either way round."""
    halves = [-3, -1, 1, 3]
    # No shift: the high half alone, HALF_UP. A shift of one bit: first that, then HALF_AWAY.
    assert one(halves, Fraction(1, 2), **GEMMLOWP) == [-1, 0, 1, 2]
    assert one(halves, Fraction(1, 4), **GEMMLOWP) == [-1, 0, 1, 1]
    assert one([-6, -2, 2, 6], Fraction(1, 4), **GEMMLOWP) == [-2, -1, 1, 2]
    assert one([5], Fraction(1, 4), **GEMMLOWP) == [2], "1.25, then 3 halves: up twice"
    single = {**GEMMLOWP, "steps": "single", "rounding": "HALF_UP"}
    assert one([5], Fraction(1, 4), **single) == [1]


# Examples worked by hand.


def test_scales_round_after_every_operation() -> None:
    x, y = np.float32(0.1), np.float32(0.7)
    w = np.array([0.3, 0.9, 0.011], np.float32)
    exact = [Fraction(float(x)) * Fraction(float(v)) / Fraction(float(y)) for v in w]
    assert scales(x, w, y, "exact") == exact
    assert scales(x, w, y, "float32") == [Fraction(float(np.float32(x * v) / y)) for v in w]
    wide = [float(x) * float(v) / float(y) for v in w]
    assert scales(x, w, y, "float64") == [Fraction(v) for v in wide]
    largest = np.float32(x * w[1]) / y
    assert scales(x, w, y, "float32_max") == [Fraction(float(largest * (v / w[1]))) for v in w]
    made = [tuple(scales(x, w, y, a)) for a in ("exact", "float32", "float64", "float32_max")]
    assert len(set(made)) == 4, "these scales tell the four apart"
    assert len(scales(x, np.float32(0.3), y, "float32")) == 1


def test_what_holds_the_scale() -> None:
    third = Fraction(1, 3)
    assert significand(third, 4) == (11, -5)
    assert significand(Fraction(31, 32), 4) == (8, -3), "rounds up to the next power of two"
    assert significand(Fraction(17, 32), 4) == (9, -4), "a half goes upwards"
    assert significand(Fraction(3) * 2**70, 2) == (3, 70)
    held = {
        "exact": third,
        "float32": third,
        "fixed_point": Fraction(5, 16),
        "significand": Fraction(11, 32),
        "power_of_two": Fraction(1, 4),
    }
    for multiplier, wanted in held.items():
        bits = {"bits": 4} if multiplier in ("fixed_point", "significand") else {}
        assert represent(third, Requantize(multiplier=multiplier, **bits)) == wanted  # type: ignore[arg-type]
    two = Requantize(multiplier="power_of_two")
    for value, power in [
        (Fraction(3, 8), Fraction(1, 2)),
        (Fraction(3, 2), 2),
        (Fraction(5, 4), 1),
    ]:
        assert represent(Fraction(value), two) == power
    fixed = Requantize(multiplier="fixed_point", bits=3)
    assert represent(Fraction(1, 16), fixed) == Fraction(1, 8)
    assert represent(Fraction(1, 17), fixed) == 0


def test_floor_log2_at_every_power() -> None:
    for e in range(-80, 81):
        power = Fraction(2) ** e
        assert floor_log2(power) == e
        assert floor_log2(power * Fraction(2**90 - 1, 2**90)) == e - 1
        assert floor_log2(power * Fraction(2**90 + 1, 2**90)) == e


def test_a_float32_multiplier_rounds_the_accumulator_first() -> None:
    rules = {"scale": "float32", "multiplier": "float32"}
    total = 2**24 + 1  # float32 has 2**24
    assert one(total * 2, Fraction(1, 2**25), **rules) == [1]
    half = 3 * 2**24 + 2  # a tie of 2**26 / 2**25 once float32 rounded it
    assert one([half + 1, half + 5], Fraction(1, 2**25), multiplier="exact") == [2, 2]
    assert one(2**25 + 1, Fraction(1, 2**26), **rules) == [0], "a tie only after rounding"
    assert one(2**25 + 1, Fraction(1, 2**26)) == [1]


def test_bits_are_dropped_before_the_multiplication() -> None:
    # 8 bits go: 511 is 1 of 256, 383 is 1, -1 is -1.
    assert one([511, 383, 255, -1], Fraction(1, 256), drop=8) == [1, 1, 0, -1]
    near = [511, 383, 128, 127, -128, -129]
    assert one(near, Fraction(1, 256), drop=8, drop_rounding="HALF_UP") == [2, 1, 1, 0, 0, -1]
    # S = 2**-8 with 3 bits kept below the output's step: -(e + 1) - keep = 4 bits go.
    rules = Requantize(keep=3)
    assert kept_bits(Fraction(1, 256), rules) == 7 - 3
    assert kept_bits(Fraction(255, 256 * 256), rules) == 8 - 3
    assert kept_bits(Fraction(4), rules) == -6
    # 127 of 256 has 7 of 16 left, which is below a half; with the midpoint it is 7.5 of 16.
    assert one([127, 128, 143, 144], Fraction(1, 256), keep=3, rounding="HALF_UP") == [0, 1, 1, 1]
    assert one([120, 112], Fraction(1, 256), keep=3, rounding="HALF_UP") == [0, 0]
    midpoint = {"keep": 3, "rounding": "HALF_UP", "drop_rounding": "MIDPOINT"}
    assert one([112, 127, 128], Fraction(1, 256), **midpoint) == [0, 0, 1]
    assert one([0, 0], Fraction(3, 4), drop=1, rounding="HALF_UP", drop_rounding="MIDPOINT") == [
        1,
        1,
    ]
    nonzero = {"drop": 1, "rounding": "HALF_UP", "drop_rounding": "MIDPOINT_NONZERO"}
    assert one([0, 1, 2], Fraction(3, 4), **nonzero) == [0, 0, 2]


def test_parts_are_dropped_apart_and_each_by_its_own_rounding() -> None:
    products, correction = np.array([[511]]), np.array([[640]])
    for rounding, taken, bias in [("HALF_UP", 3, -1), ("FLOOR", 2, -2), ("TOWARD_ZERO", 2, -1)]:
        rules = Requantize(
            drop=8, parts="apart", correction_drop=rounding, bias_drop=rounding, scale="exact"
        )  # type: ignore[arg-type]
        channel = Channel(Fraction(1, 256), -300)
        found = requantize(products, correction, [channel], 0, -99, 99, WIDE, rules)
        assert found.item() == 1 - taken + bias


def test_the_accumulator_overflows_once_more_with_the_bias() -> None:
    products = np.array([[2**31 - 1]])
    ends = {"wrap": -(2**31), "saturate": 2**31 - 1}
    for overflow, end in ends.items():
        accumulator = Accumulator(overflow=overflow)  # type: ignore[arg-type]
        channel = Channel(Fraction(1, 2**20), 1)
        found = requantize(
            products, NOTHING, [channel], 0, -(2**15), 2**15 - 1, accumulator, Requantize()
        )
        assert found.item() == round(end / 2**20)


def test_the_clamp_is_behind_the_zero_point() -> None:
    found = requantize(
        np.array([[-500], [-3], [0], [500]]),
        NOTHING,
        [Channel(Fraction(1))],
        *(10, 8, 255),
        *(WIDE, Requantize()),
    )
    assert found[:, 0].tolist() == [8, 8, 10, 255]


def test_the_zero_point_may_join_the_accumulator() -> None:
    scale = np.float32(0.25)
    unit = np.float32(1)
    for arithmetic in ("exact", "float32"):
        rules = Requantize(scale=arithmetic, zero_point="accumulator")  # type: ignore[arg-type]
        (channel,) = channels(scales(scale, unit, unit, arithmetic), None, scale, unit, 3, rules)
        assert channel == Channel(Fraction(1, 4), 12)
    third = Requantize(zero_point="accumulator", rounding="FLOOR")
    (channel,) = channels([Fraction(2, 3)], np.array([5]), scale, unit, 7, third)
    assert channel.addend == 5 + 11  # 10.5: halves go up
    found = requantize(np.array([[0]]), NOTHING, [channel], 7, 0, 255, WIDE, third)
    assert found.item() == 10, "16 * 2 / 3; the zero point is not added again"


def test_a_bias_s_trip_through_float32() -> None:
    one_scale = np.float32(1)
    bias = np.array([2**24 + 1, -5, 7])
    exact = channels([Fraction(1)] * 3, bias, one_scale, one_scale, 0, Requantize())
    assert [c.addend for c in exact] == bias.tolist()
    # Per tensor the bias is rounded to float32, and back: 2**24 + 1 has no float32.
    rules = Requantize(bias="float32", bias_rounding="HALF_EVEN")
    made = channels([Fraction(1)] * 3, bias, one_scale, one_scale, 0, rules)
    assert [c.addend for c in made] == [2**24, -5, 7]
    # Per channel they share a grid of 2**-28 of the largest: a small bias lands on it.
    w = np.array([1, 1, 1], np.float32)
    small = np.array([2**30, 3, 7])
    made = channels([Fraction(1)] * 3, small, one_scale, w, 0, rules)
    assert [c.addend for c in made] == [2**30, 4, 8], "in steps of 4, a half to the even step"

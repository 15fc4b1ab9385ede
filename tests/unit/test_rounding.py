"""Every rounding against decimal and fractions, which others wrote, on all of a small domain."""

from __future__ import annotations

import decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from chipdrift.numerics.rounding import Rounding, divide, noise_of, round_float

PLAIN = [r for r in Rounding if r is not Rounding.STOCHASTIC]
DECIMAL = {
    Rounding.HALF_EVEN: decimal.ROUND_HALF_EVEN,
    Rounding.HALF_AWAY: decimal.ROUND_HALF_UP,  # decimal's own word for it: away from zero
    Rounding.FLOOR: decimal.ROUND_FLOOR,
    Rounding.TOWARD_ZERO: decimal.ROUND_DOWN,
}


def half_up(value: Fraction) -> int:
    """Towards plus infinity: away from zero where positive, towards zero where negative."""
    exact = decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)
    kind = decimal.ROUND_HALF_UP if value > 0 else decimal.ROUND_HALF_DOWN
    return int(exact.quantize(decimal.Decimal(1), kind))


def expected(value: Fraction, rounding: Rounding) -> int:
    """By decimal; ``value`` must have few digits (a power of two below, or a small denominator)."""
    if rounding is Rounding.HALF_UP:
        return half_up(value)
    exact = decimal.Decimal(value.numerator) / decimal.Decimal(value.denominator)
    return int(exact.quantize(decimal.Decimal(1), DECIMAL[rounding]))


@pytest.mark.parametrize("rounding", PLAIN)
def test_divide_on_all_small_fractions(rounding: Rounding) -> None:
    for denominator in range(1, 18):
        numerators = np.arange(-140, 141)
        wanted = [expected(Fraction(int(n), denominator), rounding) for n in numerators]
        assert divide(numerators, denominator, rounding).tolist() == wanted
        wide = divide(numerators.astype(object), denominator, rounding)
        assert wide.tolist() == wanted


@pytest.mark.parametrize("rounding", PLAIN)
def test_divide_beyond_64_bits(rounding: Rounding) -> None:
    """Python's integers, a denominator for each, at ties of numbers of 90 bits and beside them."""
    rng = np.random.default_rng(4)
    bottoms = [int(b) << int(s) for b, s in zip(rng.integers(1, 99, 60), range(60), strict=True)]
    tops = [
        (2 * int(k) + 1) * (b // 2 or 1) + int(d)
        for k, b, d in zip(rng.integers(-(2**60), 2**60, 60), bottoms, [-1, 0, 1] * 20, strict=True)
    ]
    with decimal.localcontext(prec=120):
        wanted = [expected(Fraction(t, b), rounding) for t, b in zip(tops, bottoms, strict=True)]
    found = divide(np.array(tops, object), np.array(bottoms, object), rounding)
    assert found.tolist() == wanted


def test_the_names_say_where_a_half_goes() -> None:
    halves = np.array([-5, -3, -1, 1, 3, 5])
    goes = {r: divide(halves, 2, r).tolist() for r in PLAIN}
    assert goes == {
        Rounding.HALF_EVEN: [-2, -2, 0, 0, 2, 2],
        Rounding.HALF_UP: [-2, -1, 0, 1, 2, 3],
        Rounding.HALF_AWAY: [-3, -2, -1, 1, 2, 3],
        Rounding.FLOOR: [-3, -2, -1, 0, 1, 2],
        Rounding.TOWARD_ZERO: [-2, -1, 0, 0, 1, 2],
    }


def near_ties(dtype: Any) -> np.ndarray[Any, Any]:
    """Integers, ties and their neighbours in ``dtype``, both signs, up to its precision."""
    digits = np.finfo(dtype).nmant
    whole = np.concatenate([np.arange(0, 41), 2.0 ** np.arange(3, digits + 4)])
    points = np.concatenate([whole, whole + 0.5, whole + 1, np.maximum(whole - 0.5, 0)]).astype(
        dtype
    )
    up, down = np.nextafter(points, dtype(np.inf)), np.nextafter(points, dtype(-np.inf))
    tiny = np.array([np.finfo(dtype).smallest_subnormal, np.finfo(dtype).tiny], dtype)
    values = np.concatenate([points, up, down, tiny])
    return np.concatenate([values, -values])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rounding", PLAIN)
def test_round_float_beside_every_tie(rounding: Rounding, dtype: Any) -> None:
    values = near_ties(dtype)
    found = round_float(values, rounding)
    assert found.dtype == dtype
    with decimal.localcontext(prec=1100):
        wanted = [expected(Fraction(float(v)), rounding) for v in values]
    assert [int(v) for v in found] == wanted


@pytest.mark.parametrize("rounding", PLAIN)
def test_round_float_on_all_float16(rounding: Rounding) -> None:
    """Every finite float16, as float32: all signs, sizes and fractions."""
    half = np.arange(2**16, dtype=np.uint16).view(np.float16)
    values = half[np.isfinite(half)].astype(np.float32)
    found = round_float(values, rounding).astype(np.int64)
    # Exact by divide, which the tests above hold: float16 is a multiple of 2**-24.
    wanted = divide((values.astype(np.float64) * 2**24).astype(np.int64), 2**24, rounding)
    np.testing.assert_array_equal(found, wanted)


def test_the_sign_of_zero_is_kept() -> None:
    for rounding in PLAIN:
        assert np.signbit(round_float(np.array([-0.0, -0.25]), rounding))[0]


def test_stochastic_goes_up_with_the_fraction_s_probability() -> None:
    """``noise`` below fraction * 2**32 goes up, on the boundary not; a whole number stays."""
    full = 1 << 32
    for numerator, denominator in [(1, 4), (-1, 4), (7, 3), (-7, 3), (5, 1), (0, 9)]:
        exact = Fraction(numerator, denominator)
        low = exact.numerator // exact.denominator
        share = (exact - low) * full
        last = -(-share.numerator // share.denominator) - 1  # the last noise that goes up
        noise = np.array([0, max(last, 0), min(last + 1, full - 1), full - 1], np.uint64)
        wanted = [low + int(int(n) < share) for n in noise]
        numerators = np.full(4, numerator)
        assert divide(numerators, denominator, Rounding.STOCHASTIC, noise).tolist() == wanted
        if denominator in (1, 4):  # exact in binary: the same of a float
            values = np.full(4, numerator / denominator, np.float32)
            made = round_float(values, Rounding.STOCHASTIC, noise).astype(int).tolist()
            assert made == wanted, (exact, noise)


@pytest.mark.parametrize("value", [0.5, 0.125, 0.9, -0.3, -2.75, 11.01])
def test_stochastic_is_right_on_average(value: float) -> None:
    count = 200_000
    noise = noise_of(7, 1, np.arange(count))
    values = np.full(count, value, np.float32)
    found = round_float(values, Rounding.STOCHASTIC, noise)
    assert set(np.unique(found)) <= {np.floor(values[0]), np.floor(values[0]) + 1}
    share = float(values[0]) - np.floor(values[0])
    # Five standard errors of a mean of this many.
    error = 5 * np.sqrt(share * (1 - share) / count)
    assert abs(found.mean(dtype=np.float64) - float(values[0])) < error
    exact = Fraction(float(values[0]))
    whole = divide(
        np.full(2000, exact.numerator, object), exact.denominator, Rounding.STOCHASTIC, noise[:2000]
    )
    np.testing.assert_array_equal(whole.astype(int), found[:2000].astype(int))


def test_stochastic_needs_noise() -> None:
    with pytest.raises(ValueError, match="noise_of"):
        divide(np.array([1]), 2, Rounding.STOCHASTIC)
    with pytest.raises(ValueError, match="noise_of"):
        round_float(np.array([0.5]), Rounding.STOCHASTIC)


def test_noise_is_the_same_in_any_order() -> None:
    indices = np.random.default_rng(0).permutation(10_000)
    whole = noise_of(3, 5, np.arange(10_000))
    np.testing.assert_array_equal(noise_of(3, 5, indices), whole[indices])
    np.testing.assert_array_equal(noise_of(3, 5, np.array([4321])), whole[[4321]])
    np.testing.assert_array_equal(
        noise_of(3, 5, np.arange(10_000).reshape(100, 100)), whole.reshape(100, 100)
    )


def test_noise_is_splitmix64() -> None:
    """Vigna's splitmix64.c with seed 1234567: its first three outputs, here their upper halves."""
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423]
    # The counter starts one step on: the state that noise_of mixes is seed + index * gamma.
    seed, scale = 1234567, pow(0xD1342543DE82EF95, -1, 2**64)
    found = noise_of(seed * scale % 2**64, 0, np.arange(1, 4))
    assert found.tolist() == [value >> 32 for value in published]


def test_noise_is_uniform_and_its_streams_are_independent() -> None:
    count = 1 << 16
    for seed, stream in [(0, 0), (0, 1), (1, 0), (12345, 99)]:
        noise = noise_of(seed, stream, np.arange(count))
        assert noise.dtype == np.uint64
        assert int(noise.max()) < 1 << 32
        # Chi-squared over 256 classes: 255 degrees of freedom, six standard deviations.
        classes = np.bincount((noise >> np.uint64(24)).astype(int), minlength=256)
        chi = ((classes - count / 256) ** 2 / (count / 256)).sum()
        assert abs(chi - 255) < 6 * np.sqrt(2 * 255)
        bits = noise[:, None] >> np.arange(32, dtype=np.uint64) & np.uint64(1)
        assert np.abs(bits.mean(axis=0) - 0.5).max() < 6 * 0.5 / np.sqrt(count)
    base = noise_of(0, 0, np.arange(count)).astype(float)
    others = [noise_of(1, 0, np.arange(count)), noise_of(0, 1, np.arange(count))]
    others.append(noise_of(0, 0, np.arange(1, count + 1)))
    for other in others:
        assert abs(np.corrcoef(base, other.astype(float))[0, 1]) < 6 / np.sqrt(count)

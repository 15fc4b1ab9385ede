"""Requantization under rules drawn at random, against the formulas of its module written anew.

Here everything is a fraction: floats are rounded by :func:`nearest`, integers by :func:`to_whole`.
"""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from chipdrift.numerics.accumulate import dot, product_sums
from chipdrift.numerics.profile import Accumulator, Requantize
from chipdrift.numerics.requantize import (
    Channel,
    channels,
    kept_bits,
    represent,
    requantize,
    scales,
    significand,
)
from chipdrift.numerics.rounding import Rounding, divide, round_float

FUZZ = settings(max_examples=400, deadline=None, derandomize=True)
HALF = Fraction(1, 2)
FULL = 1 << 32


def exponent(value: Fraction) -> int:
    """e with ``2**e <= value < 2**(e+1)``, by trying."""
    e = 0
    while Fraction(2) ** e > value:
        e -= 1
    while Fraction(2) ** (e + 1) <= value:
        e += 1
    return e


def nearest(value: Fraction, digits: int) -> Fraction:
    """The nearest binary floating point number of ``digits`` digits, ties to even (IEEE 754)."""
    if not value:
        return value
    unit = Fraction(2) ** (exponent(abs(value)) - digits + 1)
    return round(value / unit) * unit  # Python rounds a Fraction's half to even


def f32(value: Fraction) -> Fraction:
    return nearest(value, 24)


def to_whole(value: Fraction, rounding: str, noise: int = 0) -> int:
    """A rounding by its definition in words."""
    low = floor(value)
    rest = value - low
    if rounding == "HALF_EVEN":
        return round(value)
    up = {
        "HALF_UP": rest >= HALF,
        "HALF_AWAY": rest > HALF or (rest == HALF and value > 0),
        "FLOOR": False,
        "TOWARD_ZERO": rest > 0 and value < 0,
        "STOCHASTIC": noise < rest * FULL,
    }[rounding]
    return low + up


def two_s_complement(value: int, width: int, overflow: str) -> int:
    half = 2 ** (width - 1)
    if overflow == "saturate":
        return max(-half, min(half - 1, value))
    return (value + half) % (2 * half) - half


# The formulas of numerics/requantize.py, N20 to N29.


def held_scale(factor: Fraction, rules: Requantize) -> Fraction:
    """What is multiplied by, of a real number."""
    bits = {"power_of_two": 1}.get(rules.multiplier, rules.bits or 0)
    if rules.multiplier == "fixed_point":
        return Fraction(floor(factor * 2**bits + HALF), 2**bits)
    if rules.multiplier in ("significand", "power_of_two"):
        unit = Fraction(2) ** (exponent(factor) - bits + 1)
        return floor(factor / unit + HALF) * unit
    return factor


def bits_that_go(factor: Fraction, rules: Requantize) -> int:
    """Beyond ``drop``, so that ``keep`` stay below the output's step."""
    if rules.keep is None:
        return 0
    seen = held_scale(factor, rules) if rules.multiplier == "significand" else factor
    below = -(exponent(seen) + 1)  # bits of the accumulator below the output's step
    return below - rules.keep - rules.drop


def one_output(
    product: int, correction: int, channel: Channel, acc: Accumulator, rules: Requantize, noise: int
) -> int:
    """An output before its zero point and clamp."""
    plain = "HALF_UP" if rules.drop_rounding == "HALF_UP" else "FLOOR"
    unit = 2**rules.drop
    if rules.parts == "apart":
        kept = to_whole(Fraction(product, unit), "FLOOR")
        kept -= to_whole(Fraction(correction, unit), rules.correction_drop)
        kept += to_whole(Fraction(channel.addend, unit), rules.bias_drop)
    else:
        total = product - correction + channel.addend
        total = two_s_complement(total, acc.width, acc.overflow)
        kept = to_whole(Fraction(total, unit), plain)
    go = bits_that_go(channel.factor, rules)
    kept = to_whole(Fraction(kept, 2 ** max(0, go)), plain)
    factor = channel.factor * unit * 2 ** max(0, go)
    if rules.steps == "double":
        e = exponent(factor) + 1  # factor = q * 2**e with 1/2 <= q < 1
        m = floor(factor / Fraction(2) ** e * 2**rules.bits + HALF)
        if m == 2**rules.bits:
            m, e = m // 2, e + 1
        high = floor(Fraction(kept * 2 ** max(e, 0) * m, 2**rules.bits) + HALF)
        return to_whole(Fraction(high, 2 ** max(-e, 0)), "HALF_AWAY")
    value = Fraction(kept)
    if rules.drop_rounding.startswith("MIDPOINT") and (rules.drop or rules.keep is not None):
        # Half a unit of what is kept; where nothing more went, of the finer unit asked for.
        half = HALF if go >= 0 else HALF * Fraction(2) ** go
        value += 0 if kept == 0 and rules.drop_rounding == "MIDPOINT_NONZERO" else half
    if rules.multiplier == "float32":
        return to_whole(f32(f32(value) * f32(factor)), rules.rounding, noise)
    return to_whole(value * held_scale(factor, rules), rules.rounding, noise)


def float_bias(bias: list[int], x: Fraction, w: list[Fraction], reciprocal: bool) -> list[Fraction]:
    """In float32 after every operation (N27)."""
    if len(w) == 1:
        step = f32(x * w[0])
        real = [f32(f32(Fraction(b)) * step) for b in bias]
        last = step
    else:
        last = step = f32(x * max(w))
        real = [f32(f32(Fraction(b)) * step) for b in bias]
        grid = f32(max(map(abs, real)) * Fraction(2) ** -28)
        if grid:
            inverse = f32(1 / grid)
            real = [f32(round(f32(r * inverse)) * grid) for r in real]
    if reciprocal:
        return [f32(r * f32(1 / last)) for r in real]
    return [f32(r / last) for r in real]


def float_to_whole(value: Fraction, rounding: str) -> int:
    if rounding == "HALF_AWAY":  # (int)(x + copysignf(0.5f, x))
        return to_whole(f32(value + (HALF if value >= 0 else -HALF)), "TOWARD_ZERO")
    return to_whole(value, rounding)


def addends(
    factors: list[Fraction],
    bias: list[int],
    x: Fraction,
    w: list[Fraction],
    z: int,
    rules: Requantize,
) -> list[int]:
    inside = rules.zero_point == "accumulator"
    if rules.bias == "float32":
        real = float_bias(bias, x, w, False)
        if inside:
            real = [f32(f32(Fraction(z) / f32(f)) + r) for f, r in zip(factors, real, strict=True)]
        return [float_to_whole(r, rules.bias_rounding) for r in real]
    whole = bias
    if rules.bias == "float32_reciprocal":
        whole = [float_to_whole(r, rules.bias_rounding) for r in float_bias(bias, x, w, True)]
    if not inside:
        return whole
    if rules.scale in ("float32", "float32_max"):
        zeros = [float_to_whole(f32(Fraction(z) / f32(f)), "HALF_AWAY") for f in factors]
    else:
        zeros = [to_whole(z / f, "HALF_UP") for f in factors]
    return [b + inner for b, inner in zip(whole, zeros, strict=True)]


# What is drawn.

ROUNDINGS = [r.value for r in Rounding]
FLOATS = st.builds(
    lambda m, e: np.float32(m * 2.0**e), st.integers(2**23, 2**24 - 1), st.integers(-36, -22)
) | st.sampled_from([np.float32(v) for v in (1.0, 0.5, 0.375, 0.1, 3.0, 2.0**-7)])
FACTORS = FLOATS.map(lambda v: Fraction(float(v))) | st.fractions(
    Fraction(1, 10**6), 20, max_denominator=10**7
)


@st.composite
def rule_sets(draw: Any) -> Requantize:
    """All fields, as far as they do not contradict each other."""
    fields: dict[str, Any] = {
        "scale": draw(st.sampled_from(["exact", "float32", "float32_max", "float64"])),
        "multiplier": draw(
            st.sampled_from(["exact", "float32", "fixed_point", "significand", "power_of_two"])
        ),
        "zero_point": draw(st.sampled_from(["output", "accumulator"])),
        "bias": draw(st.sampled_from(["exact", "float32", "float32_reciprocal"])),
        "bias_rounding": draw(st.sampled_from(["HALF_AWAY", "HALF_EVEN", "TOWARD_ZERO"])),
        "drop": draw(st.sampled_from([0, 0, 1, 3, 8])),
        "keep": draw(st.sampled_from([None, None, 0, 1, 3, 7])),
        "drop_rounding": draw(
            st.sampled_from(["FLOOR", "HALF_UP", "MIDPOINT", "MIDPOINT_NONZERO"])
        ),
    }
    if fields["multiplier"] in ("fixed_point", "significand"):
        fields["bits"] = draw(st.integers(1, 31))
    midpoint = fields["drop_rounding"].startswith("MIDPOINT")
    if fields["multiplier"] == "significand" and not midpoint and draw(st.booleans()):
        fields["steps"] = "double"
    else:
        fields["rounding"] = draw(st.sampled_from(ROUNDINGS))
    if fields["drop"] and draw(st.booleans()):
        fields["parts"] = "apart"
        for part in ("correction_drop", "bias_drop"):
            fields[part] = draw(st.sampled_from(["FLOOR", "HALF_UP", "TOWARD_ZERO"]))
    return Requantize(**fields)


ACCUMULATORS = st.builds(
    Accumulator,
    width=st.sampled_from([16, 24, 32, 64]),
    overflow=st.sampled_from(["wrap", "saturate"]),
)


@settings(FUZZ, max_examples=800)
@given(st.data(), rule_sets(), ACCUMULATORS)
def test_requantize_is_its_formula(data: Any, rules: Requantize, acc: Accumulator) -> None:
    count = data.draw(st.sampled_from([1, 3]))
    factors = data.draw(st.lists(FACTORS, min_size=count, max_size=count))
    if rules.multiplier == "float32":
        factors = [f32(f) for f in factors]
    constants = [Channel(f, data.draw(st.integers(-(2**20), 2**20))) for f in factors]
    # Accumulators small enough to make outputs of a few hundred, many of them at ties.
    products, corrections = np.zeros((4, count), np.int64), np.zeros((4, count), np.int64)
    for c, factor in enumerate(factors):
        reach = max(2, min(2**40, floor(Fraction(300) / factor)))
        for r in range(4):
            aim = data.draw(st.integers(-reach, reach))
            if data.draw(st.booleans()):
                k = data.draw(st.integers(-20, 20))
                aim = floor((k + HALF) / factor) + data.draw(st.integers(-1, 1))
            corrections[r, c] = data.draw(st.integers(-(2**18), 2**18))
            products[r, c] = aim + corrections[r, c] - constants[c].addend
    zero = data.draw(st.integers(-128, 127))
    noise = np.array(
        data.draw(st.lists(st.integers(0, FULL - 1), min_size=4 * count, max_size=4 * count)),
        np.uint64,
    ).reshape(4, count)
    found = requantize(
        products, corrections, constants, zero, -400, 400, acc, rules, noise
    )  # fmt: skip
    outer = zero if rules.zero_point == "output" else 0
    wanted = [
        [
            max(-400, min(400, outer + one_output(*map(int, (p, q)), c, acc, rules, int(n))))
            for p, q, c, n in zip(*row, strict=True)
        ]
        for row in zip(products, corrections, [constants] * 4, noise, strict=True)
    ]
    assert found.tolist() == wanted


@settings(FUZZ, max_examples=100)
@given(rule_sets(), FACTORS, st.integers(-(2**30), 2**30), st.integers(-50, 50))
def test_one_constant_for_all_channels(
    rules: Requantize, factor: Fraction, total: int, addend: int
) -> None:
    """Per tensor is per channel with equal channels."""
    factor = f32(factor) if rules.multiplier == "float32" else factor
    products = total + np.arange(12).reshape(3, 4)
    noise = np.arange(12, dtype=np.uint64).reshape(3, 4) << np.uint64(28)
    channel, rest = Channel(factor, addend), (3, -400, 400, Accumulator(), rules, noise)
    together = requantize(products, np.full((3, 1), 9), [channel], *rest)
    apart = requantize(products, np.full((3, 4), 9), [channel] * 4, *rest)
    np.testing.assert_array_equal(together, apart)


@FUZZ
@given(FLOATS, st.lists(FLOATS, min_size=1, max_size=4), FLOATS)
def test_scales_are_their_formula(x: np.float32, w: list[np.float32], y: np.float32) -> None:
    exact = [Fraction(float(x)) * Fraction(float(v)) / Fraction(float(y)) for v in w]
    a, b, c = Fraction(float(x)), [Fraction(float(v)) for v in w], Fraction(float(y))
    top = max(b)
    wanted = {
        "exact": exact,
        "float32": [f32(f32(a * v) / c) for v in b],
        "float64": [nearest(nearest(a * v, 53) / c, 53) for v in b],
        "float32_max": [f32(f32(f32(a * top) / c) * f32(v / top)) for v in b],
    }
    for arithmetic, values in wanted.items():
        assert scales(x, np.array(w, np.float32), y, arithmetic) == values


@FUZZ
@given(FACTORS, st.integers(1, 31))
def test_significand_is_the_nearest_of_so_many_bits(factor: Fraction, bits: int) -> None:
    m, e = significand(factor, bits)
    assert 2 ** (bits - 1) <= m < 2**bits
    held = m * Fraction(2) ** e
    assert held == held_scale(factor, Requantize(multiplier="significand", bits=bits))
    assert abs(held - factor) <= Fraction(2) ** e / 2


@FUZZ
@given(FACTORS, rule_sets())
def test_what_holds_the_scale_and_how_many_bits_go(factor: Fraction, rules: Requantize) -> None:
    assert represent(factor, rules) == held_scale(factor, rules)
    assert kept_bits(factor, rules) == bits_that_go(factor, rules)


@settings(FUZZ, max_examples=600)
@given(st.data(), rule_sets(), FLOATS, FLOATS, st.integers(0, 255))
def test_the_constants_of_a_channel(
    data: Any, rules: Requantize, x: np.float32, y: np.float32, z: int
) -> None:
    count = data.draw(st.sampled_from([1, 2, 5]))
    size = count if data.draw(st.booleans()) else 1
    w = np.array(data.draw(st.lists(FLOATS, min_size=size, max_size=size)), np.float32)
    spread = data.draw(st.sampled_from([100, 2**20, 2**30]))
    bias = data.draw(st.lists(st.integers(-spread, spread), min_size=count, max_size=count))
    factors = scales(x, w, y, rules.scale)
    full = [factors[c % size] for c in range(count)]
    assume(all(z / f < 2**45 for f in full))
    held_w = w if size > 1 else w.reshape(())
    found = channels(factors, np.array(bias), x, held_w, z, rules)
    wanted = addends(full, bias, Fraction(float(x)), [Fraction(float(v)) for v in w], z, rules)
    assert [c.factor for c in found] == full
    assert [c.addend for c in found] == wanted


@FUZZ
@given(st.integers(-(2**80), 2**80), st.integers(1, 2**40), st.integers(0, FULL - 1))
def test_divide_by_the_definitions(top: int, bottom: int, noise: int) -> None:
    tops = [top, top - top % bottom + bottom // 2, -top]
    for rounding in Rounding:
        drawn = np.full(3, noise, np.uint64)
        found = divide(np.array(tops, object), bottom, rounding, drawn)
        assert found.tolist() == [to_whole(Fraction(t, bottom), rounding, noise) for t in tops]


@FUZZ
@given(
    st.floats(-(2.0**40), 2.0**40),
    st.integers(0, FULL - 1),
    st.sampled_from([np.float32, np.float64]),
)
def test_round_float_by_the_definitions(value: float, noise: int, dtype: Any) -> None:
    held = dtype(value)
    whole = np.floor(held)
    values = np.array([held, whole, dtype(whole + dtype(0.5)), np.nextafter(whole, held)], dtype)
    drawn = np.full(4, noise, np.uint64)
    for rounding in Rounding:
        found = round_float(values, rounding, drawn)
        wanted = [to_whole(Fraction(float(v)), rounding, noise) for v in values]
        assert [int(v) for v in found] == wanted


@FUZZ
@given(st.data())
def test_stored_and_centred_products(data: Any) -> None:
    """Nothing overflows in 64 bits: both are the exact sum, whatever the blocks."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    m, k, n = (data.draw(st.integers(1, top)) for top in (3, 9, 4))
    x, w = rng.integers(0, 2**16, (m, k)), rng.integers(-128, 256, (k, n))
    x_zero = data.draw(st.integers(0, 2**16 - 1))
    w_zero = rng.integers(-128, 256, n if data.draw(st.booleans()) else 1)
    block = data.draw(st.integers(0, 5))
    inner = {"block": block, "block_width": 64} if block else {}
    exact = (x - x_zero) @ (w - w_zero)
    for operands in ("stored", "centred"):
        rules = Accumulator(width=64, operands=operands, **inner)  # type: ignore[arg-type]
        products, correction = product_sums(x, w, x_zero, w_zero, rules)
        np.testing.assert_array_equal(products - correction, exact)


@FUZZ
@given(st.data(), st.sampled_from([16, 24, 32]), st.sampled_from([0, 1, 2, 3, 5]))
def test_dot_one_addition_at_a_time(data: Any, width: Any, block: int) -> None:
    wide = {16: 2**9, 24: 2**13, 32: 2**17}[width]
    pairs = data.draw(st.lists(st.tuples(*[st.integers(-wide, wide)] * 2), min_size=1, max_size=9))
    overflow, part_overflow = (data.draw(st.sampled_from(["wrap", "saturate"])) for _ in range(2))
    inner: dict[str, Any] = {"block": block}
    if block:
        inner |= {"block_width": 16, "block_overflow": part_overflow}
    rules = Accumulator(width=width, overflow=overflow, **inner)  # type: ignore[arg-type]
    total = 0
    for start in range(0, len(pairs), block or 1):
        part = 0
        for a, b in pairs[start : start + (block or 1)]:
            part = two_s_complement(part + a * b, 16, part_overflow) if block else a * b
        total = two_s_complement(total + part, width, overflow)
    x, w = np.array([[a for a, _ in pairs]]), np.array([[b] for _, b in pairs])
    assert dot(x, w, rules).item() == total

"""Small floats against NumPy's float16, ml_dtypes' bfloat16, and cases worked out by hand."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from pydantic import ValidationError

from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.smallfloat import SmallFloat, dot, round_to

THEIRS = {"float16": np.float16, "bfloat16": ml_dtypes.bfloat16, "float32": np.float32}


def one(terms: list[tuple[float, float]], **rules: object) -> float:
    """The dot product of two vectors."""
    a = np.array([[x for x, _ in terms]])
    b = np.array([[y] for _, y in terms])
    return float(dot(a, b, SmallFloat(**rules))[0, 0])


def every(fmt: str) -> np.ndarray:
    """All finite values of a 16-bit format, ascending, as float64."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = np.arange(2**16, dtype=np.uint16).view(THEIRS[fmt]).astype(np.float64)
    return np.unique(values[np.isfinite(values)])


def test_all_float16_midpoints_and_neighbours_round_as_numpy_does() -> None:
    values = every("float16")
    middle = (values[1:] + values[:-1]) / 2
    edge = np.array([65519.99, 65520.0, 65520.01, 1e300, np.inf, 0.0])
    for x in (values, middle, np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf), edge):
        with np.errstate(over="ignore"):
            expected = x.astype(np.float16)
        np.testing.assert_array_equal(round_to(x, "float16"), expected)
        np.testing.assert_array_equal(np.signbit(round_to(-x, "float16")), np.signbit(-x))


def test_all_bfloat16_midpoints_and_neighbours_round_as_ml_dtypes_does() -> None:
    values = every("bfloat16")
    with np.errstate(over="ignore"):
        middle = ((values[1:] + values[:-1]) / 2).astype(np.float32)
        edges = [middle, np.nextafter(middle, -np.inf), np.nextafter(middle, np.inf)]
        # From float32: ml_dtypes goes by way of it, and would round a float64 twice.
        edges += [np.array([np.finfo(np.float32).max, 3.39e38, np.inf], np.float32)]
        for x in edges:
            theirs = x.astype(ml_dtypes.bfloat16).astype(np.float64)
            np.testing.assert_array_equal(round_to(x, "bfloat16"), theirs)


def test_a_float64_is_rounded_to_bfloat16_once() -> None:
    # Just above half way between 1 and 1 + 2^-7; by way of float32 it would be half way: 1.
    x = np.array([1 + 2.0**-8 + 2.0**-40])
    assert round_to(x, "bfloat16")[0] == 1 + 2.0**-7


def test_float32_rounds_as_numpy_does() -> None:
    rng = np.random.default_rng(1)
    x = rng.standard_normal(50_000) * 2.0 ** rng.integers(-160, 135, 50_000)
    halves = (x.astype(np.float64), np.float64(1) + rng.integers(0, 2**25, 1000) * 2.0**-25)
    for values in halves:
        with np.errstate(over="ignore"):
            expected = values.astype(np.float32)
        np.testing.assert_array_equal(round_to(values, "float32"), expected)


@pytest.mark.parametrize("fmt", ["float16", "bfloat16", "float32"])
def test_subnormals_and_overflow(fmt: str) -> None:
    info = ml_dtypes.finfo(THEIRS[fmt])
    least, top = float(info.smallest_normal), float(info.max)
    below = least * (1 - 2.0**-5)
    x = np.array([least, below, -below, top, 2 * top, -np.inf, np.nan])
    kept = [least, below, -below, top, np.inf, -np.inf, np.nan]
    np.testing.assert_array_equal(round_to(x, fmt), kept)
    flushed = round_to(x, fmt, "flush", "clamp")
    np.testing.assert_array_equal(flushed, [least, 0, 0, top, top, -top, np.nan])
    assert np.signbit(flushed[2])
    # Judged after rounding: this one is rounded up to the smallest normal value.
    assert round_to(np.array([least * (1 - 2.0**-30)]), fmt, "flush")[0] == least


def test_directed_roundings_stop_at_the_largest_value() -> None:
    x = np.array([1e9, -1e9, np.inf, 2049.0, -2049.0])
    down = round_to(x, "float16", rounding=Rounding.FLOOR)
    np.testing.assert_array_equal(down, [65504, -np.inf, np.inf, 2048, -2050])
    toward = round_to(x, "float16", rounding=Rounding.TOWARD_ZERO)
    np.testing.assert_array_equal(toward, [65504, -65504, np.inf, 2048, -2048])
    up = round_to(x, "float16", rounding=Rounding.HALF_UP)
    np.testing.assert_array_equal(up, [np.inf, -np.inf, np.inf, 2050, -2048])


@pytest.mark.parametrize("fmt", ["float16", "bfloat16"])
@pytest.mark.parametrize(
    ("products", "accumulate"), [("rounded", 16), ("rounded", 32), ("exact", 32)]
)
def test_sequential_sums_equal_a_loop_in_their_arithmetic(
    fmt: str, products: str, accumulate: int
) -> None:
    rng = np.random.default_rng(2)
    kind = THEIRS[fmt]
    a = (rng.standard_normal((9, 200)) * 2.0 ** rng.integers(-6, 6, (9, 200))).astype(kind)
    b = (rng.standard_normal((200, 7)) * 2.0 ** rng.integers(-6, 6, (200, 7))).astype(kind)
    wide = kind if accumulate == 16 else np.float32
    total = np.zeros((9, 7), wide)
    for k in range(200):
        if products == "exact":  # fits float32: 22 bits
            product = a[:, k, None].astype(np.float32) * b[None, k, :].astype(np.float32)
        else:
            product = a[:, k, None] * b[None, k, :]
        total = total + product.astype(wide)
    rules = SmallFloat(
        format=fmt, products=fmt if products == "rounded" else "exact", accumulate=accumulate
    )
    ours = dot(a, b, rules)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, total.astype(kind).astype(np.float32))


def test_an_exact_product_half_way_is_decided_by_what_it_is_added_to() -> None:
    # 9 * 29 = 261 is half way between the bfloat16 260 and 262; float64 cannot hold 261 + 1e-30.
    tiny = (1e-15, 1e-15)
    rules = {"format": "bfloat16", "accumulate": 16}
    assert one([(9, 29)], **rules) == 260
    assert one([tiny, (9, 29)], **rules) == 262
    assert one([(-1e-15, 1e-15), (9, 29)], **rules) == 260
    assert one([tiny, (9, 29)], products="bfloat16", **rules) == 260


def test_the_width_of_the_accumulator_and_of_the_products() -> None:
    small = [(2048.0, 1.0), (1.0, 1.0), (1.0, 1.0)]
    assert one(small, accumulate=16) == 2048
    assert one(small, accumulate=32) == 2050
    # (1 + 2^-10)^2 - 1 - 2^-9 = 2^-20, lost where the product is rounded.
    fine = 1 + 2.0**-10
    terms = [(fine, fine), (-(1 + 2.0**-9), 1.0)]
    assert one(terms) == 2.0**-20
    assert one(terms, products="float16") == 0


def test_the_order_decides_what_is_lost() -> None:
    # 2048, then eight ones: one after the other, each is lost.
    terms = [(2048.0, 1.0)] + [(1.0, 1.0)] * 8
    assert one(terms, accumulate=16) == 2048
    # 2048 2 2 2 1, then 2050 4 1, then 2054 1: 2055 is half way, to 2056 (1028 is even).
    assert one(terms, accumulate=16, order="pairwise") == 2056
    assert one(terms[:8], accumulate=16, order="pairwise") == 2054
    # 2048 3 3: 2051 is half way, to 2052; 2055 is half way, to 2056.
    assert one(terms, accumulate=16, order="blocks", block=3) == 2056
    # 2048 4 1: 2052, and 2053 goes back to it. With pairs inside 2050 4 1: 2054, 2056.
    blocks = {"accumulate": 16, "order": "blocks", "block": 4}
    assert one(terms, **blocks) == 2052
    assert one(terms, **blocks, within="pairwise") == 2056


def test_flushing_and_clamping_in_a_sum() -> None:
    low = 2.0**-8
    assert one([(low, low)], products="float16") == 2.0**-16
    assert one([(low, low)], products="float16", subnormals="flush") == 0
    assert one([(2.0**-20, 1024.0)]) == 2.0**-10
    assert one([(2.0**-20, 1024.0)], subnormals="flush") == 0  # the input is subnormal
    assert one([(60000.0, 2.0), (-60000.0, 1.0)], accumulate=16) == np.inf
    assert one([(60000.0, 2.0), (-60000.0, 1.0)]) == 60000
    clamped = one([(60000.0, 2.0), (-60000.0, 1.0)], accumulate=16, overflow="clamp")
    assert clamped == 65504 - 60000  # both are float16, and so is 5504


def test_infinities_and_nan_travel_as_in_ieee() -> None:
    assert np.isnan(one([(np.inf, 0.0)]))
    assert np.isnan(one([(np.inf, 1.0), (-np.inf, 1.0)]))
    assert one([(1e9, 1.0), (1.0, 1.0)]) == np.inf
    assert one([(1e9, 1.0), (1.0, -2.0)], overflow="clamp") == 65504
    assert np.isnan(one([(np.nan, 1.0)], overflow="clamp"))


def test_the_output_is_rounded_as_the_rule_says() -> None:
    terms = [(2048.0, 1.0), (1.0, 1.0)]
    assert one(terms) == 2048
    assert one(terms, output="HALF_UP") == 2050
    assert one([(2050.0, 1.0), (1.0, 1.0)], output="FLOOR") == 2050


@pytest.mark.parametrize("order", ["sequential", "pairwise", "blocks"])
def test_nothing_to_sum_gives_zeros(order: str) -> None:
    block = {"block": 4} if order == "blocks" else {}
    out = dot(np.zeros((2, 0)), np.zeros((0, 3)), SmallFloat(order=order, **block))
    np.testing.assert_array_equal(out, np.zeros((2, 3)))


@pytest.mark.parametrize(
    ("rules", "message"),
    [
        ({"products": "bfloat16"}, 'contradicts format = "float16"'),
        ({"order": "blocks"}, 'order = "blocks" needs block'),
        ({"block": 8}, 'contradict order = "sequential"'),
        ({"order": "pairwise", "within": "pairwise"}, 'contradict order = "pairwise"'),
        ({"output": "STOCHASTIC"}, "STOCHASTIC is not known for small floats"),
        ({"accumulate": 24}, "Input should be 16, 32, 64 or 'exact'"),
        ({"accumulate": "exact", "format": "bfloat16"}, 'contradicts format = "bfloat16"'),
        ({"accumulate": "exact", "order": "pairwise"}, 'contradicts accumulate = "exact"'),
        ({"steps": "double"}, 'steps = "double" contradicts accumulate = 32'),
        ({"order": "blocks", "block": 1}, "greater than or equal to 2"),
    ],
)
def test_contradictory_rules_are_refused(rules: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SmallFloat(**rules)


def test_shapes_that_do_not_fit_are_refused_here_too() -> None:
    with pytest.raises(ValueError, match=r"found \(2, 3\) and \(2, 3\)"):
        dot(np.zeros((2, 3)), np.zeros((2, 3)), SmallFloat())


def test_a_float64_accumulator_keeps_53_bits_and_an_exact_one_all() -> None:
    big, tiny = (2.0**15, 2.0**15), (2.0**-12, 2.0**-12)
    away = (-(2.0**15), 2.0**15)
    assert one([big, (2.0**-11, 2.0**-11), away], accumulate=64) == 2.0**-22
    assert one([big, tiny, away], accumulate=64) == 0
    assert one([big, tiny, away], accumulate="exact") == 2.0**-24
    pairs = {"accumulate": 64, "order": "blocks", "block": 2}
    assert one([big, away, tiny, tiny], **pairs) == 2.0**-23
    assert one([big, tiny, away, tiny], **pairs) == 0


def test_an_exact_accumulator_equals_rational_arithmetic() -> None:
    rng = np.random.default_rng(8)
    a = every("float16")[rng.integers(0, 63488, (6, 40))]
    b = every("float16")[rng.integers(0, 63488, (40, 5))]
    a[:, 20:], b[20:] = a[:, :20], -b[:20]  # all but what follows cancels
    a[:, 19], a[:, 39] = a[:, 18] / 2, 0
    ours = dot(a, b, SmallFloat(accumulate="exact"))
    with np.errstate(over="ignore"):
        held_a, held_b = a.astype(np.float16), b.astype(np.float16)
    for i in range(6):
        for j in range(5):
            total = sum(
                Fraction(float(x)) * Fraction(float(y))
                for x, y in zip(held_a[i], held_b[:, j], strict=True)
            )
            # float(Fraction) is rounded once, and float16 of it agrees but at a tie made by it.
            with np.errstate(over="ignore"):
                assert ours[i, j] == np.float16(float(total)), (i, j)
    deep = dot(
        np.full((1, 9000), 2.0**-24), np.full((9000, 1), 2.0**-2), SmallFloat(accumulate="exact")
    )
    assert deep[0, 0] == 2250 * 2.0**-24


@pytest.mark.parametrize("accumulate", [16, 32, 64, "exact"])
def test_a_bias_is_added_to_the_accumulator(accumulate: object) -> None:
    rules = SmallFloat(accumulate=accumulate)
    a, b = np.array([[2048.0, 1.0]]), np.array([[1.0], [1.0]])
    wide = dot(a, b, rules, np.array([1.0]))[0, 0]
    assert wide == (2048 if accumulate == 16 else 2050)


def test_a_bias_is_rounded_to_the_format_first() -> None:
    a, b = np.array([[1.0]]), np.array([[-1.0]])
    assert dot(a, b, SmallFloat(), np.array([1 + 2.0**-12]))[0, 0] == 0
    assert dot(a, b, SmallFloat(accumulate="exact"), np.array([1 + 2.0**-12]))[0, 0] == 0


@pytest.mark.parametrize("subnormals", ["keep", "flush"])
@pytest.mark.parametrize("overflow", ["infinity", "clamp"])
def test_inputs_products_and_sums_are_rounded_as_round_to_does(
    subnormals: str, overflow: str
) -> None:
    values = every("float16")
    middle = (values[1:] + values[:-1]) / 2
    edge = np.array([65519.99, 65520.0, 65520.01, -1e300, np.inf, np.nan, -0.0])
    x = np.concatenate([values, middle, np.nextafter(middle, 1e9), edge]).reshape(-1, 1)
    rules = {"subnormals": subnormals, "overflow": overflow}
    ours = dot(x, np.ones((1, 1)), SmallFloat(accumulate=16, **rules))
    expected = round_to(x, "float16", subnormals, overflow)
    np.testing.assert_array_equal(ours, expected)


@pytest.mark.parametrize("accumulate", [64, "exact"])
def test_double_rounding_forgets_what_float32_does_not_hold(accumulate: object) -> None:
    # 2049 is half way, to 2048; what is added decides, as long as a float32 still has it.
    for small, single, double in ((2.0**-12, 2050, 2050), (2.0**-13, 2050, 2048)):
        terms = [(2048.0, 1.0), (1.0, 1.0), (small, 1.0)]
        assert one(terms, accumulate=accumulate) == single
        assert one(terms, accumulate=accumulate, steps="double") == double

"""Formats, small floats and blocks against rational arithmetic, on values that hypothesis finds."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from chipdrift.numerics.blocks import collapse, dequantize_lpbq, lpbq, quantize_blocks
from chipdrift.numerics.formats import (
    MX_FORMATS,
    ElementFormat,
    decode,
    encode,
    mx_dequantize,
    mx_quantize,
)
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.smallfloat import SmallFloat, dot

FINITE = st.floats(allow_nan=False, allow_infinity=False, width=32)
FORMATS = st.sampled_from(list(MX_FORMATS.values()))
PRECISION = {"float16": (11, -14), "bfloat16": (8, -126), "float32": (24, -126)}


def to_format(value: Fraction, fmt: str) -> Fraction:
    """``value`` rounded to nearest, a half to even, with exact integers (no overflow)."""
    if value == 0:
        return value
    p, emin = PRECISION[fmt]
    size = abs(value)
    exponent = size.numerator.bit_length() - size.denominator.bit_length()
    if size < Fraction(2) ** exponent:
        exponent -= 1
    step = Fraction(2) ** (max(exponent, emin) - p + 1)
    return round(value / step) * step


@settings(max_examples=300, deadline=None)
@given(FORMATS, st.floats(allow_nan=False, allow_infinity=False))
def test_no_code_is_nearer_than_the_encoded_one(fmt: ElementFormat, x: float) -> None:
    code = int(encode(np.array(x), fmt))
    values = decode(np.arange(2**fmt.bits), fmt, np.float64)
    finite = values[np.isfinite(values) & (values >= -fmt.max)]
    distance = min(abs(Fraction(float(v)) - Fraction(x)) for v in finite)
    assert abs(Fraction(float(values[code])) - Fraction(x)) == distance


@settings(max_examples=200, deadline=None)
@given(FORMATS, st.floats(-1e9, 1e9), st.floats(-1e9, 1e9), st.sampled_from(list(Rounding)[:5]))
def test_encoding_keeps_the_order(fmt: ElementFormat, x: float, y: float, how: Rounding) -> None:
    low, high = decode(encode(np.array([min(x, y), max(x, y)]), fmt, how), fmt)
    assert low <= high


@settings(max_examples=150, deadline=None)
@given(FORMATS, st.lists(FINITE, min_size=1, max_size=40), st.integers(1, 12))
def test_mx_blocks(fmt: ElementFormat, values: list[float], block: int) -> None:
    array = np.array(values, np.float32)
    codes, scales = mx_quantize(array, fmt, block)
    back = mx_dequantize(codes, scales, fmt, block, dtype=np.float64)
    for start in range(0, len(values), block):
        part = slice(start, start + block)
        peak = float(np.abs(array[part]).max())
        if peak == 0:
            assert not back[part].any()
            continue
        scale = 2.0 ** (int(scales[start // block]) - 127)
        # X is the largest power of two that keeps the peak's leading bit within the format.
        assert scale == 2.0**-127 or scale * 2.0**fmt.emax <= peak < scale * 2.0 ** (fmt.emax + 1)
        expected = decode(encode(array[part].astype(np.float64) / scale, fmt), fmt) * scale
        np.testing.assert_array_equal(back[part], expected)
    # What was once in the format stays as it is. (MXINT8 and the floats clamp to max < 2^(emax+1),
    # so the peak's exponent does not change; an underflow to zero may lower the scale.)
    again = mx_dequantize(*mx_quantize(back, fmt, block), fmt, block, dtype=np.float64)
    np.testing.assert_array_equal(again, back)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_dot_product_is_rounded_once_at_every_step(data: st.DataObject) -> None:
    fmt = data.draw(st.sampled_from(["float16", "bfloat16"]))
    p, _ = PRECISION[fmt]
    reach = 6 if fmt == "float16" else 50
    number = st.builds(
        lambda m, e: m * 2.0**e,
        st.integers(-(2**p) + 1, 2**p - 1),
        st.integers(-reach - p, reach - p),
    )
    count = data.draw(st.integers(1, 9))
    a = data.draw(st.lists(number, min_size=count, max_size=count))
    b = data.draw(st.lists(number, min_size=count, max_size=count))
    order = data.draw(st.sampled_from(["sequential", "pairwise", "blocks"]))
    products = data.draw(st.sampled_from([fmt, "exact"]))
    accumulate = data.draw(st.sampled_from([16, 32]))
    block = {"block": data.draw(st.integers(2, 4))} if order == "blocks" else {}
    if block:
        block["within"] = data.draw(st.sampled_from(["sequential", "pairwise"]))
    rules = SmallFloat(format=fmt, products=products, accumulate=accumulate, order=order, **block)
    wide = fmt if accumulate == 16 else "float32"

    def add(x: Fraction, y: Fraction) -> Fraction:
        return to_format(x + y, wide)

    def sequential(terms: list[Fraction]) -> Fraction:
        total = Fraction(0)
        for term in terms:
            total = add(total, term)
        return total

    def pairwise(terms: list[Fraction]) -> Fraction:
        if len(terms) == 1:
            return add(Fraction(0), terms[0])
        while len(terms) > 1:
            pairs = [add(*terms[i : i + 2]) for i in range(0, len(terms) - 1, 2)]
            terms = pairs + terms[2 * len(pairs) :]
        return terms[0]

    terms = [Fraction(x) * Fraction(y) for x, y in zip(a, b, strict=True)]
    if products != "exact":
        terms = [to_format(t, fmt) for t in terms]
    ways = {"sequential": sequential, "pairwise": pairwise}
    if block:
        inside, size = ways[block["within"]], block["block"]
        total = sequential([inside(terms[i : i + size]) for i in range(0, count, size)])
    else:
        total = ways[order](terms)
    ours = dot(np.array([a]), np.array([b]).T, rules)[0, 0]
    assert Fraction(float(ours)) == to_format(total, fmt)


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.floats(-100, 100, width=32).filter(lambda v: v == 0 or abs(v) > 1e-20), min_size=1),
    st.integers(1, 6),
    st.floats(-20, 20).map(lambda e: 2.0 ** round(e)),
)
def test_lpbq_scales_with_the_weights_and_collapse_shrinks_codes(
    values: list[float], block: int, factor: float
) -> None:
    w = np.array(values, np.float32).reshape(-1, 1)
    quantized = lpbq(w, block)
    scaled = lpbq(w * np.float32(factor), block)
    np.testing.assert_array_equal(scaled.codes, quantized.codes)
    np.testing.assert_array_equal(scaled.factors, quantized.factors)
    if w.any():
        assert quantized.factors.max() == 16
        np.testing.assert_array_equal(
            dequantize_lpbq(scaled, block), dequantize_lpbq(quantized, block) * np.float32(factor)
        )
    codes, scales = quantize_blocks(w, block)
    out, scale = collapse(codes, scales, block)
    assert (np.abs(out) <= np.abs(codes)).all()
    spread = np.repeat(scales.astype(np.float64), block, 0)[: len(w)]
    assert (np.abs(out * scale.astype(np.float64) - codes * spread) <= scale * 0.5000001).all()

"""Every encoding against ml_dtypes, which we did not write; MX blocks by hand and against it."""

from __future__ import annotations

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest

from chipdrift.numerics.formats import (
    E2M1,
    E2M3,
    E3M2,
    E4M3,
    E5M2,
    E8M0,
    INT8,
    MX_FORMATS,
    ElementFormat,
    decode,
    encode,
    mx_dequantize,
    mx_quantize,
)
from chipdrift.numerics.rounding import Rounding, noise_of

THEIRS = {
    E2M1: ml_dtypes.float4_e2m1fn,
    E2M3: ml_dtypes.float6_e2m3fn,
    E3M2: ml_dtypes.float6_e3m2fn,
    E4M3: ml_dtypes.float8_e4m3fn,
    E5M2: ml_dtypes.float8_e5m2,
    E8M0: ml_dtypes.float8_e8m0fnu,
}
# What a cast of ml_dtypes does with a value past the largest.
CAST = {E4M3: "nan", E5M2: "infinity", E8M0: "nan"}
FLOATS = [f for f in THEIRS if f is not E8M0]
EVERY = [*THEIRS, INT8]


def named(formats: list[ElementFormat]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("fmt", formats, ids=lambda f: f.name)


def cast(values: np.ndarray, fmt: ElementFormat) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):
        return values.astype(THEIRS[fmt]).view(np.uint8)


def exact_code(x: float, fmt: ElementFormat, rounding: Rounding) -> int:
    """The rounded code of a value between two codes of the same sign, by rational arithmetic."""
    table = [Fraction(float(v)) for v in decode(np.arange(fmt.max_code + 1), fmt, np.float64)]
    size = abs(Fraction(x))
    below = max(i for i, v in enumerate(table) if v <= size)
    if table[below] == size:
        return below
    if below == fmt.max_code:
        return below  # callers stay below what would round further up
    place = (size - table[below]) / (table[below + 1] - table[below])
    half = Fraction(1, 2)
    up = {
        Rounding.HALF_EVEN: place > half or (place == half and below % 2 == 1),
        Rounding.HALF_UP: place > half or (place == half and x > 0),
        Rounding.HALF_AWAY: place >= half,
        Rounding.FLOOR: x < 0,
        Rounding.TOWARD_ZERO: False,
    }[rounding]
    return below + int(up)


def around_midpoints(fmt: ElementFormat, dtype: type) -> np.ndarray:
    """Every midpoint of two neighbours of the format, its neighbours in ``dtype``, every value."""
    values = decode(np.arange(fmt.max_code + 1), fmt, dtype)
    middle = values[:-1] + (values[1:] - values[:-1]) / 2
    near = [middle, np.nextafter(middle, dtype(0)), np.nextafter(middle, dtype(np.inf)), values]
    positive = np.concatenate(near)
    return positive if fmt is E8M0 else np.concatenate([positive, -positive])


@named(list(THEIRS))
def test_every_code_decodes_as_ml_dtypes_does(fmt: ElementFormat) -> None:
    codes = np.arange(2**fmt.bits, dtype=np.uint8)
    theirs = codes.view(THEIRS[fmt]).astype(np.float32)
    ours = decode(codes, fmt)
    assert ours.dtype == np.float32
    np.testing.assert_array_equal(ours, theirs)
    known = ~np.isnan(theirs)
    np.testing.assert_array_equal(np.signbit(ours[known]), np.signbit(theirs[known]))
    np.testing.assert_array_equal(decode(codes, fmt, np.float64), theirs.astype(np.float64))


@named(list(THEIRS))
def test_every_float16_is_encoded_as_ml_dtypes_does(fmt: ElementFormat) -> None:
    halves = np.arange(2**16, dtype=np.uint16).view(np.float16)
    if not fmt.has_nan:
        halves = halves[~np.isnan(halves)]
    ours = encode(halves, fmt, overflow=CAST.get(fmt, "clamp"))
    assert ours.dtype == np.uint8
    np.testing.assert_array_equal(ours, cast(halves, fmt))


@named(list(THEIRS))
def test_midpoints_and_their_neighbours_are_encoded_as_ml_dtypes_does(fmt: ElementFormat) -> None:
    # In float32: ml_dtypes 0.6.0 goes there first, so that float64's neighbours of a midpoint would
    # become the midpoint. Those are held against exact arithmetic below.
    values = around_midpoints(fmt, np.float32)
    if fmt is E8M0:
        # ml_dtypes 0.6.0 makes 2^-126 of float32's subnormals from 2^-127 to 1.5 * 2^-127 (2097151
        # values), to which 2^-127 is nearer.
        theirs_off = (values > 2.0**-127) & (values < 1.5 * 2.0**-127)
        assert encode(values[theirs_off], fmt).tolist() == [0]
        values = values[~theirs_off]
    ours = encode(values, fmt, overflow=CAST.get(fmt, "clamp"))
    np.testing.assert_array_equal(ours, cast(values, fmt))


@named(EVERY)
def test_what_a_code_stands_for_is_encoded_as_that_code(fmt: ElementFormat) -> None:
    codes = np.arange(2**fmt.bits, dtype=np.uint8)
    values = decode(codes, fmt, np.float64)
    kept = np.isfinite(values) & (values >= -fmt.max)  # INT8's -2 is left unused
    for rounding in [r for r in Rounding if r is not Rounding.STOCHASTIC]:
        np.testing.assert_array_equal(encode(values[kept], fmt, rounding), codes[kept])


@named([E2M1, E2M3, E3M2, E4M3, E5M2])
@pytest.mark.parametrize("rounding", [r for r in Rounding if r is not Rounding.STOCHASTIC])
def test_roundings_are_those_of_exact_arithmetic(fmt: ElementFormat, rounding: Rounding) -> None:
    values = around_midpoints(fmt, np.float64)
    expected = [exact_code(float(x), fmt, rounding) for x in values]
    signs = np.signbit(values).astype(int) << (fmt.bits - 1)
    np.testing.assert_array_equal(encode(values, fmt, rounding), expected + signs)


def test_int8_is_an_integer_over_64_clamped_to_127() -> None:
    codes = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(decode(codes, INT8), codes.view(np.int8) / np.float32(64))
    values = np.array([1 / 128, 3 / 128, -1 / 128, -3 / 128, 1.99, -2.0, 1e300, -np.inf, -0.0])
    expected = np.array([0, 2, 0, -2, 127, -127, 127, -127, 0], np.int8).view(np.uint8)
    np.testing.assert_array_equal(encode(values, INT8), expected)
    floor = np.array([0, 1, -1, -2, 127, -127, 127, -127, 0], np.int8).view(np.uint8)
    np.testing.assert_array_equal(encode(values, INT8, Rounding.FLOOR), floor)


def test_the_formats_have_the_widths_and_limits_of_the_specification() -> None:
    table = {f.name: (f.bits, f.emax, f.max, f.max_code) for f in EVERY}
    assert table == {
        "E2M1": (4, 2, 6.0, 0x7),
        "E2M3": (6, 2, 7.5, 0x1F),
        "E3M2": (6, 4, 28.0, 0x1F),
        "E4M3": (8, 8, 448.0, 0x7E),
        "E5M2": (8, 15, 57344.0, 0x7B),
        "INT8": (8, 0, 1.984375, 0x7F),
        "E8M0": (8, 127, 2.0**127, 0xFE),
    }


@pytest.mark.parametrize(
    ("fmt", "overflow", "rounding", "codes"),
    [
        (E4M3, "clamp", Rounding.HALF_EVEN, [0x7E, 0xFE, 0x7E, 0xFE]),
        (E4M3, "nan", Rounding.HALF_EVEN, [0x7F, 0xFF, 0x7F, 0xFF]),
        (E4M3, "nan", Rounding.FLOOR, [0x7E, 0xFF, 0x7F, 0xFF]),
        (E5M2, "infinity", Rounding.HALF_AWAY, [0x7C, 0xFC, 0x7C, 0xFC]),
        (E5M2, "infinity", Rounding.TOWARD_ZERO, [0x7B, 0xFB, 0x7C, 0xFC]),
        (E5M2, "clamp", Rounding.HALF_EVEN, [0x7B, 0xFB, 0x7B, 0xFB]),
        (E2M1, "clamp", Rounding.FLOOR, [0x7, 0xF, 0x7, 0xF]),
        (E8M0, "nan", Rounding.HALF_EVEN, [0xFF, 0xFF, 0xFF, 0xFF]),
        (E8M0, "clamp", Rounding.HALF_EVEN, [0xFE, 0xFF, 0xFE, 0xFF]),
    ],
)
def test_overflow(fmt: ElementFormat, overflow: str, rounding: Rounding, codes: list[int]) -> None:
    values = np.array([1e300, -1e300, np.inf, -np.inf])
    np.testing.assert_array_equal(encode(values, fmt, rounding, overflow), codes)


def test_e8m0_has_no_zero_and_no_sign() -> None:
    values = np.array([0.0, -0.0, -1.0, np.nan, 2.0**-127, 2.0**-149, 1e-300])
    np.testing.assert_array_equal(encode(values, E8M0), [0xFF, 0xFF, 0xFF, 0xFF, 0, 0, 0])


def test_nan_and_overflow_that_a_format_lacks_are_refused() -> None:
    with pytest.raises(ValueError, match="E2M1 has no NaN, and 1 of 2 values are NaN"):
        encode(np.array([1.0, np.nan]), E2M1)
    with pytest.raises(ValueError, match="E4M3 has no such value"):
        encode(np.array([1.0]), E4M3, overflow="infinity")
    with pytest.raises(ValueError, match="E5M2 has no such value"):
        encode(np.array([1.0]), E5M2, overflow="nan")
    with pytest.raises(ValueError, match="E2M3 codes are 0 to 63, found 1 to 64"):
        decode(np.array([1, 64]), E2M3)


def test_stochastic_rounding_goes_up_as_often_as_the_fraction_says() -> None:
    noise = noise_of(1, 0, np.arange(40_000))
    codes = encode(np.full(40_000, 4.5), E2M1, Rounding.STOCHASTIC, noise=noise)  # 4 or 6
    assert set(codes.tolist()) == {6, 7}
    assert abs((codes == 7).mean() - 0.25) < 0.01


def test_a_block_of_mxfp4_by_hand() -> None:
    # max 9.5: floor(log2) = 3, minus emax 2: X = 2. 9.5 / 2 = 4.75 -> 4 (a half is 5), 7 / 2 = 3.5
    # is half way: 4, -0.5 / 2 = -0.25 is half way: -0, 1.6 / 2 = 0.8 -> 1.
    array = np.array([9.5, 7.0, -0.5, 1.6], np.float32)
    codes, scales = mx_quantize(array, E2M1, block=4)
    np.testing.assert_array_equal(codes, [6, 6, 8, 2])
    np.testing.assert_array_equal(scales, [128])
    np.testing.assert_array_equal(mx_dequantize(codes, scales, E2M1, block=4), [8, 8, -0.0, 2])


def test_what_exceeds_the_largest_element_is_clamped() -> None:
    # 7.9 has exponent 2, X = 1, and 7.9 > 6; 1.999 / 2^0 would round to 2 in MXINT8.
    codes, scales = mx_quantize(np.array([7.9, -7.9]), E2M1)
    np.testing.assert_array_equal(mx_dequantize(codes, scales, E2M1), [6, -6])
    codes, scales = mx_quantize(np.array([1.999, -1.999]), INT8)
    np.testing.assert_array_equal(mx_dequantize(codes, scales, INT8), [1.984375, -1.984375])


@named(list(MX_FORMATS.values()))
@pytest.mark.parametrize("axis", [0, 1, -1])
def test_blocks_are_cut_along_the_axis_and_the_last_is_shorter(
    fmt: ElementFormat, axis: int
) -> None:
    rng = np.random.default_rng(5)
    array = (rng.standard_normal((70, 33, 40)) * 2.0 ** rng.integers(-9, 9, (70, 33, 40))).astype(
        np.float32
    )
    codes, scales = mx_quantize(array, fmt, axis=axis)
    shape = list(array.shape)
    shape[axis] = -(-shape[axis] // 32)
    assert codes.shape == array.shape
    assert scales.shape == tuple(shape)
    assert codes.dtype == scales.dtype == np.uint8
    # The formula over again, one block at a time, elements by ml_dtypes.
    moved, ours = np.moveaxis(array, axis, -1), np.moveaxis(codes, axis, -1)
    for index in [(0, 0), (3, 7), (32, 32)]:
        row = moved[index].astype(np.float64)
        for number in range(shape[axis]):
            part = slice(32 * number, 32 * number + 32)
            exponent = int(np.floor(np.log2(np.abs(row[part]).max()))) - fmt.emax
            assert np.moveaxis(scales, axis, -1)[index][number] == exponent + 127
            scaled = np.clip(row[part] / 2.0**exponent, -fmt.max, fmt.max)
            if fmt is INT8:
                expected = np.rint(scaled * 64).astype(np.int8).view(np.uint8)
            else:
                expected = cast(scaled, fmt)
            np.testing.assert_array_equal(ours[index][part], expected)
    back = mx_dequantize(codes, scales, fmt, axis=axis)
    assert back.dtype == np.float32
    factor = np.repeat(2.0 ** (scales.astype(float) - 127), 32, axis).take(
        np.arange(array.shape[axis]), axis
    )
    np.testing.assert_array_equal(back, decode(codes, fmt, np.float64) * factor)


@named(list(MX_FORMATS.values()))
def test_blocks_of_zeros_and_with_nan_or_infinity(fmt: ElementFormat) -> None:
    array = np.ones((4, 40), np.float32)
    array[0, :32] = 0
    array[1, 5] = np.nan
    array[2, 39] = -np.inf
    codes, scales = mx_quantize(array, fmt)
    one = 127 - fmt.emax
    np.testing.assert_array_equal(scales, [[0, one], [255, one], [one, 255], [one, one]])
    back = mx_dequantize(codes, scales, fmt)
    expected = np.ones((4, 40))
    expected[0, :32] = 0
    expected[1, :32] = np.nan
    expected[2, 32:] = np.nan
    np.testing.assert_array_equal(back, expected)
    assert not codes[1, :32].any()


@named(list(MX_FORMATS.values()))
def test_the_scale_stays_in_the_range_of_e8m0(fmt: ElementFormat) -> None:
    smallest = np.array([2.0**-149, 2.0**-126], np.float32)
    codes, scales = mx_quantize(smallest[:1], fmt)
    assert scales.tolist() == [0]
    largest = np.array([np.finfo(np.float32).max], np.float32)
    codes, scales = mx_quantize(largest, fmt)
    assert scales.tolist() == [254 - fmt.emax]
    assert np.isfinite(mx_dequantize(codes, scales, fmt)).all()
    codes, scales = mx_quantize(np.array([1e300, 1.0]), fmt)
    assert scales.tolist() == [254]
    assert decode(codes, fmt).tolist()[0] == fmt.max


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="a block of 0 elements"):
        mx_quantize(np.ones(4), E2M1, block=0)
    codes, scales = mx_quantize(np.ones((2, 64)), E2M1)
    with pytest.raises(ValueError, match="2 blocks of 16 along axis -1, expected 4"):
        mx_dequantize(codes, scales, E2M1, block=16)
    codes, scales = mx_quantize(np.ones((2, 0)), E2M1)
    assert codes.shape == (2, 0)
    assert scales.shape == (2, 0)

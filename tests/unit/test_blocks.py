"""Blocks, LPBQ and collapsing: by hand, by algebra, and against rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from chipdrift.numerics.blocks import (
    collapse,
    dequantize_blocks,
    dequantize_lpbq,
    expand,
    lpbq,
    quantize_blocks,
)
from chipdrift.quantize.blockwise import quantize_blocks as onnx_blocks


def weights(shape: tuple[int, ...] = (64, 12), seed: int = 0) -> np.ndarray:
    """Normal weights whose magnitude changes along both axes, so that blocks differ."""
    rng = np.random.default_rng(seed)
    spread = 2.0 ** rng.uniform(-3, 3, shape[:2])
    return (
        rng.standard_normal(shape) * spread.reshape(shape[:2] + (1,) * (len(shape) - 2))
    ).astype(np.float32)


def rounded(value: Fraction) -> int:
    return round(value)  # of a Fraction: exact, a half to even


@pytest.mark.parametrize(("shape", "axis"), [((64, 12), 0), ((12, 64), 1), ((8, 32, 3, 2), 1)])
def test_blocks_are_those_of_the_onnx_models_we_write(shape: tuple[int, ...], axis: int) -> None:
    w = weights(shape)
    codes, scales = quantize_blocks(w, 16, axis=axis)
    theirs, their_scales = onnx_blocks(w, axis, 16)
    np.testing.assert_array_equal(scales, their_scales)
    np.testing.assert_array_equal(codes, theirs)
    assert codes.dtype == np.int8
    assert scales.dtype == np.float32


def test_blocks_by_hand() -> None:
    w = np.array([[7.0, 0.0], [-3.5, 0.0], [0.6, 14.0], [1.0, 1.0], [3.0, -1.0]])
    codes, scales = quantize_blocks(w, 2)
    # The last block is shorter; a block of zeros has scale 1.
    np.testing.assert_array_equal(scales, np.float32([[1, 1], [1 / 7, 2], [3 / 7, 1 / 7]]))
    np.testing.assert_array_equal(codes, [[7, 0], [-4, 0], [4, 7], [7, 0], [7, -7]])


@pytest.mark.parametrize("bits", [2, 3, 4, 8, 12, 16])
def test_a_weight_is_off_by_half_a_step_at_most(bits: int) -> None:
    w = weights()
    codes, scales = quantize_blocks(w, 10, bits=bits)
    top = 2 ** (bits - 1) - 1
    assert np.abs(codes).max() == top
    assert codes.dtype == (np.int8 if bits <= 8 else np.int16)
    step = np.repeat(scales, 10, 0)[:64]
    error = np.abs(dequantize_blocks(codes, scales, 10) - w.astype(np.float64))
    assert (error <= step * 0.5 * (1 + 2.0 ** (bits - 22))).all()


def test_a_convolutions_kernel_shares_its_blocks_scale() -> None:
    w = weights((6, 16, 3, 3))
    codes, scales = quantize_blocks(w, 8, axis=1, channel_axis=0)
    assert scales.shape == (6, 2, 1, 1)
    peaks = np.abs(w.reshape(6, 2, 8, 9)).max(axis=(2, 3))
    np.testing.assert_array_equal(scales[..., 0, 0], peaks / np.float32(7))
    quantized = lpbq(w, 8, axis=1, channel_axis=-4)
    assert quantized.factors.shape == (6, 2, 1, 1)
    assert quantized.channel_scale.shape == (6, 1, 1, 1)
    assert quantized.codes.shape == w.shape
    per_channel, scale = collapse(codes, scales, 8, axis=1)
    assert per_channel.shape == w.shape
    assert scale.shape == (6, 1, 1, 1)


def test_factors_are_those_of_aimets_own_test() -> None:
    # quic/aimet test_lpbq_utils.py, test_per_group_int_scales: block scales 16, 1.6, .16 over
    # .12, 1.111, .033 give the factors 16 16 16 / 1 11 3 and the channel scales 1, .1, .01.
    block_scales = np.array([[16, 1.6, 0.16], [0.12, 1.111, 0.033]])
    quantized = lpbq(block_scales * 7, 1)
    np.testing.assert_array_equal(quantized.factors, [[16, 16, 16], [1, 11, 3]])
    np.testing.assert_allclose(quantized.channel_scale, [[1, 0.1, 0.01]], rtol=1e-6)


def test_lpbq_by_hand() -> None:
    # Block peaks 112 and 10: block scales 16 and 10/7, channel scale 16/16 = 1, factors 16 and 1.
    # In the second block 10 / 1 is past the codes and is clipped, -10 to -8.
    w = np.array([[112.0], [40.0], [10.0], [-10.0]])
    quantized = lpbq(w, 2)
    np.testing.assert_array_equal(quantized.factors, [[16], [1]])
    np.testing.assert_array_equal(quantized.channel_scale, [[1]])
    np.testing.assert_array_equal(quantized.codes, [[7], [2], [7], [-8]])
    np.testing.assert_array_equal(
        expand(quantized.codes, quantized.factors, 2)[:, 0], [112, 32, 7, -8]
    )
    np.testing.assert_array_equal(dequantize_lpbq(quantized, 2)[:, 0], [112, 32, 7, -8])


@pytest.mark.parametrize(("bits", "wide"), [(4, 8), (2, 8), (4, 5), (4, 16), (8, 16)])
def test_lpbq_is_exact_arithmetic_on_its_formula(bits: int, wide: int) -> None:
    w = weights((48, 5), seed=bits + wide)
    w[16:32, 0] = 0
    w[:, 4] = 0
    quantized = lpbq(w, 16, bits, wide)
    levels, top = 2 ** (wide - bits), 2 ** (bits - 1) - 1
    peak = np.abs(w.reshape(3, 16, 5)).max(axis=1)
    scale = peak / np.float32(top)
    for channel in range(4):
        s = scale[:, channel].max() / np.float32(levels)
        assert quantized.channel_scale[0, channel] == s
        for number in range(3):
            factor = rounded(Fraction(float(scale[number, channel])) / Fraction(float(s)))
            factor = min(max(factor, 1), levels)
            assert quantized.factors[number, channel] == factor
            for k in range(16 * number, 16 * number + 16):
                code = rounded(Fraction(float(w[k, channel])) / (factor * Fraction(float(s))))
                assert quantized.codes[k, channel] == min(max(code, -top - 1), top)
    assert (quantized.factors[:, 4] == 1).all()
    assert quantized.channel_scale[0, 4] == 1
    assert not quantized.codes[:, 4].any()
    grid = expand(quantized.codes, quantized.factors, 16)
    assert grid.min() >= -(2 ** (wide - 1))
    assert grid.max() < 2 ** (wide - 1)


def test_lpbq_errors_are_bounded_by_the_snapped_scale() -> None:
    w = weights((128, 20))
    quantized = lpbq(w, 16)
    snapped = np.repeat(quantized.factors * quantized.channel_scale.astype(np.float64), 16, 0)
    plain = np.repeat(quantize_blocks(w, 16)[1].astype(np.float64), 16, 0)
    error = np.abs(dequantize_lpbq(quantized, 16) - w.astype(np.float64))
    # Half a step, or what clipping at 7 loses where the factor was rounded down.
    bound = np.maximum(snapped / 2, 7 * (plain - snapped)) * (1 + 1e-6)
    assert (error <= bound).all()
    assert (quantized.factors.max(axis=0) == 16).all()


def test_lpbq_is_per_channel_where_all_blocks_share_a_scale() -> None:
    w = weights((64, 9))
    w[::16] = np.abs(w).max(axis=0)  # the peak of a channel is in each of its blocks
    quantized = lpbq(w, 16)
    codes, scale = quantize_blocks(w, 64)
    assert (quantized.factors == 16).all()
    np.testing.assert_array_equal(quantized.codes, codes)
    np.testing.assert_array_equal(
        dequantize_lpbq(quantized, 16), dequantize_blocks(codes, scale, 64)
    )
    per_channel, collapsed = collapse(
        quantized.codes, 16 * np.repeat(quantized.channel_scale, 4, 0), 16
    )
    np.testing.assert_array_equal(per_channel, codes)
    np.testing.assert_array_equal(collapsed, scale)


def test_collapse_by_hand() -> None:
    codes = np.array([[7, 1], [-3, 7], [7, 0], [5, 0]], np.int8)
    scales = np.array([[1.0, 0.25], [0.5, 9.0]], np.float32)
    per_channel, scale = collapse(codes, scales, 2)
    # 7 * .5 = 3.5 and 5 * .5 = 2.5 are half way: to even. Scale 9 stands for zeros: it has no say.
    np.testing.assert_array_equal(per_channel, [[7, 1], [-3, 7], [4, 0], [2, 0]])
    np.testing.assert_array_equal(scale, [[1, 0.25]])
    per_tensor, scale = collapse(codes, scales, 2, to="per_tensor")
    np.testing.assert_array_equal(per_tensor, [[7, 0], [-3, 2], [4, 0], [2, 0]])
    np.testing.assert_array_equal(scale, [[1]])
    assert per_tensor.dtype == np.int8
    zeros, scale = collapse(codes * 0, scales, 2)
    assert not zeros.any()
    np.testing.assert_array_equal(scale, [[1, 1]])


@pytest.mark.parametrize("to", ["per_channel", "per_tensor"])
def test_collapsing_twice_changes_nothing(to: str) -> None:
    codes, scales = quantize_blocks(weights(), 8)
    once, scale = collapse(codes, scales, 8, to=to)
    twice, again = collapse(once, scale, 64, to=to)
    np.testing.assert_array_equal(twice, once)
    np.testing.assert_array_equal(again, scale)


@pytest.mark.parametrize("bits", [4, 8, 16])
def test_collapse_rounds_the_exact_quotient(bits: int) -> None:
    codes, scales = quantize_blocks(weights((60, 3), seed=bits), 10, bits=bits)
    scales[:, 2] = 2.0 ** np.arange(6)  # powers of two: many quotients are half way
    out, scale = collapse(codes, scales, 10, bits)
    assert scale.tolist() == scales.max(axis=0, keepdims=True).tolist()
    for k, n in np.ndindex(60, 3):
        quotient = Fraction(float(scales[k // 10, n])) / Fraction(float(scale[0, n]))
        assert out[k, n] == rounded(int(codes[k, n]) * quotient)


def test_channel_axis_makes_one_scale_per_channel_of_a_convolution() -> None:
    codes, scales = quantize_blocks(weights((6, 16, 3, 3)), 8, axis=1)
    assert scales.shape == (6, 2, 3, 3)
    out, scale = collapse(codes, scales, 8, axis=1, channel_axis=0)
    np.testing.assert_array_equal(scale[:, 0, 0, 0], scales.max(axis=(1, 2, 3)))
    assert scale.shape == (6, 1, 1, 1)
    assert out.shape == codes.shape


def test_tiny_weights_keep_a_scale() -> None:
    w = np.array([[2.0**-149], [2.0**-148]], np.float32)
    codes, scales = quantize_blocks(w, 2)
    assert scales.tolist() == [[2.0**-149]]
    np.testing.assert_array_equal(dequantize_blocks(codes, scales, 2), w)
    assert lpbq(w, 2).channel_scale.tolist() == [[2.0**-149]]


def test_what_makes_no_sense_is_refused() -> None:
    w = weights((8, 2))
    with pytest.raises(ValueError, match="bits = 1: symmetric codes have 2 to 16 bits"):
        quantize_blocks(w, 4, bits=1)
    with pytest.raises(ValueError, match="a block of 0 elements"):
        quantize_blocks(w, 0)
    with pytest.raises(ValueError, match="decompressed_bits = 4 with bits = 4"):
        lpbq(w, 4, 4, 4)
    with pytest.raises(ValueError, match="axis 0 is both"):
        quantize_blocks(w, 4, channel_axis=-2)
    w[0, 0] = np.nan
    with pytest.raises(ValueError, match="1 of 16 weights are NaN or infinite"):
        lpbq(w, 4)
    with pytest.raises(ValueError, match="codes of 4 bits lie in -8 to 7, found 0 to 9"):
        collapse(np.array([[0], [9]]), np.ones((1, 1)), 2)
    with pytest.raises(ValueError, match="1 blocks of 1 along axis 0, expected 2"):
        collapse(np.array([[0], [7]]), np.ones((1, 1)), 1)

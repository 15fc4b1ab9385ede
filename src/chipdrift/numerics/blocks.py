"""Weights in blocks: one scale per block, two levels of scales (LPBQ), and scales collapsed.

Sources: AIMET's documentation, "Blockwise quantization" and "Low power blockwise quantization"
(Docs/torch_docs/blockwise_quantization.rst), for LPBQ; ONNX DequantizeLinear (opset 21) for the
shapes of blocks. Scales keep the rank of the weights, so that they line up: ``axis`` counts blocks,
and axes that share a scale have length 1.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np

from chipdrift.numerics.formats import spread_blocks

Array = np.ndarray[Any, Any]

_TINY = np.float32(2.0**-149)


class Lpbq(NamedTuple):
    """Weights on two levels: ``w = codes * factors * channel_scale``.

    ``codes``: int8 (int16 above 8 bits), the shape of the weights. ``factors``: uint16, one per
    block. ``channel_scale``: float32, one per channel (the axis of blocks has length 1).
    """

    codes: Array
    factors: Array
    channel_scale: Array


def quantize_blocks(
    weights: Array, block: int, bits: int = 4, axis: int = 0, channel_axis: int | None = None
) -> tuple[Array, Array]:
    """Symmetric codes and one float32 scale per ``block`` elements along ``axis``.

    Formula: ``scale = max|w| / (2^(bits-1) - 1)``, ``code = round(w / scale)``, HALF_EVEN, in
    ``-(2^(bits-1) - 1) .. 2^(bits-1) - 1``. ``weights`` (any float, used as float32) has any rank.
    Every other axis has scales of its own, as ONNX has it, or, with ``channel_axis``, that axis
    alone: the rest (a convolution's kernel) shares one, as AIMET has it. A block that does not
    divide the axis leaves a shorter last one. A block of zeros has scale 1. Codes are int8 (int16
    above 8 bits); ``bits`` is 2 to 16.
    """
    top = _top(bits)
    w = np.asarray(weights).astype(np.float32)
    _refuse_infinite(w)
    scale = _scales(w, block, top, axis, channel_axis)
    scale[scale == 0] = 1
    return _codes(w, scale, block, bits, axis, -top), scale


def lpbq(
    weights: Array,
    block: int,
    bits: int = 4,
    decompressed_bits: int = 8,
    axis: int = 0,
    channel_axis: int | None = None,
) -> Lpbq:
    """Low-power blockwise quantization: block scales snapped onto one integer grid per channel.

    Formula (AIMET): block scale ``s = max|w| / (2^(bits-1) - 1)``; per channel
    ``S = max s / 2^(decompressed_bits - bits)``; per block the factor ``round(s / S)``, HALF_EVEN,
    in ``1 .. 2^(decompressed_bits - bits)``; ``code = round(w / (factor * S))`` in
    ``-2^(bits-1) .. 2^(bits-1) - 1``: a factor rounded down may leave a weight past the block's
    largest code, which AIMET clips. ``code * factor`` fits ``decompressed_bits`` (:func:`expand`).
    A channel is one place of all axes but ``axis``, or of ``channel_axis`` alone, where the other
    axes share (AIMET's shape for convolutions). A channel of zeros has scale 1 and factors 1.

    ``ValueError`` unless 2 <= ``bits`` < ``decompressed_bits`` <= 16.
    """
    top = _top(bits)
    if not bits < decompressed_bits <= 16:
        raise ValueError(
            f"decompressed_bits = {decompressed_bits} with bits = {bits}: the wide grid needs more "
            "bits than the codes, and 16 at most"
        )
    w = np.asarray(weights).astype(np.float32)
    _refuse_infinite(w)
    levels = 2 ** (decompressed_bits - bits)
    scale = _scales(w, block, top, axis, channel_axis)
    largest = scale.max(axis=axis, keepdims=True, initial=0)
    channel = np.where(largest > 0, np.maximum(largest / np.float32(levels), _TINY), np.float32(1))
    channel = channel.astype(np.float32)
    factors = np.clip(np.rint(scale.astype(np.float64) / channel), 1, levels).astype(np.uint16)
    # A factor of up to 14 bits times 24 bits of significand is exact in float64.
    snapped = factors * channel.astype(np.float64)
    return Lpbq(_codes(w, snapped, block, bits, axis, -top - 1), factors, channel)


def expand(codes: Array, factors: Array, block: int, axis: int = 0) -> Array:
    """LPBQ codes on the wide grid, int32: ``code * factor``, one scale per channel for all."""
    spread = spread_blocks(factors, block, codes.shape[axis], axis)
    return codes.astype(np.int32) * spread.astype(np.int32)


def dequantize_blocks(codes: Array, scales: Array, block: int, axis: int = 0) -> Array:
    """``code * scale of its block``, rounded once to float32 (the product is exact in float64)."""
    spread = spread_blocks(scales, block, codes.shape[axis], axis).astype(np.float64)
    out: Array = (codes * spread).astype(np.float32)
    return out


def dequantize_lpbq(quantized: Lpbq, block: int, axis: int = 0) -> Array:
    """``code * factor * channel scale``, rounded once to float32 (exact in float64 before)."""
    wide = expand(quantized.codes, quantized.factors, block, axis)
    out: Array = (wide * quantized.channel_scale.astype(np.float64)).astype(np.float32)
    return out


def collapse(
    codes: Array,
    block_scales: Array,
    block: int,
    bits: int = 4,
    axis: int = 0,
    to: Literal["per_channel", "per_tensor"] = "per_channel",
    channel_axis: int | None = None,
) -> tuple[Array, Array]:
    """Codes and scales without blocks, of the same width: what a chip gets that has no blocks.

    Formula: ``S = max s`` of the blocks of a channel (of the tensor): the largest scale wins;
    ``code' = round(code * s / S)``, HALF_EVEN. A block whose codes are all zero has no say, for
    its scale means nothing; where all are zero, S = 1. S is float32 of the rank of
    ``block_scales``, with length 1 along ``axis`` (``per_tensor``: along every axis;
    ``channel_axis``: along every other). No document of a converter gives this rule: it is what
    keeps every weight in range with no float weights at hand.

    Rounding is exact in float64 for scales of float32 and of LPBQ's factor times float32: see
    ``_codes``. ``ValueError`` for codes beyond ``bits``.
    """
    low = -_top(bits) - 1
    if codes.size and (codes.min() < low or codes.max() >= -low):
        raise ValueError(
            f"codes of {bits} bits lie in {low} to {-low - 1}, found {codes.min()} to {codes.max()}"
        )
    scales = np.asarray(block_scales).astype(np.float64)
    spread = spread_blocks(scales, block, codes.shape[axis], axis)
    keeps = set(range(codes.ndim)) if channel_axis is None else {channel_axis % codes.ndim}
    keeps -= {i for i in range(codes.ndim) if scales.shape[i] == 1} | {axis % codes.ndim}
    over = tuple(i for i in range(codes.ndim) if to == "per_tensor" or i not in keeps)
    largest = np.where(codes != 0, spread, 0.0).max(axis=over, keepdims=True, initial=0.0)
    scale = np.where(largest > 0, largest, 1.0).astype(np.float32)
    return np.rint(codes * spread / scale.astype(np.float64)).astype(codes.dtype), scale


def _top(bits: int) -> int:
    if not 2 <= bits <= 16:
        raise ValueError(f"bits = {bits}: symmetric codes have 2 to 16 bits")
    return int(2 ** (bits - 1)) - 1


def _refuse_infinite(w: Array) -> None:
    if not np.isfinite(w).all():
        raise ValueError(
            f"{int((~np.isfinite(w)).sum())} of {w.size} weights are NaN or infinite: no scale "
            "covers them"
        )


def _scales(w: Array, block: int, top: int, axis: int, channel_axis: int | None) -> Array:
    """``max|w| / top`` of each block, float32 of the rank of ``w``; 0 for zeros alone."""
    if block < 1:
        raise ValueError(f"a block of {block} elements: it needs at least 1")
    axis %= w.ndim
    if channel_axis is not None:
        channel_axis %= w.ndim
        if channel_axis == axis:
            raise ValueError(f"axis {axis} is both the blocks' and the channels'")
    starts = np.arange(0, w.shape[axis], block)
    peak: Array = np.maximum.reduceat(np.abs(w), starts, axis=axis)
    if channel_axis is not None:
        others = tuple(i for i in range(w.ndim) if i not in (axis, channel_axis))
        peak = peak.max(axis=others, keepdims=True)
    # A quotient that vanished would make the block look like zeros.
    scale: Array = np.where(peak > 0, np.maximum(peak / np.float32(top), _TINY), np.float32(0))
    return scale


def _codes(w: Array, scales: Array, block: int, bits: int, axis: int, low: int) -> Array:
    """``round(w / scale)`` in ``low`` .. the largest code.

    In float64 this rounds the exact quotient: one that is not half way between integers is off by
    at least 2^-42 of itself (24 bits of w, and scale and code share at most 24 + 16), division by
    at most 2^-53.
    """
    spread = spread_blocks(scales, block, w.shape[axis], axis).astype(np.float64)
    codes = np.clip(np.rint(w.astype(np.float64) / spread), low, _top(bits))
    return codes.astype(np.int8 if bits <= 8 else np.int16)

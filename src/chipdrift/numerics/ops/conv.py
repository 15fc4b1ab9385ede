"""Conv: plain, pointwise, depthwise, grouped, dilated; any number of spatial dimensions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.numerics.accumulate import product_sums
from chipdrift.numerics.blockwise import block_products, why_not
from chipdrift.numerics.products import channel_zero, finish
from chipdrift.numerics.tensors import Array, OpSpec


def conv(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, *spatial), W (M, C/group, *kernel), optional int32 bias (M,) -> (N, M, *spatial).

    Padding is the input's zero point, which is the real number 0 (N15).
    """
    x, w, bias = arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None
    assert x is not None and w is not None
    if spec.quant(1).block_size:
        return _pointwise_in_blocks(spec, x, w)
    products, correction = conv_sums(spec, x, w, spec.attributes)
    return np.moveaxis(finish(spec, products, correction, bias), -1, 1)


def conv_sums(
    spec: OpSpec, x: Array, w: Array, attributes: Mapping[str, Any]
) -> tuple[Array, Array]:
    """Sums of products and what is taken off them, each (N, *out, M): channels last."""
    zero, zeros = int(spec.quant(0).zero_point), channel_zero(spec.quant(1))
    group = int(attributes.get("group", 1))
    patches = windows(x, w.shape[2:], attributes, zero)  # (N, *out, C, *kernel)
    spatial = w.ndim - 2
    lead = patches.shape[: 1 + spatial]
    per_group, outputs = w.shape[1], w.shape[0] // group
    products, corrections = [], []
    for g in range(group):
        mine = slice(g * outputs, (g + 1) * outputs)
        part = patches.take(range(g * per_group, (g + 1) * per_group), axis=1 + spatial)
        kernel = w[mine]
        if spec.rules.accumulator.order == "channels_last":
            part = np.moveaxis(part, 1 + spatial, -1)
            kernel = np.moveaxis(kernel, 1, -1)
        total, correction = product_sums(
            part.reshape(-1, kernel[0].size),
            kernel.reshape(outputs, -1).T,
            zero,
            zeros if zeros.size == 1 else zeros[mine],
            spec.rules.accumulator,
        )
        products.append(total)
        corrections.append(np.broadcast_to(correction, total.shape))
    shape = (*lead, w.shape[0])
    summed = np.concatenate(products, axis=-1).reshape(shape)
    return summed, np.concatenate(corrections, axis=-1).reshape(shape)


def _pointwise_in_blocks(spec: OpSpec, x: Array, w: Array) -> Array:
    """A 1x1 convolution whose weights have blocks of input channels: a matrix product (N37)."""
    quant = spec.quant(1)
    zero = int(spec.quant(0).zero_point)
    patches = windows(x, w.shape[2:], spec.attributes, zero)
    rows = patches.reshape(*patches.shape[: w.ndim - 1], w.shape[1])
    scale, offset = (v.reshape(w.shape[0], -1).T for v in (quant.scale, quant.zero_point))
    out = block_products(spec, rows, w.reshape(w.shape[0], -1).T, scale, offset)
    return np.moveaxis(out, -1, 1)


def windows(x: Array, kernel: Sequence[int], attributes: Any, fill: int) -> Array:
    """The inputs that each output position sees: (N, *out, C, *kernel), padded with ``fill``."""
    spatial = len(kernel)
    strides = list(attributes.get("strides", [1] * spatial))
    dilations = list(attributes.get("dilations", [1] * spatial))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = padding(x.shape[2:], reach, strides, attributes)
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    over = tuple(range(2, 2 + spatial))
    seen: Array = np.lib.stride_tricks.sliding_window_view(x, reach, axis=over)
    steps = [slice(None, None, s) for s in strides]
    holes = [slice(None, None, d) for d in dilations]
    seen = seen[:, :, *steps, *holes]
    return np.moveaxis(seen, 1, 1 + spatial)


def padding(
    size: Sequence[int], reach: Sequence[int], strides: Sequence[int], attributes: Any
) -> list[tuple[int, int]]:
    """ONNX's ``pads`` and ``auto_pad`` as (before, after) per spatial dimension."""
    spatial = len(reach)
    mode = attributes.get("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        found = []
        for n, r, s in zip(size, reach, strides, strict=True):
            total = max(0, (-(-n // s) - 1) * s + r - n)
            small, large = total // 2, total - total // 2
            found.append((small, large) if mode == "SAME_UPPER" else (large, small))
        return found
    pads = (
        list(attributes.get("pads", [0] * 2 * spatial)) if mode == "NOTSET" else [0] * 2 * spatial
    )
    return list(zip(pads[:spatial], pads[spatial:], strict=True))


def _limit(spec: OpSpec) -> str | None:
    x, w = spec.operands[0].quant, spec.operands[1].quant
    if x is None or w is None:
        return f"input {0 if x is None else 1} has no quantizer"
    if not x.per_tensor:
        return "its first input has more than one scale"
    if len(spec.operands) > 2 and spec.operands[2].constant is None and spec.operands[2].quant:
        return "its bias comes at run time"
    held = spec.operands[1].constant
    if w.block_size:
        grouped = int(spec.attributes.get("group", 1)) != 1
        if held is None or grouped or any(k != 1 for k in held.shape[2:]):
            return "blockwise scales have an integer form in 1x1 convolutions without groups only"
        return why_not(spec, 1)
    if w.axis is not None and (held is None or w.axis % held.ndim != 0):
        return f"its weights have scales along axis {w.axis}, not along the output's channels"
    return None


OPS = {"Conv": conv}
LIMITS = {"Conv": _limit}
TABLES = ("accumulator", "requantize")

"""Conv: plain, pointwise, depthwise, grouped, dilated; one or two spatial dimensions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chipdrift.numerics.accumulate import product_sums
from chipdrift.numerics.products import channel_zero, finish
from chipdrift.numerics.tensors import OpSpec

Array = np.ndarray[Any, Any]


def conv(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, *spatial), W (M, C/group, *kernel), optional int32 bias (M,) -> (N, M, *spatial).

    Padding is the input's zero point, which is the real number 0 (N15).
    """
    x, w, bias = arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None
    assert x is not None and w is not None
    zero = int(spec.quant(0).zero_point)
    group = int(spec.attributes.get("group", 1))
    patches = windows(x, w.shape[2:], spec.attributes, zero)  # (N, *out, C, *kernel)
    spatial, kernel_dims = w.ndim - 2, w.ndim - 2
    lead = patches.shape[: 1 + spatial]
    per_group, outputs = w.shape[1], w.shape[0] // group
    products, corrections = [], []
    for g in range(group):
        part = patches[..., g * per_group : (g + 1) * per_group, *[slice(None)] * kernel_dims]
        kernel = w[g * outputs : (g + 1) * outputs]
        if spec.rules.accumulator.order == "channels_last":
            part = np.moveaxis(part, 1 + spatial, -1)
            kernel = np.moveaxis(kernel, 1, -1)
        zeros = channel_zero(spec.quant(1))
        total, correction = product_sums(
            part.reshape(-1, kernel[0].size),
            kernel.reshape(outputs, -1).T,
            zero,
            zeros if zeros.size == 1 else zeros[g * outputs : (g + 1) * outputs],
            spec.rules.accumulator,
        )
        products.append(total)
        corrections.append(np.broadcast_to(correction, total.shape))
    shape = (*lead, w.shape[0])
    summed = np.concatenate(products, axis=-1).reshape(shape)
    correction = np.concatenate(corrections, axis=-1).reshape(shape)
    return np.moveaxis(finish(spec, summed, correction, bias), -1, 1)


def windows(x: Array, kernel: Sequence[int], attributes: Any, fill: int) -> Array:
    """The inputs that each output position sees: (N, *out, C, *kernel), padded with ``fill``."""
    spatial = len(kernel)
    strides = list(attributes.get("strides", [1] * spatial))
    dilations = list(attributes.get("dilations", [1] * spatial))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = padding(x.shape[2:], reach, strides, attributes)
    x = np.pad(x, [(0, 0), (0, 0), *pads], constant_values=fill)
    seen = np.lib.stride_tricks.sliding_window_view(x, reach, axis=range(2, 2 + spatial))
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
    pads = list(attributes.get("pads", [0] * 2 * spatial)) if mode == "NOTSET" else [0] * 2 * spatial
    return list(zip(pads[:spatial], pads[spatial:], strict=True))


OPS = {"Conv": conv}

"""ConvTranspose: a convolution of the input with zeros put between its elements (N15)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.numerics.ops.conv import conv_sums
from chipdrift.numerics.products import finish
from chipdrift.numerics.tensors import Array, OpSpec


def conv_transpose(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, *spatial), W (C, M/group, *kernel), optional int32 bias (M,) -> (N, M, *spatial).

    The input's elements stand ``strides`` apart, the real number 0 (its zero point) between them;
    the kernel is turned around. An accumulator sees the same products as in the scattering form,
    and zeros.
    """
    x, w, bias = arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None
    assert x is not None and w is not None
    spatial = w.ndim - 2
    group = int(spec.attributes.get("group", 1))
    strides = list(spec.attributes.get("strides", [1] * spatial))
    dilations = list(spec.attributes.get("dilations", [1] * spatial))
    zero = int(spec.quant(0).zero_point)
    sparse = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], strides, strict=True)]
    wide = np.full((*x.shape[:2], *sparse), zero, x.dtype)
    wide[:, :, *[slice(None, None, s) for s in strides]] = x
    for axis, (before, after) in enumerate(_margins(spec, x, w, strides, dilations), 2):
        edges = [(0, 0)] * wide.ndim
        edges[axis] = (max(before, 0), max(after, 0))
        wide = np.pad(wide, edges, constant_values=zero)
        inner = slice(max(-before, 0), wide.shape[axis] - max(-after, 0))
        wide = wide[(*[slice(None)] * axis, inner)]
    turned = np.flip(w, tuple(range(2, w.ndim)))
    parts = turned.reshape(group, w.shape[0] // group, *w.shape[1:])
    kernel = parts.swapaxes(1, 2).reshape(-1, w.shape[0] // group, *w.shape[2:])
    walk = {"group": group, "dilations": dilations}
    products, correction = conv_sums(spec, wide, kernel, walk)
    return np.moveaxis(finish(spec, products, correction, bias), -1, 1)


def _margins(
    spec: OpSpec, x: Array, w: Array, strides: list[int], dilations: list[int]
) -> list[tuple[int, int]]:
    """Zeros (or, if negative, what is cut) before and after each spatial dimension."""
    spatial = w.ndim - 2
    extra = list(spec.attributes.get("output_padding", [0] * spatial))
    wanted = list(spec.attributes.get("output_shape", []))[-spatial:]
    mode = spec.attributes.get("auto_pad", "NOTSET")
    pads = list(spec.attributes.get("pads", [0] * 2 * spatial))
    if mode == "VALID":
        pads = [0] * 2 * spatial
    margins = []
    for i in range(spatial):
        n, s = x.shape[2 + i], strides[i]
        reach = (w.shape[2 + i] - 1) * dilations[i]
        if wanted or mode in ("SAME_UPPER", "SAME_LOWER"):
            full = s * (n - 1) + extra[i] + reach + 1
            total = full - (wanted[i] if wanted else n * s)
            low, high = total // 2, total - total // 2
            begin, end = (low, high) if mode == "SAME_UPPER" else (high, low)
        else:
            begin, end = pads[i], pads[spatial + i]
        margins.append((reach - begin, reach - end + extra[i]))
    return margins


def _limit(spec: OpSpec) -> str | None:
    x, w = spec.operands[0].quant, spec.operands[1].quant
    if x is None or w is None:
        return f"input {0 if x is None else 1} has no quantizer"
    if not x.per_tensor or w.block_size:
        return "it has more than one scale where one is needed"
    if len(spec.operands) > 2 and spec.operands[2].constant is None and spec.operands[2].quant:
        return "its bias comes at run time"
    held, group = spec.operands[1].constant, int(spec.attributes.get("group", 1))
    if w.axis is not None and (held is None or w.axis % held.ndim != 1 or group != 1):
        return f"its weights have scales along axis {w.axis}: only axis 1, ungrouped, is a channel"
    return None


OPS = {"ConvTranspose": conv_transpose}
LIMITS = {"ConvTranspose": _limit}
TABLES = ("accumulator", "requantize")

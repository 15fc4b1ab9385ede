"""Pools: AveragePool and MaxPool, over windows or over the whole image (N33, N35)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.numerics.elementwise import from_real, from_sum, fused, ratio, real_mean, rescale
from chipdrift.numerics.limits import both, needs
from chipdrift.numerics.ops.conv import padding, windows
from chipdrift.numerics.tensors import Array, OpSpec


def average_pool(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, *spatial) -> (N, C, *out): the mean of what a window covers, rounded once (N33)."""
    x = arrays[0]
    assert x is not None
    kernel = list(spec.attributes["kernel_shape"])
    pads, extra = _edges(spec, x.shape[2:], kernel)
    counted = 1 if spec.attributes.get("count_include_pad", 0) else 0
    ones = np.pad(np.ones((1, 1, *x.shape[2:]), np.int64), pads, constant_values=counted)
    steps = np.pad(x.astype(np.int64) - int(spec.quant(0).zero_point), pads)
    walk = {k: spec.attributes[k] for k in ("strides", "dilations") if k in spec.attributes}
    seen, sizes = (
        np.moveaxis(windows(np.pad(values, extra), kernel, walk, 0), 1 + len(kernel), 1)
        for values in (steps, ones)
    )
    inner = tuple(range(-len(kernel), 0))
    count = np.maximum(sizes.sum(axis=inner), 1)
    if spec.rules.elementwise.arithmetic == "float32":
        window = int(np.prod(kernel))
        return _in_turn(spec, seen.reshape(*seen.shape[: -len(kernel)], window), count)
    return from_sum(spec, [(seen.sum(axis=inner), ratio(spec.quant(0), spec.output))], count)


def _in_turn(spec: OpSpec, steps: Array, count: Array) -> Array:
    """As onnxruntime: real numbers added one after the other in float32 (N33).

    Its 8-bit kernel adds the zero point before it rounds, which decides where a tie goes.
    """
    real = steps.astype(np.float32) * np.float32(spec.quant(0).scale)
    total = real[..., 0]
    for k in range(1, real.shape[-1]):
        total = total + real[..., k]
    mean = total / count.astype(np.float32)
    kernel = spec.output.bits == 8 and spec.quant(0).dtype == spec.output.dtype
    return fused(spec, mean) if kernel else from_real(spec, mean)


def max_pool(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, *spatial) -> (N, C, *out): the greatest, then the output's quantizer (N35)."""
    x = arrays[0]
    assert x is not None
    kernel = list(spec.attributes["kernel_shape"])
    pads, extra = _edges(spec, x.shape[2:], kernel)
    low = spec.quant(0).low
    wide = np.pad(np.pad(x, pads, constant_values=low), extra, constant_values=low)
    walk = {k: spec.attributes[k] for k in ("strides", "dilations") if k in spec.attributes}
    seen = windows(wide, kernel, walk, low).max(axis=tuple(range(-len(kernel), 0)))
    return rescale(spec, np.moveaxis(seen, -1, 1), spec.quant(0))


def global_average_pool(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, *spatial) -> (N, C, 1...): the mean of every channel, rounded once."""
    x = arrays[0]
    assert x is not None
    axes = tuple(range(2, x.ndim))
    count = int(np.prod(x.shape[2:]))
    total = (x.astype(np.int64) - int(spec.quant(0).zero_point)).sum(axis=axes, keepdims=True)
    if spec.rules.elementwise.arithmetic == "float32" and spec.output.bits > 8:
        return real_mean(spec, total, count)
    return from_sum(spec, [(total, ratio(spec.quant(0), spec.output))], count)


def global_max_pool(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, *spatial) -> (N, C, 1...): the greatest of every channel."""
    x = arrays[0]
    assert x is not None
    return rescale(spec, x.max(axis=tuple(range(2, x.ndim)), keepdims=True), spec.quant(0))


_Edges = list[tuple[int, int]]


def _edges(spec: OpSpec, size: Sequence[int], kernel: list[int]) -> tuple[_Edges, _Edges]:
    """Padding, and what ``ceil_mode`` adds behind it; a window that starts there is left out."""
    spatial = len(kernel)
    strides = list(spec.attributes.get("strides", [1] * spatial))
    dilations = list(spec.attributes.get("dilations", [1] * spatial))
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    pads = padding(size, reach, strides, spec.attributes)
    extra = []
    for n, r, s, (before, after) in zip(size, reach, strides, pads, strict=True):
        rest = n + before + after - r
        count = rest // s + 1
        if spec.attributes.get("ceil_mode", 0) and rest % s and count * s < n + before:
            count += 1
        extra.append((0, max(0, (count - 1) * s - rest)))
    return [(0, 0), (0, 0), *pads], [(0, 0), (0, 0), *extra]


def _one_output(spec: OpSpec) -> str | None:
    return "its indices are asked for" if spec.attributes.get("output_index", 0) else None


OPS = {
    "AveragePool": average_pool,
    "MaxPool": max_pool,
    "GlobalAveragePool": global_average_pool,
    "GlobalMaxPool": global_max_pool,
}
LIMITS = {**{op: needs(0) for op in OPS}, "MaxPool": both(needs(0), _one_output)}
TABLES = ("elementwise",)

"""Compiled moves of a convolution's inputs, and depthwise sums. Images are (N, H, W, C)."""

from __future__ import annotations

import numpy as np

from chipdrift.numerics.fast.jit import jit
from chipdrift.numerics.tensors import Array


@jit
def columns(x: Array, geometry: Array, first: int, channel: int, out: Array) -> None:
    """The inputs that output positions ``first`` ... see: out (R, taps, channels from ``channel``).

    ``x`` (N, H, W, C) is padded. ``geometry``: output height and width, kernel, strides, dilations.
    """
    height, width, depth = x.shape[1], x.shape[2], x.shape[3]
    oh, ow, kh, kw = geometry[0], geometry[1], geometry[2], geometry[3]
    sh, sw, dh, dw = geometry[4], geometry[5], geometry[6], geometry[7]
    count = out.shape[2]
    source, target = x.reshape(-1), out.reshape(-1)
    # Neighbours in a window's line lie one after the other in memory, all channels of them.
    joined = dw == 1 and count == depth
    runs, length = (1, kw * depth) if joined else (kw, count)
    to = 0
    for position in range(first, first + out.shape[0]):
        image, rest = position // (oh * ow), position % (oh * ow)
        top, left = (rest // ow) * sh, (rest % ow) * sw
        for i in range(kh):
            line = ((image * height + top + i * dh) * width + left) * depth + channel
            for j in range(runs):
                start = line + j * dw * depth
                seen, kept = source[start : start + length], target[to : to + length]
                for c in range(length):
                    kept[c] = seen[c]
                to += length


@jit
def depthwise(x: Array, w: Array, geometry: Array, first: int, rows: int, out: Array) -> None:
    """Sums of ``rows`` lines of output from line ``first`` on: out (rows, OW, C).

    ``x`` (N, H, W, C) is padded; ``w`` (taps, C) has out's type; geometry as in ``columns``.
    """
    oh, ow, kh, kw = geometry[0], geometry[1], geometry[2], geometry[3]
    sh, sw, dh, dw = geometry[4], geometry[5], geometry[6], geometry[7]
    channels = w.shape[1]
    for r in range(rows):
        image, y = (first + r) // oh, (first + r) % oh * sh
        for position in range(ow):
            z = position * sw
            total = out[r, position]
            if kw == 3:
                for i in range(kh):
                    line = x[image, y + i * dh]
                    a, b, c = line[z], line[z + dw], line[z + 2 * dw]
                    u, v, t = w[3 * i], w[3 * i + 1], w[3 * i + 2]
                    if i == 0:
                        for n in range(channels):
                            total[n] = a[n] * u[n] + b[n] * v[n] + c[n] * t[n]
                    else:
                        for n in range(channels):
                            total[n] += a[n] * u[n] + b[n] * v[n] + c[n] * t[n]
            else:
                total[:] = 0
                for i in range(kh):
                    for j in range(kw):
                        source, weights = x[image, y + i * dh, z + j * dw], w[i * kw + j]
                        for n in range(channels):
                            total[n] += source[n] * weights[n]


@jit
def split16(x: Array, high: Array, low: Array) -> None:
    """uint16 (flat) as its two bytes, uint8."""
    for i in range(x.size):
        high[i] = x[i] >> 8
        low[i] = x[i] & 255


@jit
def join16(high: Array, low: Array, out: Array) -> None:
    """``256 * high + low`` of flat int32 in int64."""
    for i in range(high.size):
        out[i] = np.int64(high[i]) * 256 + low[i]

"""Compiled sums whose order matters: every product is added, and fitted, one after another.

A lane is an output channel; the vector unit walks many of them side by side. ``x`` is (R, K), or
(R, K, C) where every channel has inputs of its own (depthwise); ``w`` is (K, N).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.numerics.fast.jit import jit
from chipdrift.numerics.fast.lanes import add16_sat, add32, mul16, mul32
from chipdrift.numerics.tensors import Array


@jit
def _four(a: int, b: int, c: int, d: int, zero: np.int16) -> tuple[Any, Any, Any, Any]:
    """Four inputs less their zero point, in 16 bits."""
    return (
        np.int16(np.int16(a) - zero),
        np.int16(np.int16(b) - zero),
        np.int16(np.int16(c) - zero),
        np.int16(np.int16(d) - zero),
    )


@jit
def _added(total: Any, a: Any, b: Any, c: Any, d: Any, wa: Any, wb: Any, wc: Any, wd: Any) -> Any:
    """``total`` and four products, added in order; all int16."""
    total = add16_sat(add16_sat(total, mul16(a, wa)), mul16(b, wb))
    return add16_sat(add16_sat(total, mul16(c, wc)), mul16(d, wd))


@jit
def saturating16(
    x: Array, order: Array, taken: int, w: Array, change: Array, clamp: int, out: Array
) -> None:
    """16-bit accumulators that saturate, of ``(x - taken) @ w``; ``w`` int16, products fit 16 bits.

    ``x`` (R, K) uint8; ``order`` (L,) has the columns in the order in which they are added, which
    is that of ``w``'s rows (L, N). L is a multiple of 4, where needed with rows of 0 at the end,
    and N one of 32. ``change`` (N,) int32 is added at the end and the sum clamped again where
    ``clamp``; out is int32 (R, C), C at most N. Four rows of ``x`` go side by side, so that a
    weight is read once for them, and four inputs at a time, so that an accumulator is.
    """
    rows, width = x.shape[0], w.shape[1]
    acc = np.empty((4, width), np.int16)
    low, high = (-(1 << 15), (1 << 15) - 1) if clamp else (-(1 << 30), 1 << 30)
    zero = np.int16(taken)
    whole = order.size - order.size % 4  # all of it; LLVM is faster where it can see the 4
    for r in range(0, rows, 4):
        acc[:] = 0
        s, t, u = min(r + 1, rows - 1), min(r + 2, rows - 1), min(r + 3, rows - 1)
        for k in range(0, whole, 4):
            i, j, q, m = order[k], order[k + 1], order[k + 2], order[k + 3]
            a0, a1, a2, a3 = _four(x[r, i], x[r, j], x[r, q], x[r, m], zero)
            b0, b1, b2, b3 = _four(x[s, i], x[s, j], x[s, q], x[s, m], zero)
            c0, c1, c2, c3 = _four(x[t, i], x[t, j], x[t, q], x[t, m], zero)
            d0, d1, d2, d3 = _four(x[u, i], x[u, j], x[u, q], x[u, m], zero)
            for n in range(width):
                w0, w1, w2, w3 = w[k, n], w[k + 1, n], w[k + 2, n], w[k + 3, n]
                acc[0, n] = _added(acc[0, n], a0, a1, a2, a3, w0, w1, w2, w3)
                acc[1, n] = _added(acc[1, n], b0, b1, b2, b3, w0, w1, w2, w3)
                acc[2, n] = _added(acc[2, n], c0, c1, c2, c3, w0, w1, w2, w3)
                acc[3, n] = _added(acc[3, n], d0, d1, d2, d3, w0, w1, w2, w3)
        for j in range(min(4, rows - r)):
            row = out[r + j]
            for n in range(row.size):
                row[n] = min(max(np.int64(acc[j, n]) + change[n], low), high)


@jit
def saturating16_apart(
    x: Array,
    taken: int,
    w: Array,
    change: Array,
    clamp: int,
    geometry: Array,
    first: int,
    out: Array,
) -> None:
    """The same for depthwise convolution: x (N, H, W, C) is padded, w (taps, C).

    ``out`` (rows, OW, C) int32 begins with the output's line ``first``; geometry as in ``place``.
    """
    oh, kh, kw = geometry[0], geometry[2], geometry[3]
    sh, sw, dh, dw = geometry[4], geometry[5], geometry[6], geometry[7]
    width = w.shape[1]
    low, high = (-(1 << 15), (1 << 15) - 1) if clamp else (-(1 << 30), 1 << 30)
    zero = np.int16(taken)
    acc = np.empty(width, np.int16)
    for r in range(out.shape[0]):
        image, y = (first + r) // oh, (first + r) % oh * sh
        for position in range(out.shape[1]):
            acc[:] = 0
            for i in range(kh):
                line = x[image, y + i * dh]
                for j in range(kw):
                    inputs, weights = line[position * sw + j * dw], w[i * kw + j]
                    for n in range(width):
                        step = np.int16(np.int16(inputs[n]) - zero)
                        acc[n] = add16_sat(acc[n], mul16(step, weights[n]))
            row = out[r, position]
            for n in range(width):
                row[n] = min(max(np.int64(acc[n]) + change[n], low), high)


@jit
def walk32(x: Array, w: Array, block: int, inner: Array, outer: Array, out: Array) -> None:
    """Any rules that fit into int32 lanes: x, w and out are int32.

    ``inner`` and ``outer`` are (low, high, half, mask) of a partial sum and of the whole: after a
    product or a part is added, clamp to low and high; after a part is complete, wrap it:
    ``((sum + half) & mask) - half``. What is not asked for leaves the sum as it is.
    """
    rows, width = x.shape[0], w.shape[1]
    low, high, half, mask = inner[0], inner[1], inner[2], inner[3]
    least, most, middle, bits = outer[0], outer[1], outer[2], outer[3]
    part = np.empty(width, np.int32)
    for r in range(rows):
        total = out[r]
        total[:] = 0
        for start in range(0, x.shape[1], block):
            part[:] = 0
            for k in range(start, min(start + block, x.shape[1])):
                a, weights = x[r, k], w[k]
                for n in range(width):
                    part[n] = min(max(add32(part[n], mul32(a, weights[n])), low), high)
            for n in range(width):
                p = add32(add32(part[n], half) & mask, -half)
                t = min(max(add32(total[n], p), least), most)
                total[n] = add32(add32(t, middle) & bits, -middle)


@jit
def walk64(x: Array, w: Array, block: int, inner: Array, outer: Array, out: Array) -> None:
    """``walk32`` in int64 lanes."""
    rows, width = x.shape[0], w.shape[1]
    low, high, half, mask = inner[0], inner[1], inner[2], inner[3]
    least, most, middle, bits = outer[0], outer[1], outer[2], outer[3]
    part = np.empty(width, np.int64)
    for r in range(rows):
        total = out[r]
        total[:] = 0
        for start in range(0, x.shape[1], block):
            part[:] = 0
            for k in range(start, min(start + block, x.shape[1])):
                a, weights = x[r, k], w[k]
                for n in range(width):
                    part[n] = min(max(part[n] + a * weights[n], low), high)
            for n in range(width):
                p = ((part[n] + half) & mask) - half
                t = min(max(total[n] + p, least), most)
                total[n] = ((t + middle) & bits) - middle


@jit
def walk64_apart(x: Array, w: Array, block: int, inner: Array, outer: Array, out: Array) -> None:
    """``walk64`` for depthwise convolution: x (R, K, C)."""
    rows, depth, width = x.shape
    low, high, half, mask = inner[0], inner[1], inner[2], inner[3]
    least, most, middle, bits = outer[0], outer[1], outer[2], outer[3]
    part = np.empty(width, np.int64)
    for r in range(rows):
        total = out[r]
        total[:] = 0
        for start in range(0, depth, block):
            part[:] = 0
            for k in range(start, min(start + block, depth)):
                inputs, weights = x[r, k], w[k]
                for n in range(width):
                    part[n] = min(max(part[n] + inputs[n] * weights[n], low), high)
            for n in range(width):
                p = ((part[n] + half) & mask) - half
                t = min(max(total[n] + p, least), most)
                total[n] = ((t + middle) & bits) - middle


@jit
def settle(sums: Array, change: Array, outer: Array, out: Array) -> None:
    """``fit(sums + change)`` of flat arrays; ``change`` is a row, or as long as the sums."""
    least, most, middle, bits = outer[0], outer[1], outer[2], outer[3]
    length = change.size
    for start in range(0, sums.size, length):
        row = sums[start : start + length]
        fitted = out[start : start + length]
        for j in range(row.size):
            t = min(max(row[j] + change[j], least), most)
            fitted[j] = ((t + middle) & bits) - middle


@jit
def suspects(
    total: Array, magnitude: Array, offset: Array, low: int, high: int, out: Array
) -> None:
    """Rows in which a partial sum may leave [low, high]; out is bool (R,).

    With all products' sum G and their magnitudes' sum A, the positive ones sum to (A + G) / 2 and
    the negative ones to (G - A) / 2: no partial sum is beyond them.
    """
    rows, width = total.shape
    for r in range(rows):
        g, a = total[r], magnitude[r]
        unsure = False
        for n in range(width):
            whole = np.int64(g[n]) + offset[n]
            unsure |= (a[n] + whole > 2 * high) | (whole - a[n] < 2 * low)
        out[r] = unsure

"""Compiled inner loops from accumulators to output integers: one pass, one element after another.

``acc`` and ``out`` are flat and contiguous; the vectors hold a value per channel, repeated until
they are long enough for the vector unit, and are walked over and over.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.numerics.fast.jit import jit
from chipdrift.numerics.fast.lanes import add32, mul32, shift32
from chipdrift.numerics.tensors import Array

# How float_steps rounds; the order is that of Rounding.
HALF_EVEN, HALF_UP, HALF_AWAY, FLOOR, TOWARD_ZERO = range(5)


@jit
def narrow_steps(
    acc: Array, vectors: Array, even: int, outer: int, low: int, high: int, out: Array
) -> None:
    """``wide_steps`` in int32, where one shift drops all bits. ``vectors`` is (8, L) int32."""
    offset, least, most, drop = vectors[0], vectors[1], vectors[2], vectors[3]
    m, addend, negative, shift = vectors[4], vectors[5], vectors[6], vectors[7]
    zero, floor, ceiling, odd = np.int32(outer), np.int32(low), np.int32(high), np.int32(even)
    length = offset.size
    for start in range(0, acc.size, length):
        sums = acc[start : start + length]
        answers = out[start : start + length]
        for j in range(sums.size):
            a = min(max(add32(sums[j], offset[j]), least[j]), most[j])
            p = mul32(shift32(a, drop[j]), m[j])
            lowest = shift32(p, shift[j]) & odd
            below = shift32(p, np.int32(31)) & negative[j]
            p = add32(add32(p, addend[j]), add32(np.int32(lowest), np.int32(below)))
            answers[j] = min(max(add32(shift32(p, shift[j]), zero), floor), ceiling)


@jit
def wide_steps(
    acc: Array, vectors: Array, even: int, nonzero: int, outer: int, low: int, high: int, out: Array
) -> None:
    """Integer multipliers in int64. ``vectors`` is (14, L) int64, in the order of their use.

    With a = clip(acc + offset): ``kept = (((a + pre) >> drop) + mid) >> more``, ``p = kept * m +
    bump`` (no bump for a kept 0 where ``nonzero``), ``p = (p + first) >> first_shift`` (gemmlowp's
    first rounding; else nothing changes), then the last shift: HALF_UP adds ``half``, HALF_EVEN
    half - 1 and the quotient's lowest bit (``even``), HALF_AWAY takes 1 off where p is negative
    (``negative`` is -1), TOWARD_ZERO adds 2**shift - 1 there.
    """
    offset, least, most = vectors[0], vectors[1], vectors[2]
    pre, drop, mid, more = vectors[3], vectors[4], vectors[5], vectors[6]
    m, bump, first, first_shift = vectors[7], vectors[8], vectors[9], vectors[10]
    half, negative, shift = vectors[11], vectors[12], vectors[13]
    length = offset.size
    for start in range(0, acc.size, length):
        sums = acc[start : start + length]
        answers = out[start : start + length]
        for j in range(sums.size):
            a = min(max(sums[j] + offset[j], least[j]), most[j])
            kept = (((a + pre[j]) >> drop[j]) + mid[j]) >> more[j]
            p = kept * m[j] + (0 if nonzero and kept == 0 else bump[j])
            p = (p + first[j]) >> first_shift[j]
            nudge = ((p >> shift[j]) & even) + ((p >> 63) & negative[j])
            y = ((p + half[j] + nudge) >> shift[j]) + outer
            answers[j] = min(max(y, low), high)


@jit
def _rounded(v: Any, mode: int) -> Any:
    """``v`` rounded as ``chipdrift.numerics.rounding.round_float`` does."""
    if mode == HALF_EVEN:
        return np.rint(v)
    if mode == FLOOR:
        return np.floor(v)
    if mode == TOWARD_ZERO:
        return np.trunc(v)
    magnitude = abs(v)
    whole = np.floor(magnitude)
    fraction = magnitude - whole
    if fraction > 0.5 or (fraction == 0.5 and (mode == HALF_AWAY or v >= 0)):
        whole += type(v)(1)
    return np.copysign(whole, v)


@jit
def float_even(
    acc: Array, offset: Array, scale: Array, limits: Array, outer: int, out: Array
) -> None:
    """``rint(float32(acc + offset) * scale) + outer``; offset int32, scale float32.

    ``limits`` (2,) float32 are the least and greatest answer less ``outer``.
    """
    low, high, zero = limits[0], limits[1], np.int32(outer)
    length = offset.size
    for start in range(0, acc.size, length):
        sums = acc[start : start + length]
        answers = out[start : start + length]
        for j in range(sums.size):
            v = np.rint(np.float32(add32(sums[j], offset[j])) * scale[j])
            answers[j] = np.int32(min(max(v, low), high)) + zero


@jit
def float_steps(
    acc: Array, vectors: Array, halves: Array, scale: Array, limits: Array, mode: int, nonzero: int,
    outer: int, out: Array,
) -> None:  # fmt: skip
    """The same for every rounding and dropped bits.

    ``vectors`` is (5, L) int64 as in ``wide_steps``; ``halves`` (L,) float64 is added to what is
    kept. Both are exact in float64: one rounding, to float32.
    """
    offset, pre, drop, mid, more = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4]
    low, high = limits[0], limits[1]
    length = offset.size
    for start in range(0, acc.size, length):
        sums = acc[start : start + length]
        answers = out[start : start + length]
        for j in range(sums.size):
            kept = (((sums[j] + offset[j] + pre[j]) >> drop[j]) + mid[j]) >> more[j]
            half = 0.0 if nonzero and kept == 0 else halves[j]
            v = np.float32(np.float64(kept) + half) * scale[j]
            answers[j] = np.int64(min(max(_rounded(v, mode), low), high)) + outer


@jit
def near_steps(
    acc: Array, vectors: Array, halves: Array, scale: Array, limits: Array, mode: int, nonzero: int,
    outer: int, out: Array, doubtful: Array,
) -> int:  # fmt: skip
    """A rational multiplier in float64, and the positions where that is too near to decide.

    ``scale`` is the multiplier rounded once and the product is rounded once: ``t`` is within
    |t| * 2**-51 of the truth. Positions go to ``doubtful`` while it has room; returns how many.
    """
    offset, pre, drop, mid, more = vectors[0], vectors[1], vectors[2], vectors[3], vectors[4]
    low, high = limits[0], limits[1]
    length = offset.size
    found = 0
    at_half = mode in (HALF_EVEN, HALF_UP, HALF_AWAY)
    for start in range(0, acc.size, length):
        sums = acc[start : start + length]
        answers = out[start : start + length]
        unsure = False
        for j in range(sums.size):
            kept = (((sums[j] + offset[j] + pre[j]) >> drop[j]) + mid[j]) >> more[j]
            t = (np.float64(kept) + (0.0 if nonzero and kept == 0 else halves[j])) * scale[j]
            whole = np.floor(t)
            f = t - whole
            y = whole + (1.0 if (at_half and f > 0.5) or (mode == TOWARD_ZERO and t < 0) else 0.0)
            answers[j] = np.int64(min(max(y, low), high)) + outer
            gap = abs(f - 0.5) if at_half else min(f, 1.0 - f)
            unsure |= (gap <= abs(t) * 2.0**-50) & (t != 0)
        if unsure:
            for j in range(sums.size):
                kept = (((sums[j] + offset[j] + pre[j]) >> drop[j]) + mid[j]) >> more[j]
                t = (np.float64(kept) + (0.0 if nonzero and kept == 0 else halves[j])) * scale[j]
                f = t - np.floor(t)
                gap = abs(f - 0.5) if at_half else min(f, 1.0 - f)
                if gap <= abs(t) * 2.0**-50 and t != 0:
                    if found < doubtful.size:
                        doubtful[found] = start + j
                    found += 1
    return found

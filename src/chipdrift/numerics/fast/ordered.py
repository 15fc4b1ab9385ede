"""Sums walked in the order of the rules, in the narrowest lanes that hold them (N10 to N13)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chipdrift.numerics.fast import walk
from chipdrift.numerics.fast.gemm import ConstantProduct
from chipdrift.numerics.fast.weights import (
    Weights,
    centres_weights,
    flip_of,
    limits,
    row_of,
    steps_of,
)
from chipdrift.numerics.profile import Accumulator
from chipdrift.numerics.tensors import Array, OpSpec, Quant

# Unsigned rows (R, K), or (R, K, C) where every channel has its own, to sums (R, C).
Sum = Callable[[Array], Array]


def walked_sums(
    spec: OpSpec, weights: Weights, addends: Array, plain: np.dtype[Any], dtype: np.dtype[Any]
) -> Sum:
    """Products added in order, then correction and addend (N11, N14, N29)."""
    rules, quant = spec.rules.accumulator, spec.quant(0)
    zero, flip = int(quant.zero_point), flip_of(quant)
    centred = rules.operands == "centred"
    w = _multiplied(weights, rules)[weights.order]
    taken = flip + zero if centred else flip
    final = np.array(steps_of(rules.width, rules.overflow), np.int64)
    apart_parts = spec.rules.requantize.parts == "apart"
    change = _change(spec, weights, addends)
    row_dependent = not centres_weights(rules) and bool(weights.zero.any())
    if not weights.apart and not row_dependent and _narrow(w, quant, rules, taken - flip):
        return _in_16_bits(w, weights.order, taken, change, not apart_parts)
    in_place = np.array_equal(weights.order, np.arange(weights.order.size))
    walked = _walker(w, quant, rules, weights.apart, zero if centred else 0)
    bounded = _bounds(weights, quant, rules, taken, plain) if not weights.apart else None

    def run(x: Array) -> Array:
        inputs = x if in_place else np.ascontiguousarray(x[:, weights.order])
        steps: Array = inputs.astype(np.int32) - np.int32(taken)
        total = walked(steps) if bounded is None else bounded(x, steps, walked)
        if apart_parts:
            return total.astype(dtype, copy=False)
        shift = row_of(change)
        if row_dependent:
            rest = steps.sum(axis=1, dtype=np.int64)
            rest = rest if weights.apart else rest[:, None]
            shift = (change - weights.zero * (rest - w.shape[0] * zero)).reshape(-1)
        out = np.empty(total.shape, dtype)
        walk.settle(total.reshape(-1), shift, final, out.reshape(-1))
        return out

    return run


def _change(spec: OpSpec, weights: Weights, addends: Array) -> Array:
    """What joins the sums in the accumulator: (N,) int64, as far as it is the same in all rows."""
    if spec.rules.requantize.parts == "apart":
        return np.zeros_like(addends)
    if spec.rules.accumulator.operands == "centred":
        return addends
    zero, w = int(spec.quant(0).zero_point), _multiplied(weights, spec.rules.accumulator)
    return np.asarray(addends - zero * w.sum(axis=0, dtype=np.int64))


def _multiplied(weights: Weights, rules: Accumulator) -> Array:
    """The weights of which products are made."""
    return weights.centred if centres_weights(rules) else weights.values


def _narrow(w: Array, quant: Quant, rules: Accumulator, zero: int) -> bool:
    """Whether 16-bit lanes do: bytes, products of 16 bits, no partial sums."""
    greatest = max(abs(quant.low - zero), abs(quant.high - zero))
    fits = greatest * int(np.abs(w).max(initial=0)) < 1 << 15 and quant.storage.itemsize == 1
    return fits and (rules.width, rules.overflow, rules.block) == (16, "saturate", 0)


def _in_16_bits(w: Array, order: Array, taken: int, change: Array, clamp: bool) -> Sum:
    depth, width = w.shape
    lanes = -(-width // 32) * 32
    narrow = np.zeros((-(-depth // 4) * 4, lanes), np.int16)
    narrow[:depth, :width] = w
    places = np.zeros(narrow.shape[0], np.int64)
    places[:depth] = order
    added = _bounded(change)

    def run(x: Array) -> Array:
        out = np.empty((x.shape[0], width), np.int32)
        walk.saturating16(x, places, taken, narrow, added, int(clamp), out)
        return out

    return run


def _bounded(change: Array) -> Array:
    """As int32: beyond 2**17 a sum of 16 bits is clamped whatever it was."""
    return np.clip(change, -(1 << 17), 1 << 17).astype(np.int32)


def walked_lines(
    spec: OpSpec, weights: Weights, addends: Array
) -> Callable[[Array, Array, int, Array], None] | None:
    """A depthwise convolution in 16-bit lanes, if they will do."""
    rules, quant = spec.rules.accumulator, spec.quant(0)
    centred = rules.operands == "centred"
    zero = int(quant.zero_point) if centred else 0
    w = _multiplied(weights, rules)[weights.order]
    row_dependent = not centres_weights(rules) and bool(weights.zero.any())
    if not weights.apart or row_dependent or not _narrow(w, quant, rules, zero):
        return None
    narrow, added = w.astype(np.int16), _bounded(_change(spec, weights, addends))
    taken, clamp = flip_of(quant) + zero, int(spec.rules.requantize.parts != "apart")

    def run(images: Array, geometry: Array, first: int, out: Array) -> None:
        walk.saturating16_apart(images, taken, narrow, added, clamp, geometry, first, out)

    return run


def _bounds(
    weights: Weights, quant: Quant, rules: Accumulator, taken: int, plain: np.dtype[Any]
) -> Callable[[Array, Array, Sum], Array] | None:
    """Walk only the rows in which some partial sum could leave the accumulator; None: walk all."""
    small = quant.storage.itemsize == 1 and weights.quant.bits <= 8
    if rules.block or rules.overflow != "saturate" or not small:
        return None
    w = _multiplied(weights, rules)
    if np.abs(w).max(initial=0) > 255 or plain != np.int32:
        return None
    product = ConstantProduct(
        weights.values.astype(weights.quant.storage),
        weights.zero if centres_weights(rules) else np.zeros_like(weights.zero),
    )
    magnitudes = ConstantProduct(np.abs(w).astype(np.uint8), np.zeros(1, np.int64))
    offset = -taken * w.sum(axis=0, dtype=np.int64)
    low, high = limits(rules.width)

    def run(x: Array, steps: Array, walked: Sum) -> Array:
        total = product(x)
        sizes = magnitudes(np.abs(x.astype(np.int16) - np.int16(taken)).astype(np.uint8))
        rows = np.empty(total.shape[0], np.bool_)
        walk.suspects(total, sizes, offset, low, high, rows)
        out: Array = total + offset
        if rows.any():
            out[rows] = walked(steps[rows])
        return out

    return run


def _walker(w: Array, quant: Quant, rules: Accumulator, apart: bool, zero: int) -> Sum:
    """The narrowest lanes that hold these sums: from int32 steps (R, K) or (R, K, C)."""
    depth, width = w.shape
    greatest = max(abs(quant.low - zero), abs(quant.high - zero))
    product = greatest * int(np.abs(w).max(initial=0))
    block = rules.block or max(1, depth)
    inner = (
        (rules.block_width, rules.block_overflow) if rules.block else (rules.width, rules.overflow)
    )
    part = 1 << inner[0] - 1 if inner[1] == "saturate" else product * min(block, depth)
    held = min(part, product * min(block, depth))
    whole = held + (1 << rules.width - 1) < 2**31 or (rules.width, rules.overflow) == (32, "wrap")
    if not apart and part + product < 2**31 and whole and inner[0] <= 32:
        lanes = -(-width // 16) * 16
        padded = np.zeros((depth, lanes), np.int32)
        padded[:, :width] = w
        far = 1 << 31
        inside, outside = (
            np.array(steps_of(*kind, far), np.int64).astype(np.int32)
            for kind in (inner, (rules.width, rules.overflow))
        )

        def in_32_bits(steps: Array) -> Array:
            out = np.empty((steps.shape[0], lanes), np.int32)
            walk.walk32(steps, padded, block, inside, outside, out)
            return np.ascontiguousarray(out[:, :width])

        return in_32_bits
    wide = np.ascontiguousarray(w.astype(np.int64))
    inner64, outer64 = (
        np.array(steps_of(*kind), np.int64) for kind in (inner, (rules.width, rules.overflow))
    )

    def in_64_bits(steps: Array) -> Array:
        out = np.empty((steps.shape[0], width), np.int64)
        kernel = walk.walk64_apart if apart else walk.walk64
        kernel(steps.astype(np.int64), wide, block, inner64, outer64, out)
        return out

    return in_64_bits

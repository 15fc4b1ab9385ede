"""Which sums of products can be had in any order, and how the others are walked.

A sum that provably stays inside its accumulator is the exact sum, and any matrix product gives it.
One that only wraps is the exact sum modulo a power of two. Only saturation, and partial sums
narrower than the whole, depend on the order (N10 to N13).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.numerics.fast import place, walk
from chipdrift.numerics.fast.gemm import ConstantProduct
from chipdrift.numerics.fast.ordered import Sum, walked_lines, walked_sums
from chipdrift.numerics.fast.requantize import Sums
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


@dataclass(frozen=True, eq=False)
class Summation:
    """What is known of the sums, and how to make them.

    ``run`` takes unsigned rows. For a depthwise convolution it is None where the plain sums of
    ``x' * (w - zero)`` in ``dtype`` will do, x' being the unsigned inputs, and ``lines`` is there
    where padded images are walked as they are: ``lines(images, geometry, first, out)``.
    """

    sums: Sums
    run: Sum | None
    dtype: np.dtype[Any]
    lines: Callable[[Array, Array, int, Array], None] | None = None


def summation(spec: OpSpec, weights: Weights, addends: Array) -> Summation | None:
    """How to sum ``x @ weights`` under the rules; None where only the reference can.

    ``addends`` (N,) int64 join the accumulator afterwards (bias, zero point).
    """
    rules, quant = spec.rules.accumulator, spec.quant(0)
    apart_parts = spec.rules.requantize.parts == "apart"
    if apart_parts and not centres_weights(rules) and weights.zero.any():
        return None
    zero, flip = int(quant.zero_point), flip_of(quant)
    top = (1 << 8 * quant.storage.itemsize) - 1
    columns = np.add(*weights.reach(centred=True))
    none = np.zeros_like(columns)
    # Apart, weights are centred, or have no zero point: both sums are the same.
    correction = zero * columns if apart_parts else none
    offset = -flip * columns if apart_parts else -(zero + flip) * columns
    plain = _plain_dtype(weights, top, quant.bits)
    if plain is None:
        return None
    low, high = _range(*weights.reach(centred=True), quant, zero * (not apart_parts))
    after = none if apart_parts else addends
    low, high = low + after, high + after
    width = limits(rules.width)
    free = low.min() >= width[0] and high.max() <= width[1] and _never_leaves(weights, quant, rules)
    if free:
        sums = Sums(offset, correction, low, high)
        run = None if weights.apart else _product(weights, quant, plain)
        return Summation(sums, run, plain)
    least, most = np.full_like(none, width[0]), np.full_like(none, width[1])
    done = none if apart_parts else -addends
    sums = Sums(done, correction, least, most)
    dtype = np.dtype(np.int32 if rules.width <= 32 else np.int64)
    wraps = rules.overflow == "wrap" and (
        rules.block == 0 or (rules.block_overflow == "wrap" and rules.block_width == rules.width)
    )
    if wraps and not weights.apart:
        product = _product(weights, quant, plain)
        change = row_of(offset + after)
        final = np.array(steps_of(rules.width, rules.overflow), np.int64)

        def wrapped(x: Array) -> Array:
            total = product(x)
            out = np.empty(total.shape, dtype)
            walk.settle(total.reshape(-1), change, final, out.reshape(-1))
            return out

        return Summation(sums, wrapped, dtype)
    lines = walked_lines(spec, weights, addends)
    return Summation(sums, walked_sums(spec, weights, addends, plain, dtype), dtype, lines)


def _plain_dtype(weights: Weights, top: int, bits: int) -> np.dtype[Any] | None:
    """The type that holds every sum of ``x' * (w - zero)``; None where no kernel makes them."""
    above, below = weights.reach(centred=True)
    positive, negative = above.max(initial=0), -below.min(initial=0)
    most = max(int(positive), int(negative))
    if most * top < 2**31:
        return np.dtype(np.int32)
    if most * min(top, 255) < 2**31 and bits > 8:
        return np.dtype(np.int64)
    return np.dtype(np.int64) if weights.quant.bits > 8 and most * top < 2**53 else None


def _product(weights: Weights, quant: Quant, dtype: np.dtype[Any]) -> Sum:
    """``x' @ (w - zero)``, exact in ``dtype``."""
    if weights.quant.bits > 8:
        real = weights.centred.astype(np.float64)

        def in_float64(x: Array) -> Array:  # exact: all sums are below 2**53
            total: Array = x.astype(np.float64) @ real
            return total.astype(dtype)

        return in_float64
    product = ConstantProduct(weights.values.astype(weights.quant.storage), weights.zero)
    if quant.storage.itemsize == 1:
        return product

    def in_bytes(x: Array) -> Array:
        high, low = np.empty(x.shape, np.uint8), np.empty(x.shape, np.uint8)
        place.split16(x.reshape(-1), high.reshape(-1), low.reshape(-1))
        above, below = product(high), product(low)
        total = np.empty(above.shape, dtype)
        place.join16(above.reshape(-1), below.reshape(-1), total.reshape(-1))
        return total

    return in_bytes


def _range(above: Array, below: Array, quant: Quant, zero: int) -> tuple[Array, Array]:
    """The least and greatest sum over K of (x - zero) * w, for all x of ``quant``.

    ``above`` and ``below`` are the sums of the positive and of the negative weights.
    """
    low, high = quant.low - zero, quant.high - zero
    return low * above + high * below, high * above + low * below


def _never_leaves(weights: Weights, quant: Quant, rules: Accumulator) -> bool:
    """Whether no partial sum can leave its accumulator, whatever the inputs.

    The positive products alone, and the negative ones, are as far as any order of adding gets.
    """
    zero = int(quant.zero_point) if rules.operands == "centred" else 0
    least, most = min(0, quant.low - zero), max(0, quant.high - zero)
    centres = centres_weights(rules)
    spans = [(weights.reach(centres), rules.width)]
    if rules.block and weights.values.shape[0]:
        starts = np.arange(0, weights.values.shape[0], rules.block)
        positive, negative = (
            np.add.reduceat(part[weights.order], starts, dtype=np.int64)
            for part in weights.parts(centres)
        )
        spans.append(((positive, negative), rules.block_width))
    for (above, below), width in spans:
        low, high = limits(width)
        if (least * above + most * below).min(initial=0) < low:
            return False
        if (most * above + least * below).max(initial=0) > high:
            return False
    return True

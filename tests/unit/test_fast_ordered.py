"""Saturating 16-bit sums beside a loop in Python's own integers, at every edge of the blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chipdrift.numerics.fast import walk

LEAST, MOST = -(1 << 15), (1 << 15) - 1


def one_by_one(
    x: list[int], order: list[int], taken: int, w: list[int], change: int, clamp: bool
) -> int:
    """One accumulator: add in order, clamp after each."""
    total = 0
    for column, weight in zip(order, w, strict=True):
        total = min(max(total + (x[column] - taken) * weight, LEAST), MOST)
    total += change
    return min(max(total, LEAST), MOST) if clamp else total


@pytest.mark.parametrize("clamp", [True, False])
@pytest.mark.parametrize("taken", [0, 128, 7])
def test_sums_that_saturate_are_those_of_one_product_after_the_other(
    taken: int, clamp: bool
) -> None:
    rng = np.random.default_rng(taken + clamp)
    reached = set()
    for rows, depth, width in itertools.product((1, 2, 3, 4, 5, 8), (1, 3, 4, 6, 33), (1, 32, 33)):
        length, lanes = -(-depth // 4) * 4, -(-width // 32) * 32
        x = rng.choice([0, 1, 254, 255, taken], (rows, depth)).astype(np.uint8)
        order = rng.permutation(depth)
        weights = rng.choice([-127, -3, 0, 90, 127], (depth, width)).astype(np.int16)
        change = rng.choice([-(1 << 17), -40_000, -1, 0, 30_000], width).astype(np.int32)
        padded, places = np.zeros((length, lanes), np.int16), np.zeros(length, np.int64)
        padded[:depth, :width], places[:depth] = weights, order
        out = np.empty((rows, width), np.int32)
        walk.saturating16(x, places, taken, padded, change, int(clamp), out)
        for r, n in itertools.product(range(rows), range(width)):
            column = weights[:, n].tolist()
            expected = one_by_one(
                x[r].tolist(), order.tolist(), taken, column, int(change[n]), clamp
            )
            assert out[r, n] == expected, (rows, depth, width, r, n)
            plain = sum((int(x[r, k]) - taken) * c for k, c in zip(order, column, strict=True))
            final = min(max(plain, LEAST), MOST) + int(change[n])
            reached.add(min(max(final, LEAST), MOST) == expected if clamp else final == expected)
    assert reached == {True, False}  # in some sums, and only in some, the order matters

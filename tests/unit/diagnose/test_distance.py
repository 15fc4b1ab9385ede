"""Distances of tensors, and shares of mechanisms, against sums done by hand."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import numpy as np
import pytest

from chipdrift.diagnose.distance import Tally, range_of
from chipdrift.diagnose.floating import quantized
from chipdrift.diagnose.shapley import shapley
from chipdrift.records import Quantizer

HALF = Quantizer(scale=(0.5,), zero_point=(10,), dtype="uint8")


def of(quantizer: Quantizer | None, *pairs: tuple[Any, Any]) -> Any:
    tally = Tally(quantizer)
    for a, b in pairs:
        tally.add(np.asarray(a), np.asarray(b))
    return tally.distance()


def test_integers_in_steps_and_in_power() -> None:
    a, b = np.array([10, 12, 14, 250], np.uint8), np.array([10, 13, 12, 250], np.uint8)
    found = of(HALF, (a, b))
    assert (found.differing, found.mean_lsb, found.max_lsb, found.bias_lsb) == (0.5, 0.75, 2, -0.25)
    signal = np.square((a.astype(float) - 10) * 0.5).sum()
    assert found.sqnr_db == pytest.approx(10 * np.log10(signal / (0.25 + 1.0)))
    assert found.max_abs == 1.0


def test_integers_against_floats_are_rounded_to_the_quantizer() -> None:
    found = of(HALF, (np.array([10, 11, 255], np.uint8), np.array([0.2, 0.7, 1e9], np.float32)))
    assert found.max_lsb == 0  # 0.2 rounds to 10, 0.7 to 11, and 1e9 is cut off at 255
    assert found.max_abs > 1e8


def test_nan_is_a_difference_beyond_any_signal() -> None:
    found = of(HALF, (np.array([12, 14], np.uint8), np.array([1.0, np.nan], np.float32)))
    assert found.sqnr_db is not None
    assert found.sqnr_db < -100
    plain = of(None, (np.array([1.0, np.nan]), np.array([np.nan, np.nan])))
    assert plain.differing == 0.5
    assert plain.sqnr_db is not None


def test_another_shape_is_compared_in_order_and_another_size_differs() -> None:
    a = np.arange(6, dtype=np.uint8)
    assert of(HALF, (a.reshape(2, 3), a.reshape(3, 2))).differing == 0
    assert of(HALF, (a, a[:4])).differing == 1


def test_empty_tensors_are_equal() -> None:
    assert of(HALF, (np.zeros(0, np.uint8), np.zeros(0, np.uint8))).sqnr_db is None


@pytest.mark.parametrize(
    ("dtype", "expected"),
    [("uint8", (0, 255)), ("int8", (-128, 127)), ("int4", (-8, 7)), ("uint16", (0, 65535))],
)
def test_ranges(dtype: str, expected: tuple[int, int]) -> None:
    assert range_of(dtype) == expected


def test_a_scalar_is_quantized_to_an_array() -> None:
    found = quantized(np.float32(1.3), HALF)  # type: ignore[arg-type]
    assert isinstance(found, np.ndarray)
    assert (found.shape, found.dtype, int(found)) == ((), np.uint8, 13)


def test_shapley_is_the_mean_over_all_orders_of_joining() -> None:
    rng = np.random.default_rng(4)
    worth = {frozenset(np.flatnonzero(bits).tolist()): float(rng.random()) for bits in
             np.ndindex(2, 2, 2, 2)}  # fmt: skip
    found = shapley(4, lambda members: worth[members])
    expected = np.zeros(4)
    orders = list(permutations(range(4)))
    for order in orders:
        for place, player in enumerate(order):
            before = frozenset(order[:place])
            expected[player] += (worth[before | {player}] - worth[before]) / len(orders)
    assert found == pytest.approx(expected.tolist())
    assert sum(found) == pytest.approx(worth[frozenset(range(4))] - worth[frozenset()])

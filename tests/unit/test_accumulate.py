"""Accumulators against Python's integers, one addition at a time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from chipdrift.numerics.accumulate import dot, fit, product_sums
from chipdrift.numerics.profile import Accumulator

Array = np.ndarray[Any, Any]
WIDTHS = [16, 24, 32, 64]
RULES = [
    Accumulator(width=width, overflow=overflow)  # type: ignore[arg-type]
    for width in WIDTHS
    for overflow in ("wrap", "saturate")
]
BLOCKED = [
    Accumulator(width=width, overflow=overflow, block=block, block_width=inner, block_overflow=part)  # type: ignore[arg-type]
    for width, inner in [(16, 16), (24, 16), (32, 16), (32, 24), (64, 16)]
    for block in (1, 2, 3, 7, 64)
    for overflow in ("wrap", "saturate")
    for part in ("wrap", "saturate")
]


def held(value: int, width: int, overflow: str) -> int:
    """``value`` in two's complement of ``width`` bits, by its bytes or by its bounds."""
    if overflow == "saturate":
        return min(max(value, -(2 ** (width - 1))), 2 ** (width - 1) - 1)
    raw = (value % 2**256).to_bytes(32, "little")
    return int.from_bytes(raw[: width // 8], "little", signed=True)


def walked(x: list[int], w: list[int], rules: Accumulator) -> int:
    """One output: products added one after the other, blocks by themselves first."""
    total = part = 0
    for k, (a, b) in enumerate(zip(x, w, strict=True)):
        if not rules.block:
            total = held(total + a * b, rules.width, rules.overflow)
            continue
        part = held(part + a * b, rules.block_width, rules.block_overflow)
        if (k + 1) % rules.block == 0 or k + 1 == len(x):
            total, part = held(total + part, rules.width, rules.overflow), 0
    return total


def walk(x: Array, w: Array, rules: Accumulator) -> list[list[int]]:
    return [[walked(row.tolist(), col.tolist(), rules) for col in w.T] for row in x]


@pytest.mark.parametrize("overflow", ["wrap", "saturate"])
@pytest.mark.parametrize("width", [16, 24, 32])
def test_fit_at_every_edge(width: int, overflow: str) -> None:
    edges = np.array([k * 2 ** (width - 1) for k in range(-5, 6)] + [2**62, -(2**62)])
    values = np.concatenate([edges + d for d in range(-3, 4)])
    wanted = [held(int(v), width, overflow) for v in values]
    assert fit(values, width, overflow).tolist() == wanted


def test_fit_of_16_bits_is_a_cast_to_int16() -> None:
    values = np.arange(-(2**18), 2**18)
    np.testing.assert_array_equal(fit(values, 16, "wrap"), values.astype(np.int16))
    np.testing.assert_array_equal(fit(values, 16, "saturate"), values.clip(-32768, 32767))
    np.testing.assert_array_equal(fit(values, 64, "saturate"), values)


def operands(depth: int, seed: int, size: int = 8) -> tuple[Array, Array]:
    """(3, K) and (K, 4): whole range, one row and one column at the ends, so that sums overflow."""
    rng = np.random.default_rng(seed)
    high = 1 << size
    x, w = rng.integers(0, high, (3, depth)), rng.integers(-high // 2, high // 2, (depth, 4))
    x[0], w[:, 0], w[:, 1] = high - 1, high // 2 - 1, -high // 2
    # Up to the end and back: what saturates on the way is lost, what wraps is not.
    w[: depth // 2, 2], w[depth // 2 :, 2] = high // 2 - 1, -high // 2
    return x, w


def name(rules: Accumulator) -> str:
    block = f"-{rules.block}x{rules.block_width}{rules.block_overflow}" if rules.block else ""
    return f"{rules.width}{rules.overflow}{block}"


@pytest.mark.parametrize("rules", [*RULES, *BLOCKED], ids=name)
def test_dot_is_a_walk_through_the_products(rules: Accumulator) -> None:
    for depth, size in [(0, 8), (1, 8), (2, 8), (5, 8), (70, 8), (33, 16)]:
        x, w = operands(depth, depth, size)
        found = dot(x.astype(np.int32), w.astype(np.int32), rules)
        assert found.dtype == np.int64
        assert found.tolist() == walk(x, w, rules)


def test_the_cases_above_overflow_and_depend_on_order() -> None:
    x, w = operands(70, 70)
    exact = x @ w
    for rules in RULES[:2] + BLOCKED[:20]:
        assert (dot(x, w, rules) != exact).any(), rules
    saturating = Accumulator(width=16, overflow="saturate")
    assert (dot(x, w, saturating) != dot(x[:, ::-1], w[::-1], saturating)).any()
    assert (dot(x, w, saturating) != exact.clip(-32768, 32767)).any()


@pytest.mark.parametrize("width", WIDTHS)
def test_what_wraps_does_not_depend_on_order(width: Any) -> None:
    x, w = operands(70, 1, 16)
    shuffled = np.random.default_rng(2).permutation(70)
    rules = Accumulator(width=width)
    np.testing.assert_array_equal(dot(x, w, rules), dot(x[:, shuffled], w[shuffled], rules))
    blocked = Accumulator(width=width, block=7, block_width=width)
    np.testing.assert_array_equal(dot(x, w, rules), dot(x, w, blocked))


def test_stacked_matrices() -> None:
    rng = np.random.default_rng(5)
    x, w = rng.integers(-255, 256, (2, 3, 4, 9)), rng.integers(-128, 128, (3, 9, 5))
    for rules in (RULES[1], BLOCKED[5]):
        found = dot(x, w, rules)
        assert found.shape == (2, 3, 4, 5)
        for i in range(2):
            for j in range(3):
                assert found[i, j].tolist() == walk(x[i, j], w[j], rules)


@pytest.mark.parametrize(
    "w_zero", [np.array([0]), np.array([3]), np.array([5, -7, 0, 128])], ids=str
)
def test_stored_and_centred_operands_agree_where_nothing_overflows(w_zero: Array) -> None:
    x, w = operands(40, 3)
    for x_zero in (0, 7, 255):
        exact = (x - x_zero) @ (w - w_zero)
        for block in (0, 3):
            inner = {"block": block, "block_width": 32} if block else {}
            sums = {}
            for kind in ("centred", "stored"):
                rules = Accumulator(width=32, operands=kind, **inner)  # type: ignore[arg-type]
                products, correction = product_sums(x, w, x_zero, w_zero, rules)
                np.testing.assert_array_equal(products - correction, exact)
                sums[kind] = products
            np.testing.assert_array_equal(sums["stored"], x @ w)


def test_which_operands_overflow_is_seen() -> None:
    """Stored ones are larger: with 16 bits only they overflow here, and the correction is exact."""
    x, w = np.full((1, 3), 200), np.array([[100], [100], [-100]])
    zero = np.array([0])
    near = Accumulator(width=16, overflow="saturate")
    far = Accumulator(width=16, overflow="saturate", operands="stored")
    assert [v.item() for v in product_sums(x, w, 199, zero, near)] == [100, 0]
    assert [v.item() for v in product_sums(x, w, 199, zero, far)] == [12767, 19900]

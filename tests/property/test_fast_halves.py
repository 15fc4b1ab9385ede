"""Sums of float16 products, compiled, are the reference's bit for bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chipdrift.numerics.fast.halves import compile_sums
from chipdrift.numerics.smallfloat import SmallFloat, dot

# Zeros of both signs, subnormals, the largest, infinities and NaN come of the strategy itself.
HALVES = st.floats(width=16)
RULES = [
    {"accumulate": width, **order}
    for width in (32, 64)
    for order in (
        {},
        *({"order": "blocks", "block": block} for block in (2, 3, 16, 256)),
    )
]


def same(a: Any, b: Any, rules: SmallFloat, bias: Any = None) -> None:
    found, expected = dot(a, b, rules, bias, compile_sums(rules)), dot(a, b, rules, bias)
    nan = np.isnan(expected)  # a NaN's sign and payload are the processor's business
    np.testing.assert_array_equal(np.isnan(found), nan)
    np.testing.assert_array_equal(found.view(np.uint32)[~nan], expected.view(np.uint32)[~nan])


@given(st.data(), st.sampled_from(RULES))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_every_value_of_float16(data: st.DataObject, keys: dict[str, Any]) -> None:
    m, k, n = (data.draw(st.integers(0 if i == 1 else 1, 7)) for i in range(3))
    a, b = (
        data.draw(arrays.arrays(np.float16, shape, elements=HALVES)) for shape in ((m, k), (k, n))
    )
    bias = data.draw(st.none() | arrays.arrays(np.float16, (n,), elements=HALVES))
    same(a, b, SmallFloat(**keys), bias)


@pytest.mark.parametrize("keys", RULES)
def test_long_sums_that_cancel(keys: dict[str, Any]) -> None:
    """Terms from 1e-6 to 1e4 with both signs: what is added when, and rounded to what, shows."""
    rng = np.random.default_rng(8)
    a, b = (rng.standard_normal(s) * 10.0 ** rng.integers(-4, 3, s) for s in ((24, 517), (517, 40)))
    rules = SmallFloat(**keys)
    same(a, b, rules)
    others = [SmallFloat(**other) for other in RULES if other != keys]
    total = compile_sums(rules)
    assert total is not None
    half = [x.astype(np.float16).astype(np.float64) for x in (a, b)]
    mine = total(*half)
    assert all(not np.array_equal(mine, compile_sums(other)(*half)) for other in others)  # type: ignore[misc]


@pytest.mark.parametrize("keys", RULES)
@pytest.mark.parametrize("groups", [2, 5])
def test_groups_are_summed_apart(keys: dict[str, Any], groups: int) -> None:
    rng = np.random.default_rng(9)
    a, b = (rng.standard_normal(s).astype(np.float16) for s in ((9, groups * 21), (groups * 21, 3)))
    bias = rng.standard_normal(groups * 3).astype(np.float16)
    rules = SmallFloat(**keys)
    found = dot(a, b, rules, bias, compile_sums(rules, groups))
    parts = [(slice(21 * g, 21 * g + 21), slice(3 * g, 3 * g + 3)) for g in range(groups)]
    expected = [dot(a[:, own], b[own], rules, bias[out]) for own, out in parts]
    np.testing.assert_array_equal(found, np.concatenate(expected, axis=1))


@pytest.mark.parametrize(
    "keys",
    [
        {"accumulate": 16},
        {"accumulate": "exact"},
        {"products": "float16"},
        {"subnormals": "flush"},
        {"overflow": "clamp"},
        {"order": "pairwise"},
        {"order": "blocks", "block": 4, "within": "pairwise"},
        {"format": "bfloat16", "accumulate": 32},
    ],
)
def test_what_it_does_not_know_it_leaves_to_the_reference(keys: dict[str, Any]) -> None:
    assert compile_sums(SmallFloat(**keys)) is None

"""Which candidates are shipped, on instances small enough to be seen through."""

from __future__ import annotations

import pytest

from chipdrift.plan import cover
from chipdrift.plan.cover import choose_variants

COSTS = {
    "a": {"p": 1.0, "q": 2.0, "r": 1.5},
    "b": {"q": 10.0, "r": 12.0},
    "c": {"r": 3.0, "s": 2.9},
}


def test_without_a_cap_each_chip_gets_its_cheapest() -> None:
    assert choose_variants(COSTS, None) == {"a": "p", "b": "q", "c": "s"}
    assert choose_variants(COSTS, 3) == {"a": "p", "b": "q", "c": "s"}
    assert choose_variants(COSTS, 99) == {"a": "p", "b": "q", "c": "s"}


def test_one_for_all_serves_as_many_as_it_can() -> None:
    assert choose_variants(COSTS, 1) == {"a": "r", "b": "r", "c": "r"}


def test_two_cost_least_by_each_chips_own_measure() -> None:
    """In multiples of 1, 10 and 2.9: {p, r} gives 1 + 1.2 + 1.034, {q, r} 1.5 + 1 + 1.034."""
    found = choose_variants(COSTS, 2)
    assert found == {"a": "p", "b": "r", "c": "r"}


def test_a_dear_chip_weighs_no_more_than_a_cheap_one() -> None:
    """In sums of cost the bytes of chip b would decide; in multiples the three others do."""
    costs = {f"ms{i}": {"x": 1.0, "y": 1.5} for i in range(3)}
    costs["bytes"] = {"x": 1_400_000.0, "y": 1_000_000.0}
    assert set(choose_variants(costs, 1).values()) == {"x"}


def test_a_chip_without_a_candidate_gets_none_and_moves_nobody() -> None:
    assert choose_variants({**COSTS, "d": {}}, 1) == {"a": "r", "b": "r", "c": "r", "d": None}
    assert choose_variants({"d": {}}, 1) == {"d": None}
    assert choose_variants({}, 1) == {}


def test_a_cap_that_leaves_a_chip_without_leaves_as_few_as_can_be() -> None:
    costs = {"a": {"x": 1.0}, "b": {"x": 1.0}, "c": {"y": 1.0}}
    assert choose_variants(costs, 1) == {"a": "x", "b": "x", "c": None}
    costs = {"a": {"x": 1.0, "y": 90.0}, "b": {"x": 1.0, "y": 90.0}, "c": {"y": 1.0}}
    assert choose_variants(costs, 1) == {"a": "y", "b": "y", "c": "y"}


def test_ties_go_to_the_name_that_sorts_first() -> None:
    costs = {"one": {"z": 1.0, "m": 1.0, "a": 2.0}, "two": {"m": 1.0, "z": 1.0}}
    assert choose_variants(costs, None) == {"one": "m", "two": "m"}
    assert choose_variants({k: dict(reversed(v.items())) for k, v in costs.items()}, 1) == {
        "one": "m",
        "two": "m",
    }


def test_without_a_cap_the_fewest_serve_that_cost_no_chip_more() -> None:
    """c and d share y though x sorts first and c alone would take it."""
    costs = {"a": {"z": 1.0}, "c": {"x": 2.0, "y": 2.0, "z": 2.1}, "d": {"y": 3.0, "w": 3.0}}
    assert choose_variants(costs, None) == {"a": "z", "c": "y", "d": "y"}
    costs["c"]["y"] = 2.001
    assert choose_variants(costs, None)["c"] == "x"
    costs["c"]["y"] = 2.0000001  # one cost, written down twice
    assert choose_variants(costs, None)["c"] == "y"


def test_ties_go_to_what_is_nearer_before_they_go_to_the_name() -> None:
    costs = {"one": {"a": 1.0, "b": 1.0}, "two": {"a": 4.0, "b": 4.0}}
    worth = {"one": {"a": 30.0, "b": 20.0}, "two": {"a": 20.0, "b": 40.0}}
    assert choose_variants(costs, None, worth) == {"one": "b", "two": "b"}
    assert choose_variants(costs, 1, worth) == {"one": "b", "two": "b"}
    assert choose_variants(costs, None) == {"one": "a", "two": "a"}
    costs["two"]["b"] = 5.0  # nearness never pays for cost
    assert choose_variants(costs, None, worth) == {"one": "a", "two": "a"}


def test_costs_of_nothing_are_no_division() -> None:
    assert choose_variants({"a": {"x": 0.0, "y": 1.0}, "b": {"y": 1.0}}, 1) == {"a": "y", "b": "y"}


def test_beyond_the_limit_it_is_greedy_and_near(monkeypatch: pytest.MonkeyPatch) -> None:
    exact = choose_variants(COSTS, 2)
    monkeypatch.setattr(cover, "_MOST", 0)
    greedy = choose_variants(COSTS, 2)
    assert len(set(greedy.values())) <= 2
    assert None not in greedy.values()

    def toll(found: dict[str, str | None]) -> float:
        return sum(COSTS[c][n or ""] / min(COSTS[c].values()) for c, n in found.items())

    assert toll(greedy) <= 1.2 * toll(exact)


def test_many_candidates_do_not_take_long() -> None:
    costs = {f"c{i}": {f"v{j}": 1.0 + (i * 7 + j * 3) % 11 for j in range(700)} for i in range(6)}
    costs |= {f"own{i}": {f"own{i}": 1.0, "v0": 5.0} for i in range(9)}
    found = choose_variants(costs, 8)  # 709 over 8: billions of sets
    assert len(set(found.values())) <= 8
    assert None not in found.values()

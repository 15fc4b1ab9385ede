"""A chip's candidates for confirmation: in the order of cost, nearer and nearer, capped."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from chipdrift.plan.budget import parse_budget
from chipdrift.plan.desk import Desk
from chipdrift.plan.judge import Figures
from chipdrift.plan.run import _allowed, _chosen
from chipdrift.plan.search import frontier
from chipdrift.plan.told import Found
from chipdrift.records import Interval, MetricResult

BUDGET, TOP1 = parse_budget("drop <= 1%", "top1")
# By candidate: loss (None: it does not run), SQNR, and cost on each chip.
Planted = dict[str, tuple[float | None, float, float]]


def found_for(chips: dict[str, Planted]) -> Found:
    """A finished search, one group for each chip."""

    def price(scheme: Any, side: Any) -> Any:
        return SimpleNamespace(value=chips[side.chip.name][scheme.name][2])

    judge = SimpleNamespace(metric=TOP1)
    desk = Desk(cast(Any, judge), cast(Any, None), BUDGET, price, lambda _: None)
    groups = {}
    for chip, planted in chips.items():
        groups[chip] = SimpleNamespace(scores={n: figures(*p[:2]) for n, p in planted.items()})
        for name in planted:
            entry = SimpleNamespace(scheme=SimpleNamespace(name=name))
            desk.entries[name] = cast(Any, entry)
    sides = [SimpleNamespace(chip=SimpleNamespace(name=chip, group=chip)) for chip in chips]
    return Found(cast(Any, None), cast(Any, tuple(sides)), desk, cast(Any, None), cast(Any, groups))


def figures(loss: float | None, sqnr: float) -> Figures:
    if loss is None:
        return Figures(error="does not run")
    return Figures(
        metric=MetricResult(name="top1", value=0.9 - loss),
        loss=Interval(value=loss),
        sqnr_db=sqnr,
        samples=100,
    )


def queues(found: Found, most: int | None = None) -> dict[str, list[str]]:
    """As run_plan makes them."""
    allowed = _allowed(found, most)
    first = _chosen(found, found.sides, None) if most is None else {}
    return {
        s.chip.name: [q.name for q in found.queue(s, allowed, first.get(s.chip.name))]
        for s in found.sides
    }


def test_behind_the_cheapest_come_dearer_ones_that_are_nearer_each() -> None:
    planted: Planted = {
        "cheap": (0.01, 25.0, 1.0),
        "dearer-and-worse": (0.0, 24.0, 1.2),
        "nearer": (0.0, 30.0, 1.5),
        "as-near": (0.0, 30.0, 1.6),
        "misses": (0.02, 50.0, 0.5),
        "gone": (None, 99.0, 0.1),
        "nearest": (-0.01, 45.0, 9.0),
    }
    assert queues(found_for({"a": planted})) == {"a": ["cheap", "nearer", "nearest"]}


def test_at_equal_cost_the_nearer_one_comes_first() -> None:
    planted: Planted = {"b": (0.0, 20.0, 1.0), "a": (0.0, 19.0, 1.0), "c": (0.0, 28.0, 1.0)}
    assert queues(found_for({"a": planted})) == {"a": ["c"]}


def test_at_equal_cost_chips_share_what_serves_both() -> None:
    found = found_for(
        {
            "a": {"x": (0.0, 30.0, 1.0), "y": (0.0, 28.0, 1.0)},
            "b": {"x": (0.5, 9.0, 1.0), "y": (0.0, 28.0, 1.0)},
        }
    )
    # Behind y, x costs a the same and is nearer.
    assert queues(found) == {"a": ["y", "x"], "b": ["y"]}


def test_where_none_holds_the_nearest_two_are_asked() -> None:
    planted: Planted = {
        "far": (0.5, 9.0, 1.0),
        "near": (0.03, 20.0, 5.0),
        "as-near-and-cheaper": (0.03, 20.0, 2.0),
        "gone": (None, 0.0, 0.1),
    }
    assert queues(found_for({"a": planted})) == {"a": ["as-near-and-cheaper", "near"]}
    assert queues(found_for({"a": {"gone": (None, 0.0, 1.0)}})) == {"a": []}


def test_what_the_cap_chose_is_asked_though_it_is_no_nearer_than_a_cheaper_one() -> None:
    """Chip a's own is cheaper and nearer; chip b runs the other alone."""
    found = found_for(
        {
            "a": {"own": (0.0, 40.0, 1.0), "shared": (0.01, 30.0, 1.1)},
            "b": {"own": (None, 0.0, 1.0), "shared": (0.0, 30.0, 1.0)},
        }
    )
    assert queues(found) == {"a": ["own"], "b": ["shared"]}
    assert queues(found, 1) == {"a": ["shared"], "b": ["shared"]}
    assert queues(found, 2) == {"a": ["own"], "b": ["shared"]}


def test_under_a_cap_the_nearest_is_told_where_no_chip_holds_the_budget() -> None:
    found = found_for(
        {
            "a": {"x": (0.05, 20.0, 1.0), "y": (0.04, 21.0, 2.0)},
            "b": {"x": (0.02, 25.0, 1.0), "y": (0.06, 20.0, 2.0)},
        }
    )
    # By hand: x is 0.04/0.03 and 1 times the nearest, y 1 and 0.05/0.01 times.
    assert queues(found, 1) == {"a": ["x"], "b": ["x"]}
    assert queues(found, 2) == {"a": ["y", "x"], "b": ["x", "y"]}


def test_a_chip_that_holds_nothing_takes_the_nearest_of_what_is_shipped() -> None:
    planted: dict[str, Planted] = {
        "good": {"x": (0.0, 30.0, 1.0), "y": (0.0, 30.0, 2.0)},
        "bad": {"x": (0.5, 5.0, 1.0), "y": (0.2, 9.0, 2.0)},
    }
    assert queues(found_for(planted), 1) == {"good": ["x"], "bad": ["x"]}
    assert queues(found_for(planted), 2) == {"good": ["x"], "bad": ["y", "x"]}


@pytest.mark.parametrize("most", [1, 2, 3])
def test_no_more_variants_than_the_cap_can_come_of_it(most: int) -> None:
    chips: dict[str, Planted] = {
        f"chip{i}": {
            f"v{j}": (0.005 if (i + j) % 3 else 0.04, 20.0 + (i * j) % 7, 1.0 + (i + 2 * j) % 5)
            for j in range(5)
        }
        for i in range(4)
    }
    found = found_for(chips)
    shipped = {name for queue in queues(found, most).values() for name in queue}
    assert 1 <= len(shipped) <= most


def test_the_frontier_is_what_nothing_beats() -> None:
    """Cost, loss, SQNR by hand: c is beaten by b, d ties b's loss with less noise at more cost."""
    scores = {
        "a": figures(0.05, 20.0),
        "b": figures(0.01, 25.0),
        "c": figures(0.02, 30.0),
        "d": figures(0.01, 35.0),
        "e": figures(0.01, 35.0),
        "f": figures(-0.01, 20.0),
        "g": figures(None, 0.0),
        "h": figures(-0.5, 99.0),
    }
    costs = dict(zip("abcdefgh", (1, 2, 3, 4, 5, 6, 0.5, float("inf")), strict=True))
    assert frontier(costs, scores) == ["a", "b", "d", "f"]
    assert frontier({}, {}) == []

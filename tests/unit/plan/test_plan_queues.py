"""A chip's candidates for confirmation: in the order of cost, nearer and nearer, capped."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given as given_by
from hypothesis import settings
from hypothesis import strategies as st

from chipdrift.metrics import Outputs
from chipdrift.plan.budget import parse_budget
from chipdrift.plan.confirm import LOOKS
from chipdrift.plan.desk import Desk
from chipdrift.plan.judge import Figures
from chipdrift.plan.run import _allowed, _chosen, _confirmed, _share_finds
from chipdrift.plan.search import frontier
from chipdrift.plan.told import Found
from chipdrift.records import Interval, MetricResult

BUDGET, TOP1 = parse_budget("drop <= 1%", "top1")
# By candidate: loss (None: it does not run), SQNR, and cost on each chip.
Planted = dict[str, tuple[float | None, float, float]]


def found_for(chips: dict[str, Planted]) -> Found:
    """A finished search, one group for each chip."""

    def price(scheme: Any, side: Any) -> Any:
        # What a chip's group has no figures of costs something there, too.
        return SimpleNamespace(value=chips[side.chip.name].get(scheme.name, (0, 0, 1.0))[2])

    right = Outputs(arrays={"y": np.eye(2)}, primary="y", labels=np.arange(2), extras={})
    judge = SimpleNamespace(metric=TOP1, every=(0, 1), baseline=lambda _: right)
    desk = Desk(cast(Any, judge), cast(Any, None), BUDGET, price, lambda _: None)
    groups, sides = {}, []
    for chip, planted in chips.items():
        side = SimpleNamespace(
            chip=SimpleNamespace(name=chip, group=chip, evidence="prediction"), target=chip
        )
        sides.append(side)
        groups[chip] = SimpleNamespace(
            side=side,
            scores={n: figures(*p[:2]) for n, p in planted.items()},
            thorough=True,
            margin=0.0,
            run_on=lambda: None,
            may_run=lambda scheme: False,
            score_on=lambda schemes: None,
        )
        for name in planted:
            entry = SimpleNamespace(scheme=SimpleNamespace(name=name))
            desk.entries[name] = cast(Any, entry)
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


def test_the_order_is_that_of_cost() -> None:
    planted: Planted = {
        "cheap": (0.01, 25.0, 1.0),
        "dearer-and-worse": (0.0, 24.0, 1.2),
        "nearer": (0.0, 30.0, 1.5),
        "as-near": (0.0, 30.0, 1.6),
        "misses": (0.02, 50.0, 0.5),
        "gone": (None, 99.0, 0.1),
        "nearest": (-0.01, 45.0, 9.0),
    }
    assert queues(found_for({"a": planted})) == {
        "a": ["cheap", "dearer-and-worse", "nearer", "as-near", "nearest"]
    }


def test_at_equal_cost_the_nearer_one_comes_first() -> None:
    planted: Planted = {"b": (0.0, 20.0, 1.0), "a": (0.0, 19.0, 1.0), "c": (0.0, 28.0, 1.0)}
    assert queues(found_for({"a": planted})) == {"a": ["c", "b", "a"]}


def test_at_equal_cost_chips_share_what_serves_both() -> None:
    found = found_for(
        {
            "a": {"x": (0.0, 30.0, 1.0), "y": (0.0, 28.0, 1.0)},
            "b": {"x": (0.5, 9.0, 1.0), "y": (0.0, 28.0, 1.0)},
        }
    )
    # Behind y, x costs a the same and is nearer.
    assert queues(found) == {"a": ["y", "x"], "b": ["y"]}


def test_where_none_holds_the_nearest_comes_first() -> None:
    planted: Planted = {
        "far": (0.5, 9.0, 1.0),
        "near": (0.03, 20.0, 5.0),
        "as-near-and-cheaper": (0.03, 20.0, 2.0),
        "gone": (None, 0.0, 0.1),
    }
    assert queues(found_for({"a": planted})) == {"a": ["as-near-and-cheaper", "near", "far"]}
    assert queues(found_for({"a": {"gone": (None, 0.0, 1.0)}})) == {"a": []}


def test_what_the_cap_chose_is_asked_though_it_is_no_nearer_than_a_cheaper_one() -> None:
    """Chip a's own is cheaper and nearer; chip b runs the other alone."""
    found = found_for(
        {
            "a": {"own": (0.0, 40.0, 1.0), "shared": (0.01, 30.0, 1.1)},
            "b": {"own": (None, 0.0, 1.0), "shared": (0.0, 30.0, 1.0)},
        }
    )
    assert queues(found) == {"a": ["own", "shared"], "b": ["shared"]}
    assert queues(found, 1) == {"a": ["shared"], "b": ["shared"]}
    assert queues(found, 2) == {"a": ["own", "shared"], "b": ["shared"]}


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
    assert queues(found_for(planted), 2) == {"good": ["x", "y"], "bad": ["y", "x"]}


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


class Confirming:
    """A judge of the confirming samples: planted losses by (scheme, chip)."""

    metric = TOP1

    def __init__(self, losses: Mapping[tuple[str, str], float | None]) -> None:
        self.losses = losses
        self.asked: list[tuple[str, str]] = []

    def measure(self, pairs: Any, level: float = 0.95) -> list[Figures]:
        names = [(scheme.name, target) for scheme, target in pairs]
        self.asked += names
        return [figures(self.losses[key], 0.0) for key in names]


def confirmed(
    chips: dict[str, Planted],
    losses: Mapping[tuple[str, str], float | None],
    most: int | None,
    late: dict[str, str] | None = None,
) -> tuple[dict[str, Any], Found, Confirming]:
    """As run_plan confirms: in rounds, nothing further to be searched for but what is ``late``."""
    found = found_for(chips)
    for chip, name in (late or {}).items():
        scores = cast(Any, found.groups[chip].scores)
        figures_then, rounds = scores.pop(name), [0]

        def share(
            _: Any,
            name: str = name,
            scores: Any = scores,
            then: Any = figures_then,
            n: Any = rounds,
        ) -> None:
            n[0] += 1
            if n[0] == 2:
                scores[name] = then

        cast(Any, found.groups[chip]).score_on = share
    judge = Confirming(losses)
    return _confirmed(found, cast(Any, judge), most), found, judge


def given(done: dict[str, Any]) -> dict[str, tuple[str | None, str]]:
    return {c: (d.scheme.name if d.scheme else None, d.standing) for c, d in done.items()}


TWO: dict[str, Planted] = {
    chip: {"x": (0.0, 20.0, 1.0), "y": (0.0, 30.0, 2.0), "z": (0.0, 40.0, 3.0)} for chip in "ab"
}


def test_a_cap_holds_after_one_chip_misses_what_the_other_was_confirmed_with() -> None:
    losses = dict.fromkeys([(s, c) for s in "xyz" for c in "ab"], 0.0) | {("x", "b"): 0.05}
    done, found, _ = confirmed(TWO, losses, 1)
    assert given(done) == {"a": ("y", "within"), "b": ("y", "within")}
    assert (done["a"].looks, done["b"].looks) == (2, 2)
    # Without the cap a would have x; b would not.
    assert found.alone == {"a": "x", "b": "y"}
    done, _, _ = confirmed(TWO, losses, 2)
    assert given(done) == {"a": ("x", "within"), "b": ("y", "within")}
    assert (done["a"].looks, done["b"].looks) == (1, 2)


def test_a_chip_without_a_look_left_gives_way_to_those_that_hold() -> None:
    """Nothing holds on b: a keeps what is cheapest, and b is told to miss."""
    losses = {(s, c): 0.0 if c == "a" else 0.05 for s in "xyz" for c in "ab"}
    done, _, judge = confirmed(TWO, losses, 1)
    assert given(done) == {"a": ("x", "within"), "b": ("x", "missed")}
    assert done["b"].looks == 3
    assert {key for key in judge.asked if key[1] == "b"} == {("x", "b"), ("y", "b"), ("z", "b")}


def test_what_was_missed_there_is_not_what_a_chip_would_have_alone() -> None:
    chips: dict[str, Planted] = {"a": {"x": (0.0, 20.0, 1.0), "y": (0.0, 30.0, 2.0)}}
    done, found, _ = confirmed(chips, {("x", "a"): 0.05, ("y", "a"): 0.0}, None)
    assert given(done) == {"a": ("y", "within")}
    assert found.alone == {"a": "y"}


def test_no_more_is_asked_of_a_variant_than_of_the_float_model() -> None:
    """It lost four points from choosing to confirming; no less than no drop can be asked for."""
    chips: dict[str, Planted] = {"a": {"x": (0.01, 20.0, 1.0)}}
    _, found, _ = confirmed(chips, {("x", "a"): 0.05}, None)
    assert found.desk.room() == pytest.approx(0.01)
    assert found.groups["a"].margin == pytest.approx(0.01)
    _, found, _ = confirmed(chips, {("x", "a"): 0.014}, None)
    assert found.groups["a"].margin == pytest.approx(0.004)


def test_what_is_no_nearer_than_what_missed_is_not_asked_about() -> None:
    chips: dict[str, Planted] = {
        "a": {"x": (0.0, 30.0, 1.0), "as-near": (0.0, 30.5, 2.0), "nearer": (0.0, 40.0, 3.0)}
    }
    losses = {("x", "a"): 0.05, ("as-near", "a"): 0.0, ("nearer", "a"): 0.0}
    done, _, judge = confirmed(chips, losses, None)
    assert given(done) == {"a": ("nearer", "within")}
    assert ("as-near", "a") not in judge.asked


FIVE: Planted = {
    "a": (0.01, 20.0, 1.0),
    "b": (0.009, 22.0, 1.1),
    "c": (0.008, 24.0, 1.2),
    "dear": (-0.03, 40.0, 3.0),
    "sure": (-0.01, 30.0, 2.0),
}
MISSED = {("a", "p"): 0.018, ("b", "p"): 0.012, ("c", "p"): 0.011}


def test_where_all_looks_missed_the_surest_has_the_last() -> None:
    """a lost 0.8 points more than it had; of those with 1.6 points of room "sure" is cheaper."""
    losses = MISSED | {("sure", "p"): 0.01, ("dear", "p"): 0.0}
    done, _, judge = confirmed({"p": FIVE}, losses, None)
    assert [name for name, _ in judge.asked if name not in "abc"] == ["sure"]
    assert given(done) == {"p": ("sure", "within")}
    assert done["p"].looks == LOOKS + 1
    assert [name for name, _ in done["p"].passed_over] == ["a", "b", "c"]
    # Where it misses, too, the nearest of all four is told.
    done, _, _ = confirmed({"p": FIVE}, MISSED | {("sure", "p"): 0.0105}, None)
    assert given(done) == {"p": ("sure", "missed")}
    done, _, _ = confirmed({"p": FIVE}, MISSED | {("sure", "p"): 0.03}, None)
    assert given(done) == {"p": ("c", "missed")}
    assert done["p"].looks == LOOKS + 1


def test_where_none_has_the_room_the_one_with_most_has_the_last_look() -> None:
    planted = {name: FIVE[name] for name in "abc"} | {
        "most": (0.003, 25.0, 5.0),
        "less": (0.004, 25.0, 4.0),
    }
    losses = MISSED | {("most", "p"): 0.01, ("less", "p"): 0.01}
    done, _, _ = confirmed({"p": planted}, losses, None)
    assert given(done) == {"p": ("most", "within")}


def test_under_a_cap_the_last_look_is_at_what_is_shipped() -> None:
    chips = {"p": FIVE, "q": {"dear": (0.0, 40.0, 3.0)}}
    losses = MISSED | {("sure", "p"): 0.0, ("dear", "p"): 0.0, ("dear", "q"): 0.0}
    done, _, _ = confirmed(chips, losses, 1)
    assert given(done) == {"p": ("dear", "within"), "q": ("dear", "within")}
    done, _, _ = confirmed(chips, losses, 2)
    assert len({name for name, _ in given(done).values()}) <= 2


@pytest.mark.parametrize("most", [None, 1, 2])
def test_the_last_look_may_move_all_chips_that_missed_under_a_cap(most: int | None) -> None:
    losses = {(name, chip): lost for (name, _), lost in MISSED.items() for chip in "pq"}
    losses |= {("sure", chip): 0.0 for chip in "pq"} | {("dear", chip): 0.0 for chip in "pq"}
    done, _, _ = confirmed({"p": FIVE, "q": FIVE}, losses, most)
    assert given(done) == {"p": ("sure", "within"), "q": ("sure", "within")}
    assert all(one.last for one in done.values())


def test_what_the_last_look_adds_takes_no_room_that_the_cap_has_not() -> None:
    """p is saved by its last look; what q keeps, which missed there, gives way to p's."""
    losses = {(name, chip): lost for (name, _), lost in MISSED.items() for chip in "pq"}
    losses |= {("sure", "p"): 0.0, ("sure", "q"): 0.05, ("dear", "p"): 0.0, ("dear", "q"): 0.0}
    done, _, _ = confirmed({"p": FIVE, "q": FIVE}, losses, 1)
    assert given(done) == {"p": ("sure", "within"), "q": ("sure", "missed")}


@pytest.mark.parametrize(("lost", "gets"), [(0.05, ("sure", "missed")), (None, (None, "none"))])
def test_a_chip_may_be_given_what_its_own_search_knows_nothing_of(
    lost: float | None, gets: tuple[str | None, str]
) -> None:
    """The cap is full of what the other chip needs."""
    losses: dict[tuple[str, str], float | None] = {
        (name, chip): one for (name, _), one in MISSED.items() for chip in "pq"
    }
    losses |= {("sure", "p"): 0.0, ("dear", "p"): 0.0, ("sure", "q"): lost}
    own = {name: FIVE[name] for name in "abc"}
    done, found, _ = confirmed({"p": FIVE, "q": own}, losses, 1)
    assert given(done) == {"p": ("sure", "within"), "q": gets}
    assert found.alone["q"] is None


@pytest.mark.parametrize("most", [None, 1])
def test_what_does_not_run_when_confirming_gives_way_and_is_no_look(most: int | None) -> None:
    losses = dict.fromkeys([(s, c) for s in "xyz" for c in "ab"], 0.0) | {("x", "b"): None}
    done, found, _ = confirmed(TWO, losses, most)
    assert given(done) == {"a": ("y" if most else "x", "within"), "b": ("y", "within")}
    assert (done["b"].looks, done["b"].passed_over) == (1, ())
    assert "x" not in found.costs(found.sides[1])


def test_where_nothing_runs_when_confirming_the_reason_is_told() -> None:
    done, _, judge = confirmed(TWO, dict.fromkeys([(s, c) for s in "xyz" for c in "ab"]), None)
    assert given(done) == {"a": (None, "none"), "b": (None, "none")}
    assert done["a"].figures.error
    assert len(judge.asked) == 6


def test_what_has_room_for_what_was_lost_is_asked_though_it_is_no_nearer() -> None:
    """x lost 0.4 points from choosing to confirming; the other has a whole point of room."""
    chips: dict[str, Planted] = {
        "a": {"x": (0.01, 30.0, 1.0), "roomy": (0.0, 30.5, 2.0), "tight": (0.008, 30.5, 1.5)}
    }
    losses = {("x", "a"): 0.014, ("roomy", "a"): 0.004, ("tight", "a"): 0.0}
    done, _, judge = confirmed(chips, losses, None)
    assert given(done) == {"a": ("roomy", "within")}
    assert ("tight", "a") not in judge.asked


@pytest.mark.parametrize("loss", [0.0, 0.05])
def test_a_chip_takes_what_another_found_meanwhile_if_it_costs_less(loss: float) -> None:
    """x is found for a while b has y already; it serves b for less, where it holds there."""
    chips: dict[str, Planted] = {
        "a": {"w": (0.0, 20.0, 1.0), "x": (0.0, 30.0, 1.5)},
        "b": {"y": (0.0, 30.0, 2.0), "x": (0.0, 29.0, 1.5)},
    }
    losses = {("w", "a"): 0.05, ("x", "a"): 0.0, ("y", "b"): 0.0, ("x", "b"): loss}
    done, _, _ = confirmed(chips, losses, None, {"a": "x", "b": "x"})
    assert given(done) == {"a": ("x", "within"), "b": ("y" if loss else "x", "within")}
    assert (done["a"].looks, done["b"].looks) == (2, 1 if loss else 2)
    chips["b"]["x"] = (0.0, 29.0, 2.5)  # dearer there: it is not asked about
    done, _, judge = confirmed(chips, losses, None, {"a": "x", "b": "x"})
    assert given(done)["b"] == ("y", "within")
    assert ("x", "b") not in judge.asked


@pytest.mark.parametrize(
    ("most", "asked"), [(None, ["less", "same"]), (2, ["less", "same", "more"])]
)
def test_what_costs_a_group_more_than_what_it_has_is_tried_there_only_under_a_cap(
    most: int | None, asked: list[str]
) -> None:
    planted: Planted = {
        "less": (0.0, 30.0, 1.0),
        "same": (0.0, 30.0, 2.0),
        "more": (0.0, 30.0, 3.0),
    }
    found = found_for(
        {"a": planted, "b": {"own": (0.0, 30.0, 2.0)}, "c": {"gone": (0.05, 9.0, 1.0)}}
    )
    prices = {name: cost for name, (_, _, cost) in {**planted, "own": (0, 0, 2.0)}.items()}
    found.desk.price = lambda scheme, side: cast(Any, SimpleNamespace(value=prices[scheme.name]))
    tried: dict[str, list[str]] = {}
    for name, group in found.groups.items():
        cast(Any, group).may_run = lambda scheme: True
        cast(Any, group).score_on = lambda schemes, name=name: tried.update(
            {name: [scheme.name for scheme in schemes]}
        )
    _share_finds(found, most)
    assert tried["b"] == [*asked, "own"]
    assert tried["c"] == ["less", "same", "more", "own"]  # it has nothing yet


def test_a_single_scheme_holds_where_the_confirming_samples_say_so_or_else_the_choosing() -> None:
    """x misses on the choosing samples and is shipped all the same; y held there and misses."""
    chips: dict[str, Planted] = {
        chip: {"x": (0.02, 30.0, 1.0), "y": (0.0, 30.0, 2.0), "z": (0.0, 30.0, 3.0)}
        for chip in "ab"
    }
    found = found_for(chips)
    schemes = [found.desk.entries[name].scheme for name in "xyz"]
    found.asked = cast(Any, SimpleNamespace(choosing=SimpleNamespace(schemes=schemes)))
    assert [scheme.name for scheme in found.singles()] == ["y", "z"]
    for chip in "ab":
        found.seen[chip] = [(schemes[0], figures(0.0, 30.0)), (schemes[1], figures(0.05, 30.0))]
    assert [scheme.name for scheme in found.singles()] == ["x", "z"]
    found.seen["b"][0] = (schemes[0], figures(None, 0.0))
    assert [scheme.name for scheme in found.singles()] == ["z"]


@given_by(st.data(), st.sampled_from([None, 1, 2, 3]))
@settings(max_examples=300, deadline=None)
def test_whatever_the_confirming_samples_say_the_cap_and_the_figures_hold(
    data: st.DataObject, most: int | None
) -> None:
    loss = st.sampled_from([-0.01, 0.0, 0.005, 0.02, 0.05])
    names = [f"v{i}" for i in range(data.draw(st.integers(1, 5)))]
    chips: dict[str, Planted] = {
        f"chip{i}": {
            name: (
                data.draw(loss),
                data.draw(st.integers(10, 20)) * 1.5,
                data.draw(st.integers(1, 4)),
            )
            for name in names
        }
        for i in range(data.draw(st.integers(1, 4)))
    }
    said = st.one_of(loss, st.none())
    losses = {(name, chip): data.draw(said) for name in names for chip in chips}
    done, found, judge = confirmed(chips, losses, most)
    shipped = {one.scheme.name for one in done.values() if one.scheme is not None}
    assert len(shipped) <= (most or len(chips))
    for chip, one in done.items():
        asked = {name: losses[name, chip] for name, where in judge.asked if where == chip}
        ran = {name: lost for name, lost in asked.items() if lost is not None}
        assert one.looks <= len(ran)
        if one.scheme is None:
            assert one.standing == "none"
        else:
            assert (ran[one.scheme.name] <= 0.01) == (one.standing in ("within", "confirmed"))
        alone = found.alone[chip]
        assert alone is None or alone not in asked or ran[alone] <= 0.01
        if most is None:
            # A last look more, at the surest, where all looks missed.
            assert len(ran) <= LOOKS + 1 and len(asked) - len(ran) <= LOOKS + 1
            assert len(ran) <= LOOKS or all(lost > 0.01 for lost in list(ran.values())[:LOOKS])
            assert one.scheme is not None or not ran
            assert ran or len(asked) in (len(chips[chip]), LOOKS)


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

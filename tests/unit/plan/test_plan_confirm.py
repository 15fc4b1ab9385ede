"""Confirming: who is asked in which order, how far intervals widen, and what is told in the end."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chipdrift.metrics import get_metric
from chipdrift.plan.budget import parse_budget
from chipdrift.plan.confirm import LOOKS, Confirmed, confirm
from chipdrift.plan.judge import Figures
from chipdrift.records import Interval, MetricResult

BUDGET, TOP1 = parse_budget("drop <= 1%", "top1")


class PlantedJudge:
    """Answers with planted losses; an interval is as wide as its level says: 0.1 * level."""

    def __init__(self, losses: dict[tuple[str, str], float | None]) -> None:
        self.losses, self.metric = losses, TOP1
        self.rounds: list[tuple[list[tuple[str, str]], float]] = []

    def measure(
        self,
        pairs: Iterable[tuple[Any, Any]],
        indices: Sequence[int] | None = None,
        level: float = 0.95,
    ) -> list[Figures]:
        assert indices is None  # all that confirm
        asked = [(scheme.name, target.name) for scheme, target in pairs]
        self.rounds.append((asked, level))
        return [self._figures(*pair, level) for pair in asked]

    def _figures(self, scheme: str, target: str, level: float) -> Figures:
        loss = self.losses[scheme, target]
        if loss is None:
            return Figures(error=f"{scheme} does not run")
        width = 0.1 * level
        return Figures(
            metric=MetricResult(name="top1", value=0.9 - loss),
            loss=Interval(value=loss, low=loss - width, high=loss + width),
            samples=300,
        )


def run(
    losses: dict[tuple[str, str], float | None], **queues: str
) -> tuple[dict[str, Confirmed], PlantedJudge]:
    judge = PlantedJudge(losses)
    sides = [
        SimpleNamespace(
            chip=SimpleNamespace(name=name),
            target=SimpleNamespace(name=f"on-{name}"),
            searcher=SimpleNamespace(name="the engine"),
        )
        for name in queues
    ]
    lists = {name: [SimpleNamespace(name=s) for s in text.split()] for name, text in queues.items()}
    seen: Any = {}
    for turn in range(max(len(names) for names in lists.values()) or 1):
        choices: Any = {name: (names[turn:] or [None])[0] for name, names in lists.items()}
        found = confirm(cast(Any, judge), BUDGET, cast(Any, sides), choices, seen)
    assert found.keys() == queues.keys()
    return found, judge


def name_of(done: Confirmed) -> str | None:
    return None if done.scheme is None else done.scheme.name


def test_the_first_that_holds_ends_it_and_the_target_itself_is_asked() -> None:
    found, judge = run({("cheap", "on-a"): 0.005, ("dear", "on-a"): 0.0}, a="cheap dear")
    assert judge.rounds == [([("cheap", "on-a")], 0.95)]
    assert (name_of(found["a"]), found["a"].looks, found["a"].standing) == ("cheap", 1, "within")
    assert found["a"].passed_over == ()
    assert found["a"].figures.loss is not None
    assert found["a"].figures.loss.high == pytest.approx(0.005 + 0.095)


def test_each_further_look_is_at_a_wider_level_and_tells_what_was_passed_over() -> None:
    losses: dict[tuple[str, str], float | None]
    losses = {("x", "on-a"): 0.03, ("y", "on-a"): 0.02, ("z", "on-a"): -0.2}
    found, judge = run(losses, a="x y z")
    levels = {pairs[0][0]: level for pairs, level in judge.rounds}
    assert levels == pytest.approx({"x": 0.95, "y": 0.975, "z": 1 - 0.05 / 3})
    done = found["a"]
    assert (name_of(done), done.looks, done.standing) == ("z", 3, "confirmed")
    assert [name for name, _ in done.passed_over] == ["x", "y"]
    assert [over for _, over in done.passed_over] == pytest.approx([0.02, 0.01])
    assert done.figures.loss is not None
    assert done.figures.loss.high == pytest.approx(-0.2 + 0.1 * (1 - 0.05 / 3))


def test_chips_are_asked_together_and_one_that_is_done_is_asked_no_more() -> None:
    losses: dict[tuple[str, str], float | None]
    losses = {("x", "on-a"): 0.0, ("x", "on-b"): 0.5, ("y", "on-b"): 0.0}
    found, judge = run(losses, a="x y", b="x y")
    asked = [pairs for pairs, _ in judge.rounds]
    assert asked[0] == [("x", "on-a"), ("x", "on-b")]
    assert asked[-1] == [("y", "on-b")]
    assert all(("y", "on-a") not in pairs for pairs in asked)
    assert (found["a"].looks, found["b"].looks) == (1, 2)
    assert found["a"].figures.loss is not None and found["b"].figures.loss is not None
    assert found["a"].figures.loss.high == pytest.approx(0.095)  # b's looks are not a's
    assert found["b"].figures.loss.high == pytest.approx(0.0975)


def test_where_all_miss_the_nearest_is_told_with_the_widened_interval() -> None:
    losses: dict[tuple[str, str], float | None]
    losses = {("x", "on-a"): 0.05, ("y", "on-a"): 0.02, ("z", "on-a"): 0.04}
    found, judge = run(losses, a="x y z")
    done = found["a"]
    assert (name_of(done), done.standing, done.looks) == ("y", "missed", 3)
    assert [name for name, _ in done.passed_over] == ["x", "z"]
    assert done.figures.loss is not None
    assert done.figures.loss.high == pytest.approx(0.02 + 0.1 * (1 - 0.05 / 3))
    assert judge.rounds[-1] == ([("y", "on-a")], pytest.approx(1 - 0.05 / 3))


def test_no_more_than_so_many_looks_are_taken() -> None:
    names = [f"s{i}" for i in range(6)]
    losses: dict[tuple[str, str], float | None] = {(name, "on-a"): 0.05 for name in names}
    losses["s5", "on-a"] = 0.0
    found, judge = run(losses, a=" ".join(names))
    assert LOOKS == 3
    assert {pair for pairs, _ in judge.rounds for pair in pairs} == {
        (f"s{i}", "on-a") for i in range(3)
    }
    assert (found["a"].standing, found["a"].looks) == ("missed", 3)


def test_where_nothing_runs_there_is_no_variant_and_the_reason_is_kept() -> None:
    found, _ = run({("x", "on-a"): None, ("y", "on-a"): None}, a="x y", b="")
    # What did not run was no look: it told nothing.
    assert (found["a"].scheme, found["a"].standing, found["a"].looks) == (None, "none", 0)
    assert found["a"].figures.error == "x does not run"
    assert (found["b"].scheme, found["b"].standing, found["b"].looks) == (None, "none", 0)
    assert found["b"].figures.error


def test_what_does_not_run_is_passed_over_and_is_never_the_nearest() -> None:
    found, _ = run({("x", "on-a"): None, ("y", "on-a"): 0.9}, a="x y")
    assert (name_of(found["a"]), found["a"].standing, found["a"].looks) == ("y", "missed", 1)
    found, _ = run({("x", "on-a"): None, ("y", "on-a"): 0.0}, a="x y")
    assert (name_of(found["a"]), found["a"].standing, found["a"].looks) == ("y", "within", 1)


def test_at_the_limit_it_is_confirmed_only_where_the_whole_interval_holds() -> None:
    assert get_metric("top1").higher_is_better
    for loss, standing in ((0.01, "within"), (-0.0851, "confirmed"), (-0.08, "within")):
        found, _ = run({("x", "on-a"): loss}, a="x")
        assert found["a"].standing == standing, loss


def rounds(
    losses: dict[tuple[str, str], float | None], *queues: dict[str, str]
) -> list[dict[str, Confirmed]]:
    """Several times with one memory, as a plan asks that searches on."""
    judge, seen = PlantedJudge(losses), {}  # type: ignore[var-annotated]
    told = []
    for lists in queues:
        sides = [
            SimpleNamespace(
                chip=SimpleNamespace(name=name), target=SimpleNamespace(name=f"on-{name}")
            )
            for name in lists
        ]
        schemes = {name: SimpleNamespace(name=scheme) for name, scheme in lists.items()}
        told.append(confirm(cast(Any, judge), BUDGET, cast(Any, sides), cast(Any, schemes), seen))
    return told


def test_a_chip_that_holds_keeps_its_choice_while_another_is_searched_on() -> None:
    losses = {("w", "on-a"): 0.0, ("w", "on-b"): 0.05, ("x", "on-a"): 0.0, ("x", "on-b"): 0.0}
    first, second = rounds(losses, {"a": "w", "b": "w"}, {"a": "x", "b": "x"})
    assert (name_of(first["a"]), first["a"].looks) == ("w", 1)
    assert first["b"].standing == "missed"
    assert second["a"] == first["a"]
    assert (name_of(second["b"]), second["b"].looks) == ("x", 2)
    assert [name for name, _ in second["b"].passed_over] == ["w"]


def test_what_does_not_run_is_no_look_and_widens_nothing() -> None:
    losses = {("bad", "on-a"): None, ("good", "on-a"): 0.0}
    _, told = rounds(losses, {"a": "bad"}, {"a": "good"})
    assert (name_of(told["a"]), told["a"].looks, told["a"].passed_over) == ("good", 1, ())

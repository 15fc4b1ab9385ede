"""Choosing variants against trying every assignment; parting against what it promises."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipdrift.data import Samples, split_samples
from chipdrift.errors import DataError
from chipdrift.metrics import get_metric
from chipdrift.plan import cover
from chipdrift.plan.budget import excess, parse_budget, standing, within
from chipdrift.plan.cover import choose_variants
from chipdrift.records import Interval, MetricResult, TensorSpec

Costs = dict[str, dict[str, float]]
NAMES = "pqrst"


@st.composite
def instances(draw: st.DrawFn) -> Costs:
    """Up to four chips and five candidates, costs of few values so that ties come up."""
    chips = draw(st.integers(0, 4))
    cost = st.sampled_from([1.0, 1.25, 2.0, 3.0, 7.5])
    return {
        f"chip{i}": draw(st.dictionaries(st.sampled_from(NAMES), cost, max_size=5))
        for i in range(chips)
    }


def toll(costs: Costs, found: dict[str, str | None]) -> tuple[int, float]:
    without = sum(1 for chip, held in costs.items() if held and found[chip] is None)
    total = sum(
        costs[chip][name] / min(costs[chip].values())
        for chip, name in found.items()
        if name is not None
    )
    return without, total


def brute_force(costs: Costs, most: int | None) -> tuple[int, float]:
    """The least toll over all assignments, each chip one of its own candidates or none."""
    tolls = []
    for names in product(*[[None, *held] for held in costs.values()]):
        if most is None or len(set(names) - {None}) <= most:
            tolls.append(toll(costs, dict(zip(costs, names, strict=True))))
    return min(tolls)


@settings(deadline=None)
@given(instances(), st.sampled_from([None, 1, 2, 3, 4, 5]))
def test_the_choice_is_as_good_as_the_best_of_all_assignments(
    costs: Costs, most: int | None
) -> None:
    found = choose_variants(costs, most)
    assert found.keys() == costs.keys()
    for chip, name in found.items():
        assert name is None or name in costs[chip]
    assert most is None or len(set(found.values()) - {None}) <= most
    without, total = toll(costs, found)
    best_without, best_total = brute_force(costs, most)
    assert without == best_without
    assert total == pytest.approx(best_total)


@settings(deadline=None)
@given(instances())
def test_without_a_cap_no_fewer_variants_cost_each_chip_its_least(costs: Costs) -> None:
    found = choose_variants(costs, None)
    for chip, held in costs.items():
        name = found[chip]
        assert held == {} if name is None else held[name] == min(held.values())
    least = [[n for n, c in held.items() if c == min(held.values())] for held in costs.values()]
    fewest = min(len(set(names)) for names in product(*[names for names in least if names]))
    assert len(set(found.values()) - {None}) == fewest


@settings(deadline=None)
@given(instances(), st.sampled_from([1, 2, 3]))
def test_the_greedy_choice_keeps_the_cap_and_is_never_better(costs: Costs, most: int) -> None:
    exact = choose_variants(costs, most)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(cover, "_MOST", 0)
        greedy = choose_variants(costs, most)
    assert len(set(greedy.values()) - {None}) <= most
    (few, least), (other, total) = toll(costs, exact), toll(costs, greedy)
    assert (few, least) <= (other, total + 1e-9)
    if most == 1:
        assert greedy == exact


@settings(deadline=None)
@given(instances(), st.integers(1, 5), st.randoms(use_true_random=False))
def test_the_choice_does_not_depend_on_the_order(costs: Costs, most: int, random: object) -> None:
    def shuffled(held: dict[str, float]) -> dict[str, float]:
        items = list(held.items())
        random.shuffle(items)  # type: ignore[attr-defined]
        return dict(items)

    other = {chip: shuffled(held) for chip, held in costs.items()}
    assert choose_variants(other, most) == choose_variants(costs, most)


INPUTS = (TensorSpec(name="x", dtype="float32", shape=(1, 1)),)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), min_size=1, max_size=80),
    st.floats(0.01, 0.99),
    st.booleans(),
)
def test_parts_are_what_they_promise(
    rows: list[tuple[int, int]], share: float, labelled: bool
) -> None:
    values = [np.full((1, 1), value, np.float32) for value, _ in rows]
    labels = np.array([label for _, label in rows]) if labelled else None
    some = Samples("some", INPUTS, len(rows), lambda i: {"x": values[i]}, labels)
    different = len(set(some.keys))
    try:
        first, rest = split_samples(some, share)
    except DataError:
        # Refused only where a side would have been empty: at most one different sample short.
        assert different * min(share, 1 - share) <= 1
        return
    assert sorted(first + rest) == list(range(len(rows)))
    sides = [{some.keys[i] for i in part} for part in (first, rest)]
    assert not sides[0] & sides[1]
    assert abs(len(sides[0]) - different * share) <= 1
    if labels is not None:
        of = {key: labels[i] for i, key in reversed(list(enumerate(some.keys)))}
        for label in set(of.values()):
            both = [sum(of[key] == label for key in side) for side in sides]
            assert abs(both[0] - sum(both) * share) <= 1


limits = st.integers(1, 99)
floats = st.floats(-1, 1)


@given(limits, floats, floats, floats, st.sampled_from(["top1", "cer"]))
def test_standings_follow_from_the_interval(
    percent: int, value: float, below: float, above: float, name: str
) -> None:
    """Whatever the metric: a loss and its interval against the limit, in whole percents."""
    budget, metric = parse_budget(f"{name} drop <= {percent}%", "top1")
    assert metric.higher_is_better == (get_metric(name).higher_is_better)
    loss = Interval(value=value, low=value - abs(below), high=value + abs(above))
    result = MetricResult(name=name, value=0.5)
    found = standing(budget, metric, result, loss)
    holds = value <= percent / 100 + 1e-9
    certain = value + abs(above) <= percent / 100 + 1e-9
    assert found == ("missed" if not holds else "confirmed" if certain else "within")
    assert within(budget, metric, result, loss) == holds
    assert excess(budget, metric, result, loss) == pytest.approx(value - percent / 100)

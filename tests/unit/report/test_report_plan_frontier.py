"""The frontier's charts: every candidate where its figures say, the budget, the choice, ties."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from report_matrices import metric
from report_plans import (
    candidate,
    chip,
    choice,
    dozen,
    lower,
    missed,
    modelled,
    plan,
    score,
    searched,
    timed,
    top1,
)

from chipdrift.plan.records import Budget, Plan
from chipdrift.report.plan_axis import Axis, cost_axis, figure_axis
from chipdrift.report.plan_frontier import Frontier, frontiers
from chipdrift.report.plan_panels import Panel
from chipdrift.report.plan_words import plan_figures


def drawn(made: Plan) -> list[Frontier]:
    return frontiers(made, plan_figures(made))


def many(*figures: tuple[float, float, bool]) -> Plan:
    """Candidates of these costs and losses; the flag says which lie on the frontier."""
    names = [f"s{number}" for number in range(len(figures))]
    return plan(
        candidates=tuple(candidate(name) for name in names),
        scores=tuple(
            score("sm8450", name, modelled(cost), worse, frontier=front)
            for name, (cost, worse, front) in zip(names, figures, strict=True)
        ),
        choices=(choice("sm8450", names[-1], "confirmed"),),
    )


def first_panel(made: Plan) -> Panel:
    (chart,) = drawn(made)
    return chart.panels[0]


def test_every_candidate_is_a_dot_at_its_figures() -> None:
    panel = first_panel(many((1.0, 0.05, True), (2.0, 0.03, False), (3.0, 0.0, True)))
    places = {dot.title.split("\n")[0]: (dot.left, dot.top) for dot in panel.dots}
    assert set(places) == {"s0", "s1", "s2"}
    (left, bottom), (middle, between), (right, top) = (places[name] for name in ("s0", "s1", "s2"))
    assert middle == pytest.approx((left + right) / 2, abs=0.02)
    assert between == pytest.approx(bottom + (top - bottom) * 0.4, abs=0.02)
    assert bottom > between > top  # more accurate is higher up


def test_the_line_joins_the_frontier_and_nothing_else() -> None:
    panel = first_panel(many((1.0, 0.05, True), (2.0, 0.03, False), (3.0, 0.0, True)))
    ends = [(dot.left, dot.top) for dot in panel.dots if dot.frontier]
    joined = [tuple(map(float, p.split(","))) for p in re.findall(r"[\d.]+,[\d.]+", panel.path)]
    expected = sorted((x * 10, y * 2) for x, y in ends)
    assert len(joined) == len(expected) == 2
    for point, end in zip(sorted(joined), expected, strict=True):
        assert point == pytest.approx(end, abs=0.06)


def test_the_budget_parts_what_holds_from_what_does_not() -> None:
    panel = first_panel(many((1.0, 0.05, True), (2.0, 0.011, True), (3.0, 0.009, True)))
    assert panel.budget is not None
    assert {dot.top < panel.budget for dot in panel.dots if dot.within} == {True}
    assert {dot.top > panel.budget for dot in panel.dots if not dot.within} == {True}
    assert "at most 1 point worse than float" in panel.title


def test_only_the_choice_is_ringed() -> None:
    (chart,) = drawn(many((1.0, 0.05, True), (3.0, 0.0, True)))
    ringed = [dot.title for dot in chart.panels[0].dots if dot.chosen]
    assert len(ringed) == 1
    assert ringed[0].startswith("s1\nwords of s1\ncost: 3.00 × w8a8 (cost model, 2.25 to 3.75)")
    assert "chosen for sm8450" in ringed[0]
    assert chart.chosen == "s1 for sm8450"


def test_candidates_on_one_place_share_a_dot_that_tells_of_each() -> None:
    panel = first_panel(many((1.0, 0.05, True), (2.0, 0.0, False), (2.0, 0.0, True)))
    assert len(panel.dots) == 2
    (both,) = [dot for dot in panel.dots if dot.chosen]
    assert both.frontier
    assert both.title.startswith("s2\n")
    assert "\n\ns1\n" in both.title


def test_where_many_tie_the_sqnr_is_drawn_too() -> None:
    tied = plan(
        scores=tuple(
            score("sm8450", name, modelled(cost), 0.0, sqnr_db=db)
            for name, cost, db in (("w8a8", 1.0, 31.0), ("w8a16", 1.85, 38.0), ("x", 2.0, 44.0))
        )
    )
    own, noise = drawn(tied)[0].panels
    assert len({dot.top for dot in own.dots}) == 1
    assert len({dot.top for dot in noise.dots}) == 3
    assert noise.budget is None
    assert "no budget is set for it" in noise.title
    assert len(drawn(many((1.0, 0.05, True), (2.0, 0.03, False), (3.0, 0.0, True)))[0].panels) == 1


def test_a_metric_in_decibels_is_not_drawn_twice() -> None:
    made = plan(
        metric=metric("bootstrap", name="sqnr", against_baseline=True),
        budget=Budget(text="sqnr >= 37", metric="sqnr", kind="least", limit=37.0),
        scores=tuple(
            score("sm8450", name, modelled(1.0), 0.0, metric=top1(37.5, 0.4)) for name in "ab"
        ),
    )
    (panel,) = drawn(made)[0].panels
    assert panel.title == "sqnr (dB); dashed: the budget, at least 37 dB"


def test_chips_searched_together_share_a_chart_only_where_their_costs_are_the_same() -> None:
    both, dearer = drawn(searched())
    assert both.chips == "sm8450 and sm8475"
    assert "equal numerics and features, and cost the same: one search, one chart" in both.about
    assert dearer.chips == "sm7450"
    assert "Searched together with sm8450 and sm8475" in dearer.about
    assert "other costs, so another chart" in dearer.about
    assert both.chosen == "mixed-one for sm8450 and sm8475"
    assert [kind for kind, _ in both.kinds] == ["scheme", "mixed", "hybrid", "calibrated", "float"]
    assert len(drawn(dozen())) == 12


def test_chips_of_one_cost_and_two_ranges_share_a_chart_and_tell_both() -> None:
    made = plan(
        chips=(chip("one"), chip("two")),
        scores=(
            score("one", "w8a16", modelled(2.0, 0.25), 0.004),
            score("two", "w8a16", modelled(2.0, 0.5, "model: of another table"), 0.004),
        ),
    )
    (chart,) = drawn(made)
    assert chart.chips == "one and two"
    told = "one: cost model, 1.50 to 2.50; two: cost model, 1.00 to 3.00"
    assert chart.rows[0].cost_basis == told
    assert told in chart.panels[0].dots[0].title


def test_less_is_better_turns_the_chart_around() -> None:
    panel = first_panel(lower())
    tops = {dot.title.split("\n")[0]: dot.top for dot in panel.dots}
    assert tops["w8a16"] < tops["w8a8"]
    assert [text for _, text in sorted(panel.rows)] == sorted(text for _, text in panel.rows)
    assert drawn(lower())[0].axis == "model file in bytes, exact"


def test_costs_of_two_units_are_not_on_one_axis() -> None:
    good, near, _, none = drawn(missed())
    assert good.axis == "ms per sample, measured"  # as the choice's cost is told
    assert sum(len(panel.dots) for panel in good.panels[:1]) == 1
    assert good.undrawn == "Not drawn, but in the table: 1 with a cost of another unit."
    assert near.undrawn == "Not drawn, but in the table: 1 without a figure or a cost."
    assert none.panels == ()
    assert {row.error for row in none.rows} == {"no session"}
    costs = [(row.cost, row.cost_basis) for row in good.rows]
    assert costs == [("12.3 ms", "measured"), ("1.00 × w8a8", "cost model, 0.75 to 1.25")]


def test_the_axis_is_of_the_choices_cost_though_more_have_another() -> None:
    made = plan(
        scores=(
            score("sm8450", "w8a8", modelled(1.0), 0.05),
            score("sm8450", "x", modelled(1.5), 0.05),
            score("sm8450", "w8a16", timed(12.3), 0.004),
        )
    )
    (chart,) = drawn(made)
    assert chart.axis == "ms per sample, measured"
    assert chart.undrawn == "Not drawn, but in the table: 2 with a cost of another unit."


def test_who_answered_for_what_is_told() -> None:
    made = plan(
        scores=(
            score("sm8450", "w8a8", modelled(1.0), 0.05),
            score("sm8450", "w8a16", modelled(1.85), 0.004),
            score(
                "sm8450",
                "fp16",
                modelled(3.2),
                0.0,
                target="htp:sm8450",
                evidence="vendor-simulator",
            ),
        )
    )
    (chart,) = drawn(made)
    assert chart.about == (
        "Answered by sim:v69 (prediction), 299 choosing samples; by htp:sm8450 (vendor-simulator) "
        "for fp16, 299 choosing samples."
    )


def test_one_chip_that_was_not_scored_has_a_chart_without_dots() -> None:
    (chart,) = drawn(plan(chips=(chip("sm8450"),), scores=()))
    assert chart.panels == ()
    assert chart.rows == ()


@pytest.mark.parametrize(
    ("values", "logarithmic"), [((1.0, 1.5, 5.9), False), ((1.0, 6.0), True), ((0.0, 9.0), False)]
)
def test_costs_far_apart_are_drawn_by_their_ratio(
    values: tuple[float, ...], logarithmic: bool
) -> None:
    axis = cost_axis(values)
    assert axis.logarithmic == logarithmic
    places = [axis.place(value) for value in values]
    assert places == sorted(places)
    assert (places[0], places[-1]) == pytest.approx((4, 96))
    assert axis.place((values[0] * values[-1]) ** 0.5) == pytest.approx(50) or not logarithmic


def test_what_is_far_off_does_not_press_the_rest_together() -> None:
    every = [5.0, 34.0, 35.0, 37.0, 38.0, 60.0]
    axis = figure_axis([35.0, 37.0, 38.0, 60.0], every, [37.0])
    assert (axis.low, axis.high) == (34.0, 38.0)
    assert axis.under
    assert axis.over
    assert axis.place(5.0) < axis.place(34.0) < axis.place(38.0) < axis.place(60.0)
    # The cheapest is on the frontier and useless: it may be off, the choice and the budget not.
    cheap = figure_axis([-0.3, 0.0], [-0.3, -0.02, 0.0], [-0.01])
    assert (cheap.low, cheap.high) == (-0.01, 0.0)
    chosen = figure_axis([35.0, 37.0, 60.0], every, [37.0, 60.0])
    assert not chosen.over
    assert (figure_axis([-0.3], [-0.3], [-0.3, -0.01]).under) is False


@pytest.mark.parametrize("low", [-3.0, 0.0, 1e-6, 0.97, 33.3, 24340.0])
@pytest.mark.parametrize("width", [1e-4, 0.02, 1.0, 7.7, 4000.0])
def test_ticks_are_round_and_inside(low: float, width: float) -> None:
    axis = Axis(low, low + width)
    ticks = axis.ticks()
    assert 2 <= len(ticks) <= 7
    assert all(low - 1e-9 <= tick <= low + width + 1e-9 for tick in ticks)
    gaps = {round((b - a) / width, 6) for a, b in pairwise(ticks)}
    assert len(gaps) == 1


def test_one_value_has_an_axis_with_some_width() -> None:
    for value in (0.0, 1.0, 37.0):
        axis = cost_axis([value])
        assert axis.place(value) == pytest.approx(50)
        assert axis.ticks()

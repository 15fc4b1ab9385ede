"""The frontier per chip, drawn: every candidate by its cost and its accuracy.

All figures here are of the choosing samples; the confirmed ones stand in the table of choices.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

from chipdrift.plan.records import Candidate, Cost, Plan, Score
from chipdrift.report.figures import Figures, listing
from chipdrift.report.plan_panels import Panel, Point, panels
from chipdrift.report.plan_words import (
    KINDS,
    axis_words,
    changed,
    cost_brief,
    cost_value,
    counted_as,
    decibels,
    rests,
)


@final
@dataclass(frozen=True)
class ScoreRow:
    """A candidate's figures on the choosing samples."""

    scheme: str
    words: str
    cost: str
    cost_basis: str
    value: str
    change: str
    sqnr: str
    answered: str
    within: bool
    frontier: bool
    chosen: str
    fallback: int
    error: str


@final
@dataclass(frozen=True)
class Frontier:
    """The chart of chips with the same figures and the same costs, and its table.

    ``count`` is the number of candidates on the frontier; ``undrawn`` says what the chart lacks.
    """

    anchor: str
    chips: str
    about: str
    chosen: str
    axis: str
    panels: tuple[Panel, ...]
    undrawn: str
    kinds: tuple[tuple[str, str], ...]
    rows: tuple[ScoreRow, ...]
    count: int


def frontiers(plan: Plan, figures: Figures) -> list[Frontier]:
    """A chart for each set of chips that were searched together and cost the same."""
    scores: dict[str, list[Score]] = defaultdict(list)
    for score in plan.scores:
        scores[score.chip].append(score)
    shared: dict[object, list[str]] = defaultdict(list)
    for chip in plan.chips:
        same = frozenset(map(_drawn, scores[chip.name]))
        shared[chip.group, same].append(chip.name)
    made = []
    for number, names in enumerate(shared.values(), 1):
        costs: dict[str, dict[str, Cost]] = defaultdict(dict)
        for score in (score for name in names for score in scores[name]):
            if score.cost is not None:
                costs[score.scheme][score.chip] = score.cost
        made.append(_frontier(plan, figures, number, names, scores[names[0]], costs))
    return made


def _drawn(score: Score) -> Score:
    """A score as a chart shows it: of no chip, its cost without its range."""
    cost = score.cost
    if cost is not None:
        bare = {"value": round(cost.value, 4), "low": None, "high": None, "words": ""}
        cost = cost.model_copy(update=bare)
    return score.model_copy(update={"chip": "", "cost": cost})


def _frontier(
    plan: Plan,
    figures: Figures,
    number: int,
    names: Sequence[str],
    scores: Sequence[Score],
    costs: Mapping[str, Mapping[str, Cost]],
) -> Frontier:
    candidates = {candidate.scheme: candidate for candidate in plan.candidates}
    chosen: dict[str, list[str]] = defaultdict(list)
    for choice in plan.choices:
        if choice.chip in names and choice.variant is not None:
            chosen[choice.variant].append(choice.chip)
    rows = [_score_row(plan, figures, s, candidates, chosen, costs) for s in _by_cost(scores)]
    points = [
        Point(
            score,
            score.cost,
            _title(row, score),
            candidates[score.scheme].how if score.scheme in candidates else "scheme",
            bool(row.chosen),
        )
        for score, row in zip(_by_cost(scores), rows, strict=True)
        if score.cost is not None and math.isfinite(score.cost.value) and score.metric is not None
    ]
    drawn = _comparable(points)
    kinds = dict.fromkeys(point.kind for point in drawn)
    return Frontier(
        anchor=f"frontier-{number}",
        chips=listing(names),
        about=_about(plan, names, scores),
        chosen="; ".join(f"{scheme} for {listing(chips)}" for scheme, chips in chosen.items()),
        axis=axis_words(drawn[0].cost) if drawn else "",
        panels=tuple(panels(plan, figures, drawn, listing(names))) if drawn else (),
        undrawn=_undrawn(len(scores), len(points), len(drawn)),
        kinds=tuple((kind, words) for kind, words in KINDS.items() if kind in kinds),
        rows=tuple(rows),
        count=sum(row.frontier for row in rows),
    )


def _comparable(points: Sequence[Point]) -> list[Point]:
    """Those whose costs can stand on one axis: as the choice's are told, or as most are."""
    kinds = Counter((point.cost.unit, point.cost.basis) for point in points if point.chosen)
    kinds = kinds or Counter((point.cost.unit, point.cost.basis) for point in points)
    shown = [kind for kind, _ in kinds.most_common(1)]
    return [point for point in points if (point.cost.unit, point.cost.basis) in shown]


def _about(plan: Plan, names: Sequence[str], scores: Sequence[Score]) -> str:
    """Whose arithmetic answered, on which samples, and for whom the chart holds."""
    chips = {chip.name: chip for chip in plan.chips}
    first = chips[names[0]]
    said = []
    if len(names) > 1:
        said.append(
            f"{listing(names)} have equal numerics and features, and cost the same: one search, "
            "one chart."
        )
    others = [c.name for c in plan.chips if c.group == first.group and c.name not in names]
    if others:
        said.append(
            f"Searched together with {listing(others)}, of equal numerics and features: the same "
            "accuracy there, and other costs, so another chart."
        )
    asked: dict[tuple[str, str, int], list[str]] = defaultdict(list)
    for score in scores:
        if score.samples:
            asked[score.target, score.evidence, score.samples].append(score.scheme)
    if asked:
        most = max(asked, key=lambda key: len(asked[key]))
        answered = [
            f"{target} ({evidence}){'' if key == most else f' for {listing(asked[key], 4)}'}, "
            f"{counted_as(samples, 'choosing')}"
            for key in asked
            for target, evidence, samples in (key,)
        ]
        said.append(f"Answered by {'; by '.join(answered)}.")
    return " ".join(said)


def _undrawn(every: int, points: int, drawn: int) -> str:
    found = []
    if every > points:
        found.append(f"{every - points} without a figure or a cost")
    if points > drawn:
        found.append(f"{points - drawn} with a cost of another unit")
    return f"Not drawn, but in the table: {' and '.join(found)}." if found else ""


def _by_cost(scores: Sequence[Score]) -> list[Score]:
    """The cheapest first, of equal costs the more accurate; without a cost or a figure last.

    Costs of one unit stand together.
    """

    def rank(score: Score) -> tuple[bool, str, float, float, float]:
        unit, cost = ("~", math.inf) if score.cost is None else (score.cost.unit, score.cost.value)
        loss = math.inf if score.loss is None else score.loss.value
        return score.loss is None, unit, cost, loss, -(score.sqnr_db or 0.0)

    return sorted(scores, key=rank)


def _score_row(
    plan: Plan,
    figures: Figures,
    score: Score,
    candidates: Mapping[str, Candidate],
    chosen: Mapping[str, Sequence[str]],
    costs: Mapping[str, Mapping[str, Cost]],
) -> ScoreRow:
    own = plan.metric.against_baseline or score.loss is None
    candidate = candidates.get(score.scheme)
    change = "" if own or score.loss is None else _change(figures, score)
    return ScoreRow(
        scheme=score.scheme,
        words=candidate.words if candidate is not None else "",
        cost=cost_value(score.cost) if score.cost is not None else "",
        cost_basis=_basis(costs.get(score.scheme, {})),
        value=figures.value(score.metric.value) if score.metric is not None else "",
        change=change,
        sqnr=decibels(score.sqnr_db),
        answered=f"{score.target} ({score.evidence})",
        within=score.within,
        frontier=score.frontier,
        chosen=listing(chosen.get(score.scheme, [])),
        fallback=score.fallback,
        error=score.error or "",
    )


def _basis(costs: Mapping[str, Cost]) -> str:
    """What the costs rest on; by chip where their ranges are not the same."""
    said: dict[str, list[str]] = defaultdict(list)
    for chip, cost in costs.items():
        said[cost_brief(cost)].append(chip)
    if len(said) < 2:
        return "".join(said)
    return "; ".join(f"{listing(chips)}: {words}" for words, chips in said.items())


def _change(figures: Figures, score: Score) -> str:
    assert score.loss is not None
    text = figures.change(changed(score.loss, figures.higher_is_better).value)
    return text if text == "0" else f"{text} {figures.change_unit}".rstrip()


def _title(row: ScoreRow, score: Score) -> str:
    """The tooltip: what it is, its cost and its figures, and what they rest on."""
    figure = f"{row.value}{f', {row.change} against float' if row.change else ''}"
    said = [
        row.scheme,
        row.words,
        f"cost: {row.cost} ({row.cost_basis})" if row.cost else "cost: not known",
        f"{score.metric.name if score.metric is not None else 'metric'}: {figure}; "
        f"output SQNR {row.sqnr or 'not known'}",
        f"by {rests(score.target, score.evidence, score.samples, 'choosing')}",
        ("within the budget" if row.within else "beyond the budget")
        + (", on the frontier" if row.frontier else "")
        + (f", chosen for {row.chosen}" if row.chosen else ""),
    ]
    return "\n".join(filter(None, said))

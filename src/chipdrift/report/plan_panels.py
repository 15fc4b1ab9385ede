"""The panels of a frontier's chart: where each candidate's dot lies, the line, the budget."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from chipdrift.plan.records import Cost, Plan, Score
from chipdrift.report.figures import Figures
from chipdrift.report.plan_axis import cost_axis, figure_axis, labels
from chipdrift.report.plan_words import by_drop, limit_words

_DECIBELS = frozenset({"sqnr", "psnr"})
# Decibels from which on it is all the same: a millionth of the signal.
_QUIET = 120.0
# With fewer different figures among so many candidates, the SQNR is drawn as well.
_TIES = 2 / 3
_MOST_TITLES = 8


@final
@dataclass(frozen=True)
class Dot:
    """One candidate, or several that lie on one place; ``left`` and ``top`` are in percent."""

    left: float
    top: float
    kind: str
    frontier: bool
    within: bool
    chosen: bool
    title: str


@final
@dataclass(frozen=True)
class Panel:
    """One measure of accuracy over the cost; ``path`` joins the frontier as SVG path data."""

    title: str
    label: str
    dots: tuple[Dot, ...]
    path: str
    budget: float | None
    rows: tuple[tuple[float, str], ...]
    columns: tuple[tuple[float, str], ...]
    under: bool
    over: bool


@final
@dataclass(frozen=True)
class Point:
    """A candidate that can be drawn: its figures, its tooltip, and whether it was chosen."""

    score: Score
    cost: Cost
    title: str
    kind: str
    chosen: bool


def panels(plan: Plan, figures: Figures, points: Sequence[Point], chips: str) -> list[Panel]:
    """The budget's own figure, and the SQNR where many candidates tie in it."""
    name, drop = plan.metric.name, by_drop(plan)
    sign = 1.0 if figures.higher_is_better else -1.0

    def good(score: Score) -> float:
        if drop and score.loss is not None:
            return -score.loss.value
        return 0.0 if score.metric is None else sign * score.metric.value

    def written(value: float) -> str:
        if not drop:
            return f"{sign * value:.4g}" if not figures.share else f"{100 * sign * value:.4g}"
        return _signed(sign * value * (100 if figures.share else 1))

    unit = figures.change_unit if drop else figures.unit
    what = f"{name}, change against float" if drop else name
    limit = -plan.budget.limit if drop else sign * plan.budget.limit
    title = (
        f"{what}{f' ({unit})' if unit else ''}; dashed: the budget, {limit_words(plan, figures)}"
    )
    made = [_panel(title, chips, points, good, written, limit)]
    loud = [p for p in points if p.score.sqnr_db is not None]
    tied = len({round(good(point.score), 9) for point in points})
    if name not in _DECIBELS and loud and tied < _TIES * len(points):
        title = "Output SQNR (dB): tells apart what ties in the metric; no budget is set for it"
        made.append(_panel(title, chips, loud, _noise, lambda db: f"{db:.4g}", None))
    return made


def _noise(score: Score) -> float:
    return min(_QUIET, score.sqnr_db or 0.0)


def _signed(value: float) -> str:
    text = f"{abs(value):.3g}"
    return text if text == "0" else f"{'-' if value < 0 else '+'}{text}"


def _panel(
    title: str,
    chips: str,
    points: Sequence[Point],
    good: Callable[[Score], float],
    written: Callable[[float], str],
    limit: float | None,
) -> Panel:
    across = cost_axis([point.cost.value for point in points])
    every = [good(point.score) for point in points]
    kept = [good(point.score) for point in points if point.chosen]
    if limit is not None:
        kept.append(limit)
    front = [good(point.score) for point in points if point.score.frontier]
    up = figure_axis(front or [max(every)], every, kept)

    def place(point: Point) -> tuple[float, float]:
        top = 100 - up.place(good(point.score))
        return round(across.place(point.cost.value), 2), round(top, 2)

    joined = sorted({place(point) for point in points if point.score.frontier})
    best = sum(point.score.frontier for point in points)
    return Panel(
        title=title,
        label=f"{chips}: {title}. {len(points)} candidates, {best} on the frontier",
        dots=tuple(_dots(points, place)),
        path="M" + "L".join(f"{x * 10:.1f},{y * 2:.1f}" for x, y in joined) if joined else "",
        budget=None if limit is None else round(100 - up.place(limit), 2),
        rows=labels(up.ticks(), lambda v: 100 - up.place(v), written),
        columns=labels(across.ticks(), across.place, _cost_tick(points[0].cost)),
        under=up.under,
        over=up.over,
    )


def _cost_tick(like: Cost) -> Callable[[float], str]:
    def text(value: float) -> str:
        return f"{value:,.0f}" if like.unit == "bytes" else f"{value:.4g}"

    return text


def _dots(points: Sequence[Point], place: Callable[[Point], tuple[float, float]]) -> list[Dot]:
    """A dot for each place: what lies under another would have no tooltip. The chosen last."""
    there: dict[tuple[float, float], list[Point]] = defaultdict(list)
    for point in points:
        there[place(point)].append(point)
    found = []
    for (left, top), group in there.items():
        first = max(group, key=lambda p: (p.chosen, p.score.frontier, p.score.within))
        titles = [first.title, *(point.title for point in group if point is not first)]
        more = len(titles) - _MOST_TITLES
        shown = titles[:_MOST_TITLES] + ([f"and {more} more here"] if more > 0 else [])
        found.append(
            Dot(
                left,
                top,
                first.kind,
                any(point.score.frontier for point in group),
                any(point.score.within for point in group),
                any(point.chosen for point in group),
                "\n\n".join(shown),
            )
        )
    return sorted(found, key=lambda dot: (dot.chosen, dot.frontier))

"""The matrix as a table of tinted cells, each with its interval drawn on one common axis."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import final

from chipdrift.records import Cell, Interval, Matrix
from chipdrift.report.evidence import kinds
from chipdrift.report.figures import Figures, p_value, percent
from chipdrift.report.placed import assumption
from chipdrift.report.remarks import where_cells

_WIDE = 8  # More targets than this go down the page, not across.
_BRIEF = 90  # Characters of a description that stand in the table; all of it is in its title.


@final
@dataclass(frozen=True)
class Bar:
    """Positions on the common axis, 0 to 100; ``base`` is the float model's."""

    low: float | None
    high: float | None
    at: float
    base: float | None


@final
@dataclass(frozen=True)
class Note:
    """A reason under the table, with the cells it is of and what the worker printed."""

    number: int
    kind: str
    where: str
    reason: str
    logs: tuple[str, ...]


@final
@dataclass(frozen=True)
class HeatCell:
    """One cell in words. ``tint`` names its colour; ``title`` says all of it in one line."""

    status: str
    tint: str = "none"
    value: str = ""
    span: str | None = None
    change: str | None = None
    change_span: str | None = None
    significant: bool = False
    agreement: str | None = None
    shares: str | None = None
    audited: int | None = None
    note: int | None = None
    bar: Bar | None = None
    title: str = ""


@final
@dataclass(frozen=True)
class Line:
    """The head of a row or column, what it is (clipped, and whole), and for a row its cells."""

    name: str
    about: str
    title: str
    cells: tuple[HeatCell, ...] = ()


@final
@dataclass(frozen=True)
class Heatmap:
    """Rows are schemes, or targets where there are many (``upright``)."""

    upright: bool
    columns: tuple[Line, ...]
    rows: tuple[Line, ...]
    notes: tuple[Note, ...]
    axis: tuple[str, str] | None
    shared: bool


def heatmap(matrix: Matrix) -> Heatmap:
    """Lay the matrix out; cells that no record tells of are "missing"."""
    figures = Figures.of(matrix)
    notes = _notes(matrix)
    numbers = {(note.kind, note.reason): note.number for note in notes}
    axis = _axis(matrix)
    scale = _scale(matrix, figures)
    made = {
        (cell.scheme, cell.target): _cell(matrix, figures, cell, axis, scale, numbers)
        for cell in matrix.cells
    }
    evidence = {target: kind for kind, targets in kinds(matrix).items() for target in targets}
    schemes = [_line(s.name, s.description) for s in matrix.schemes]
    targets = [
        _line(name, matrix.target_names.get(name, ""), evidence.get(name))
        for name in matrix.targets
    ]
    missing = HeatCell("missing")
    upright = len(targets) > _WIDE
    lines, columns = (targets, schemes) if upright else (schemes, targets)
    rows = tuple(
        Line(
            line.name,
            line.about,
            line.title,
            tuple(
                made.get((c.name, line.name) if upright else (line.name, c.name), missing)
                for c in columns
            ),
        )
        for line in lines
    )
    ends = (figures.value(axis[0]), figures.value(axis[1])) if axis else None
    shared = any(cell.copied_from is not None for cell in matrix.cells)
    return Heatmap(upright, tuple(columns), rows, tuple(notes), ends, shared)


def _line(name: str, about: str, evidence: str | None = None) -> Line:
    """A head: its description without the closing full stop, and not longer than a few lines."""
    whole = " ".join(about.split())
    whole = whole[:-1] if whole.endswith(".") and not whole.endswith("..") else whole
    brief = whole
    if len(whole) > _BRIEF:
        brief = whole[:_BRIEF].rsplit(" ", 1)[0].rstrip(" ,;:.") + "…"
    shown, title = (", ".join(filter(None, [text, evidence])) for text in (brief, whole))
    return Line(name, shown, title)


def _reason(cell: Cell) -> str | None:
    """What must be said beside a cell, or in its place."""
    words = "; ".join(filter(None, [cell.reason, assumption(cell)]))
    return words or (None if cell.status == "ok" else "no reason recorded")


def _kind(cell: Cell) -> str:
    """What a cell's note is: its status, a caution, or only a rule that is not known."""
    return cell.status if cell.status != "ok" else "caution" if cell.reason else "assumed"


def _notes(matrix: Matrix) -> list[Note]:
    """Once per reason, in the order in which they appear."""
    reasons: dict[tuple[str, str], list[Cell]] = defaultdict(list)
    for cell in matrix.cells:
        reason = _reason(cell)
        if reason is not None:
            reasons[_kind(cell), reason].append(cell)
    return [
        Note(
            number=number,
            kind=kind,
            where=where_cells(matrix, cells, most=30),
            reason=reason,
            logs=tuple(dict.fromkeys(cell.log for cell in cells if cell.log)),
        )
        for number, ((kind, reason), cells) in enumerate(reasons.items(), 1)
    ]


def _axis(matrix: Matrix) -> tuple[float, float] | None:
    """From the lowest end of all intervals to the highest; None where all is one point."""
    results: list[Interval] = [c.metric for c in matrix.cells if c.metric is not None]
    if matrix.baseline.metric is not None:
        results.append(matrix.baseline.metric)
    ends = [x for r in results for x in (r.low, r.value, r.high) if x is not None]
    ends = [x for x in ends if math.isfinite(x)]
    return (min(ends), max(ends)) if ends and min(ends) < max(ends) else None


def _scale(matrix: Matrix, figures: Figures) -> float:
    """The change that gets the strongest tint: the largest, but at least two points of a share."""
    changes = [abs(c.delta.value) for c in matrix.cells if c.delta is not None]
    largest = max((c for c in changes if math.isfinite(c)), default=0.0)
    return max(largest, 0.02) if figures.share else largest


def _tint(figures: Figures, cell: Cell, scale: float, tested: bool) -> str:
    """ "worse1" to "worse4", "better1" to "better4", "same"; the palest unless significant.

    Where nothing is ``tested`` the colour tells the size alone.
    """
    if cell.delta is None:
        return "none"
    worse = figures.worse(cell.delta.value)
    if worse == 0 or scale == 0:
        return "same"
    side = "worse" if worse > 0 else "better"
    share = abs(worse) / scale if math.isfinite(worse) else 1.0
    if not tested:
        return f"{side}{min(4, 1 + int(share * 4))}"
    if not cell.delta.significant:
        return f"{side}1"
    return f"{side}{min(4, 2 + int(share * 3))}"


def _cell(
    matrix: Matrix,
    figures: Figures,
    cell: Cell,
    axis: tuple[float, float] | None,
    scale: float,
    numbers: dict[tuple[str, str], int],
) -> HeatCell:
    reason = _reason(cell)
    note = None if reason is None else numbers[_kind(cell), reason]
    where = f"{cell.scheme} on {cell.target} ({cell.evidence})"
    if cell.metric is None:
        return HeatCell(cell.status, note=note, title=f"{where}: {cell.status}. {reason}")
    delta, span = cell.delta, figures.span(cell.metric)
    tested = not matrix.metric.against_baseline
    words = [f"{where}: {matrix.metric.name} {figures.value(cell.metric.value)}"]
    words += [f"95 % interval {span}"] if span else ["no interval"]
    if delta is not None:
        words.append(f"{figures.change(delta.value)} to the {matrix.baseline.words}")
        words.append(f"Holm-corrected p {p_value(delta.p_holm)}" if tested else "not tested")
    agreement = percent(cell.agreement) if cell.agreement is not None else None
    if agreement:
        same = f"same {matrix.metric.answer} as the {matrix.baseline.words}"
        words.append(f"{same} on {agreement} of samples")
    return HeatCell(
        status=cell.status,
        tint=_tint(figures, cell, scale, tested),
        value=figures.value(cell.metric.value),
        span=span,
        change=figures.change(delta.value) if delta is not None else None,
        change_span=figures.change_span(delta) if delta is not None else None,
        significant=delta is not None and delta.significant,
        agreement=agreement,
        shares=cell.copied_from,
        audited=cell.audited,
        note=note,
        bar=_bar(cell.metric, matrix.baseline.metric, axis),
        title="; ".join(words),
    )


def _bar(
    result: Interval, baseline: Interval | None, axis: tuple[float, float] | None
) -> Bar | None:
    if axis is None or not math.isfinite(result.value):
        return None

    def at(value: float | None) -> float | None:
        if value is None or not math.isfinite(value):
            return None
        return round(2 + 96 * (value - axis[0]) / (axis[1] - axis[0]), 2)

    place = at(result.value)
    assert place is not None
    return Bar(at(result.low), at(result.high), place, at(baseline.value) if baseline else None)

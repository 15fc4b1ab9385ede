"""The summary's sentences on accuracy, by rules that claim no more than the records carry.

A difference is called a loss or a gain only where ``delta.significant`` is set. A cause is named
only where the host's CPU, which is no chip, shows the same difference under the same scheme.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from chipdrift.counts import counted
from chipdrift.records import Cell, Delta, Matrix
from chipdrift.report.figures import Figures, chips, hosts, listing, name_targets, noun, p_value
from chipdrift.report.finding import Finding, Kind
from chipdrift.report.remarks import where_cells


def tested(matrix: Matrix) -> list[tuple[Cell, Delta]]:
    """The cells that were set against the baseline, without the baseline itself."""
    base = (matrix.baseline.scheme, matrix.baseline.target)
    return [
        (cell, cell.delta)
        for cell in matrix.cells
        if cell.delta is not None and (cell.scheme, cell.target) != base
    ]


def accuracy(matrix: Matrix) -> list[Finding]:
    """Whether anything differs from the baseline by more than the data carries."""
    if matrix.metric.against_baseline:
        return [_no_test(matrix)]
    against = tested(matrix)
    if not against:
        return [
            Finding(
                "caution",
                f"Nothing could be set against the {matrix.baseline.words}: no other cell gave a "
                "result.",
                "matrix",
            )
        ]
    real = [(cell, delta) for cell, delta in against if delta.significant]
    if not real:
        return [_no_difference(matrix), *_largest(matrix, against)]
    found: list[Finding] = []
    for scheme in matrix.schemes:
        mine = [(cell, delta) for cell, delta in against if cell.scheme == scheme.name]
        for direction in (1, -1):
            found += _differences(matrix, scheme.name, mine, direction)
    found.sort(key=lambda finding: finding.kind != "loss")
    rest = len(against) - len(real)
    if rest:
        unclear = [(cell, delta) for cell, delta in against if not delta.significant]
        text = (
            f"In the other {counted(rest, 'cell')} no difference from the "
            f"{matrix.baseline.words} is shown.{_not_excluded(matrix, unclear)}"
        )
        found.append(Finding("note", text, "matrix"))
    return found


def _no_test(matrix: Matrix) -> Finding:
    """A metric against the baseline's own outputs is perfect there: the lowest is told, no test."""
    figures = Figures.of(matrix)
    ran = [(cell.metric.value, cell) for cell in matrix.cells if cell.metric is not None]
    text = (
        f"{matrix.metric.name} compares with the {matrix.baseline.words}'s own outputs, which are "
        "perfect by that measure: a difference from them is no finding and is not tested."
    )
    if ran:
        worst = figures.value(max((value for value, _ in ran), key=figures.worse))
        cells = [cell for value, cell in ran if figures.value(value) == worst]
        text += f" Worst: {worst}, {where_cells(matrix, cells)}."
    return Finding("note", text, "matrix")


def broken(matrix: Matrix) -> list[Finding]:
    """Outputs in which the noise is as large as the signal: that no metric may hide."""
    lost: dict[str, list[Cell]] = {}
    for cell in matrix.cells:
        if cell.sqnr_db is not None and cell.sqnr_db < 0:
            lost.setdefault(cell.scheme, []).append(cell)
    return [
        Finding(
            "loss",
            f"{scheme} on {name_targets(matrix, [cell.target for cell in cells])}: the outputs "
            f"bear no relation to the {matrix.baseline.words}'s. The noise is larger than the "
            f"signal (SQNR {min(c.sqnr_db for c in cells if c.sqnr_db is not None):.0f} dB), "
            f"whatever {matrix.metric.name} says on {counted(matrix.data.samples, 'sample')}.",
            "numbers",
        )
        for scheme, cells in lost.items()
    ]


def _no_difference(matrix: Matrix) -> Finding:
    who = noun(matrix) if len(matrix.targets) > 1 or chips(matrix) else "scheme"
    return Finding(
        "calm",
        f"No {who}'s {matrix.metric.name} differs from the {matrix.baseline.words}'s by more than "
        f"{counted(matrix.data.samples, 'sample')} can show.",
        "matrix",
    )


def _largest(matrix: Matrix, against: Sequence[tuple[Cell, Delta]]) -> list[Finding]:
    """The largest differences, worse ones first, marked as perhaps chance; what is not excluded."""
    figures = Figures.of(matrix)
    if not any(delta.value for _, delta in against):
        text = f"Every cell has exactly the {matrix.baseline.words}'s figure."
        return [Finding("note", text + _not_excluded(matrix, against), "matrix")]
    largest = figures.size(max(abs(delta.value) for _, delta in against))
    # Equal as they are written: of two that a reader cannot tell apart neither is the largest.
    tied = [(cell, delta) for cell, delta in against if figures.size(delta.value) == largest]
    tied.sort(key=lambda x: figures.worse(x[1].value) < 0)
    sides: dict[str, list[tuple[Cell, Delta]]] = defaultdict(list)
    for cell, delta in tied:
        sides[figures.change(delta.value)].append((cell, delta))
    told = listing([_side(matrix, change, cells) for change, cells in sides.items()])
    many = len(sides) > 1
    text = (
        f"The largest difference{'s' * many} seen {'are' if many else 'is'} {told}. "
        f"{'They' if many else 'It'} may be chance: p = {_from([d.p_holm for _, d in tied])} after "
        "Holm's correction for all cells compared (uncorrected "
        f"{_from([d.p_value for _, d in tied])})."
    )
    return [Finding("note", text + _not_excluded(matrix, against), "matrix")]


def _from(p_values: Sequence[float]) -> str:
    """The least of them, and whether there are others."""
    several = len({p_value(p) for p in p_values}) > 1
    return p_value(min(p_values)) + (" or more" if several else "")


def _side(matrix: Matrix, change: str, cells: Sequence[tuple[Cell, Delta]]) -> str:
    """One change with its cells, and their interval where all have the same."""
    figures = Figures.of(matrix)
    spans = {figures.change_span(delta) for _, delta in cells}
    (span,) = spans if len(spans) == 1 else (None,)
    interval = f", 95 % interval {span}" if span else ""
    where = where_cells(matrix, [cell for cell, _ in cells])
    return f"{change} {figures.change_unit}".rstrip() + f" ({where}{interval})"


def _not_excluded(matrix: Matrix, against: Sequence[tuple[Cell, Delta]]) -> str:
    """How much worse a cell may be all the same, by the far end of its interval."""
    figures = Figures.of(matrix)
    ends = [
        (figures.worse(end), cell)
        for cell, delta in against
        if (end := delta.low if figures.higher_is_better else delta.high) is not None
    ]
    if not ends or (worst := max(end for end, _ in ends)) <= 0:
        return ""
    cell = next(cell for end, cell in ends if end == worst)
    return (
        f" Not shown is not excluded: the intervals leave room for up to {figures.amount(worst)} "
        f"worse ({cell.scheme} on {cell.target})."
    )


def _differences(
    matrix: Matrix, scheme: str, mine: Sequence[tuple[Cell, Delta]], direction: int
) -> list[Finding]:
    """The significant differences of one scheme that are losses (1) or gains (-1)."""
    figures = Figures.of(matrix)
    real = [
        (cell, delta)
        for cell, delta in mine
        if delta.significant and direction * figures.worse(delta.value) > 0
    ]
    if not real:
        return []
    real.sort(key=lambda x: -abs(x[1].value))
    verb = "loses" if direction == 1 else "gains"
    kind: Kind = "loss" if direction == 1 else "gain"
    sizes = [abs(delta.value) for _, delta in real]
    size = figures.amount(max(sizes))
    if (least := figures.size(min(sizes))) != figures.size(max(sizes)):
        size = f"{least} to {size}"
    if len(real) == len(mine) > 1:
        return [Finding(kind, f"{scheme} {verb} {size} on {_everywhere(matrix, real)}", "matrix")]
    parts = [_one(figures, cell, delta) for cell, delta in real if cell.copied_from is None]
    shared = [cell.target for cell, _ in real if cell.copied_from is not None]
    text = f"{scheme} {verb} {listing(parts, 5) or size}"
    if shared:
        also = "on" if not parts else "and likewise on"
        text += f", {also} {listing(shared, 6)} (shared results)"
    others = [cell.target for cell, delta in mine if not delta.significant]
    if others:
        text += f"; on {name_targets(matrix, others)} no difference is shown"
    return [Finding(kind, text + ".", "matrix")]


def _everywhere(matrix: Matrix, real: Sequence[tuple[Cell, Delta]]) -> str:
    """Where all targets of a scheme differ: alike or not, and whether the host's CPU does, too."""
    figures, own = Figures.of(matrix), hosts(matrix)
    targets = [cell.target for cell, _ in real]
    host = [target for target in targets if target in own]
    where = "every target that ran it" if host else name_targets(matrix, targets)
    apart = _apart(real)
    if apart is not None:
        a, b = (f"{cell.target} ({figures.change(delta.value)})" for cell, delta in apart)
        return f"{where}, not alike: the 95 % intervals of {a} and {b} do not overlap."
    bounded = all(delta.low is not None and delta.high is not None for _, delta in real)
    if host and len(host) < len(targets) and bounded:
        told = f"alike: that is the quantization, not the {noun(matrix)}"
        return f"{where}, {listing(host)} included, {told}."
    return f"{where}."


def _one(figures: Figures, cell: Cell, delta: Delta) -> str:
    span = figures.change_span(delta)
    interval = f"95 % interval {span}, " if span else ""
    return (
        f"{figures.amount(delta.value)} on {cell.target} "
        f"({interval}Holm-corrected p {p_value(delta.p_holm)})"
    )


def _apart(
    real: Sequence[tuple[Cell, Delta]],
) -> tuple[tuple[Cell, Delta], tuple[Cell, Delta]] | None:
    """Two cells whose intervals do not overlap, the farthest apart, or None."""
    bounded = [x for x in real if x[1].low is not None and x[1].high is not None]
    if not bounded:
        return None
    lowest = min(bounded, key=lambda x: x[1].high or 0.0)
    highest = max(bounded, key=lambda x: x[1].low or 0.0)
    return (lowest, highest) if (lowest[1].high or 0.0) < (highest[1].low or 0.0) else None

"""Whose loss it is, by the metric on all samples of the run: the quantization's or the chip's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chipdrift.diagnose.case import FLOAT, Case
from chipdrift.diagnose.counts import agreeing, counted
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Cause, Verdict
from chipdrift.matrix import cell_outputs
from chipdrift.metrics import Outputs, compare, get_metric
from chipdrift.records import Cell, Matrix

Array = np.ndarray[Any, Any]
_SIGNIFICANT = 0.05
# Under so many samples no cause is named: one sample is more than three points.
_FEW = 30


def give_verdict(case: Case) -> Verdict:
    """The quantization's loss is what A and B share, the chip's is what parts them.

    A loss is called so only where the paired test of the matrix (corrected for all its cells), or
    of A against B (corrected for the pairs it was chosen from), carries it.
    """
    matrix = case.run.matrix
    cells = [cell for name in _names(case) if (cell := case.cell(name)) is not None]
    losses = [_loss(case, cell) for cell in cells]
    count = min((cell.samples for cell in cells), default=0)
    common: dict[str, Any] = {"metric": matrix.metric.name, "samples": count}
    if matrix.metric.against_baseline or any(loss is None for loss in losses) or not losses:
        return Verdict(
            cause="unknown",
            words=f"{matrix.metric.name} compares with the float model's own outputs: it tells how "
            "far they are, not whether anything is lost. Give labels and their metric.",
            **common,
        )
    if count < _FEW:
        return Verdict(
            cause="unknown",
            words=f"{counted(count, 'sample')} {agreeing(count, 'carries', 'carry')} no verdict: "
            f"a single one is {100 / max(1, count):.0f} points. Measure at least "
            f"{_FEW}, better some hundreds.",
            **common,
        )
    if case.b is None:
        return _alone(cells[0], count, common)
    compared = _compared(case)
    if compared is None:
        return Verdict(
            cause="unknown", words="the metric cannot compare A with B on this data.", **common
        )
    return _judged(case, cells, compared, common)


def _judged(
    case: Case,
    cells: Sequence[Cell],
    compared: tuple[float | None, float | None, float],
    common: dict[str, Any],
) -> Verdict:
    """The verdict on two cells by the tests of each against the float model, and of the two."""
    matrix, count = case.run.matrix, common["samples"]
    losses = [_loss(case, cell) or 0.0 for cell in cells]
    quantization, chip = min(losses), abs(losses[0] - losses[1])
    low, high, p_value = compared
    p_value = min(1.0, p_value * case.among)
    parted = p_value < _SIGNIFICANT
    lost = [_lost(cell, loss) for cell, loss in zip(cells, losses, strict=True)]
    worse, better = (0, 1) if losses[0] > losses[1] else (1, 0)
    seen = "; ".join(_seen(matrix, cell) for cell in cells)
    tested = f"p = {p_value:.2g}" + (
        f", corrected for the {case.among} pairs it was chosen from" if case.among > 1 else ""
    )
    between = "" if low is None or high is None else f"95 % interval {_span(low, high)}"
    differ = f"{cells[worse].target} loses {_points(chip)} more than the other ({tested})"
    cause: Cause
    if all(lost) and parted:
        share = quantization / (quantization + chip)
        cause = "both"
        words = (
            f"quantization costs {_points(quantization)} on both; {differ}: "
            f"{100 * share:.0f} % is the quantization, the rest the chip"
        )
    elif all(lost):
        cause = "quantization"
        words = (
            f"quantization costs {_points(quantization)} on both: it is the quantization. A "
            f"difference between the two is not shown ({between or tested})"
        )
    elif parted:
        cause = "chip"
        words = f"{differ}; what both lose is within chance: it is the chip"
    elif any(lost):
        cause = "unknown"
        words = (
            f"{cells[worse].target} loses against the float model (p = "
            f"{_p_holm(cells[worse])}, corrected for all cells of the run); whether "
            f"{cells[better].target} loses less is not shown ({between or tested}), so it may be "
            f"the quantization or the chip. Seen: {seen}"
        )
    else:
        cause = "neither"
        words = (
            f"no loss that {counted(count, 'sample')} carry, on either. Seen: {seen}; the "
            f"difference between the two: {between or tested}"
        )
    words += "".join(
        f". {cell.target} ran {counted(cell.audited or 0, 'sample')} itself: beyond them "
        f"{cell.copied_from}, which answered alike on those, stands in"
        for cell in cells
        if cell.copied_from is not None
    )
    return Verdict(
        cause=cause,
        words=words + ".",
        quantization=quantization,
        chip=chip,
        p_value=p_value,
        **common,
    )


def _alone(cell: Cell, count: int, common: dict[str, Any]) -> Verdict:
    """A alone against the float model: a loss is the quantization's or the chip's."""
    assert cell.delta is not None
    change = cell.delta.value
    span = (
        ""
        if cell.delta.low is None
        else f", 95 % interval {_span(cell.delta.low, cell.delta.high)}"
    )
    tested = f"p = {cell.delta.p_holm:.2g}, corrected for all cells of the run"
    if cell.delta.significant:
        words = (
            f"{cell.target} is {_points(abs(change))} {'below' if change < 0 else 'above'} the "
            f"float model ({tested}{span}). Set it against another target to tell the quantization "
            "from the chip."
        )
    else:
        words = (
            f"no difference from the float model that {counted(count, 'sample')} carry (seen: "
            f"{_signed(change)}{span})."
        )
    return Verdict(
        cause="unknown" if cell.delta.significant else "neither",
        words=words,
        quantization=-change,
        p_value=cell.delta.p_holm,
        **common,
    )


def _lost(cell: Cell, loss: float) -> bool:
    return cell.delta is not None and cell.delta.significant and loss > 0


def _seen(matrix: Matrix, cell: Cell) -> str:
    """A cell's difference from the float model, with its interval."""
    assert cell.delta is not None
    span = "" if cell.delta.low is None else f" ({_span(cell.delta.low, cell.delta.high)})"
    return f"{cell.target} {_signed(cell.delta.value)}{span}"


def _p_holm(cell: Cell) -> str:
    return "unknown" if cell.delta is None else f"{cell.delta.p_holm:.2g}"


def _names(case: Case) -> list[str]:
    return [case.a.name] if case.b_name == FLOAT else [case.a.name, case.b_name]


def _loss(case: Case, cell: Cell) -> float | None:
    """How much worse than the float model, positive for worse."""
    if cell.delta is None:
        return None
    return -cell.delta.value if case.run.matrix.metric.higher_is_better else cell.delta.value


def _compared(case: Case) -> tuple[float | None, float | None, float] | None:
    """The interval of A's metric less B's, and the paired test's p."""
    matrix, samples = case.run.matrix, case.run.samples
    try:
        a, b = (
            Outputs(
                arrays=cell_outputs(case.run.folder, case.scheme, name)[0],
                primary=matrix.metric.output,
                labels=samples.labels,
                extras=samples.extras,
            )
            for name in _names(case)
        )
        found = compare(get_metric(matrix.metric.name), a, b)
    except ChipdriftError:
        return None
    return found.low, found.high, found.p_value


def _signed(value: float) -> str:
    return f"{100 * value:+.2f} points" if abs(value) <= 1 else f"{value:+.3g}"


def _span(low: float, high: float | None) -> str:
    """An interval of differences."""
    if high is None:
        return f"from {_signed(low)}"
    if max(abs(low), abs(high)) <= 1:
        return f"{100 * low:+.2f} to {100 * high:+.2f} points"
    return f"{low:+.3g} to {high:+.3g}"


def _points(value: float) -> str:
    """A proportion's change in points, any other metric's in its own unit."""
    return f"{100 * value:.2f} points" if abs(value) <= 1 else f"{value:.3g}"

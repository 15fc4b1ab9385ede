"""Whose loss it is, by the metric on all samples of the run: the quantization's or the chip's."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.diagnose.case import FLOAT, Case
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Verdict
from chipdrift.matrix import cell_outputs
from chipdrift.metrics import Outputs, compare, get_metric
from chipdrift.records import Cell

Array = np.ndarray[Any, Any]
_SIGNIFICANT = 0.05
# Under so many samples no cause is named: one sample is more than three points.
_FEW = 30


def give_verdict(case: Case) -> Verdict:
    """The quantization's loss is what A and B share, the chip's is what parts them.

    A loss is called so only where the paired test of the matrix (corrected for all its cells), or
    of A against B, carries it.
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
            words=f"{count} samples carry no verdict: a single one is {100 / max(1, count):.0f} "
            f"points. Measure at least {_FEW}, better some hundreds.",
            **common,
        )
    known = [loss for loss in losses if loss is not None]
    quantization = min(known)
    lost = all(cell.delta is not None and cell.delta.significant for cell in cells)
    lost = lost and quantization > 0
    if case.b is None:
        return _alone(case, lost, quantization, count, common)
    compared = _compared(case)
    if compared is None:
        return Verdict(
            cause="unknown", words="the metric cannot compare A with B on this data.", **common
        )
    low, high, p_value = compared
    chip = abs(known[0] - known[1])
    parted = p_value < _SIGNIFICANT
    worse = case.a.name if known[0] > known[1] else case.b_name
    quant = f"quantization costs {_points(quantization)} on both"
    differ = f"{worse} loses {_points(chip)} more than the other (p = {p_value:.2g})"
    reach = (
        f"a difference between the two beyond {_points(max(abs(low), abs(high)))} is excluded"
        if low is not None and high is not None
        else "these samples show no difference between the two"
    )
    if lost and parted:
        share = quantization / (quantization + chip)
        words = f"{quant}; {differ}: {100 * share:.0f} % is the quantization, the rest the chip"
        cause = "both"
    elif lost:
        words, cause = f"{quant}, and {reach}: it is the quantization, not the chip", "quantization"
    elif parted:
        words, cause = f"{differ}; what both lose is within chance: it is the chip", "chip"
    else:
        words = f"no loss that {count} samples carry, on either; {reach}"
        cause = "neither"
    return Verdict(
        cause=cause,  # type: ignore[arg-type]
        words=words + ".",
        quantization=quantization,
        chip=chip,
        p_value=p_value,
        **common,
    )


def _names(case: Case) -> list[str]:
    return [case.a.name] if case.b_name == FLOAT else [case.a.name, case.b_name]


def _alone(
    case: Case, lost: bool, quantization: float, count: int, common: dict[str, Any]
) -> Verdict:
    cell = case.cell(case.a.name)
    p_value = cell.delta.p_holm if cell is not None and cell.delta is not None else None
    words = (
        f"{case.a.name} loses {_points(quantization)} against the float model (p = {p_value:.2g}). "
        "Set it against another target to tell the quantization from the chip."
        if lost
        else f"no loss against the float model that {count} samples carry."
    )
    return Verdict(
        cause="unknown" if lost else "neither",
        words=words,
        quantization=quantization,
        p_value=p_value,
        **common,
    )


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


def _points(value: float) -> str:
    """A proportion's change in points, any other metric's in its own unit."""
    return f"{100 * value:.2f} points" if abs(value) <= 1 else f"{value:.3g}"

"""Whose loss it is, by the metric on all samples of the run: the quantization's or the chip's."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chipdrift.counts import agreeing, counted
from chipdrift.diagnose.case import FLOAT, Case
from chipdrift.diagnose.tested import Difference, against_float, between
from chipdrift.findings import Cause, Verdict
from chipdrift.records import Cell

# Under so many samples no cause is named: one sample is more than three points.
_FEW = 30
_MORE = "more samples decide"


def give_verdict(case: Case) -> Verdict:
    """The quantization's loss is what A and B share, the chip's is what parts them.

    A loss is called shown only where the paired test carries it, and "neither" only where nothing
    points to one: what lies between is likely, and said to be so. What the run measured besides A
    and B does not matter.
    """
    metric = case.run.matrix.metric
    names = [case.a.name] if case.b_name == FLOAT else [case.a.name, case.b_name]
    cells = [cell for name in names if (cell := case.cell(name)) is not None]
    sides = [side for name in names if (side := against_float(case, name)) is not None]
    count = min((cell.samples for cell in cells), default=0)
    common: dict[str, Any] = {"metric": metric.name, "samples": count}
    if metric.against_baseline or len(sides) < len(names):
        return Verdict(
            cause="unknown",
            words=f"{metric.name} compares with the float model's own outputs: it tells how "
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
        return _alone(sides[0], common)
    apart = between(case)
    if apart is None:
        return Verdict(
            cause="unknown", words="the metric cannot compare A with B on this data.", **common
        )
    cause, words = _judged(sides, apart)
    return Verdict(
        cause=cause,
        words=f"{words}{_stand_ins(cells)}.",
        quantization=min(side.loss for side in sides),
        chip=abs(sides[0].loss - sides[1].loss),
        p_value=apart.corrected,
        **common,
    )


def _judged(sides: Sequence[Difference], apart: Difference) -> tuple[Cause, str]:
    """Cause and words for two targets: each against the float model, and one against the other."""
    worse, better = sorted(sides, key=lambda side: -side.loss)
    shared, more = better.loss, worse.loss - better.loss
    seen = f"Seen: {'; '.join(side.words for side in sides)}"
    states = {side.lost for side in sides}
    differ = f"{worse.first} loses {_points(more)} more than {better.first} ({apart.words})"
    if states == {"shown"}:
        both = f"quantization costs {_points(shared)} on both"
        if apart.state == "shown":
            share = 100 * shared / (shared + more)
            told = f"{share:.0f} % is the quantization, the rest the chip"
            return "both", f"{both}; {differ}: {told}. {seen}"
        if apart.state == "likely":
            told = "which is likely, not proven"
            return "unknown", f"{both}; {differ}, {told}: {_MORE}. {seen}"
        told = f"A difference between the two is not shown ({apart.words})"
        return "quantization", f"{both}: it is the quantization. {told}. {seen}"
    if apart.state == "shown":
        rest = "what both lose is within chance: it is the chip"
        if better.lost != "not seen":
            rest = (
                "that is the chip. That both lose to the quantization, too, is likely, not "
                f"proven: {_MORE}"
            )
        return "chip", f"{differ}; {rest}. {seen}"
    if "shown" in states:
        loser, other = sorted(sides, key=lambda side: side.lost != "shown")
        likely = "is likely, not proven" if apart.state == "likely" else "is not shown"
        return "unknown", (
            f"{loser.first} loses against the float model ({loser.evidence}); whether "
            f"{other.first} loses less {likely} ({apart.words}), so it may be the quantization or "
            f"the chip: {_MORE}. {seen}"
        )
    if "likely" in states:
        losers = " and ".join(side.first for side in sides if side.lost == "likely")
        return "unknown", (
            f"a loss on {losers} is likely, not proven: {_MORE}. {seen}; the difference between "
            f"the two: {apart.words}"
        )
    if apart.state == "likely":
        return "unknown", f"{differ}, which is likely, not proven: {_MORE}. {seen}"
    return "neither", (
        f"no loss that {counted(apart.samples, 'sample')} carry, on either. {seen}; the "
        f"difference between the two: {apart.words}"
    )


def _alone(side: Difference, common: dict[str, Any]) -> Verdict:
    """A alone against the float model: a loss is the quantization's or the chip's."""
    other = "Set it against another target to tell the quantization from the chip"
    cause: Cause = "unknown"
    if side.lost == "shown":
        words = f"{side.first} is {_points(side.loss)} worse than the float model. {other}"
    elif side.lost == "likely":
        words = f"a loss on {side.first} is likely, not proven: {_MORE}. {other}"
    else:
        cause = "neither"
        words = f"no loss that {counted(common['samples'], 'sample')} carry"
    return Verdict(
        cause=cause,
        words=f"{words}. Seen: {side.words}.",
        quantization=side.loss,
        p_value=side.corrected,
        **common,
    )


def _stand_ins(cells: Sequence[Cell]) -> str:
    return "".join(
        f". {cell.target} ran {counted(cell.audited or 0, 'sample')} itself: beyond them "
        f"{cell.copied_from}, which answered alike on those, stands in"
        for cell in cells
        if cell.copied_from is not None
    )


def _points(value: float) -> str:
    """A proportion's change in points, any other metric's in its own unit."""
    return f"{100 * value:.2f} points" if abs(value) <= 1 else f"{value:.3g}"

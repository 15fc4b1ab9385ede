"""Set the cells of one run against those of another, and hold what changed against limits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from chipdrift.errors import RunError
from chipdrift.matrix.answers import lsb_of
from chipdrift.matrix.reopen import reopen
from chipdrift.metrics import (
    answers_agree,
    compare,
    get_metric,
    holm,
    identical_share,
    max_abs,
)
from chipdrift.records import Cell, Delta, NodePlace
from chipdrift.regress.limits import exceeded, parse_limits
from chipdrift.regress.pairing import pair_cells, versions_apart
from chipdrift.regress.records import Change, Parted, Regression, Side, Timing
from chipdrift.regress.side import RunSide, answers_of

_SIGNIFICANT = 0.05
_MOST_PARTED = 20
# A median of fewer is one of the host's other work.
_LEAST_TIMED = 20


def run_regress(
    run_a: str | Path,
    run_b: str | Path | None = None,
    *,
    target: str | None = None,
    against: str | None = None,
    schemes: Sequence[str] = (),
    limits: Iterable[str] = (),
    data: str | Path | None = None,
) -> Regression:
    """What changed from ``run_a`` to ``run_b``, or in one run from ``target`` to ``against``.

    ``limits`` are like ``changed=0.5``: see :data:`chipdrift.regress.LIMITS`. ``data`` says where
    the samples are now, if not where they were. Both runs must be of one model and of the same
    samples, in whatever order. Raises ChipdriftError where they are not.
    """
    held = parse_limits(limits)
    a = RunSide(Path(run_a))
    b = a if run_b is None or Path(run_b).resolve() == a.folder.resolve() else RunSide(Path(run_b))
    _check(a, b)
    pairs = pair_cells(a.matrix, b.matrix, a is b, target, against, schemes)
    comparison = _Comparison(a, b, data)
    changes = _corrected([comparison.change(left, right) for left, right in pairs])
    info = a.matrix.metric
    judged = []
    for change in changes:
        above, unchecked = exceeded(change, info, held)
        judged.append(change.model_copy(update={"exceeds": above, "unchecked": unchecked}))
    return Regression(
        chipdrift=metadata.version("chipdrift"),
        a=_side(a),
        b=_side(b),
        model=a.matrix.model.name,
        samples=len(a.keys),
        metric=info,
        limits=held,
        changes=tuple(judged),
        warnings=tuple(_warnings(a, b, pairs, target is None, judged)),
        failed=any(change.exceeds for change in judged),
    )


def _check(a: RunSide, b: RunSide) -> None:
    if a.matrix.model.sha256 != b.matrix.model.sha256:
        raise RunError(
            f"Runs {a.folder} and {b.folder} are of two models ({a.matrix.model.name}, sha256 "
            f"{a.matrix.model.sha256[:12]}; {b.matrix.model.name}, {b.matrix.model.sha256[:12]}). "
            "Compare runs of one model."
        )
    if a.matrix.metric.name != b.matrix.metric.name or (
        a.matrix.metric.output != b.matrix.metric.output
    ):
        raise RunError(
            f"Runs {a.folder} and {b.folder} have two metrics ({a.matrix.metric.name} of "
            f"{a.matrix.metric.output}; {b.matrix.metric.name} of {b.matrix.metric.output}). "
            "Measure both with one --metric; nothing that is there is measured twice."
        )


class _Comparison:
    """Two runs with what their cells share: the samples' labels, the metric, the float model."""

    def __init__(self, a: RunSide, b: RunSide, data: str | Path | None) -> None:
        self._a, self._b = a, b
        self._order_a, self._order_b = list(range(len(a.keys))), b.order(a.keys)
        self._samples = reopen(a.folder, data).samples
        self._metric = get_metric(a.matrix.metric.name)
        self._primary = a.matrix.metric.output
        needed = self._metric.needs_reference
        self._reference = a.baseline(self._primary) if needed else None
        self._testable = not needed or self._reference is not None

    def change(self, before: Cell, after: Cell) -> Change:
        """One scheme on one target, before and after."""
        common: dict[str, Any] = {
            "scheme": before.scheme,
            "a": before.target,
            "b": after.target,
            "versions": versions_apart(before.versions, after.versions),
            "same_model": before.model_sha256 == after.model_sha256,
            "status_a": before.status,
            "status_b": after.status,
            "reason_a": before.reason,
            "reason_b": after.reason,
            "metric_a": before.metric,
            "metric_b": after.metric,
        }
        if before.status != "ok" or after.status != "ok":
            return Change(**common)
        old = self._answers(self._a, before, self._order_a)
        new = self._answers(self._b, after, self._order_b)
        agrees = answers_agree(old.answers, new.answers)
        parted = np.flatnonzero(old.answers != new.answers)
        left, joined = _moved(before, after)
        old_own, new_own = self._a.seconds(before), self._b.seconds(after)
        own = [key for key in self._a.keys if key in old_own and key in new_own]
        return Change(
            **common,
            samples=len(old.answers),
            measured=len(own),
            changed=len(parted),
            agreement=agrees.value,
            agreement_low=agrees.low,
            agreement_high=agrees.high,
            identical=identical_share(old.outputs, new.outputs),
            lsb=lsb_of(old, new) if self._one_scale(before.scheme) else None,
            max_abs=max_abs(old.outputs, new.outputs),
            parted=tuple(
                Parted(
                    sample=int(index),
                    label=self._metric.describe_label(old.outputs, int(index)),
                    a=self._metric.describe(old.answers[index]),
                    b=self._metric.describe(new.answers[index]),
                )
                for index in parted[:_MOST_PARTED]
            ),
            delta=self._delta(old.outputs, new.outputs),
            left_npu=left,
            joined_npu=joined,
            timing=_on_phones(before, after)
            if before.phone is not None or after.phone is not None
            else self._timing([old_own[key] for key in own], [new_own[key] for key in own]),
        )

    def _answers(self, side: RunSide, cell: Cell, order: Sequence[int]) -> Any:
        return answers_of(
            side.arrays(cell, order),
            side.quantizers(cell.scheme),
            self._metric,
            self._primary,
            self._samples.labels,
            dict(self._samples.extras),
            self._reference,
        )

    def _one_scale(self, scheme: str) -> bool:
        """Integers of two quantizers are no distance apart."""
        return self._a.quantizers(scheme) == self._b.quantizers(scheme)

    def _delta(self, old: Any, new: Any) -> Delta | None:
        return Delta.uncorrected(*compare(self._metric, new, old)) if self._testable else None

    def _timing(self, old: Sequence[float], new: Sequence[float]) -> Timing | None:
        """None between two machines, and on few samples."""
        if self._a.matrix.host != self._b.matrix.host or len(old) < _LEAST_TIMED:
            return None
        a, b = median(old), median(new)
        return Timing(samples=len(old), a=a, b=b, ratio=b / a) if a > 0 else None


def _on_phones(before: Cell, after: Cell) -> Timing | None:
    """By the phones' own clocks; None where one is emulated, was hot, or ran few samples."""
    runs = [cell.phone for cell in (before, after) if cell.evidence == "device"]
    a, b = (*(run.median_seconds if run else None for run in runs), None, None)[:2]
    if a is None or b is None or a <= 0:
        return None
    states = [state for run in runs if run for state in (run.before, run.after)]
    hot = any(state is not None and state.thermal for state in states)
    samples = min(run.samples for run in runs if run)
    return None if hot or samples < _LEAST_TIMED else Timing(samples=samples, a=a, b=b, ratio=b / a)


def _moved(before: Cell, after: Cell) -> tuple[tuple[NodePlace, ...], tuple[NodePlace, ...]]:
    """The nodes that left the NPU, and those that came back."""
    if before.placement is None or after.placement is None:
        return (), ()
    old = {place.node: place for place in before.placement.fallback}
    new = {place.node: place for place in after.placement.fallback}
    left = tuple(place for node, place in new.items() if node not in old)
    return left, tuple(place for node, place in old.items() if node not in new)


def _corrected(changes: Sequence[Change]) -> list[Change]:
    """Holm's correction over the differences tested here."""
    tested = [i for i, change in enumerate(changes) if change.delta is not None]
    raw = [d.p_value for i in tested if (d := changes[i].delta) is not None]
    done = list(changes)
    for i, p in zip(tested, holm(raw), strict=True):
        delta = changes[i].delta
        assert delta is not None
        better = delta.model_copy(update={"p_holm": float(p), "significant": p < _SIGNIFICANT})
        done[i] = changes[i].model_copy(update={"delta": better})
    return done


def _side(run: RunSide) -> Side:
    return Side(run=str(run.folder), created=run.matrix.created, chipdrift=run.matrix.chipdrift)


def _warnings(
    a: RunSide,
    b: RunSide,
    pairs: Sequence[tuple[Cell, Cell]],
    every: bool,
    changes: Sequence[Change],
) -> list[str]:
    """What a reader must know before believing that nothing changed."""
    found = []
    if every and a is not b:
        for side, at, other in ((a, 0, b), (b, 1, a)):
            used = {(pair[at].scheme, pair[at].target) for pair in pairs}
            lone = [
                f"{c.scheme} on {c.target}"
                for c in side.matrix.cells
                if (c.scheme, c.target) not in used
            ]
            if lone:
                found.append(f"only in {side.folder}, not in {other.folder}: {', '.join(lone)}")
    if a is not b and a.matrix.host != b.matrix.host:
        found.append("the two runs were measured on two machines: times are not compared")
    moved = [c.scheme for c in changes if not c.same_model]
    if moved:
        found.append(
            f"the model files of {', '.join(dict.fromkeys(moved))} are not the same: the "
            "quantization has changed, and answers may part for that alone"
        )
    if all(not change.versions for change in changes):
        found.append("both sides ran the same versions of everything that is recorded")
    shared = [f"{c.scheme} on {c.b}" for c in changes if 0 < c.measured < c.samples]
    if shared:
        found.append(
            f"in {len(shared)} cell{'s' if len(shared) != 1 else ''} an identical chip of the same "
            f"release stood in for most samples ({shared[0]}, say): chipdrift matrix --exhaustive "
            "runs them all"
        )
    lacking = {name: None for change in changes for name in change.unchecked}
    for name in lacking:
        cells = [f"{c.scheme} on {c.b}" for c in changes if name in c.unchecked]
        found.append(f"the limit {name} was not checked for {', '.join(cells)}: no figure")
    return found

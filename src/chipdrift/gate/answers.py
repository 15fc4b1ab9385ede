"""Limits on answers: metric lost, agreement, distance, and what a diagnosis left unexplained."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from chipdrift.counts import counted, rounded
from chipdrift.gate.judge import Figure, at_least, at_most
from chipdrift.gate.reading import Judged, Judgements, Reading, missing
from chipdrift.gate.wording import amount, is_share, neighbour, points, sounder
from chipdrift.records import Cell
from chipdrift.schemes import builtin_schemes


def drop(reading: Reading, cell: Cell, limit: float, judge: str) -> Judgements:
    """The metric lost against the run's baseline."""
    info, base = reading.matrix.metric, reading.matrix.baseline
    allowed = f"at most {points(f'{limit:g}', info)}"
    if (cell.scheme, cell.target) == (base.scheme, base.target):
        yield Judged("pass", f"it is the {base.words} itself", allowed, Figure(0.0))
        return
    if cell.delta is None:
        yield missing(f"no difference from the {base.words} is known", allowed)
        return
    times = 100.0 if is_share(info) else 1.0
    sign = -times if info.higher_is_better else times
    ends = [rounded(end, sign) for end in (cell.delta.low, cell.delta.high) if end is not None]
    low, high = sorted(ends) if len(ends) == 2 else (None, None)
    lost = rounded(cell.delta.value, sign)
    figure = Figure(lost, low, high, sampled=True)
    verb = "lost" if lost >= 0 else "gained"
    fact = f"{points(amount(abs(lost), limit), info)} {verb} against the {base.words}"
    command, todo = reading.diagnose(cell, sounder(reading.matrix, cell, info))
    outcome = at_most(figure, limit, judge)
    nodes = reading.suspects(cell)
    yield Judged(outcome, fact, allowed, figure, limit, nodes, command, todo)


def metric(reading: Reading, cell: Cell, limit: float, judge: str) -> Judgements:
    """The metric itself: the least of it, or the most where lower is better."""
    info = reading.matrix.metric
    allowed = f"at {'least' if info.higher_is_better else 'most'} {points(f'{limit:g}', info)}"
    if cell.metric is None:
        yield missing(f"no {info.name} of it is known", allowed)
        return
    times = 100.0 if is_share(info) else 1.0
    low, high = (
        None if end is None else rounded(end, times) for end in (cell.metric.low, cell.metric.high)
    )
    figure = Figure(rounded(cell.metric.value, times), low, high, sampled=True)
    fact = f"{points(amount(figure.found, limit), info)}"
    command, todo = reading.diagnose(cell, sounder(reading.matrix, cell, info))
    outcome = (at_least if info.higher_is_better else at_most)(figure, limit, judge)
    nodes = reading.suspects(cell)
    yield Judged(outcome, fact, allowed, figure, limit, nodes, command, todo)


def agreement(reading: Reading, cell: Cell, limit: float, judge: str) -> Judgements:
    """The share of samples with the same answer as the run's baseline."""
    base = reading.matrix.baseline
    allowed = f"at least {limit:g} %"
    if (cell.scheme, cell.target) == (base.scheme, base.target):
        yield Judged("pass", f"it is the {base.words} itself", allowed, Figure(100.0))
        return
    command, todo = reading.diagnose(cell, sounder(reading.matrix, cell, reading.matrix.metric))
    yield _same_answers(
        cell.agreement,
        (cell.agreement_low, cell.agreement_high),
        f"the {base.words}'s",
        limit,
        judge,
        nodes=reading.suspects(cell),
        command=command,
        todo=todo,
    )


def agree_with(reading: Reading, cell: Cell, limits: Mapping[str, float], judge: str) -> Judgements:
    """The share of samples with the same answer as other targets, each with its limit."""
    for other, limit in limits.items():
        if other == cell.target:
            continue
        command, todo = reading.diagnose(cell, other)
        pair = reading.pair(cell.scheme, cell.target, other)
        if pair is None:
            fact = f"{other} has no answers under this scheme to compare with"
            yield missing(fact, f"at least {limit:g} %", against=other)
            continue
        yield _same_answers(
            pair.agreement,
            (pair.agreement_low, pair.agreement_high),
            f"those of {other}",
            limit,
            judge,
            nodes=reading.suspects(cell, other),
            command=command,
            todo=todo,
            against=other,
        )


def _same_answers(
    share: float | None,
    ends: tuple[float | None, float | None],
    whose: str,
    limit: float,
    judge: str,
    **more: Any,
) -> Judged:
    allowed = f"at least {limit:g} %"
    if share is None:
        return missing(f"the share of answers that are {whose} is not known", allowed)
    found = rounded(share, 100)
    low, high = (None if end is None else rounded(end, 100) for end in ends)
    figure = Figure(found, low, high, sampled=True)
    fact = f"{amount(found, limit)} % of the answers are {whose}"
    return Judged(at_least(figure, limit, judge), fact, allowed, figure, limit, **more)


def unexplained(reading: Reading, cell: Cell, limit: float, judge: str) -> Judgements:
    """The share of the drift that each diagnosis of the cell left unexplained."""
    allowed = f"at most {limit:g} % of the drift unexplained"
    command, todo = reading.diagnose(cell, neighbour(reading.matrix, cell))
    met = reading.diagnoses_of(cell)
    if not met:
        fact = "no diagnosis of it against another target lies in the run"
        wanted = todo if command is None else f"{command} makes one"
        yield missing(fact, allowed, command=command, todo=wanted)
        return
    for other, diagnosis in met:
        command, todo = reading.diagnose(cell, other)
        apart = any(a.distance.differing for a in (*diagnosis.outputs, *diagnosis.activations))
        left = diagnosis.unexplained if apart else 0.0
        if left is None:
            fact = f"the diagnosis against {other} could not divide the drift"
            yield missing(fact, allowed, command=command, todo=todo, against=other)
            continue
        found = rounded(left, 100)
        fact = f"{amount(found, limit)} % of the drift against {other} is unexplained"
        odd = tuple(e.node for e in diagnosis.explanations if 100 * e.unexplained > limit)
        yield Judged(
            at_most(Figure(found), limit, judge),
            fact,
            allowed,
            Figure(found),
            limit,
            odd,
            command,
            todo,
            other,
        )


def lsb(reading: Reading, cell: Cell, limit: int, judge: str) -> Judgements:
    """The largest distance of an output from ort:cpu, in steps of the output's quantizer."""
    allowed = f"at most {limit} LSB"
    if cell.lsb is None:
        known = builtin_schemes().get(cell.scheme)
        if known is not None and known.kind in ("float32", "float16"):
            fact = "outputs of a float scheme are no integers"
            yield missing(fact, allowed, applies=False)
        else:
            yield missing("its distance from ort:cpu in integers is not known", allowed)
        return
    command, todo = reading.diagnose(cell, "ort:cpu")
    if "ort:cpu" not in reading.matrix.targets:
        command, todo = reading.diagnose(cell, "float")
    fact = f"outputs up to {counted(cell.lsb.max, 'step')} of the quantizer from those of ort:cpu"
    figure = Figure(cell.lsb.max)
    outcome = at_most(figure, limit, judge)
    nodes = reading.suspects(cell)
    yield Judged(outcome, fact, allowed, figure, limit, nodes, command, todo)

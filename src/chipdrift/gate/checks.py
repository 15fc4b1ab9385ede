"""The policy's limits held against the cells of a run: the checks, and what could not apply."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from chipdrift.counts import counted
from chipdrift.gate import answers, places
from chipdrift.gate.judge import samples_to_tell
from chipdrift.gate.policy import BUILT_IN, LIMITS, Policy, Setting, settings
from chipdrift.gate.reading import Judged, Judgements, Reading
from chipdrift.gate.records import Check
from chipdrift.gate.wording import amount, basis, interval, names, sentence
from chipdrift.records import Cell

_HELD: dict[str, Callable[[Reading, Cell, Any, str], Judgements]] = {
    "drop": answers.drop,
    "metric": answers.metric,
    "agreement": answers.agreement,
    "agree_with": answers.agree_with,
    "fallback": places.fallback,
    "unexplained": answers.unexplained,
    "lsb": answers.lsb,
    "latency_ms": places.latency,
    "status": places.status,
    "evidence": places.evidence,
    "min_samples": places.samples,
}


def checks_of(reading: Reading, policy: Policy) -> tuple[list[Check], list[str]]:
    """Every limit on every cell that it names, in the run's order; and what must be said beside.

    A limit is not held against cells that can have no such figure, beside others that can. A rule
    of which no cell can is unproven on all of them: it would guard nothing.
    """
    found: list[Check] = []
    idle: list[tuple[Check, str]] = []
    excused = []
    for cell in reading.matrix.cells:
        held = settings(policy, cell.scheme, cell.target)
        strict = held["unproven"].value == "fail"
        if cell.status != "ok":  # it has one thing to say
            held = {**{k: v for k, v in held.items() if k not in LIMITS}, "status": held["status"]}
        for name in LIMITS:
            if name in held:
                at = held[name]
                for judged in _HELD[name](reading, cell, at.value, held["judge"].value):
                    check = _check(name, cell, at, judged, strict)
                    if judged.applies:
                        found.append(check)
                    else:
                        idle.append((check, judged.fact))
        if cell.status != "ok" and cell.status in held["status"].value:
            excused.append(f"{_name(cell)} ({cell.status})")
    used = {(check.limit, check.rule) for check in found}
    notes: dict[tuple[str, str], list[str]] = {}
    for check, fact in idle:
        if check.rule in ("default", BUILT_IN) or (check.limit, check.rule) in used:
            words = f"{check.scheme} on {check.target}"
            notes.setdefault((check.limit, fact), []).append(words)
        else:
            found.append(check)
    return found, [*_idle(notes), *_excused(excused)]


def _idle(notes: Mapping[tuple[str, str], Sequence[str]]) -> Iterator[str]:
    for (name, fact), cells in notes.items():
        yield f"{name} is not held against {counted(len(cells), 'cell')}, {names(cells)}: {fact}"


def _excused(cells: Sequence[str]) -> Iterator[str]:
    if cells:
        verb, them = ("is", "it") if len(cells) == 1 else ("are", "them")
        yield (
            f"{counted(len(cells), 'cell')} without answers {verb} accepted by status, and nothing "
            f"else is held against {them}: {names(cells)}"
        )


def _name(cell: Cell) -> str:
    return f"{cell.scheme} on {cell.target}"


def _check(name: str, cell: Cell, at: Setting, judged: Judged, strict: bool) -> Check:
    figure = judged.figure
    told = [] if figure is None else [interval(figure)]
    told += [basis(cell) if cell.status == "ok" and name != "min_samples" else cell.evidence]
    wants = "without a word in the policy it is to be" if at.rule == BUILT_IN else "asks for"
    place = {BUILT_IN: "", "default": "[default] "}.get(at.rule, f"{at.rule} ")
    line = "" if at.line is None else f" (line {at.line})"
    endings = {"pass": "held", "fail": judged.todo, "unproven": _unproven(cell, judged)}
    return Check(
        limit=name,
        rule=at.rule,
        line=at.line,
        scheme=cell.scheme,
        target=cell.target,
        against=judged.against,
        outcome=judged.outcome,
        breaks=judged.outcome == "fail" or (judged.outcome == "unproven" and strict),
        found=None if figure is None else _finite(figure.found),
        low=None if figure is None else _finite(figure.low),
        high=None if figure is None else _finite(figure.high),
        shown=judged.shown or ("" if figure is None else amount(figure.found, judged.limit)),
        allowed=judged.allowed,
        evidence=cell.evidence,
        samples=cell.samples,
        nodes=judged.nodes,
        words=sentence(
            _name(cell),
            judged.fact,
            ", ".join(filter(None, told)),
            f"{place}{wants} {judged.allowed}{line}",
            endings[judged.outcome],
        ),
        command=None if judged.outcome == "pass" else judged.command,
    )


def _unproven(cell: Cell, judged: Judged) -> str:
    """Why this is neither held nor broken, and what would tell."""
    figure = judged.figure
    why = "not proven"
    if figure is not None and figure.low is None:
        why = "not proven, for the samples show no spread from which to make an interval"
    elif figure is not None:
        enough = samples_to_tell(figure, judged.limit, cell.samples)
        why = (
            f"the interval reaches across the limit, so {counted(cell.samples, 'sample')} prove "
            "neither" + (f"; some {enough:,} would, if the figure stays" if enough else "")
        )
    return "; ".join(filter(None, (why, judged.todo)))


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

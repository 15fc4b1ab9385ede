"""The report of a plan: its choices, the frontier, what was tried; below it the confirming run."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from chipdrift.counts import counted
from chipdrift.errors import RunError
from chipdrift.plan.records import Plan
from chipdrift.records import SCHEMA_VERSION, Matrix
from chipdrift.report.briefly import brief
from chipdrift.report.finding import Finding, Kind
from chipdrift.report.page import REPORT_FILE, Head, fill, read_measured, told
from chipdrift.report.plan_choices import (
    basis_rows,
    by_model,
    choice_rows,
    evidence_rows,
    variant_rows,
)
from chipdrift.report.plan_found import candidate_rows, layers, tried_rows
from chipdrift.report.plan_frontier import frontiers
from chipdrift.report.plan_words import beyond, limit_words, one_line, plan_figures

_PLAN, _SEARCH, _CONFIRM = "plan.json", "search", "confirm"
_STORE, _MATRIX = "store.sqlite", "matrix.json"


def is_plan(folder: Path) -> bool:
    """Whether the folder is a plan's; RunError where one was begun there and is not finished."""
    if (folder / _PLAN).exists():
        return True
    own = (folder / _MATRIX).exists() or (folder / _STORE).exists()
    if not own and (folder / _SEARCH / _STORE).exists():
        raise RunError(
            f"Plan {folder}: it was begun and not finished: run the same chipdrift plan command "
            "again, it goes on from what was measured."
        )
    return False


def write_plan_report(folder: Path) -> Path:
    """Write a plan's ``report.html``, whole or not at all, and say where it lies.

    Raises RunError where the plan cannot be read or the folder cannot be written.
    """
    plan = read_known_plan(folder)
    measured: tuple[Any, ...] | None = None
    fault = None
    if (folder / _CONFIRM / _MATRIX).exists():
        try:
            measured = read_measured(folder / _CONFIRM)
            fault = _other(plan, measured[0])
        except RunError as error:
            fault = f"The confirming run cannot be shown. {error}"
    file = folder / REPORT_FILE
    partial = folder / f".{REPORT_FILE}.{os.getpid()}.partial"
    try:
        partial.write_bytes(render_plan(plan, measured if fault is None else None, fault).encode())
        partial.replace(file)
    except OSError as error:
        with suppress(OSError):  # a read-only file system says so before it looks
            partial.unlink(missing_ok=True)
        raise RunError(f"{file}: cannot be written ({error.strerror}).") from error
    return file


def read_known_plan(folder: Path) -> Plan:
    """The plan in a folder; raises RunError where it cannot be read, or is of another version."""
    from chipdrift.plan import read_plan

    plan = read_plan(folder)
    if plan.schema_version != SCHEMA_VERSION:
        raise RunError(
            f"Plan {folder}: its {_PLAN} has schema_version {brief(str(plan.schema_version))}, and "
            f"this chipdrift knows {SCHEMA_VERSION}. Read it with the chipdrift that wrote it, or "
            "run the same chipdrift plan command again."
        )
    return plan


def _other(plan: Plan, matrix: Matrix) -> str | None:
    """Why a confirming run is not this plan's: the folder was planned in anew and not finished."""
    pairs = [
        ("model", plan.model.sha256, matrix.model.sha256),
        ("data", plan.data.sha256, matrix.data.sha256),
        ("metric", plan.metric.name, matrix.metric.name),
    ]
    wrong = [name for name, mine, there in pairs if mine != there]
    if not wrong:
        return None
    return (
        f"The run in {_CONFIRM} is not shown: its {' and '.join(wrong)} is not this plan's. Run "
        "the same chipdrift plan command again."
    )


def render_plan(
    plan: Plan, measured: tuple[Any, ...] | None = None, fault: str | None = None
) -> str:
    """The page as text; ``measured`` is what :func:`read_measured` found of the confirming run.

    ``fault`` says why there is none to show where there should be one.
    """
    from chipdrift.report.briefly import shortened

    plan = shortened(plan)
    figures = plan_figures(plan)
    costs = [choice.cost for choice in plan.choices]
    tried, nothing = tried_rows(plan)
    return fill(
        Head(plan.model.name, plan.chipdrift, plan.created),
        measured=told(_bare(measured[0]), *measured[1:]) if measured is not None else None,
        plan=plan,
        plan_findings=_findings(plan, fault),
        plan_figures=figures,
        plan_limit=limit_words(plan, figures),
        plan_choices=choice_rows(plan, figures),
        plan_variants=variant_rows(plan),
        plan_frontiers=frontiers(plan, figures),
        plan_tried=tried,
        plan_nothing=nothing,
        plan_layers=layers(plan),
        plan_candidates=candidate_rows(plan),
        plan_basis=basis_rows(plan),
        plan_evidence=evidence_rows(plan),
        plan_by_model=by_model([*costs, *(score.cost for score in plan.scores)]),
    )


def _bare(matrix: Matrix) -> Matrix:
    """``matrix`` without differences to the float model, where the metric is one itself."""
    if not matrix.metric.against_baseline:
        return matrix
    cells = tuple(cell.model_copy(update={"delta": None}) for cell in matrix.cells)
    return matrix.model_copy(update={"cells": cells})


def _findings(plan: Plan, fault: str | None) -> list[Finding]:
    """The plan's sentences, then each chip that misses the budget, then what must be known."""
    standings = {choice.standing for choice in plan.choices}
    bad = bool(standings & {"missed", "none"})
    first: Kind = "loss" if bad else "calm" if standings <= {"confirmed"} else "caution"
    found = [
        Finding(first if number == 0 else "note", words, "choices")
        for number, words in enumerate(plan.words)
    ]
    figures = plan_figures(plan)
    for choice in plan.choices:
        if choice.standing == "missed":
            over = beyond(plan, figures, choice)
            words = (
                f"{choice.chip} MISSES the budget{f' by {over}' if over else ''}: none of "
                f"{counted(choice.looks, 'candidate')} that its confirming samples were asked "
                f"about holds it; the nearest that there is: {choice.variant}."
            )
            found.append(Finding("loss", words, "choices"))
        elif choice.standing == "none":
            short = one_line(choice.why)
            words = f"{choice.chip} gets nothing: {short}"
            full = choice.why if short != choice.why else ""
            found.append(Finding("loss", words, "choices", full))
    costs = [choice.cost for choice in plan.choices if choice.cost is not None]
    modelled = sum(by_model([cost]) for cost in costs)
    if modelled:
        which = (
            "Costs" if modelled == len(costs) else f"{modelled} of {counted(len(costs), 'cost')}"
        )
        words = (
            f"{which} are by the cost model, measured on no phone; where it errs, a range stands "
            "beside."
        )
        found.append(Finding("caution", words, "choices"))
    silicon = [choice for choice in plan.choices if choice.evidence in ("device", "reported")]
    if plan.choices and not silicon:
        kinds = ", ".join(dict.fromkeys(choice.evidence for choice in plan.choices))
        words = f"No figure here is from silicon: the confirmed ones rest on {kinds}."
        found.append(Finding("caution", words, "choices"))
    found += [Finding("caution", words, "choices") for words in plan.warnings]
    if fault is not None:
        found.append(Finding("caution", fault, "choices"))
    return found

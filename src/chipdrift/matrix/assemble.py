"""From what the store holds to the records that people read: cells, pairs, groups, partings."""

from __future__ import annotations

import datetime
import os
import platform
from collections import defaultdict
from collections.abc import Sequence
from importlib import metadata
from typing import Any

import numpy as np

from chipdrift.matrix.against import groups_of, pairs_of, partings_of
from chipdrift.matrix.answers import Answers, derive, load_outputs, load_scheme, lsb_of
from chipdrift.matrix.cells import CellPlan, phone_run_of, placement_of
from chipdrift.matrix.request import BASELINE_TARGET, Request
from chipdrift.matrix.silicon import corrected, silicon_checks
from chipdrift.metrics import (
    answers_agree,
    compare,
    evaluate,
    holm,
    info,
    sqnr_db,
)
from chipdrift.records import (
    Baseline,
    Cell,
    Delta,
    Group,
    Host,
    Matrix,
    ModelInfo,
    Pair,
    Parting,
    Placement,
    SchemeInfo,
    SiliconCheck,
    Status,
)
from chipdrift.store import Store
from chipdrift.targets.ort import host_isa

Array = np.ndarray[Any, Any]
_SIGNIFICANT = 0.05
_MOST_PARTINGS = 200


def assemble(
    store: Store, request: Request, cells: Sequence[CellPlan], audit: int | None
) -> Matrix:
    """Everything in one frozen document."""
    by_scheme: dict[str, list[CellPlan]] = defaultdict(list)
    for cell in cells:
        by_scheme[cell.variant.scheme.name].append(cell)
    baseline_cell = by_scheme[request.baseline.name][0]
    assert baseline_cell.target.name == BASELINE_TARGET
    base = derive(request, baseline_cell, load_outputs(store, request, baseline_cell), None)
    base.result = evaluate(request.metric, base.outputs)
    made: list[Cell] = []
    pairs: list[Pair] = []
    groups: list[Group] = []
    partings: list[Parting] = []
    checks: list[SiliconCheck] = []
    names = {t.name: t.description for t in request.targets if t.description}
    parted = 0
    for members in by_scheme.values():
        if not any(cell.shown for cell in members):
            continue
        loaded = load_scheme(store, request, members, base)
        reference = loaded.get(BASELINE_TARGET)
        shown = [cell for cell in members if cell.shown]
        fresh = [_cell(store, request, c, loaded.get(c.target.name), reference) for c in shown]
        made += fresh
        there = [(cell, loaded[cell.target.name]) for cell in shown if cell.target.name in loaded]
        paired = pairs_of(store, request, there)
        pairs += paired
        outputs = {cell.target.name: answers.outputs for cell, answers in there}
        checks += silicon_checks(request.metric, fresh, outputs, paired, names)
        groups += groups_of(store, request, there)
        found, count = partings_of(request, there, _MOST_PARTINGS - len(partings))
        partings += found
        parted += count
    return Matrix(
        chipdrift=metadata.version("chipdrift"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=_with_output_shapes(request, base),
        data=request.samples.info(),
        calibration=request.calibration_info,
        metric=info(request.metric, base.outputs),
        baseline=Baseline(
            words="float model" if request.baseline.kind == "float32" else "model on ort:cpu",
            scheme=request.baseline.name,
            target=BASELINE_TARGET,
            metric=base.result,
            samples=len(request.samples),
            versions=dict(baseline_cell.target.versions),
        ),
        schemes=tuple(_scheme_info(by_scheme[scheme.name][0]) for scheme in request.schemes),
        targets=tuple(target.name for target in request.targets),
        target_names=names,
        compared=len(_tested(request, made)),
        cells=tuple(_corrected(request, made)),
        pairs=tuple(pairs),
        groups=tuple(groups),
        partings=tuple(partings),
        parted=parted,
        audit=audit,
        complete=True,
        warnings=(*request.warnings, *_scheme_warnings(cells)),
        host=host(),
        silicon=corrected(checks, made),
    )


def _with_output_shapes(request: Request, base: Answers) -> ModelInfo:
    """The model, with the output shapes it has: shape inference does not find all of them."""
    outputs = tuple(
        spec.model_copy(update={"shape": base.outputs.arrays[spec.name].shape[1:]})
        for spec in request.model.info.outputs
    )
    return request.model.info.model_copy(update={"outputs": outputs})


def host() -> Host:
    """This machine."""
    return Host(
        cpu=platform.processor() or platform.machine(),
        isa=host_isa() or ("unknown",),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )


def _cell(
    store: Store,
    request: Request,
    cell: CellPlan,
    answers: Answers | None,
    reference: Answers | None,
) -> Cell:
    own = store.measured(cell.key) if cell.key else {}
    timed = [own[key] for key in request.samples.keys if key in own]
    common: dict[str, Any] = {
        "scheme": cell.variant.scheme.name,
        "target": cell.target.name,
        "evidence": cell.target.evidence,
        "placement": placement_of(store, cell),
        "versions": dict(cell.target.versions),
        "options": dict(cell.target.options),
        "measured": len(timed),
        "model_sha256": cell.variant.sha256,
        "phone": phone_run_of(store, cell),
    }
    if answers is None:
        status: Status = "failed" if cell.failed else "unsupported"
        return Cell(status=status, reason=_why(cell), log=cell.log, **common)
    base = answers.outputs.reference
    assert base is not None
    if answers.result is None:
        answers.result = evaluate(request.metric, answers.outputs)
    if answers.comparison is None:
        answers.comparison = compare(request.metric, answers.outputs, base)
        answers.agrees = answers_agree(answers.answers, request.metric.answers(base))
    found, agrees = answers.comparison, answers.agrees
    assert agrees is not None
    opening = store.fact(f"opening:{cell.key}") or 0.0
    return Cell(
        status="ok",
        reason=_beside(cell, common["placement"]),
        samples=len(request.samples),
        metric=answers.result,
        delta=Delta.uncorrected(*found),
        agreement=agrees.value,
        agreement_low=agrees.low,
        agreement_high=agrees.high,
        sqnr_db=sqnr_db(answers.outputs, base),
        lsb=None if reference is None else lsb_of(answers, reference),
        seconds=round(sum(timed) + opening, 4),
        copied_from=cell.shares_with.target.name if cell.shares_with is not None else None,
        audited=cell.audited if cell.shares_with is not None else None,
        **common,
    )


def _why(cell: CellPlan) -> str | None:
    """Why a cell has no answers: what is known of the target, then its own words."""
    caution = cell.target.cautions.get(cell.variant.kind)
    if caution is None or cell.failed:
        return cell.reason
    return f"{caution}. In its own words: {cell.reason}"


def _beside(cell: CellPlan, placement: Placement | None) -> str | None:
    """What must be said beside a cell's answers."""
    caution = cell.target.cautions.get(cell.variant.kind)
    if placement is not None and cell.target.has_npu and placement.npu == 0:
        engine = cell.target.evidence in ("prediction", "hypothesis")
        where = "under the profile's rules" if engine else "on the NPU"
        whose = "the phone's" if cell.target.place else "the host's"
        told = f"all {placement.cpu} nodes ran on {whose} CPU in onnxruntime, none {where}"
        return told if caution is None else f"{caution}: {told}"
    return caution


def _tested(request: Request, cells: Sequence[Cell]) -> list[int]:
    """The comparisons made: a shared result is not a further one, nor is the baseline itself.

    None for a metric that compares with the baseline: that it is not perfect needs no test.
    """
    if request.metric.needs_reference:
        return []
    baseline = (request.baseline.name, BASELINE_TARGET)
    return [
        i
        for i, cell in enumerate(cells)
        if cell.delta is not None
        and cell.copied_from is None
        and (cell.scheme, cell.target) != baseline
    ]


def _corrected(request: Request, cells: list[Cell]) -> list[Cell]:
    """Holm's correction over the comparisons made."""
    tested = _tested(request, cells)
    corrected = dict(
        zip(tested, holm([d.p_value for i in tested if (d := cells[i].delta)]), strict=True)
    )
    lead = {(cells[i].scheme, cells[i].target): corrected[i] for i in tested}
    done = []
    for i, cell in enumerate(cells):
        if cell.delta is not None:
            p = corrected.get(i)
            if p is None:
                own = cell.delta.p_value * max(1, len(tested))
                p = lead.get((cell.scheme, cell.copied_from or ""), min(1.0, own))
            real = bool(tested) and p < _SIGNIFICANT
            delta = cell.delta.model_copy(update={"p_holm": float(p), "significant": real})
            cell = cell.model_copy(update={"delta": delta})
        done.append(cell)
    return done


def _scheme_info(cell: CellPlan) -> SchemeInfo:
    variant = cell.variant
    return SchemeInfo(
        name=variant.scheme.name,
        description=variant.scheme.description,
        sha256=variant.scheme.sha256,
        model_sha256=variant.sha256,
        file=variant.file,
        error=variant.error,
        notes=variant.notes,
        mixed=variant.mixed,
    )


def _scheme_warnings(cells: Sequence[CellPlan]) -> list[str]:
    seen = {}
    for cell in cells:
        for note in cell.variant.notes:
            seen[f"{cell.variant.scheme.name}: {note}"] = True
    return list(seen)

"""Measure a matrix: quantize, run the baseline, audit, share, run the rest, put it together."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from chipdrift.errors import ModelError, RunError
from chipdrift.matrix.answers import check_labels
from chipdrift.matrix.assemble import assemble
from chipdrift.matrix.cells import CellPlan, job_for, plan_cell, settle
from chipdrift.matrix.files import left_out, write_run
from chipdrift.matrix.reopen import remember
from chipdrift.matrix.request import BASELINE_TARGET, Request, resolve
from chipdrift.matrix.schedule import Job, Progress, Scheduler, usable_cores
from chipdrift.matrix.sharing import audit_indices, same_outputs, share
from chipdrift.matrix.variants import make_variant, tapped_file
from chipdrift.quantize import Preparation
from chipdrift.records import Matrix
from chipdrift.store import Store
from chipdrift.targets import Target, get_target

DEFAULT_AUDIT = 4
DEFAULT_TIMEOUT = 600.0


def run_matrix(
    model: str | Path,
    data: str | Path,
    *,
    schemes: Sequence[str],
    targets: Sequence[str | Target],
    out: str | Path,
    metric: str | None = None,
    calibration: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    limit: int | None = None,
    output: str | None = None,
    jobs: int | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    audit: int = DEFAULT_AUDIT,
    exhaustive: bool = False,
    keep_samples: bool = True,
    progress: Callable[[Progress], None] | None = None,
) -> Matrix:
    """Measure every scheme on every target and write the run folder ``out``.

    ``model`` is an ONNX file, ``data`` and ``calibration`` what :func:`chipdrift.load_data` takes;
    ``jobs`` worker processes (all usable cores), ``timeout`` seconds for one session or one sample.
    Chips whose outputs and activations are identical on the first ``audit`` samples share one
    representative for the rest, unless ``exhaustive``. What ``out`` already holds of the same model
    is not measured again. Raises ChipdriftError; a cell that fails is a result.
    """
    request = resolve(
        model,
        data,
        schemes=schemes,
        targets=targets,
        metric=metric,
        calibration=calibration,
        shapes=shapes,
        limit=limit,
        output=output,
    )
    with Store.open(Path(out)) as store, store.understood():
        fresh = claim(store, request)
        cores = usable_cores(jobs)
        scheduler = Scheduler(store, request.samples, cores, timeout, progress)
        try:
            if fresh:
                others = [t for t in request.targets if t.name != BASELINE_TARGET]
                scheduler.warm([get_target(BASELINE_TARGET), *others])
            cells = plan(store, request)
            base = baseline_of(request, cells)
            remember(store, model, data, calibration, shapes, limit, base, schemes)
            measure(store, request, cells, scheduler, 0 if exhaustive else audit)
        finally:
            scheduler.close()
        matrix = assemble(store, request, cells, None if exhaustive else audit)
        gone = left_out(store.folder, matrix)
        if gone is not None:
            matrix = matrix.model_copy(update={"warnings": (*matrix.warnings, gone)})
        write_run(store, request, matrix, cells, keep_samples)
    return matrix


def claim(store: Store, request: Request) -> bool:
    """Refuse a folder that holds another model's run; mark a fresh one, and say that it is."""
    mine = {
        "sha256": request.model.info.sha256,
        "inputs": [spec.model_dump(mode="json") for spec in request.model.info.inputs],
    }
    theirs = store.fact("model")
    if theirs is not None and {k: theirs[k] for k in mine} != mine:
        raise RunError(
            f"Run {store.folder} belongs to another model ({theirs['name']}, sha256 "
            f"{theirs['sha256'][:12]}, not {request.model.info.name}, "
            f"{request.model.info.sha256[:12]}), or to other --shape pins. Give another -o."
        )
    store.put_fact("model", {**mine, "name": request.model.info.name})
    store.commit()
    return theirs is None


def plan(store: Store, request: Request) -> list[CellPlan]:
    """All cells, and the hidden ones on ``ort:cpu`` that others are set against."""
    reference = get_target(BASELINE_TARGET)
    targets = {target.name: target for target in request.targets}
    schemes = {scheme.name: scheme for scheme in (request.baseline, *request.schemes)}
    wanted = {scheme.name for scheme in request.schemes}
    preparation = Preparation()
    cells = []
    for scheme in schemes.values():
        variant = make_variant(
            store,
            request.model,
            scheme,
            request.calibration,
            request.calibration_info,
            preparation,
        )
        for target in {reference.name: reference, **targets}.values():
            shown = scheme.name in wanted and target.name in targets
            if shown or target.name == reference.name:
                cells.append(plan_cell(variant, targets.get(target.name, target), shown))
    return cells


def baseline_of(request: Request, cells: Sequence[CellPlan]) -> CellPlan:
    """The baseline's cell."""
    return next(
        cell
        for cell in cells
        if cell.variant.scheme == request.baseline and cell.target.name == BASELINE_TARGET
    )


def measure(
    store: Store,
    request: Request,
    cells: Sequence[CellPlan],
    scheduler: Scheduler,
    audit: int,
) -> None:
    """Fill the store. ``audit`` 0 means that every cell runs every sample."""
    every = range(len(request.samples))
    baseline = baseline_of(request, cells)
    run_cells(store, request, scheduler, [baseline], every)
    if not baseline.runs:
        raise ModelError(
            f"Model {request.model.path}: the baseline on {BASELINE_TARGET} does not run: "
            f"{baseline.reason}. A model that onnxruntime cannot run, with --shape as it was "
            "given, cannot be compared."
        )
    check_labels(store, request, baseline)
    families = _families(cells) if 0 < audit < len(request.samples) else []
    shared = {id(cell) for family in families for cell in family}
    run_cells(
        store, request, scheduler, [c for c in cells if c.runs and id(c) not in shared], every
    )
    if not families:
        return
    first = audit_indices(request.samples, audit)
    members = [cell for family in families for cell in family]
    run_cells(store, request, scheduler, members, first, after=len(request.samples) - len(first))
    groups = [g for f in families for g in same_outputs(store, request.samples, f, first)]
    folder = Path(tempfile.mkdtemp(prefix="chipdrift-taps-"))
    try:
        _run_taps(store, request, scheduler, groups, first, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    for group in groups:
        share(store, request.samples, group, first)
    rest = [cell for cell in members if cell.runs and cell.shares_with is None]
    run_cells(store, request, scheduler, rest, every)
    run_cells(store, request, scheduler, _orphans(members), every)


def _families(cells: Sequence[CellPlan]) -> list[list[CellPlan]]:
    """Cells of one scheme on targets of one family, two or more that run."""
    found: dict[tuple[str, str], list[CellPlan]] = {}
    for cell in cells:
        if cell.runs and cell.target.family is not None:
            found.setdefault((cell.variant.scheme.name, cell.target.family), []).append(cell)
    return [family for family in found.values() if len(family) > 1]


def _orphans(members: Sequence[CellPlan]) -> list[CellPlan]:
    """Cells whose representative failed on the way: they run on their own after all."""
    orphans = []
    for cell in members:
        if cell.shares_with is not None and not cell.shares_with.runs:
            cell.shares_with, cell.audited = None, 0
            orphans.append(cell)
    return orphans


def run_cells(
    store: Store,
    request: Request,
    scheduler: Scheduler,
    cells: Sequence[CellPlan],
    indices: Sequence[int],
    after: int = 0,
) -> None:
    """Measure what the cells lack. Two cells with one address (one chip by two names) run once."""
    jobs: dict[str, tuple[Job, list[CellPlan]]] = {}
    for cell in cells:
        if not cell.runs:
            continue
        if cell.key in jobs:
            jobs[cell.key][1].append(cell)
            continue
        job = job_for(store, request.samples, cell, indices, after=after)
        if job is not None:
            jobs[cell.key] = (job, [cell])
    scheduler.run(job for job, _ in jobs.values())
    for job, owners in jobs.values():
        for cell in owners:
            settle(store, cell, job)


def _run_taps(
    store: Store,
    request: Request,
    scheduler: Scheduler,
    groups: Sequence[Sequence[CellPlan]],
    indices: Sequence[int],
    folder: Path,
) -> None:
    """Digest all activations of cells that might share. A failure here only ends the sharing."""
    jobs: dict[str, Job] = {}
    for group in groups:
        if len({cell.key for cell in group}) < 2:
            continue
        for cell in group:
            job = job_for(
                store, request.samples, cell, indices, tapped_file(store, cell.variant, folder)
            )
            if job is not None:
                jobs.setdefault(cell.key, job)
    scheduler.run(jobs.values())

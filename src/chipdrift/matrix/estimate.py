"""``--dry-run``: how long the matrix will take, and how many samples the wished interval needs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from chipdrift.errors import ChipdriftError
from chipdrift.matrix.cells import CellPlan
from chipdrift.matrix.request import Request, resolve
from chipdrift.matrix.run import DEFAULT_AUDIT, DEFAULT_TIMEOUT, claim, plan, run_cells
from chipdrift.matrix.schedule import Scheduler, usable_cores
from chipdrift.metrics.intervals import samples_for_halfwidth, samples_for_paired_halfwidth
from chipdrift.records import Record
from chipdrift.store import Store
from chipdrift.targets import Target

DEFAULT_HALF_WIDTH = 0.02
# Shares at which the needed samples are told: the worst case, and where good models lie.
_SHARES = (0.5, 0.8, 0.9, 0.95)
# Shares of samples on which two chips' correctness differs.
_DISCORDANT = (0.01, 0.05, 0.1)


class CellEstimate(Record):
    """One cell: seconds for its first sample, samples it still lacks, seconds on one core."""

    scheme: str
    target: str
    status: str
    reason: str | None
    seconds_per_sample: float | None
    lacking: int
    seconds: float


class Estimate(Record):
    """What a matrix will cost, from one sample measured on every cell.

    ``seconds_at_most`` is wall time over ``cores`` with every chip running every sample;
    ``seconds_if_alike`` the time if chips with the same first answer turn out to share. The needed
    samples are for a 95 % interval of ``half_width`` on each side: ``needed`` by the share of right
    answers, ``needed_difference`` for a paired difference by the share of samples on which the two
    differ.
    """

    schema_version: int = 1
    cores: int
    samples: int
    cells: tuple[CellEstimate, ...]
    seconds_at_most: float
    seconds_if_alike: float
    half_width: float
    needed: dict[str, int]
    needed_difference: dict[str, int]
    warnings: tuple[str, ...]


def estimate_matrix(
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
    half_width: float = DEFAULT_HALF_WIDTH,
) -> Estimate:
    """Quantize, run one sample on every cell (kept: the real run does not repeat it), extrapolate.

    Takes what :func:`run_matrix` takes. Raises ChipdriftError as that does.
    """
    if not 0.0005 <= half_width < 0.5:
        raise ChipdriftError(
            f"--interval {half_width:g}: a half width from 0.0005 to 0.5 is expected, 0.02 for "
            "plus or minus 2 points."
        )
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
    cores = usable_cores(jobs)
    with Store.open(Path(out)) as store:
        claim(store, request)
        cells = plan(store, request)
        scheduler = Scheduler(store, request.samples, cores, timeout)
        try:
            run_cells(store, request, scheduler, cells, [0])
        finally:
            scheduler.close()
        told = [_estimate(store, request, cell) for cell in cells if cell.shown]
        alike = _if_alike(store, request, cells, 0 if exhaustive else audit)
    return Estimate(
        cores=len(cores),
        samples=len(request.samples),
        cells=tuple(told),
        seconds_at_most=round(sum(cell.seconds for cell in told) / len(cores), 2),
        seconds_if_alike=round(alike / len(cores), 2),
        half_width=half_width,
        needed={str(share): samples_for_halfwidth(half_width, share) for share in _SHARES},
        needed_difference={
            str(share): samples_for_paired_halfwidth(half_width, share) for share in _DISCORDANT
        },
        warnings=request.warnings,
    )


def _estimate(store: Store, request: Request, cell: CellPlan) -> CellEstimate:
    if not cell.runs:
        return CellEstimate(
            scheme=cell.variant.scheme.name,
            target=cell.target.name,
            status="failed" if cell.failed else "unsupported",
            reason=cell.reason,
            seconds_per_sample=None,
            lacking=0,
            seconds=0.0,
        )
    measured = store.measured(cell.key)
    each = sum(measured.values()) / len(measured)
    lacking = sum(key not in measured for key in request.samples.keys)
    opening = float(store.fact(f"opening:{cell.key}") or 0.0)
    return CellEstimate(
        scheme=cell.variant.scheme.name,
        target=cell.target.name,
        status="ok",
        reason=None,
        seconds_per_sample=round(each, 5),
        lacking=lacking,
        seconds=round(opening + each * lacking, 3) if lacking else 0.0,
    )


def _if_alike(store: Store, request: Request, cells: Sequence[CellPlan], audit: int) -> float:
    """Seconds on one core if cells of a family with the same first answer share the rest."""
    seen: set[tuple[str, str, bytes]] = set()
    total = 0.0
    for cell in cells:
        if not cell.shown or not cell.runs:
            continue
        told = _estimate(store, request, cell)
        first = next(store.outputs(cell.key, [request.samples.keys[0]]))
        mark = (
            cell.variant.scheme.name,
            cell.target.family or cell.target.name,
            b"".join(array.tobytes() for array in first),
        )
        if audit and cell.target.family is not None and mark in seen:
            each = told.seconds_per_sample or 0.0
            # The audit runs its samples twice: as they are, and with all activations.
            total += min(told.seconds, 2 * each * min(audit, len(request.samples)))
        else:
            total += told.seconds
        seen.add(mark)
    return total

"""From imported columns to the records of a run: cells, pairs, groups, partings."""

from __future__ import annotations

import datetime
import itertools
import os
import platform
from collections.abc import Sequence
from importlib import metadata
from typing import Any

from chipdrift.errors import UnknownNameError
from chipdrift.imports.against import Answered, answered, groups_of, pairs_of, partings_of
from chipdrift.imports.column import Column, Imported
from chipdrift.matrix.silicon import corrected, silicon_checks
from chipdrift.metrics import (
    Metric,
    Outputs,
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
    DataInfo,
    Delta,
    Group,
    Host,
    Matrix,
    ModelInfo,
    Pair,
    Parting,
    SchemeInfo,
    SiliconCheck,
    TensorSpec,
)
from chipdrift.schemes import builtin_schemes
from chipdrift.store import content_key

_SIGNIFICANT = 0.05
_MOST_PARTINGS = 200
# With fewer samples an interval spans tens of points: said, not refused.
_FEW = 100


def baseline_of(imported: Imported, against: str | None) -> Column:
    """The column that all others are set against: the target ``against``, or the first."""
    if against is None:
        return imported.columns[0]
    names = [column.target for column in imported.columns]
    if against not in names:
        raise UnknownNameError.of("target", against, names, f"{imported.origin} has these.")
    return imported.columns[names.index(against)]


def assemble(
    imported: Imported,
    metric: Metric,
    *,
    against: str | None,
    primary: str,
    model: ModelInfo | None,
    data: DataInfo | None,
) -> Matrix:
    """Everything in one frozen document, as ``chipdrift matrix`` makes it.

    ``primary`` is the output that the metric reads; ``model`` and ``data`` are None where an import
    does not know them. Raises DataError where the metric cannot read the outputs.
    """
    base = baseline_of(imported, against)
    reference = base.outputs(primary, imported.labels, None)
    figures = [
        answered(column, primary, imported, metric, reference) for column in imported.columns
    ]
    cells = _cells(metric, figures, reference, base)
    pairs: list[Pair] = []
    groups: list[Group] = []
    partings: list[Parting] = []
    checks: list[SiliconCheck] = []
    names = {c.target: c.description for c in imported.columns if c.description}
    parted = 0
    for scheme, members in itertools.groupby(_by_scheme(figures), key=lambda f: f.column.scheme):
        there = list(members)
        paired = pairs_of(there)
        pairs += paired
        mine = [cell for cell in cells if cell.scheme == scheme]
        outputs = {one.column.target: one.outputs for one in there}
        checks += silicon_checks(metric, mine, outputs, paired, names)
        groups += groups_of(there)
        found, count = partings_of(metric, there, _MOST_PARTINGS - len(partings))
        partings += found
        parted += count
    own = next(cell for cell in cells if (cell.scheme, cell.target) == (base.scheme, base.target))
    warnings = list(imported.warnings)
    if len(imported.keys) < _FEW:
        warnings.append(
            f"{len(imported.keys)} samples carry little: intervals are wide, and no difference "
            "between targets may be seen that is there"
        )
    return Matrix(
        chipdrift=metadata.version("chipdrift"),
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        model=model or _unknown_model(imported),
        data=data or _data(imported),
        calibration=None,
        metric=info(metric, figures[imported.columns.index(base)].outputs),
        baseline=Baseline(
            words="reference",
            scheme=base.scheme,
            target=base.target,
            metric=own.metric,
            samples=len(imported.keys),
            versions=dict(base.provenance),
        ),
        schemes=tuple(_scheme(f.column) for f in _firsts(figures)),
        targets=tuple(dict.fromkeys(column.target for column in imported.columns)),
        target_names=names,
        compared=len(_tested(metric, cells, base)),
        cells=tuple(_corrected(metric, cells, base)),
        pairs=tuple(pairs),
        groups=tuple(groups),
        partings=tuple(partings),
        parted=parted,
        audit=None,
        complete=True,
        warnings=tuple(warnings),
        host=_host(),
        imported=imported.origin,
        silicon=corrected(checks, cells),
    )


def _by_scheme(figures: Sequence[Answered]) -> list[Answered]:
    order = list(dict.fromkeys(f.column.scheme for f in figures))
    return sorted(figures, key=lambda f: order.index(f.column.scheme))


def _firsts(figures: Sequence[Answered]) -> list[Answered]:
    """The first column of each scheme."""
    return list({f.column.scheme: f for f in reversed(_by_scheme(figures))}.values())[::-1]


def _cells(
    metric: Metric, figures: Sequence[Answered], reference: Outputs, base: Column
) -> list[Cell]:
    known: dict[str, dict[str, Any]] = {}
    base_answers = metric.answers(reference)
    cells = []
    for one in figures:
        column = one.column
        if column.digest not in known:
            compared = compare(metric, one.outputs, reference)
            agrees = answers_agree(one.answers, base_answers)
            known[column.digest] = {
                "metric": evaluate(metric, one.outputs),
                "delta": Delta(
                    value=compared.value,
                    low=compared.low,
                    high=compared.high,
                    p_value=compared.p_value,
                    p_holm=compared.p_value,
                    significant=False,
                ),
                "agreement": agrees.value,
                "agreement_low": agrees.low,
                "agreement_high": agrees.high,
                "sqnr_db": sqnr_db(one.outputs, reference),
            }
        cells.append(
            Cell(
                scheme=column.scheme,
                target=column.target,
                evidence=column.evidence,
                status="ok",
                samples=column.samples,
                measured=column.samples,
                versions=dict(column.provenance),
                model_sha256=column.model_sha256,
                **known[column.digest],
            )
        )
    return cells


def _tested(metric: Metric, cells: Sequence[Cell], base: Column) -> list[int]:
    """The comparisons made. Each target's answers are its own, also where they are the same."""
    if metric.needs_reference:
        return []
    apart = (base.scheme, base.target)
    return [i for i, cell in enumerate(cells) if (cell.scheme, cell.target) != apart]


def _corrected(metric: Metric, cells: list[Cell], base: Column) -> list[Cell]:
    """Holm's correction over the comparisons made."""
    tested = _tested(metric, cells, base)
    values = holm([d.p_value for i in tested if (d := cells[i].delta)])
    done = list(cells)
    for i, p in zip(tested, values, strict=True):
        delta = cells[i].delta
        assert delta is not None
        update = {"p_holm": float(p), "significant": bool(p < _SIGNIFICANT)}
        done[i] = cells[i].model_copy(update={"delta": delta.model_copy(update=update)})
    return done


def _scheme(column: Column) -> SchemeInfo:
    """A scheme by the importer's name of it: how it was applied is not known here."""
    known = builtin_schemes().get(column.scheme)
    words = known.description if known is not None and known.kind != "asis" else ""
    told = f"as the import calls it: {words}" if words else "the model as it ran elsewhere"
    return SchemeInfo(
        name=column.scheme,
        description=told,
        sha256=known.sha256 if known is not None else content_key(column.scheme),
        model_sha256=column.model_sha256,
    )


def _unknown_model(imported: Imported) -> ModelInfo:
    """What can be said of a model that nobody gave: its outputs."""
    first = imported.columns[0]
    return ModelInfo(
        name=imported.name,
        sha256=next((c.model_sha256 for c in imported.columns if c.model_sha256), ""),
        opset=0,
        nodes=0,
        inputs=(),
        outputs=tuple(
            TensorSpec(name=name, dtype=array.dtype.name, shape=array.shape[1:])
            for name, array in first.arrays.items()
        ),
    )


def _data(imported: Imported) -> DataInfo:
    labels = imported.labels
    told = [] if labels is None else [labels.dtype.str, labels.tolist()]
    return DataInfo(
        name=imported.name,
        sha256=content_key([list(imported.keys), told]),
        samples=len(imported.keys),
        labels=labels is not None,
    )


def _host() -> Host:
    """The machine that put the import together; it measured nothing."""
    return Host(
        cpu=f"nothing was measured here, outputs were imported ({platform.machine()})",
        isa=(),
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 0,
        system=f"{platform.system()} {platform.release()} {platform.machine()}",
        python=platform.python_version(),
    )

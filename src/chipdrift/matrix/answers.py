"""A cell's outputs, stacked from the store, and what is derived from them alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chipdrift.errors import ModelError
from chipdrift.matrix.cells import CellPlan
from chipdrift.matrix.request import Request
from chipdrift.metrics import Comparison, Outputs, info, lsb_over, to_integers
from chipdrift.records import Interval, Lsb, MetricResult
from chipdrift.store import Store, digest_arrays

Array = np.ndarray[Any, Any]


@dataclass(eq=False)
class Answers:
    """One cell's outputs, stacked, and all that is derived from them alone.

    Cells that share a representative share this object, so each figure is computed once.
    """

    outputs: Outputs
    digest: str
    answers: Array
    integers: dict[str, Array]
    result: MetricResult | None = None
    comparison: Comparison | None = None
    agrees: Interval | None = None


def check_labels(store: Store, request: Request, baseline: CellPlan) -> None:
    """Let the metric refuse labels and outputs before the long run starts."""
    outputs = load_outputs(store, request, baseline)
    info(request.metric, replace(outputs, reference=outputs))


def load_outputs(store: Store, request: Request, cell: CellPlan) -> Outputs:
    """All samples of a cell: its own answers, and its representative's where it has none."""
    keys = request.samples.keys
    own = store.measured(cell.key)
    has, lacking = [k for k in keys if k in own], [k for k in keys if k not in own]
    found = dict(zip(has, store.outputs(cell.key, has), strict=True))
    if lacking and cell.shares_with is not None:
        found.update(zip(lacking, store.outputs(cell.shares_with.key, lacking), strict=True))
    names = [spec.name for spec in request.model.info.outputs]
    stacked = zip(*(found[key] for key in keys), strict=True)
    arrays = {}
    for name, rows in zip(names, stacked, strict=True):
        shapes = sorted({row.shape for row in rows})
        if len(shapes) > 1:
            raise ModelError(
                f"Output {name!r} of {cell.label} differs in shape from sample to sample: "
                f"{shapes[0]} and {shapes[1]}, say. Cut the model before the op that does that."
            )
        arrays[name] = np.stack(rows)
    return Outputs(
        arrays=arrays,
        primary=request.output,
        labels=request.samples.labels,
        extras=request.samples.extras,
    )


def load_scheme(
    store: Store, request: Request, members: Sequence[CellPlan], base: Answers
) -> dict[str, Answers]:
    """Answers by target for the cells that ran; one object where the bits are the same."""
    unique: dict[str, Answers] = {}
    loaded: dict[str, Answers] = {}
    for cell in members:
        if cell.runs:
            fresh = derive(request, cell, load_outputs(store, request, cell), base)
            loaded[cell.target.name] = unique.setdefault(fresh.digest, fresh)
    return loaded


def derive(request: Request, cell: CellPlan, outputs: Outputs, base: Answers | None) -> Answers:
    """``base`` is None for the baseline itself, which is its own reference."""
    outputs = replace(outputs, reference=base.outputs if base is not None else outputs)
    integers = {}
    for name, quantizer in cell.variant.quantizers.items():
        whole = to_integers(outputs.arrays[name], quantizer)
        if whole is not None:
            integers[name] = whole
    return Answers(
        outputs=outputs,
        digest=digest_arrays(outputs.arrays.values()),
        answers=request.metric.answers(outputs),
        integers=integers,
    )


def lsb_of(a: Answers, b: Answers) -> Lsb | None:
    """Over the outputs that both have as integers: the largest distance, the mean of all.

    None where there is no such output.
    """
    return lsb_over(
        (integers, b.integers[name]) for name, integers in a.integers.items() if name in b.integers
    )

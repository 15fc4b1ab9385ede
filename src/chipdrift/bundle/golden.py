"""The golden samples: a few of the confirming run, with what each chip answered to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.bundle.assign import Assigned
from chipdrift.bundle.records import GoldenLimit
from chipdrift.bundle.source import Source
from chipdrift.bundle.tolerance import distance_of, limit_of
from chipdrift.data import load_data
from chipdrift.errors import ChipdriftError, DataError, RunError
from chipdrift.graph.weights import quantizers_of
from chipdrift.matrix import cell_outputs
from chipdrift.metrics import Outputs, get_metric
from chipdrift.records import Matrix
from chipdrift.store import Store

Array = np.ndarray[Any, Any]


@final
@dataclass(frozen=True, eq=False)
class Expected:
    """One chip's answers: ``arrays[sample][output]``, and how far a phone's may be off."""

    arrays: list[list[Array]]
    limits: tuple[GoldenLimit, ...]
    top: int | None
    rests_on: str


@final
@dataclass(frozen=True, eq=False)
class Golden:
    """``feeds`` are the samples' inputs, ``chips`` the answers by the plan's names."""

    feeds: list[dict[str, Array]] = field(default_factory=list)
    chips: Mapping[str, Expected] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(eq=False)
class _Measured:
    """All of the confirming run's samples on one chip."""

    arrays: dict[str, Array]
    limits: tuple[GoldenLimit, ...]
    top: int | None
    rests_on: str

    def margins(self) -> Array | None:
        """By how much each sample's first answer leads; what may be off on both is taken away."""
        if self.top is None:
            return None
        rows = _rows(list(self.arrays.values())[self.top])
        best = np.sort(rows, axis=1)[:, -2:]
        margins: Array = best[:, 1] - best[:, 0] - 2 * self.limits[self.top].most
        return margins


def make_golden(
    source: Source, matrix: Matrix | None, assigned: Sequence[Assigned], count: int, data: str
) -> Golden:
    """``count`` samples for the chips that get a variant on their NPU.

    Of a classifier's samples those are taken whose answer leads by more than what is allowed to be
    off, each with another answer as far as there are such. Raises RunError where the confirming run
    holds no answers of the file that is shipped, DataError where its samples are gone. ``data``
    says where they are now, "" if where they were.
    """
    # One that no phone is told as is never picked: its limit must not choose the samples.
    wanted = [one for one in assigned if one.npu and one.names]
    if count < 1 or not wanted:
        return Golden()
    if matrix is None:
        raise RunError(
            f"Plan {source.folder}: its folder confirm holds no run, so there are no answers for "
            "the golden self-check. Run chipdrift plan again, or give --golden 0 to do without."
        )
    warnings: list[str] = []
    measured: dict[str, _Measured] = {}
    for one in wanted:
        if one.cell is None or one.cell.status != "ok":
            warnings.append(f"{one.chip.name}: not measured under what it gets; no self-check")
            continue
        measured[one.chip.name] = _measured(source, matrix, one)
    if not measured:
        return Golden(warnings=tuple(warnings))
    chosen, weak = _choose(list(measured.values()), count)
    if weak:
        warnings.append(
            f"{weak} of {len(chosen)} golden samples lead by less than what is allowed to be off: "
            "a phone that computes as it should may still fail the self-check"
        )
    chips = {
        name: Expected(
            [[array[index] for array in found.arrays.values()] for index in chosen],
            found.limits,
            found.top,
            found.rests_on,
        )
        for name, found in measured.items()
    }
    return Golden(_feeds(source, matrix, chosen, data), chips, tuple(warnings))


def _measured(source: Source, matrix: Matrix, one: Assigned) -> _Measured:
    variant = source.variant(one.variant)
    arrays, cell = cell_outputs(source.confirm, variant.scheme, one.chip.target)
    if cell.model_sha256 not in (None, variant.sha256):
        raise RunError(
            f"Plan {source.folder}: its confirming run measured another file under "
            f"{variant.scheme} than {variant.file}. Run the same chipdrift plan command again."
        )
    quantizers = quantizers_of(source.models[variant.name])
    distance = distance_of(matrix, cell)
    limits = tuple(
        limit_of(name, array, quantizers.get(name), distance) for name, array in arrays.items()
    )
    return _Measured(arrays, limits, _top(matrix, arrays), distance.words)


def _top(matrix: Matrix, arrays: Mapping[str, Array]) -> int | None:
    """The index of the output whose highest value is the metric's answer, if one is that."""
    name = matrix.metric.output
    if name not in arrays or _rows(arrays[name]).shape[1] < 2:
        return None
    try:
        answers = get_metric(matrix.metric.name).answers(Outputs(arrays=arrays, primary=name))
    except ChipdriftError:
        return None
    if not np.array_equal(np.asarray(answers).ravel(), _rows(arrays[name]).argmax(axis=1)):
        return None
    return list(arrays).index(name)


def _rows(array: Array) -> Array:
    return array.reshape(len(array), -1)


def _choose(measured: Sequence[_Measured], count: int) -> tuple[list[int], int]:
    """The samples' indices, and how many of them do not lead clearly on every chip."""
    total = len(next(iter(measured[0].arrays.values())))
    count = min(count, total)
    found = [margins for one in measured if (margins := one.margins()) is not None]
    if not found:
        return [int(i) for i in np.linspace(0, total - 1, count).round()], 0
    lead = np.min(found, axis=0)
    first = next(one for one in measured if one.top is not None)
    answers = _rows(list(first.arrays.values())[first.top or 0]).argmax(axis=1)
    ranked = [int(index) for index in np.argsort(-lead, kind="stable")]
    best: dict[int, int] = {}
    for index in ranked:
        best.setdefault(int(answers[index]), index)
    clear = [index for index in best.values() if lead[index] > 0]
    rest = [index for index in ranked if index not in clear]
    chosen = (clear + rest)[:count]
    return chosen, sum(lead[index] <= 0 for index in chosen)


def _feeds(
    source: Source, matrix: Matrix, chosen: Sequence[int], data: str
) -> list[dict[str, Array]]:
    with Store.read(source.confirm) as store, store.understood():
        keys = store.fact("samples")
        place = data or (store.fact("origin") or {}).get("data")
    beside = source.folder / "confirm.part.json"
    if not data and beside.is_file():
        # A plan that was moved has it with it; where it was may lie another one by now.
        place = str(beside)
    lost = "Say where they are with --data, or give --golden 0 to do without the self-check."
    if not place:
        raise DataError(
            f"Plan {source.folder}: its confirming run does not say where its samples are. {lost}"
        )
    try:
        samples = load_data(place, matrix.model.inputs)
    except ChipdriftError as error:
        raise DataError(
            f"Plan {source.folder}: the samples that confirmed it cannot be read again: {error} "
            f"{lost}"
        ) from error
    known = {key: index for index, key in enumerate(samples.keys)}
    if any(keys[index] not in known for index in chosen):
        raise DataError(
            f"Plan {source.folder}: {Path(place).name} does not hold the samples that confirmed "
            f"it. {lost}"
        )
    return [samples.feed(known[keys[index]]) for index in chosen]

"""A run opened again, with its samples and model files, for those who look further into it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from chipdrift.data import Samples, load_data
from chipdrift.errors import ChipdriftError, RunError
from chipdrift.matrix.cells import CellPlan
from chipdrift.matrix.files import read_matrix
from chipdrift.records import Matrix
from chipdrift.store import Store


@dataclass(frozen=True, eq=False)
class Reopened:
    """A finished run. ``files`` maps a scheme to its model file; ``baseline`` is the float one."""

    folder: Path
    matrix: Matrix
    samples: Samples
    files: dict[str, Path]
    baseline: Path | None


def remember(store: Store, data: str | Path, limit: int | None, baseline: CellPlan) -> None:
    """Keep with the run where its samples came from, for :func:`reopen`."""
    text = str(data)
    place = str(Path(text).resolve()) if Path(text).exists() else text
    file = baseline.variant.file
    store.put_fact("origin", {"data": place, "limit": limit, "baseline": file})
    store.commit()


def reopen(folder: str | Path, data: str | Path | None = None) -> Reopened:
    """The run in ``folder`` with the samples it was measured on.

    ``data`` says where they are now, if not where they were. Raises RunError where the run is not
    finished, or the samples are gone or are others.
    """
    place = Path(folder)
    matrix = read_matrix(place)
    with Store.read(place) as store, store.understood():
        origin, keys = store.fact("origin"), store.fact("samples")
    source = data if data is not None else (origin or {}).get("data")
    if source is None:
        raise RunError(
            f"Run {folder}: it does not say where its samples came from (an earlier chipdrift made "
            "it). Name them with --data."
        )
    limit = (origin or {}).get("limit") or len(keys)
    try:
        samples = load_data(source, matrix.model.inputs, limit)
    except ChipdriftError as error:
        raise RunError(f"Run {folder}: its samples cannot be read again: {error}") from error
    if list(samples.keys) != keys:
        raise RunError(
            f"Run {folder}: {source} does not hold the {len(keys)} samples that the run was "
            "measured on. Name the right ones with --data."
        )
    files = {s.name: place / s.file for s in matrix.schemes if s.file is not None}
    held = (origin or {}).get("baseline")
    return Reopened(place, matrix, samples, files, place / held if held else None)

"""A run opened again, with its samples and model files, for those who look further into it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from chipdrift.data import Samples, load_data
from chipdrift.errors import ChipdriftError, RunError
from chipdrift.matrix.cells import CellPlan
from chipdrift.matrix.files import read_matrix
from chipdrift.records import Matrix
from chipdrift.schemes import builtin_schemes, get_scheme
from chipdrift.store import Store


@dataclass(frozen=True, eq=False)
class Reopened:
    """A finished run. ``files`` maps a scheme to its model file; ``baseline`` is the float one.

    ``words`` are those of the command that made it, as far as they are known: MODEL (with its
    pins), DATA (with the metric) and CAL (calibration). ``schemes`` has for each scheme of the
    user's own its file and the sha256 that this had.
    """

    folder: Path
    matrix: Matrix
    samples: Samples
    files: dict[str, Path]
    baseline: Path | None
    words: Mapping[str, str] = field(default_factory=dict)
    schemes: Mapping[str, tuple[str, str]] = field(default_factory=dict)

    def scheme_file(self, name: str) -> str | None:
        """The file of a scheme of the user's own, if it is still what the run was measured under.

        None for built-in ones, and in runs that an earlier chipdrift made.
        """
        place, sha256 = self.schemes.get(name, ("", ""))
        with suppress(ChipdriftError):
            if place and get_scheme(place).sha256 == sha256:
                return _short(place)
        return None


def remember(
    store: Store,
    model: str | Path,
    data: str | Path,
    calibration: str | Path | None,
    shapes: Mapping[str, Sequence[int]] | None,
    limit: int | None,
    baseline: CellPlan,
    schemes: Sequence[str],
) -> None:
    """Keep with the run where its model, samples and schemes came from, for :func:`reopen`.

    ``schemes`` are names or files, as they were asked for. Those of an earlier command stay known.
    """
    before = (store.fact("origin") or {}).get("schemes", {})
    own = [(get_scheme(word), _place(word)) for word in schemes if word not in builtin_schemes()]
    files = {s.name: [place, s.sha256] for s, place in own if s.name not in builtin_schemes()}
    store.put_fact(
        "origin",
        {
            "model": _place(model),
            "data": _place(data),
            "calibration": None if calibration is None else _place(calibration),
            "shapes": {name: list(shape) for name, shape in (shapes or {}).items()},
            "limit": limit,
            "baseline": baseline.variant.file,
            "schemes": {**before, **files},
        },
    )
    store.commit()


def _place(source: str | Path) -> str:
    text = str(source)
    return str(Path(text).resolve()) if Path(text).exists() else text


def reopen(folder: str | Path, data: str | Path | None = None) -> Reopened:
    """The run in ``folder`` with the samples it was measured on.

    ``data`` says where they are now, if not where they were. Raises RunError where the run is not
    finished, or the samples are gone or are others.
    """
    place = Path(folder)
    matrix = read_matrix(place)
    if matrix.imported is not None:
        raise RunError(
            f"Run {folder}: it holds outputs imported from {matrix.imported} and no model that can "
            "be run again. chipdrift report compares them; to look inside, measure the model with "
            "chipdrift matrix."
        )
    with Store.read(place) as store, store.understood():
        origin, keys = store.fact("origin"), store.fact("samples")
    source = data if data is not None else (origin or {}).get("data")
    if keys is None:
        raise RunError(
            f"Run {folder}: its store does not say what was measured. Run the same chipdrift "
            "matrix command again; nothing that is there is measured twice."
        )
    if source is None:
        raise RunError(
            f"Run {folder}: it does not say where its samples came from (an earlier chipdrift made "
            "it). Name them with --data."
        )
    limit = (origin or {}).get("limit") or len(keys)
    try:
        samples = load_data(source, matrix.model.inputs, limit)
    except ChipdriftError as error:
        raise RunError(
            f"Run {folder}: its samples cannot be read again: {error} If they have moved, say "
            "where they are with --data."
        ) from error
    if list(samples.keys) != keys:
        raise RunError(
            f"Run {folder}: {source} does not hold the {len(keys)} samples that the run was "
            "measured on. Name the right ones with --data."
        )
    if samples.info().sha256 != matrix.data.sha256:
        raise RunError(
            f"Run {folder}: {source} holds the samples that the run was measured on, but other "
            "labels. Name the right ones with --data, or measure again."
        )
    files = {s.name: place / s.file for s in matrix.schemes if s.file is not None}
    held = (origin or {}).get("baseline")
    words = _words(origin or {}, str(source), matrix)
    own = {name: (at, digest) for name, (at, digest) in (origin or {}).get("schemes", {}).items()}
    return Reopened(place, matrix, samples, files, place / held if held else None, words, own)


def _words(origin: Mapping[str, Any], data: str, matrix: Matrix) -> dict[str, str]:
    found = {"DATA": f"{shlex.quote(_short(data))} --metric {shlex.quote(matrix.metric.name)}"}
    if origin.get("model"):
        pins = "".join(
            f" --shape {shlex.quote(name)}={','.join(map(str, shape))}"
            for name, shape in origin.get("shapes", {}).items()
        )
        found["MODEL"] = shlex.quote(_short(origin["model"])) + pins
    if origin.get("calibration"):
        found["CAL"] = shlex.quote(_short(origin["calibration"]))
    return found


def _short(path: str) -> str:
    """Relative to where the command is run, where it lies below."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path

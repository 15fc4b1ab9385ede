"""``chipdrift import`` from end to end."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.data import Samples, load_data
from chipdrift.errors import DataError, UnknownNameError
from chipdrift.graph import LoadedModel, load_model
from chipdrift.imports.assemble import assemble
from chipdrift.imports.column import Array, Column, Imported
from chipdrift.imports.folder import find_manifest, manifest_columns, qnn_columns
from chipdrift.imports.match import are_hashes, together
from chipdrift.imports.model import fit_model
from chipdrift.imports.predicted import Predicted
from chipdrift.imports.table import read_predictions
from chipdrift.imports.write import write_run
from chipdrift.metrics import Metric, get_metric
from chipdrift.records import Matrix

DEFAULT_SCHEME = "asis"
_SCHEME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,63}")


@dataclass(frozen=True)
class _Known:
    """The model that ran and the samples it ran on, as far as the import was told."""

    model: LoadedModel | None = None
    samples: Samples | None = None
    origin: Mapping[str, Any] | None = None


def run_import(
    source: str | Path,
    *,
    out: str | Path,
    index: str | None = None,
    label: str | None = None,
    columns: Sequence[str] = (),
    scheme: str | None = None,
    target: str | None = None,
    against: str | None = None,
    origin: str | None = None,
    model: str | Path | None = None,
    data: str | Path | None = None,
    metric: str | None = None,
    output: str | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    common: bool = False,
) -> Matrix:
    """Make the run ``out`` of outputs that someone else measured, and give its matrix.

    ``source`` is a table of predictions (``index``, ``label``, ``columns`` name its columns), a
    folder with ``import.toml`` (or that file), or what qnn-net-run wrote (``target`` is what to
    call the device). ``scheme`` is what the model ran under, where nothing else says so;
    ``against`` the target that the others are set against (the first); ``origin`` words on where a
    table comes from. ``model`` and ``data`` are those that ran: the samples then have the hashes
    that chipdrift's own runs know them by. ``common`` keeps the samples that every target answered.
    An earlier import at ``out`` is replaced. Raises ChipdriftError, and leaves no run then.
    """
    path = Path(source)
    _check_words(
        path, {"--index": index, "--label": label, "--columns": columns}, scheme, model, data
    )
    if _is_folder(path):
        known = _known(model, data, shapes)
        imported = _folder(path, scheme or DEFAULT_SCHEME, target, known, common)
    else:
        given = {"--target": target, "--model": model, "--metric": metric, "--output": output}
        wrong = [name for name, value in given.items() if value is not None]
        if wrong:
            raise DataError(
                f"Table {path}: {wrong[0]} is for outputs, and a table holds predictions. Leave it "
                "out."
            )
        known = _Known()
        imported = read_predictions(
            path,
            index=index,
            label=label,
            columns=columns,
            scheme=scheme or DEFAULT_SCHEME,
            provenance={} if origin is None else {"source": origin},
            common=common,
        )
    # With --common the run may hold fewer samples than the data.
    whole = known.samples is not None and imported.keys == known.samples.keys
    chosen, primary = _metric(imported, metric, output)
    matrix = assemble(
        imported,
        chosen,
        against=against,
        primary=primary,
        model=known.model.info if known.model is not None else None,
        data=known.samples.info() if known.samples is not None and whole else None,
    )
    origin_of_run = known.origin if whole else None
    write_run(Path(out), imported, matrix, chosen, primary, origin_of_run, known.samples)
    return matrix


def _is_folder(path: Path) -> bool:
    return path.is_dir() or path.suffix == ".toml"


def _check_words(
    path: Path, of_tables: Mapping[str, object], scheme: str | None, model: object, data: object
) -> None:
    """Refuse options that go with another kind of source, or without each other."""
    if _is_folder(path):
        wrong = [name for name, value in of_tables.items() if value]
        if wrong:
            raise DataError(f"Folder {path}: {wrong[0]} names a table's column. Leave it out.")
    if scheme is not None and not _SCHEME.fullmatch(scheme):
        raise DataError(
            f"--scheme {scheme}: expected a name of letters, digits and . _ + - (64 at most, a "
            "letter or digit first), such as w8a8."
        )
    if data is not None and model is None:
        raise DataError(
            f"--data {data}: which inputs it holds is known by the model only. Give --model, too."
        )


def _known(
    model: str | Path | None, data: str | Path | None, shapes: Mapping[str, Sequence[int]] | None
) -> _Known:
    if model is None:
        return _Known()
    loaded = load_model(model, shapes)
    if data is None:
        return _Known(loaded)
    origin = {
        "model": str(Path(model).resolve()),
        "data": str(Path(data).resolve()) if Path(data).exists() else str(data),
        "calibration": None,
        "shapes": {name: list(shape) for name, shape in (shapes or {}).items()},
        "limit": None,
        "baseline": None,
    }
    return _Known(loaded, load_data(data, loaded.info.inputs), origin)


def _folder(path: Path, scheme: str, target: str | None, known: _Known, common: bool) -> Imported:
    manifest = find_manifest(path)
    where = f"Folder {path}" if manifest is None else f"Manifest {manifest}"
    name = path.resolve().name
    wanted: Sequence[str] | None = None
    labels = None
    if manifest is None:
        columns = qnn_columns(path, scheme, target)
    else:
        if target is not None:
            raise DataError(f"{where}: it names its targets itself. Leave --target out.")
        inputs = known.model.info.inputs if known.model is not None else None
        told, columns, wanted, labels = manifest_columns(manifest, scheme, inputs)
        name = told.name or manifest.resolve().parent.name
    if known.model is not None:
        columns = [fit_model(column, known.model.info, where) for column in columns]
    _check_outputs(where, columns)
    if labels is not None and wanted is not None and len(labels) != len(wanted):
        raise DataError(f"{where}: {len(labels)} labels for {len(wanted)} samples; give one each.")
    order = wanted
    if known.samples is not None:
        # Rows without names of their own are named by the manifest's list, if it has one.
        columns = [
            c if c.ids is not None or wanted is None else replace(c, ids=tuple(wanted))
            for c in columns
        ]
        order = known.samples.keys
        _check_copies(where, order)
        labels = known.samples.labels if known.samples.labels is not None else labels
    keys, placed, warnings = together(
        where, columns, order, common=common, known=known.samples is not None
    )
    if labels is not None:
        labels = _labels(where, labels, order, keys)
    return Imported(
        name=name,
        origin=str(path),
        keys=keys,
        hashed=are_hashes(keys),
        columns=tuple(placed),
        labels=labels,
        predictions=all(
            a.ndim == 1 and a.dtype.kind in "iu" for c in placed for a in c.arrays.values()
        ),
        warnings=tuple(warnings),
    )


def _labels(where: str, labels: Array, order: Sequence[str] | None, keys: Sequence[str]) -> Array:
    """The labels of the samples that are kept."""
    before = len(order) if order is not None else len(labels)
    if len(labels) != before or (order is None and len(labels) != len(keys)):
        raise DataError(
            f"{where}: {len(labels)} labels for {len(keys)} samples. Give one per sample, and name "
            "the samples in the labels' order with samples."
        )
    if order is None or len(keys) == len(order):
        return labels
    row = {key: i for i, key in enumerate(order)}
    kept: Array = labels[np.array([row[key] for key in keys])]
    return kept


def _check_copies(where: str, keys: Sequence[str]) -> None:
    twice = len(keys) - len(set(keys))
    if twice:
        raise DataError(
            f"{where}: {twice} of the {len(keys)} samples of the data are copies of others, so "
            "outputs cannot be matched to them by hash. Leave the copies out."
        )


def _check_outputs(where: str, columns: Sequence[Column]) -> None:
    """Every column must have the same outputs, of one shape each."""
    first = columns[0]
    for column in columns:
        if set(column.arrays) != set(first.arrays):
            raise DataError(
                f"{where}: {column.label} has outputs {', '.join(sorted(column.arrays))}, and "
                f"{first.label} {', '.join(sorted(first.arrays))}; expected the same of every "
                "target. Give --model where they are one model's by other names."
            )
        counts = {len(array) for array in column.arrays.values()}
        if len(counts) > 1:
            raise DataError(
                f"{where}: the outputs of {column.label} hold {min(counts)} and {max(counts)} "
                "samples; expected the same of every output."
            )
        for name, array in column.arrays.items():
            other = first.arrays[name]
            if array.shape[1:] != other.shape[1:]:
                raise DataError(
                    f"{where}: output {name!r} of {column.label} has shape {array.shape[1:]} per "
                    f"sample, and of {first.label} {other.shape[1:]}; expected the same. Give "
                    "shape in the manifest, or --model."
                )


def _metric(imported: Imported, metric: str | None, output: str | None) -> tuple[Metric, str]:
    """The metric, and the output that it reads."""
    arrays = imported.columns[0].arrays
    if output is not None and output not in arrays:
        raise UnknownNameError.of("output", output, arrays)
    primary = output or next(iter(arrays))
    labels = imported.labels
    classes = labels is not None and labels.dtype.kind in "iu"
    if metric is None and imported.predictions:
        return Predicted(classes), primary
    return get_metric(metric or ("top1" if classes else "agreement")), primary

"""The run folder of an import: written beside its place and moved there whole, or not at all."""

from __future__ import annotations

import io
import shutil
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from chipdrift.data import Samples
from chipdrift.errors import RunError
from chipdrift.imports.column import Array, Column, Imported
from chipdrift.matrix.files import MATRIX_FILE, flat_cell, flat_check
from chipdrift.metrics import Metric
from chipdrift.records import Matrix, Pair
from chipdrift.store import Store, content_key, pack_arrays

IMPORT_FACT = "import"
"""The fact of a run's store that marks an import and says what the target ``import:`` needs."""
_PICTURES = 60
_CHUNK = 4096


def write_run(
    out: Path,
    imported: Imported,
    matrix: Matrix,
    metric: Metric,
    primary: str,
    origin: Mapping[str, Any] | None,
    samples: Samples | None,
) -> None:
    """Write the run to ``out``. An earlier import there gives way; anything else is refused.

    ``origin`` is where model and data lie, where they are known; ``samples`` have the pictures that
    the report shows. Raises RunError where ``out`` cannot be used.
    """
    _check_place(out)
    partial: Path | None = None
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        partial.chmod(0o755)  # a temporary folder is its maker's alone
        with Store.open(partial) as store:
            _write_store(store, imported, matrix, origin)
            if samples is not None:
                _write_pictures(store, imported, matrix, samples)
            _write_files(store, imported, matrix, metric, primary)
        _move(partial, out)
    except OSError as error:
        raise RunError(
            f"Run {out}: cannot be written ({error.strerror}). Give another -o."
        ) from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)


def _check_place(out: Path) -> None:
    """Refuse a place that holds anything but an earlier import."""
    if out.is_file():
        raise RunError(f"Run {out}: this is a file. Give a folder with -o.")
    if not out.is_dir() or not any(out.iterdir()):
        return
    if (out / "store.sqlite").exists():
        with Store.read(out) as store:
            if store.fact(IMPORT_FACT) is not None:
                return
        raise RunError(
            f"Run {out}: it holds what chipdrift matrix measured, which an import would replace. "
            "Give another -o; the target import:RUN puts imported outputs beside measured ones."
        )
    raise RunError(f"Run {out}: the folder holds other files and no run. Give a new folder.")


def _move(partial: Path, out: Path) -> None:
    """Put the new run in place; the old one is removed last."""
    if out.is_symlink():
        out = out.resolve()
    if not out.exists():
        partial.rename(out)
        return
    old = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
    out.rename(old / out.name)
    partial.rename(out)
    shutil.rmtree(old, ignore_errors=True)


def addresses(columns: Sequence[Column]) -> list[tuple[str, str | None]]:
    """Where each column's outputs lie: its own rows, and the column that has the rest.

    Devices mostly agree: beside the first column only the rows that differ from it are kept. Equal
    columns have one address.
    """
    first = columns[0]
    lead = content_key(["import", first.digest])[:16]
    found: list[tuple[str, str | None]] = []
    for column in columns:
        if column.digest == first.digest:
            found.append((lead, None))
        elif _alike(column, first):
            found.append((content_key(["import", column.digest, first.digest])[:16], lead))
        else:
            found.append((content_key(["import", column.digest])[:16], None))
    return found


def _alike(column: Column, first: Column) -> bool:
    """Whether the two have outputs of one form, so that one can hold the other's rows."""
    return all(
        (array.dtype, array.shape) == (first.arrays[name].dtype, first.arrays[name].shape)
        for name, array in column.arrays.items()
    )


def _differing(column: Column, first: Column) -> Array:
    """The rows in which the two have other bits."""
    apart = np.zeros(column.samples, np.bool_)
    for name, array in column.arrays.items():
        a, b = (np.ascontiguousarray(x).reshape(len(x), -1) for x in (array, first.arrays[name]))
        apart |= (a.view(np.uint8) != b.view(np.uint8)).any(axis=1)
    return np.flatnonzero(apart)


def _write_store(
    store: Store, imported: Imported, matrix: Matrix, origin: Mapping[str, Any] | None
) -> None:
    names = [spec.name for spec in matrix.model.outputs]
    placed = list(zip(imported.columns, addresses(imported.columns), strict=True))
    store.put_fact(
        "model",
        {
            "sha256": matrix.model.sha256,
            "inputs": [spec.model_dump(mode="json") for spec in matrix.model.inputs],
            "name": matrix.model.name,
        },
    )
    store.put_fact("samples", list(imported.keys))
    store.put_fact("outputs", names)
    store.put_fact(
        "cells",
        {f"{c.scheme}|{c.target}": [own, rest] for c, (own, rest) in placed},
    )
    store.put_fact(
        IMPORT_FACT,
        {
            "hashed": imported.hashed,
            "predictions": imported.predictions,
            "origin": imported.origin,
            "columns": [
                {
                    "target": c.target,
                    "scheme": c.scheme,
                    "addresses": [own, rest],
                    "evidence": c.evidence,
                    "description": c.description,
                    "provenance": dict(c.provenance),
                    "model_sha256": c.model_sha256,
                    "digest": c.digest,
                }
                for c, (own, rest) in placed
            ],
        },
    )
    if origin is not None:
        store.put_fact("origin", dict(origin))
    done = set()
    for column, (own, rest) in placed:
        if own not in done:
            done.add(own)
            rows = None if rest is None else _differing(column, imported.columns[0])
            keys = imported.keys if rows is None else [imported.keys[i] for i in rows]
            for sample, data in zip(keys, _packed(column, names, rows), strict=True):
                store.put_output(own, sample, 0.0, data)
    store.commit()


def _packed(column: Column, names: Sequence[str], rows: Array | None) -> Iterable[bytes]:
    """The outputs of samples as the store keeps them, of all or of some ``rows``.

    Rows of one array have one header.
    """
    parts = []
    for name in names:
        array = column.arrays[name]
        array = np.ascontiguousarray(array if rows is None else array[rows])
        if len(array) == 0:
            return
        size = array[0].nbytes
        head = pack_arrays([array[0]])
        parts.append((array, head[: len(head) - size], size))
    for start in range(0, len(parts[0][0]), _CHUNK):
        raws = [(array[start : start + _CHUNK], head, size) for array, head, size in parts]
        packed = [(array.tobytes(), head, size) for array, head, size in raws]
        for i in range(len(raws[0][0])):
            yield b"".join(head + raw[i * size : (i + 1) * size] for raw, head, size in packed)


def _write_pictures(store: Store, imported: Imported, matrix: Matrix, samples: Samples) -> None:
    place = {key: i for i, key in enumerate(samples.keys)}
    for index in dict.fromkeys(parting.sample for parting in matrix.partings[:_PICTURES]):
        key = imported.keys[index]
        png = samples.picture(place[key])
        if png is not None:
            store.put_picture(key, png)
    store.commit()


def _write_files(
    store: Store, imported: Imported, matrix: Matrix, metric: Metric, primary: str
) -> None:
    store.write_file(MATRIX_FILE, matrix.model_dump_json(indent=1).encode())
    _write_table(store, "cells", pa.Table.from_pylist([flat_cell(cell) for cell in matrix.cells]))
    if matrix.pairs:
        _write_table(store, "pairs", pa.Table.from_pylist([_flat_pair(p) for p in matrix.pairs]))
    if matrix.silicon:
        checks = pa.Table.from_pylist([flat_check(check) for check in matrix.silicon])
        _write_table(store, "silicon", checks)
    store.write_file("answers.parquet", _parquet(_answers(imported, metric, primary)))


def _write_table(store: Store, name: str, table: Any) -> None:
    sink = io.BytesIO()
    pcsv.write_csv(table, sink, pcsv.WriteOptions(quoting_style="needed"))
    store.write_file(f"{name}.csv", sink.getvalue())
    store.write_file(f"{name}.parquet", _parquet(table))


def _parquet(table: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _flat_pair(pair: Pair) -> dict[str, Any]:
    row = pair.model_dump(exclude={"lsb"})
    lsb = pair.lsb
    return {**row, "lsb_max": lsb and lsb.max, "lsb_mean": lsb and lsb.mean}


def _answers(imported: Imported, metric: Metric, primary: str) -> Any:
    """Every sample's answer in every cell: scheme, target, sample, key, label, answer."""
    tables = []
    known: dict[str, Any] = {}
    count = len(imported.keys)
    keys, rows = pa.array(imported.keys), pa.array(range(count), pa.int64())
    labels = None
    for column in imported.columns:
        outputs = column.outputs(primary, imported.labels, None)
        if labels is None:
            told = [metric.describe_label(outputs, i) for i in range(count)]
            labels = pa.array(told, pa.string())
        if column.digest not in known:
            known[column.digest] = _described(metric, metric.answers(outputs))
        tables.append(
            pa.table(
                {
                    "scheme": pa.array([column.scheme] * count).dictionary_encode(),
                    "target": pa.array([column.target] * count).dictionary_encode(),
                    "sample": rows,
                    "key": keys,
                    "label": labels,
                    "answer": known[column.digest],
                }
            )
        )
    return pa.concat_tables(tables)


def _described(metric: Metric, answers: Array) -> Any:
    """Answers in words; each different one is put into words once."""
    different, which = np.unique(answers, return_inverse=True)
    words = pa.array([metric.describe(answer) for answer in different], pa.string())
    return words.take(pa.array(which.reshape(-1)))

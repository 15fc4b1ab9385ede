"""What a run leaves in its folder for people and for other programs, and how it is read back."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, TypeGuard, get_args, get_origin

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import ValidationError

from chipdrift.errors import RunError, UnknownNameError
from chipdrift.matrix.answers import load_outputs
from chipdrift.matrix.cells import CellPlan
from chipdrift.matrix.request import Request
from chipdrift.records import SCHEMA_VERSION, Cell, Matrix, Pair, Record, SiliconCheck
from chipdrift.store import Store

MATRIX_FILE = "matrix.json"
_PICTURES = 60


def write_run(
    store: Store,
    request: Request,
    matrix: Matrix,
    cells: Sequence[CellPlan],
    keep_samples: bool,
) -> None:
    """Write ``matrix.json``, the tables, and what the report shows of the samples."""
    store.drop_pictures()
    if keep_samples:
        for index in dict.fromkeys(parting.sample for parting in matrix.partings[:_PICTURES]):
            png = request.samples.picture(index)
            if png is not None:
                store.put_picture(request.samples.keys[index], png)
    store.put_fact("samples", list(request.samples.keys))
    store.put_fact("outputs", [spec.name for spec in request.model.info.outputs])
    shown = [cell for cell in cells if cell.shown and cell.runs]
    store.put_fact(
        "cells",
        {
            f"{cell.variant.scheme.name}|{cell.target.name}": [
                cell.key,
                cell.shares_with.key if cell.shares_with is not None else None,
            ]
            for cell in shown
        },
    )
    store.commit()
    store.write_file(MATRIX_FILE, matrix.model_dump_json(indent=1).encode())
    rows = [flat_cell(cell) for cell in matrix.cells]
    store.write_file("cells.csv", _csv(rows))
    store.write_file("cells.parquet", _parquet(rows))
    _write_table(store, "pairs", [_flatten(Pair, pair) for pair in matrix.pairs])
    _write_table(store, "silicon", [flat_check(check) for check in matrix.silicon])
    answers = list(_answers(store, request, shown))
    if answers:
        store.write_file("answers.parquet", _table_bytes(pa.concat_tables(answers)))
    else:
        store.remove_files("answers.parquet")


def _write_table(store: Store, name: str, rows: list[dict[str, Any]]) -> None:
    if rows:
        store.write_file(f"{name}.csv", _csv(rows))
        store.write_file(f"{name}.parquet", _parquet(rows))
    else:
        # An earlier run's rows must not pass for this one's.
        store.remove_files(f"{name}.csv", f"{name}.parquet")


def left_out(folder: Path, matrix: Matrix) -> str | None:
    """Say which cells of the folder's earlier matrix the new one does not name, or None."""
    try:
        earlier = read_matrix(folder)
    except RunError:
        return None
    now = {(cell.scheme, cell.target) for cell in matrix.cells}
    gone = [c for c in earlier.cells if (c.scheme, c.target) not in now and c.status == "ok"]
    if not gone:
        return None
    schemes = ", ".join(dict.fromkeys(cell.scheme for cell in gone))
    targets = ", ".join(dict.fromkeys(cell.target for cell in gone))
    return (
        f"this run's folder showed {len(gone)} further cells before ({schemes} on {targets}). They "
        "are kept: name them again and they are shown again, without being measured"
    )


def read_matrix(folder: str | Path) -> Matrix:
    """The matrix that a run folder holds; raises RunError where there is none."""
    file = Path(folder) / MATRIX_FILE
    if not file.exists():
        begun = (Path(folder) / "store.sqlite").exists()
        plan = (Path(folder) / "confirm" / MATRIX_FILE).exists()
        raise RunError(
            f"Run {folder}: "
            + (
                "it was begun and not finished: run the same chipdrift matrix command again, it "
                "goes on from what was measured."
                if begun
                else f"it is a plan. Its run is {Path(folder) / 'confirm'}."
                if plan
                else f"no such run. Make one with chipdrift matrix MODEL --data DATA -o {folder}."
            )
        )
    try:
        matrix = Matrix.model_validate_json(file.read_bytes())
        if matrix.schema_version != SCHEMA_VERSION:
            raise ValueError(f"schema_version {matrix.schema_version}")
        return matrix
    except (ValidationError, ValueError, OSError) as error:
        raise RunError(
            f"Run {folder}: its {MATRIX_FILE} cannot be read, or another version of chipdrift "
            "wrote it. Run the same chipdrift matrix command again; nothing is measured twice."
        ) from error


def cell_outputs(
    folder: str | Path, scheme: str, target: str
) -> tuple[dict[str, np.ndarray[Any, Any]], Cell]:
    """One array per model output, samples stacked in order, and the cell they are of.

    Raises UnknownNameError for a cell that the run has not, RunError for one without outputs.
    """
    matrix = read_matrix(folder)
    by_name = {(cell.scheme, cell.target): cell for cell in matrix.cells}
    schemes = {cell.scheme for cell in matrix.cells}
    if scheme not in schemes:
        raise UnknownNameError.of("scheme", scheme, schemes, f"Run {folder} has these.")
    if (scheme, target) not in by_name:
        raise UnknownNameError.of("target", target, matrix.targets, f"Run {folder} has these.")
    cell = by_name[scheme, target]
    with Store.read(Path(folder)) as store, store.understood():
        addresses = (store.fact("cells") or {}).get(f"{scheme}|{target}")
        if addresses is None:
            raise RunError(f"Cell {scheme} on {target} {_no_outputs(cell)}")
        keys, names = store.fact("samples"), store.fact("outputs")
        rows: dict[str, list[np.ndarray[Any, Any]]] = {}
        for address in reversed([a for a in addresses if a is not None]):
            measured = store.measured(address)
            has = [key for key in keys if key in measured]
            rows.update(zip(has, store.outputs(address, has), strict=True))
    stacked = zip(*(rows[key] for key in keys), strict=True)
    return {name: np.stack(arrays) for name, arrays in zip(names, stacked, strict=True)}, cell


def _no_outputs(cell: Cell) -> str:
    """Why a run holds no outputs of a cell, as the end of a sentence."""
    if cell.status != "ok":
        return f"is {cell.status}: {cell.reason or 'the run does not say why'}"
    return (
        "was measured, and the run folder holds no outputs of it: its store and its "
        f"{MATRIX_FILE} are not of one run. Run the same chipdrift matrix command again."
    )


def flat_cell(cell: Cell) -> dict[str, Any]:
    """A cell as one row of a table; columns ``phone_...`` only of one that ran on a phone."""
    row = _flatten(Cell, cell)
    if cell.phone is None:
        row = {key: value for key, value in row.items() if not key.startswith("phone_")}
    row["fallback"] = len(cell.placement.fallback) if cell.placement is not None else None
    row["versions"] = " ".join(f"{k}={v}" for k, v in cell.versions.items())
    return {key: value for key, value in row.items() if key != "log"}


def flat_check(check: SiliconCheck) -> dict[str, Any]:
    """A check of a simulator against silicon as one row of a table, its cautions in one column."""
    return {**_flatten(SiliconCheck, check), "cautions": "; ".join(check.cautions)}


def _flatten(kind: type[Record], record: Record | None, prefix: str = "") -> dict[str, Any]:
    """The fields of a record of this kind, those of records in it behind their own names.

    All are None where there is no record: the columns of a table do not depend on what lacks.
    """
    row: dict[str, Any] = {}
    for name, field in kind.model_fields.items():
        value = None if record is None else getattr(record, name)
        if get_origin(field.annotation) in (tuple, dict):
            continue
        inner = [k for k in (field.annotation, *get_args(field.annotation)) if _is_record(k)]
        if inner:
            row.update(_flatten(inner[0], value, f"{prefix}{name}_"))
        else:
            row[prefix + name] = value
    return row


def _is_record(kind: Any) -> TypeGuard[type[Record]]:
    return isinstance(kind, type) and issubclass(kind, Record)


def _complete(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Every row with every column, in the order in which columns first appear."""
    columns = dict.fromkeys(name for row in sorted(rows, key=len, reverse=True) for name in row)
    return [{name: row.get(name) for name in columns} for row in rows]


def _csv(rows: list[dict[str, Any]]) -> bytes:
    stream = io.StringIO(newline="")
    rows = _complete(rows)
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return stream.getvalue().encode()


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    return _table_bytes(pa.Table.from_pylist(_complete(rows)))


def _table_bytes(table: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return sink.getvalue()


def _answers(store: Store, request: Request, cells: Sequence[CellPlan]) -> Iterator[Any]:
    """Every sample's answer in every cell: scheme, target, sample, label, answer."""
    for cell in cells:
        outputs = load_outputs(store, request, cell)
        answers = request.metric.answers(outputs)
        count = len(request.samples)
        yield pa.table(
            {
                "scheme": pa.array([cell.variant.scheme.name] * count).dictionary_encode(),
                "target": pa.array([cell.target.name] * count).dictionary_encode(),
                "sample": pa.array(range(count), pa.int64()),
                "key": pa.array(request.samples.keys),
                "label": pa.array(
                    [request.metric.describe_label(outputs, i) for i in range(count)], pa.string()
                ),
                "answer": pa.array([request.metric.describe(a) for a in answers], pa.string()),
            }
        )

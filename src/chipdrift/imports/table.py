"""Per-sample predictions from a table: CSV, TSV, either of them gzipped, or Parquet.

One row per sample, one column per target. Every value is the number of a class.
"""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import math
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pcsv
import pyarrow.parquet as pq

from chipdrift.errors import DataError, UnknownNameError
from chipdrift.imports.column import Array, Column, Imported
from chipdrift.imports.match import together

PREDICTION = "prediction"
"""The name of the only output that a table of predictions has."""
# pyarrow's threads may abort a process that ends while they still come up: exit code 134, not 2.
_ONE_THREAD = pcsv.ReadOptions(use_threads=False)
_GZIP, _PARQUET = b"\x1f\x8b", b"PAR1"
_EXPECTED = "a table with a header, one column per target and one row per sample"
# What a column of labels is most often called: one that is not named as such is asked about.
_LABELS = frozenset({"label", "labels", "ground_truth", "groundtruth", "truth", "gt"})


def read_predictions(
    path: Path,
    *,
    index: str | None,
    label: str | None,
    columns: Sequence[str],
    scheme: str,
    provenance: dict[str, str],
    common: bool,
) -> Imported:
    """The predictions in ``path``.

    ``index`` names the column that identifies a sample (without it, a sample is its row's number),
    ``label`` the one with the right classes, ``columns`` the targets (without them, all others).
    A target without an answer to some sample is refused; with ``common`` such samples are left out.
    Raises DataError or UnknownNameError with one sentence.
    """
    where = f"Table {path}"
    data = _bytes(path, where)
    table = _read(where, data, _delimiter(path), index)
    names = table.column_names
    _check_header(where, names)
    for name in (index, label, *columns):
        if name is not None and name not in names:
            raise UnknownNameError.of("column", name, names, f"{where} has {len(names)} columns.")
    chosen = list(dict.fromkeys(columns)) or [n for n in names if n not in (index, label)]
    if not chosen:
        raise DataError(f"{where}: no column is left for the targets; expected {_EXPECTED}.")
    for name in chosen:
        if name in (index, label):
            what = "--index" if name == index else "--label"
            raise DataError(f"{where}: column {name!r} is given as {what} and among --columns.")
    if table.num_rows == 0:
        raise DataError(f"{where}: a header and no rows; expected {_EXPECTED}.")
    keys = _keys(where, table, index)
    labels = None if label is None else _classes(where, label, table.column(label), None)
    found = []
    source = {**provenance, "file": path.name, "sha256": hashlib.sha256(data).hexdigest()[:16]}
    for name in chosen:
        there = _there(table.column(name))
        classes = _classes(where, name, table.column(name), there)
        if index is None and len(classes) > 2 and (classes == np.arange(len(classes))).all():
            raise DataError(
                f"{where}: column {name!r} counts the rows, so it is no target's. Give --index "
                f"{name}, or name the targets with --columns."
            )
        ids = tuple(keys[i] for i in np.flatnonzero(there)) if there is not None else None
        found.append(
            Column(
                target=name,
                scheme=scheme,
                arrays={PREDICTION: classes},
                ids=ids,
                provenance=source,
            )
        )
    keys, placed, warnings = together(where, found, keys, common=common, known=True)
    if labels is not None and len(keys) != len(labels):
        row = {key: i for i, key in enumerate(_keys(where, table, index))}
        labels = labels[[row[key] for key in keys]]
    suspect = [name for name in chosen if name.lower() in _LABELS]
    if suspect and label is None:
        warnings.append(
            f"column {suspect[0]!r} is taken for a target's; if it holds the right classes, give "
            f"--label {suspect[0]}"
        )
    return Imported(
        name=path.name.split(".")[0] or path.name,
        origin=str(path),
        keys=keys,
        hashed=False,
        columns=tuple(placed),
        labels=labels,
        predictions=True,
        warnings=tuple(warnings),
    )


def _bytes(path: Path, where: str) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{where}: no such file. Give {_EXPECTED}.") from error
    except OSError as error:
        raise DataError(f"{where}: cannot be read ({error.strerror}).") from error
    if not data:
        raise DataError(f"{where}: the file is empty; expected {_EXPECTED}.")
    return data


def _delimiter(path: Path) -> str | None:
    """What the file's name says of it; None where the header has to tell."""
    return "\t" if {".tsv", ".tab"} & {suffix.lower() for suffix in path.suffixes[-2:]} else None


def _read(where: str, data: bytes, delimiter: str | None, index: str | None) -> Any:
    try:
        if data.startswith(_PARQUET):
            return pq.read_table(io.BytesIO(data), use_threads=False)
        text = gzip.decompress(data) if data.startswith(_GZIP) else data
        header = text[:65536].split(b"\n", 1)[0].decode("utf-8-sig")
        mark = delimiter or max(",\t;", key=header.count)
        if b"\x00" in text[:65536] or mark not in header:
            raise DataError(
                f"{where}: not a table: its first line is no header of two columns or more; "
                f"expected {_EXPECTED} (CSV, TSV, gzipped or not, or Parquet)."
            )
        options = pcsv.ConvertOptions(
            # An index is a name, whatever it looks like: 007 is not 7.
            column_types={} if index is None else {index: pa.string()},
        )
        return pcsv.read_csv(
            pa.BufferReader(text),
            read_options=_ONE_THREAD,
            parse_options=pcsv.ParseOptions(delimiter=mark),
            convert_options=options,
        )
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{where}: the gzip file is cut off or damaged; copy it again.") from error
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        words = " ".join(str(error).split())[:160]
        kind = "Parquet file" if data.startswith(_PARQUET) else "table"
        raise DataError(
            f"{where}: not a readable {kind}, or cut off ({words}); expected {_EXPECTED}."
        ) from error


def _check_header(where: str, names: Sequence[str]) -> None:
    twice = sorted({name for name in names if list(names).count(name) > 1})
    if twice:
        raise DataError(f"{where}: two columns are called {twice[0]!r}; name each target once.")
    if "" in names:
        at = list(names).index("") + 1
        raise DataError(f"{where}: column {at} has no name; give it one in the header.")


def _keys(where: str, table: Any, index: str | None) -> tuple[str, ...]:
    if index is None:
        return tuple(map(str, range(table.num_rows)))
    column = table.column(index)
    try:
        keys = pc.cast(column, pa.string()).to_pylist()
    except pa.ArrowException as error:
        raise DataError(
            f"{where}: index column {index!r} is of type {column.type}; expected names or numbers."
        ) from error
    if None in keys or "" in keys:
        row = next(i for i, key in enumerate(keys, 1) if not key)
        raise DataError(f"{where}: index column {index!r} is empty in row {row}; name each sample.")
    if len(set(keys)) < len(keys):
        seen: dict[str, int] = {}
        for row, key in enumerate(keys, 1):
            if key in seen:
                raise DataError(
                    f"{where}: index column {index!r} holds {key!r} twice, in rows {seen[key]} and "
                    f"{row}; each sample may stand there once."
                )
            seen[key] = row
    return tuple(keys)


def _there(column: Any) -> Any:
    """Which rows have an answer: bool (N,), or None where all have one."""
    if pa.types.is_floating(column.type):
        there = pc.is_valid(column.combine_chunks())
        known = np.asarray(there) & ~np.isnan(column.to_numpy().astype(np.float64))
        return None if known.all() else known
    return None if column.null_count == 0 else np.asarray(pc.is_valid(column.combine_chunks()))


def _classes(where: str, name: str, column: Any, there: Any) -> Array:
    """A column as int64, without the rows that are not ``there``."""
    if there is None and _there(column) is not None:
        row = int(np.flatnonzero(~_there(column))[0]) + 1
        raise DataError(f"{where}: label column {name!r} is empty in row {row}; label each sample.")
    if pa.types.is_string(column.type):
        with contextlib.suppress(pa.ArrowException):  # the fault is found below
            column = pc.cast(column, pa.int64())
    if pa.types.is_integer(column.type):
        values = column.drop_null().to_numpy()
        whole: Array = values.astype(np.int64)
        if len(values) == 0 or int(values.max()) == int(whole.max()):
            return whole
    elif pa.types.is_floating(column.type):
        values = column.to_numpy()
        values = values if there is None else values[there]
        with np.errstate(invalid="ignore"):
            whole = values.astype(np.int64)
        if (whole == values).all():
            return whole
    row, value = next((i, v) for i, v in enumerate(column.to_pylist(), 1) if not _is_class(v))
    raise DataError(
        f"{where}: column {name!r} holds {value!r} in row {row}, expected the number of a class. "
        "Name the targets' columns with --columns."
    )


def _is_class(value: object) -> bool:
    """Whether a cell of a table is empty, or a whole number that int64 holds."""
    if isinstance(value, float):
        return math.isnan(value) or (value.is_integer() and abs(value) < 2**63)
    if isinstance(value, str):
        return value.strip().removeprefix("-").isdecimal() and len(value) < 19
    if isinstance(value, bool):
        return False
    return value is None or (isinstance(value, int) and abs(value) < 2**63)

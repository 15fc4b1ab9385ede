"""Find each column's samples among the run's, by hash or name, and put them in order."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chipdrift.errors import DataError
from chipdrift.imports.column import Column

_HASH = re.compile(r"[0-9a-f]{64}")


def are_hashes(ids: Sequence[str]) -> bool:
    """Whether samples are named by the SHA-256 of their inputs."""
    return all(_HASH.fullmatch(name) for name in ids)


def together(
    where: str,
    columns: Sequence[Column],
    keys: Sequence[str] | None,
    *,
    common: bool,
    known: bool,
) -> tuple[tuple[str, ...], list[Column], list[str]]:
    """The samples of the run, the columns with just these in this order, and what is to be said.

    ``keys`` are the samples that are wanted, None where the columns themselves tell. A column
    without ids has them in this order (``known``: of all of ``keys``). A column that lacks a sample
    is refused with DataError, or, with ``common``, only the samples are kept that all have.
    """
    wanted = list(keys) if keys is not None else _union(where, columns)
    if all(column.ids is None and column.samples == len(wanted) for column in columns):
        return tuple(wanted), list(columns), []
    rows = [_rows(where, column, wanted, known) for column in columns]
    warnings = []
    if keys is not None:
        asked = set(wanted)
        for column in columns:
            strange = sum(name not in asked for name in column.ids or ())
            if strange:
                warnings.append(
                    f"{column.label}: {strange} of its {column.samples} samples are not among the "
                    "run's, and are left out"
                )
    kept = [key for key in wanted if all(key in row for row in rows)]
    if len(kept) < len(wanted):
        if not common:
            _refuse(where, columns, rows, wanted)
        if not kept:
            raise DataError(
                f"{where}: no sample has an answer of every target, so there is nothing to "
                "compare. Import targets that answered the same samples."
            )
        warnings.append(
            f"{len(wanted) - len(kept)} of {len(wanted)} samples are left out (--common): not "
            "every target answered them"
        )
    placed = [
        _placed(column, [row[key] for key in kept])
        for column, row in zip(columns, rows, strict=True)
    ]
    return tuple(kept), placed, warnings


def _union(where: str, columns: Sequence[Column]) -> list[str]:
    """Every sample that a column names, in the order of the first that does."""
    if all(column.ids is None for column in columns):
        return [str(i) for i in range(columns[0].samples)]
    nameless = next((column for column in columns if column.ids is None), None)
    if nameless is not None:
        raise DataError(
            f"{where}: {nameless.label} does not say which samples its rows are, others do. Name "
            "them with samples."
        )
    return list(dict.fromkeys(name for column in columns for name in column.ids or ()))


def _rows(where: str, column: Column, wanted: Sequence[str], known: bool) -> dict[str, int]:
    """The row of each of the column's samples, by key."""
    if column.ids is None:
        if column.samples != len(wanted):
            hint = (
                "Name them with samples (their hashes, or inputs), so that they can be matched"
                if known
                else "Name them with samples, so that they can be matched"
            )
            raise DataError(
                f"{where}: {column.label} has {column.samples} samples, expected {len(wanted)}, "
                f"and does not say which they are. {hint}."
            )
        return {key: i for i, key in enumerate(wanted)}
    if len(column.ids) != column.samples:
        raise DataError(
            f"{where}: {column.label} names {len(column.ids)} samples and holds outputs of "
            f"{column.samples}; name each row once, in order."
        )
    row = {name: i for i, name in enumerate(column.ids)}
    if len(row) < len(column.ids):
        twice = next(name for i, name in enumerate(column.ids) if row[name] != i)
        raise DataError(f"{where}: {column.label} names sample {twice!r} twice; name it once.")
    if are_hashes(wanted) and not are_hashes(column.ids):
        # Positions in the data, where they can be nothing else.
        if all(name.isdecimal() and int(name) < len(wanted) for name in column.ids):
            return {wanted[int(name)]: i for name, i in row.items()}
        raise DataError(
            f"{where}: {column.label} names its samples {column.ids[0]!r} and so on, and the data "
            "knows them by the SHA-256 of their inputs. Give these, inputs, or their positions "
            "in the data from 0."
        )
    return row


def _refuse(
    where: str,
    columns: Sequence[Column],
    rows: Sequence[dict[str, int]],
    wanted: Sequence[str],
) -> None:
    column, row = min(zip(columns, rows, strict=True), key=lambda x: sum(k in x[1] for k in wanted))
    missing = [key for key in wanted if key not in row]
    shown = ", ".join(name if len(name) < 40 else f"{name[:12]}..." for name in missing[:3])
    more = f" and {len(missing) - 3:,} more" if len(missing) > 3 else ""
    raise DataError(
        f"{where}: {column.label} has no answer for {len(missing):,} of {len(wanted):,} samples "
        f"({shown}{more}). Fill them in, or keep only the samples that every target answered with "
        "--common."
    )


def _placed(column: Column, rows: Sequence[int]) -> Column:
    if list(rows) == list(range(column.samples)):
        return replace(column, ids=None)
    at = np.asarray(rows)
    return replace(
        column, ids=None, arrays={name: array[at] for name, array in column.arrays.items()}
    )

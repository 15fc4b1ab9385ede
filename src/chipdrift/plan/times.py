"""Times that the user measured elsewhere: a table with a chip, a scheme and milliseconds."""

from __future__ import annotations

import csv
import math
from collections.abc import Collection
from pathlib import Path

from chipdrift.errors import DataError, UnknownNameError
from chipdrift.plan.records import Cost

_COLUMNS = ("chip", "scheme", "ms")


def read_times(
    file: str | Path, chips: Collection[str], schemes: Collection[str]
) -> dict[tuple[str, str], Cost]:
    """Costs in ms by (scheme, chip), as reported, from a CSV with the columns chip, scheme, ms.

    Chips and schemes are called as the plan's are. Raises DataError for a file that cannot be read,
    lacks a column or holds what is no time, or the same pair twice, and UnknownNameError for a chip
    or scheme that the plan does not have.
    """
    try:
        with Path(file).open(newline="", encoding="utf-8-sig") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        words = getattr(error, "strerror", None) or error
        raise DataError(
            f"Times {file}: cannot be read ({words}). Give a CSV: chip, scheme, ms."
        ) from error
    found: dict[tuple[str, str], Cost] = {}
    for line, row in enumerate(rows, 2):
        lacking = [name for name in _COLUMNS if not row.get(name)]
        if lacking:
            raise DataError(
                f"Times {file}, line {line}: {', '.join(lacking)} is missing; the columns chip, "
                "scheme and ms are expected."
            )
        for kind, known in (("chip", chips), ("scheme", schemes)):
            if row[kind] not in known:
                raise UnknownNameError.of(
                    kind, row[kind], list(known), f"It stands in {file}, line {line}."
                )
        key = (row["scheme"], row["chip"])
        if key in found:
            raise DataError(f"Times {file}, line {line}: {key[0]} on {key[1]} is there twice.")
        found[key] = Cost(
            value=_milliseconds(file, line, row["ms"]),
            unit="ms",
            basis="reported",
            words=f"from {Path(file).name}",
        )
    if not found:
        raise DataError(f"Times {file}: it holds no row. Give a CSV: chip, scheme, ms.")
    return found


def _milliseconds(file: str | Path, line: int, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise DataError(f"Times {file}, line {line}: ms is {text!r}, expected a time above 0.")
    return value

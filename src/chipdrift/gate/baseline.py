"""A run remembered as a small JSON file, to be committed and compared with later runs."""

from __future__ import annotations

import json
from pathlib import Path, PurePosixPath

from pydantic import ValidationError

from chipdrift.errors import ChipdriftError
from chipdrift.gate.records import BaselineCell, GateBaseline
from chipdrift.matrix import cell_outputs
from chipdrift.records import Cell, Matrix
from chipdrift.store import digest_arrays

_DIGITS = 9
_LARGEST = 1 << 26


def make_baseline(run: str | Path, matrix: Matrix) -> GateBaseline:
    """What is remembered of a run: no time, no place, its cells by scheme and target."""
    cells = sorted(matrix.cells, key=lambda cell: (cell.scheme, cell.target))
    return GateBaseline(
        model=matrix.model.name,
        model_sha256=matrix.model.sha256,
        data=matrix.data.name,
        data_sha256=matrix.data.sha256,
        samples=matrix.data.samples,
        calibration_sha256=None if matrix.calibration is None else matrix.calibration.sha256,
        metric=matrix.metric.name,
        output=matrix.metric.output,
        cells=tuple(
            BaselineCell(
                scheme=cell.scheme,
                target=cell.target,
                status=cell.status,
                evidence=cell.evidence,
                metric=None if cell.metric is None else round(cell.metric.value, _DIGITS),
                agreement=None if cell.agreement is None else round(cell.agreement, _DIGITS),
                bits=bits_of(run, cell),
                fallback=()
                if cell.placement is None
                else tuple(sorted(cell.placement.fallback, key=lambda place: place.node)),
                file=cell.model_sha256,
                versions=versions_of(cell),
            )
            for cell in cells
        ),
    )


def bits_of(run: str | Path, cell: Cell) -> str | None:
    """The SHA-256 of every bit of a cell's outputs, its samples in order; None without answers."""
    if cell.status != "ok":
        return None
    arrays, _ = cell_outputs(run, cell.scheme, cell.target)
    return digest_arrays(arrays[name] for name in sorted(arrays))


def write_baseline(path: str | Path, baseline: GateBaseline) -> None:
    """Write it sorted, one fact a line, whole or not at all.

    Raises ChipdriftError where the file cannot be written, or is there and is no baseline.
    """
    file = Path(path)
    if file.exists():
        read_baseline(file, "--write-baseline")
    document = baseline.model_dump(mode="json", exclude_none=True)
    text = json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n"
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(text, encoding="utf-8")
        partial.replace(file)
    except OSError as error:
        raise ChipdriftError(
            f"--write-baseline {path}: cannot be written ({error.strerror}). Give another file."
        ) from error


def read_baseline(path: str | Path, option: str = "--baseline") -> GateBaseline:
    """The baseline in ``path``; raises ChipdriftError where there is none."""
    file = Path(path)
    try:
        if file.exists() and not file.is_file():
            raise ChipdriftError(f"{option} {path}: it is no regular file. Give a JSON file.")
        if file.stat().st_size > _LARGEST:
            raise ChipdriftError(f"{option} {path}: {file.stat().st_size} bytes are no baseline.")
        return GateBaseline.model_validate_json(file.read_bytes())
    except OSError as error:
        raise ChipdriftError(
            f"{option} {path}: cannot be read ({error.strerror}). Make one from a run that you "
            "trust with chipdrift gate RUN --policy POLICY --write-baseline FILE."
        ) from error
    except (ValidationError, ValueError, RecursionError) as error:
        raise ChipdriftError(
            f"{option} {path}: no baseline that this chipdrift can read. Give the file that "
            "chipdrift gate --write-baseline wrote, or another name."
        ) from error


def versions_of(cell: Cell) -> dict[str, str]:
    """A cell's versions; of a path only the file, since folders are one machine's own."""
    return {
        name: PurePosixPath(value).name if value.startswith("/") else value
        for name, value in sorted(cell.versions.items())
    }

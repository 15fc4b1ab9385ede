"""Diagnoses in the folder of their run: one JSON document for each pair under each scheme."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from pydantic import ValidationError

from chipdrift.diagnose.explorer import NODE_DATA
from chipdrift.errors import RunError
from chipdrift.findings import Diagnosis

_FOLDER = "diagnosis"
# Targets may be long paths; a file system takes 255 bytes, of which the endings need some.
_LONGEST = 180


def write_diagnosis(run: Path, diagnosis: Diagnosis) -> Path:
    """Write it beside the run's other files; an earlier one of the same pair is replaced."""
    folder = run / _FOLDER
    words = (diagnosis.scheme, diagnosis.a.target, diagnosis.b.target)
    name = "--".join(re.sub(r"[^A-Za-z0-9._+-]+", "-", word) for word in words)
    if len(name) > _LONGEST:
        name = f"{name[: _LONGEST - 9]}-{hashlib.sha256('--'.join(words).encode()).hexdigest()[:8]}"
    path = folder / f"{name}.json"
    try:
        folder.mkdir(exist_ok=True)
        partial = path.with_name(path.name + ".partial")
        partial.write_text(diagnosis.model_dump_json(indent=1), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise RunError(f"Run {run}: the diagnosis cannot be written: {error.strerror}.") from error
    return path


def read_diagnoses(run: str | Path) -> list[Diagnosis]:
    """All diagnoses of a run, by name; raises RunError for a file that is none."""
    found = []
    for path in sorted((Path(run) / _FOLDER).glob("*.json")):
        if path.name.endswith(NODE_DATA):
            continue
        try:
            found.append(Diagnosis.model_validate_json(path.read_bytes()))
        except (ValidationError, ValueError, OSError) as error:
            raise RunError(
                f"{path}: no diagnosis that this chipdrift can read. Delete it, or run chipdrift "
                "diagnose again."
            ) from error
    return found

"""Diagnoses in the folder of their run: one JSON document for each pair under each scheme."""

from __future__ import annotations

import contextlib
import hashlib
import re
import tempfile
from pathlib import Path

from pydantic import ValidationError

from chipdrift.diagnose.explorer import NODE_DATA
from chipdrift.errors import RunError
from chipdrift.findings import Diagnosis

_FOLDER = "diagnosis"
# Targets may be long paths; a file system takes 255 bytes, of which the endings need some.
_LONGEST = 180
_ROOM = 64 << 10  # bytes, of an average diagnosis


def write_diagnosis(run: Path, diagnosis: Diagnosis) -> Path:
    """Write it beside the run's other files; an earlier one of the same pair is replaced."""
    folder = run / _FOLDER
    words = (diagnosis.scheme, diagnosis.a.target, diagnosis.b.target)
    plain = "--".join(words).replace(":", "-")
    name = re.sub(r"[^A-Za-z0-9._+-]+", "-", plain)
    if name != plain or len(name) > _LONGEST:  # other targets may come to the same letters
        name = f"{name[: _LONGEST - 9]}-{hashlib.sha256('--'.join(words).encode()).hexdigest()[:8]}"
    path = folder / f"{name}.json"
    partial = path.with_name(path.name + ".partial")
    try:
        folder.mkdir(exist_ok=True)
        partial.write_text(diagnosis.model_dump_json(indent=1), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
        raise _unwritable(folder, error) from error
    return path


def check_writable(run: Path) -> None:
    """Raise RunError, before the work, where a diagnosis could not be kept."""
    folder = run / _FOLDER
    try:
        folder.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"0" * _ROOM)
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> RunError:
    return RunError(
        f"{folder}: a diagnosis cannot be kept there ({error.strerror}). Make room or the folder "
        "writable, or copy the run elsewhere and diagnose that."
    )


def read_diagnoses(run: str | Path) -> tuple[list[Diagnosis], list[str]]:
    """All diagnoses of a run, by name, and a sentence for every file there that is none."""
    found, faults = [], []
    for path in sorted((Path(run) / _FOLDER).glob("*.json")):
        if path.name.endswith(NODE_DATA):
            continue
        try:
            if path.exists() and not path.is_file():  # a named pipe would be waited for
                raise OSError("no file")
            found.append(Diagnosis.model_validate_json(path.read_bytes()))
        except (ValidationError, ValueError, OSError, RecursionError):
            faults.append(
                f"{path}: no diagnosis that this chipdrift can read. Delete it, or run chipdrift "
                "diagnose again."
            )
    return found, faults

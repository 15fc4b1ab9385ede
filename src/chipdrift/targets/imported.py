"""Imported outputs as a target: ``import:<run folder>``, or ``import:<run folder>#<its target>``.

It computes nothing. It looks each sample up, by the hash of its inputs, in a run that
``chipdrift import`` made, and refuses a model or a sample that the run does not hold.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

import numpy as np

from chipdrift.errors import ChipdriftError, RunError, UnknownNameError
from chipdrift.store import Store
from chipdrift.targets.base import Opened, RefusedError, Session, Target, TargetInfo

PREFIX = "import"
# What chipdrift import leaves in a run's store: see chipdrift.imports.write.
_FACT = "import"
_KINDS = ("float32", "float16", "qdq", "asis")

Array = np.ndarray[Any, Any]


def resolve(rest: str) -> Target:
    """The target that a run folder holds; its name stands behind ``#`` where there are several."""
    name, mark, wanted = rest.partition("#")
    folder = Path(name)
    if not name or not folder.is_dir():
        raise RunError(
            f"Target import:{rest}: no such folder {name!r}. Give the run folder that chipdrift "
            "import made."
        )
    columns = _columns(folder, rest)
    names = list(dict.fromkeys(column["target"] for column in columns))
    if not mark and len(names) > 1:
        raise UnknownNameError(
            f"Target import:{rest}: the run holds {len(names)} targets. Name one: "
            f"{', '.join(f'import:{name}#{found}' for found in names[:12])}."
        )
    chosen = wanted if mark else names[0]
    if chosen not in names:
        raise UnknownNameError.of("target", chosen, names, f"Run {name} was imported with these.")
    mine = [column for column in columns if column["target"] == chosen]
    first = mine[0]
    other = next((c for c in mine if c["evidence"] != first["evidence"]), None)
    if other is not None:
        raise RunError(
            f"Target import:{rest}: its outputs under {first['scheme']} are {first['evidence']}, "
            f"under {other['scheme']} {other['evidence']}, and a target's are of one kind. Give "
            "them two names in import.toml."
        )
    described = first["description"] or chosen
    digest = hashlib.sha256("".join(column["digest"] for column in mine).encode()).hexdigest()
    unsure = (
        "the import does not say which model file ran (model_sha256): outputs are taken for this "
        "scheme's by its name"
    )
    return Target(
        name=f"import:{rest}",
        runtime=__name__,
        evidence=first["evidence"],
        has_npu=False,
        options={"run": str(folder.resolve()), "target": chosen},
        versions={**_provenance(mine), "imported": digest[:16]},
        cautions={}
        if all(column["model_sha256"] for column in mine)
        else dict.fromkeys(_KINDS, unsure),
        description=f"{described}, imported",
        answers_only=True,
    )


def listed() -> list[TargetInfo]:
    """One line that says what may stand there: which folders there are, nobody knows."""
    return [
        TargetInfo(
            name="import:RUN#TARGET",
            evidence="reported",
            available=True,
            description="outputs measured elsewhere, from a run that chipdrift import made",
        )
    ]


def _provenance(columns: Sequence[Mapping[str, Any]]) -> dict[str, str]:
    """Where the outputs come from, by field: of all schemes, where they do not come from one."""
    told: dict[str, dict[str, None]] = {}
    for column in columns:
        for field, words in column["provenance"].items():
            told.setdefault(field, {})[words] = None
    return {field: " or ".join(words) for field, words in told.items()}


def _columns(folder: Path, rest: str) -> list[dict[str, Any]]:
    """What the run holds of each target and scheme; raises RunError where it is no such import."""
    with Store.read(folder) as store, store.understood():
        fact = store.fact(_FACT)
    if fact is None:
        raise RunError(
            f"Target import:{rest}: {folder} holds what chipdrift measured, and no import. Make "
            "one with chipdrift import."
        )
    if not fact["hashed"]:
        raise RunError(
            f"Target import:{rest}: its samples have names and no hashes of their inputs, so they "
            "cannot be found among others. Import the outputs again with --model and --data."
        )
    columns: list[dict[str, Any]] = fact["columns"]
    return columns


def open_session(path: str, options: Mapping[str, str]) -> Session:
    """The outputs of the model at ``path``; raises RefusedError where they are of another."""
    from chipdrift.graph import load_model

    folder, target = Path(options["run"]), options["target"]
    mine = [c for c in _columns(folder, str(folder)) if c["target"] == target]
    column = _column_of(Path(path), target, mine)
    with Store.read(folder) as store, store.understood():
        keys, names = store.fact("samples"), store.fact("outputs")
        rows: dict[str, list[Array]] = {}
        for address in reversed([a for a in column["addresses"] if a is not None]):
            held = store.measured(address)
            has = [key for key in keys if key in held]
            rows.update(zip(has, store.outputs(address, has), strict=True))
    try:
        specs = load_model(path).info.outputs
    except ChipdriftError as error:
        raise RefusedError(str(error)) from error
    wanted = [spec.name for spec in specs]
    if sorted(wanted) != sorted(names):
        raise RefusedError(
            f"the import of {target} holds outputs {', '.join(names)}, and the model's are "
            f"{', '.join(wanted)}"
        )
    order = [names.index(name) for name in wanted]
    first = next(iter(rows.values()))
    for spec, at in zip(specs, order, strict=True):
        shape = first[at].shape
        fits = len(shape) == len(spec.shape) and all(
            size in (None, found) for size, found in zip(spec.shape, shape, strict=True)
        )
        if not fits:
            raise RefusedError(
                f"the import of {target} holds {spec.name} of shape {shape}, and the model's is "
                f"{spec.shape}: import it with --model"
            )
    return ImportedSession({key: [row[at] for at in order] for key, row in rows.items()}, target)


def _column_of(path: Path, target: str, columns: list[dict[str, Any]]) -> dict[str, Any]:
    """The scheme's outputs, by the hash of the model file that ran, else by the scheme's name."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    for column in columns:
        if column["model_sha256"] == digest:
            return column
    # A run calls its model files after their schemes: <scheme>-<8 digits of their address>.onnx.
    scheme = path.stem.rpartition("-")[0]
    for column in columns:
        if column["model_sha256"] is None and column["scheme"] == scheme:
            return column
    named = [column for column in columns if column["scheme"] == scheme]
    if named:
        raise RefusedError(
            f"{target} ran another model file under {scheme}: its sha256 is "
            f"{named[0]['model_sha256'][:12]}, this one's {digest[:12]}"
        )
    held = ", ".join(column["scheme"] for column in columns)
    raise RefusedError(
        f"the import of {target} holds outputs under {held}, not of this model"
        + (f" under {scheme}" if scheme else "")
    )


@final
class ImportedSession(Session):
    """Looks outputs up by the hash of the inputs."""

    def __init__(self, rows: Mapping[str, list[Array]], target: str) -> None:
        self._rows, self._target = rows, target

    def opened(self) -> Opened:
        """Where the nodes ran is not known."""
        return Opened(())

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """One sample's outputs; raises RefusedError for a sample that is not there."""
        key = sample_key(feed)
        if key not in self._rows:
            raise RefusedError(
                f"the import of {self._target} holds no answer for a sample of this data (sha256 "
                f"{key[:12]}...), of {len(self._rows)} that it has: import its outputs for all of "
                "them, or give the --data that it answered"
            )
        return self._rows[key]


def sample_key(feed: Mapping[str, Array]) -> str:
    """The SHA-256 of a sample's inputs, as ``chipdrift.data.Samples`` makes it."""
    digest = hashlib.sha256()
    for name, array in feed.items():
        digest.update(f"{name}|{array.dtype}|{array.shape}|".encode())
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()

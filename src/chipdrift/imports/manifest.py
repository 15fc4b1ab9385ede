"""``import.toml``: what a folder of outputs holds, where it comes from and what it rests on."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    ValidationError,
    model_validator,
)

from chipdrift.errors import ChipdriftError, DataError, UnknownNameError
from chipdrift.named import parsed
from chipdrift.numerics.profiles.complaint import spot_of
from chipdrift.records import Evidence, Record

MANIFEST = "import.toml"
DTYPES = (
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
)


def _inside(path: Any) -> Any:
    """A path within the manifest's folder: a manifest of others reads nothing else."""
    if isinstance(path, str) and (
        not path or PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts
    ):
        raise ValueError("expected a path within the manifest's folder, relative to it")
    return path


def _day(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime.date) else value


def _known_dtype(dtype: str) -> str:
    if dtype not in DTYPES:
        raise ValueError(str(UnknownNameError.of("dtype", dtype, DTYPES)))
    return dtype


LocalPath = Annotated[str, BeforeValidator(_inside)]
Text = Annotated[str, Field(min_length=1, max_length=500)]
Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class Provenance(Record):
    """Where outputs come from: the device, its chip, what ran there, who measured it and when."""

    device: Text | None = None
    chip: Text | None = None
    runtime: Text | None = None
    sdk: Text | None = None
    who: Text | None = None
    when: Annotated[Text, BeforeValidator(_day)] | None = None
    source: Text | None = None

    def words(self) -> dict[str, str]:
        """What is known, by field."""
        return {key: v for key in Provenance.model_fields if (v := getattr(self, key)) is not None}


class OutputEntry(Record):
    """One output of one target.

    ``file`` is one file with all samples stacked, ``files`` one file per sample, its name with
    ``{sample}`` (the sample's name) or ``{index}`` (its number from 0). ``.npy`` files tell their
    dtype and shape; of any other, which are raw little-endian values, ``dtype`` must be given, and
    ``shape`` is one sample's. With ``scale`` the integers are made real:
    ``(integer - zero_point) * scale``.
    """

    file: LocalPath | None = None
    files: LocalPath | None = None
    dtype: Annotated[str, AfterValidator(_known_dtype)] | None = None
    shape: tuple[Annotated[int, Field(ge=1)], ...] | None = None
    scale: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    zero_point: int = 0

    @model_validator(mode="after")
    def _consistent(self) -> OutputEntry:
        if self.file is not None and self.files is not None:
            raise ValueError("file is all samples in one, files one for each: give one of the two")
        if self.files is not None and ("{sample}" in self.files) == ("{index}" in self.files):
            raise ValueError("files needs {sample} or {index} in it, one of the two")
        return self


class TargetEntry(Provenance):
    """One target's outputs under one scheme.

    ``outputs`` says by the output's name where they lie; ``qnn`` is the folder that qnn-net-run
    wrote (``outputs`` then only adds dtype, shape and scale). ``samples`` names the rows: a list,
    or a text file with one name per line; SHA-256 hashes of the inputs, or any names. ``inputs`` is
    an ``.npz`` of the inputs as this target got them, from which the hashes are made.
    """

    name: Text
    scheme: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")] | None = None
    evidence: Evidence = "reported"
    model_sha256: Sha256 | None = None
    outputs: dict[str, OutputEntry] = Field(default_factory=dict)
    qnn: LocalPath | None = None
    samples: LocalPath | tuple[Text, ...] | None = None
    inputs: LocalPath | None = None

    @model_validator(mode="after")
    def _consistent(self) -> TargetEntry:
        if self.qnn is None:
            if not self.outputs:
                raise ValueError("no outputs: give [targets.outputs.NAME] with a file, or qnn")
            for name, entry in self.outputs.items():
                if entry.file is None and entry.files is None:
                    raise ValueError(f"output {name!r} has neither file nor files")
        elif any(entry.file or entry.files for entry in self.outputs.values()):
            raise ValueError("qnn has the files of all outputs: leave out file and files")
        if self.samples is not None and self.inputs is not None:
            raise ValueError("samples and inputs both name the rows: give one of the two")
        return self


class Manifest(Provenance):
    """A folder of outputs. Provenance given here holds for every target that says nothing else.

    ``samples`` are the run's samples in their order; ``labels`` is an ``.npy`` file with one class
    number per sample in that order; ``scheme`` and ``model_sha256`` are of targets without.
    """

    name: Text | None = None
    scheme: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,63}$")] | None = None
    model_sha256: Sha256 | None = None
    samples: LocalPath | tuple[Text, ...] | None = None
    labels: LocalPath | None = None
    targets: tuple[TargetEntry, ...] = Field(min_length=1)

    def provenance_of(self, target: TargetEntry) -> dict[str, str]:
        """A target's own provenance, completed by the manifest's."""
        return {**self.words(), **target.words()}


def read_manifest(path: Path) -> Manifest:
    """The manifest at ``path``; raises ChipdriftError, with the line, where it is none."""
    where = f"Manifest {path}"
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{where}: cannot be read ({getattr(error, 'strerror', None) or error})."
        ) from error
    try:
        manifest = Manifest(**parsed(text, where))
    except ValidationError as error:
        raise ChipdriftError(_complaint(error, text, where)) from error
    _check(manifest, text, where)
    return manifest


def _check(manifest: Manifest, text: str, where: str) -> None:
    """What the fields say only together."""
    seen: dict[tuple[str, str | None], int] = {}
    for number, target in enumerate(manifest.targets):
        spot = spot_of(where, text, ("targets", number, "name"))
        cell = (target.name, target.scheme or manifest.scheme)
        if cell in seen:
            raise ChipdriftError(
                f"{spot}: target {number + 1} is called {target.name!r} like target "
                f"{seen[cell] + 1}, under the same scheme; name each once."
            )
        seen[cell] = number
        if target.evidence == "device":
            told = manifest.provenance_of(target)
            lacking = [key for key in ("device", "who", "when") if key not in told]
            if lacking:
                spot = spot_of(where, text, ("targets", number, "evidence"))
                raise ChipdriftError(
                    f'{spot}: target {target.name!r} claims evidence = "device" and does not say '
                    f"{' and '.join(lacking)}; add it, or leave the evidence out (reported)."
                )


def _complaint(error: ValidationError, text: str, where: str) -> str:
    """One sentence on the first fault: line, key, what was found, what would be right."""
    # A key that nobody knows is most often the cause of one that is missing.
    first = sorted(error.errors(), key=lambda e: e["type"] != "extra_forbidden")[0]
    # Of a choice of types pydantic names each, which is no key: "function-before[...]".
    place = tuple(p for p in first["loc"] if "[" not in str(p) and p != "constrained-str")
    key, spot = _named(place), spot_of(where, text, place)
    message = first["msg"].removeprefix("Value error, ").rstrip(".")
    match first["type"]:
        case "extra_forbidden":
            known = sorted(_keys_at(place[:-1]))
            told = str(
                UnknownNameError.of("key", str(place[-1]), known, "See docs/howto/import.md.")
            )
            return f"{spot}: {told}"
        case "missing" if place == ("targets",):
            return f"{spot}: no target; add [[targets]] with a name and its outputs."
        case "missing":
            return f"{spot}: {key} is missing; add it."
        case "value_error":
            return f"{spot}: {f'{key}: ' if key else ''}{message}."
        case _:
            wanted = message.removeprefix("Input should be ").replace("a valid tuple", "a list")
            wanted = re.sub("a valid dictionary or instance.*", "a table", wanted)
            found = str(first.get("input"))
            found = found if len(found) <= 60 else f"{found[:57]}..."
            return f"{spot}: {key}: found {found}, expected {wanted}."


def _named(place: tuple[str | int, ...]) -> str:
    """A place as people write it; targets are counted from one."""
    if place[:1] == ("targets",) and len(place) > 1:
        rest = ".".join(map(str, place[2:]))
        return f"target {int(place[1]) + 1}{', ' if rest else ''}{rest}"
    return ".".join(map(str, place))


def _keys_at(place: tuple[str | int, ...]) -> Mapping[str, Any]:
    model: type[BaseModel] = Manifest
    if place[:1] == ("targets",):
        model = OutputEntry if "outputs" in place else TargetEntry
    return model.model_fields

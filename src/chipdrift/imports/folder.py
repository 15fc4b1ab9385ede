"""Columns from a folder: by its manifest, or what qnn-net-run left without one."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chipdrift.chips import recognize
from chipdrift.data import load_data
from chipdrift.errors import ChipdriftError, DataError
from chipdrift.imports.arrays import read_array
from chipdrift.imports.column import Array, Column
from chipdrift.imports.manifest import MANIFEST, Manifest, OutputEntry, TargetEntry, read_manifest
from chipdrift.imports.qnn import is_qnn_folder, read_qnn
from chipdrift.records import Quantizer, TensorSpec


def find_manifest(source: Path) -> Path | None:
    """The manifest that ``source`` is or holds; None where it has none."""
    if source.suffix == ".toml":
        return source
    return source / MANIFEST if (source / MANIFEST).is_file() else None


def manifest_columns(
    path: Path, scheme: str, inputs: Sequence[TensorSpec] | None
) -> tuple[Manifest, list[Column], tuple[str, ...] | None, Array | None]:
    """The manifest, its columns, the run's samples (None: the columns tell) and labels.

    ``scheme`` is of targets whose manifest names none; ``inputs`` are the model's, where it is
    known, for hashes of the inputs. Raises ChipdriftError.
    """
    manifest, folder, where = read_manifest(path), path.parent, f"Manifest {path}"
    samples = _names(folder, where, manifest.samples)
    columns = [
        _column(manifest, target, folder, where, scheme, inputs, samples)
        for target in manifest.targets
    ]
    cells = [(column.target, column.scheme) for column in columns]
    if len(set(cells)) < len(cells):
        twice = next(cell for i, cell in enumerate(cells) if cell in cells[:i])
        raise ChipdriftError(
            f"{where}: {twice[0]} is there twice under {twice[1]}; name each once."
        )
    labels = None
    if manifest.labels is not None:
        labels = read_array(folder / manifest.labels, f"{where}: labels", None, None, 0)
    return manifest, columns, samples, labels


def qnn_columns(folder: Path, scheme: str, target: str | None) -> list[Column]:
    """The columns of ``folder``: the results in it, or in each of its folders.

    ``target`` is what to call the device, where there is one; else the folder's name. Raises
    DataError where there are no results.
    """
    where = f"Folder {folder}"
    if is_qnn_folder(folder):
        places = {target or folder.resolve().name: folder}
    else:
        places = {entry.name: entry for entry in sorted(folder.iterdir()) if is_qnn_folder(entry)}
        if not places:
            raise DataError(
                f"{where}: neither {MANIFEST} nor results of qnn-net-run (Result_0, Result_1 and "
                "so on) are in it. Write a manifest: docs/howto/import.md."
            )
        if target is not None and len(places) > 1:
            raise DataError(
                f"{where}: it holds results of {len(places)} devices, and --target names one. "
                "Leave it out: they are called like their folders."
            )
        places = {target or name: place for name, place in places.items()}
    return [
        Column(
            target=name,
            scheme=scheme,
            arrays={key: array for key, (array, _) in read_qnn(place, where, {}).items()},
            provenance={"runtime": "qnn-net-run", **_chip_of(name)},
        )
        for name, place in places.items()
    ]


def _chip_of(name: str) -> dict[str, str]:
    """The chip that a device is called by, where it is called by one."""
    chip = recognize(name)
    return {} if chip is None else {"chip": chip.soc}


def _column(
    manifest: Manifest,
    target: TargetEntry,
    folder: Path,
    where: str,
    scheme: str,
    inputs: Sequence[TensorSpec] | None,
    samples: tuple[str, ...] | None,
) -> Column:
    spot = f"{where}: target {target.name!r}"
    ids = _names(folder, spot, target.samples)
    if target.inputs is not None:
        ids = _hashes(folder / target.inputs, spot, inputs)
    if target.qnn is not None:
        read = read_qnn(folder / target.qnn, spot, target.outputs)
    else:
        read = {}
        for name, entry in target.outputs.items():
            count = len(ids) if ids is not None else next((len(a) for a, _ in read.values()), 0)
            at = f"{spot}, output {name!r}"
            if entry.file is not None:
                found = read_array(folder / entry.file, at, entry.dtype, entry.shape, count)
            else:
                named, found = _each(folder, at, entry, ids if ids is not None else samples)
                ids = named if ids is None else ids
                if count and len(found) != count:
                    raise DataError(f"{at}: {len(found)} files, expected {count} as for the rest.")
            read[name] = (found, entry)
    told = manifest.provenance_of(target)
    if target.qnn is not None:
        told.setdefault("runtime", "qnn-net-run")
    words = [told[key] for key in ("device", "chip") if key in told]
    return Column(
        target=target.name,
        scheme=target.scheme or manifest.scheme or scheme,
        arrays={name: _real(array, entry) for name, (array, entry) in read.items()},
        ids=ids,
        evidence=target.evidence,
        description=", ".join(words),
        provenance=told,
        quantizers={
            name: Quantizer(
                scale=(entry.scale,), zero_point=(entry.zero_point,), dtype=array.dtype.name
            )
            for name, (array, entry) in read.items()
            if entry.scale is not None and array.dtype.kind in "iu"
        },
        model_sha256=target.model_sha256 or manifest.model_sha256,
    )


def _real(array: Array, entry: OutputEntry) -> Array:
    """Integers made real in float32, as DequantizeLinear does."""
    if entry.scale is None or array.dtype.kind not in "iu":
        return array
    steps = array.astype(np.int64) - entry.zero_point
    return steps.astype(np.float32) * np.float32(entry.scale)


def _names(
    folder: Path, where: str, samples: str | tuple[str, ...] | None
) -> tuple[str, ...] | None:
    """The samples' names: a list as it is, or the lines of a text file."""
    if samples is None or isinstance(samples, tuple):
        return samples
    try:
        text = (folder / samples).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{where}: samples: {folder / samples} cannot be read "
            f"({getattr(error, 'strerror', None) or error}). Give a text file with one name a line."
        ) from error
    names = tuple(line.strip() for line in text.splitlines() if line.strip())
    if not names:
        raise DataError(f"{where}: samples: {folder / samples} is empty; name one sample a line.")
    return names


def _hashes(path: Path, where: str, inputs: Sequence[TensorSpec] | None) -> tuple[str, ...]:
    if inputs is None:
        raise DataError(
            f"{where}: its samples are to be found by their inputs, for which the model must be "
            "known. Give --model and --data."
        )
    return load_data(path, inputs).keys


def _each(
    folder: Path, where: str, entry: OutputEntry, names: tuple[str, ...] | None
) -> tuple[tuple[str, ...] | None, Array]:
    """One file per sample: the names they tell, if they do, and the samples stacked."""
    pattern = entry.files or ""
    told: tuple[str, ...] | None = None
    if "{sample}" in pattern:
        told = names or _found(folder, where, pattern, "{sample}")
        paths = [pattern.replace("{sample}", name) for name in told]
    else:
        there = _found(folder, where, pattern, "{index}")
        numbers = sorted(int(name) for name in there if name.isdecimal())
        count = len(names) if names is not None else len(numbers)
        paths = [pattern.replace("{index}", str(i)) for i in range(count)]
        if names is None and numbers != list(range(count)):
            gap = next(i for i, number in enumerate(numbers) if i != number)
            raise DataError(
                f"{where}: {len(numbers)} files up to number {numbers[-1]}, and {paths[gap]} is "
                "not there. Copy all of them, or name the samples."
            )
    rows = [read_array(folder / path, where, entry.dtype, entry.shape, None) for path in paths]
    shapes = sorted({row.shape for row in rows})
    if len(shapes) > 1:
        raise DataError(
            f"{where}: its files differ in shape, {shapes[0]} and {shapes[1]}, say. One is cut "
            "off, or of another model."
        )
    return told, np.stack(rows)


def _found(folder: Path, where: str, pattern: str, mark: str) -> tuple[str, ...]:
    """What stands for ``mark`` in the files that are there, in order."""
    before, after = pattern.split(mark, 1)
    fits = re.compile(re.escape(before) + r"(.+)" + re.escape(after))
    paths = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    found = sorted(match[1] for path in paths if (match := fits.fullmatch(path)))
    if not found:
        raise DataError(f"{where}: no file fits {pattern} in {folder}.")
    return tuple(found)

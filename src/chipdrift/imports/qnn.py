"""What ``qnn-net-run`` leaves: ``Result_0/``, ``Result_1/`` and so on, a file per output in each.

Result_N is of the N-th line of the input list. ``<output>.raw`` holds float32 (the default; the
tool makes integers real itself). With ``--use_native_output_files`` there is
``<output>_native.raw`` in the graph's own dtype, which the file does not tell. Raw files have no
shape. Names are made fit for C: every other character is ``_``, and none starts with a digit.
Source: Qualcomm AI Engine Direct SDK, Tools, qnn-net-run,
https://docs.qualcomm.com/bundle/publicresource/topics/80-63442-50/tools.html#qnn-net-run
(``--output_dir``, ``--input_list``, ``--use_native_output_files``); the names of folders and files
as public scripts read them back, ``Result_0/output0.raw`` and ``Result_0/_7_native.raw``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from chipdrift.errors import DataError
from chipdrift.imports.arrays import read_array
from chipdrift.imports.column import Array
from chipdrift.imports.manifest import OutputEntry

_RESULT = re.compile(r"Result_(\d+)")
_NATIVE = "_native"


def is_qnn_folder(folder: Path) -> bool:
    """Whether ``folder`` holds results of qnn-net-run."""
    return folder.is_dir() and any(
        _RESULT.fullmatch(entry.name) and entry.is_dir() for entry in folder.iterdir()
    )


def qnn_name(name: str) -> str:
    """What an output of a model is called in the tool's files."""
    plain = re.sub(r"\W", "_", name, flags=re.ASCII)
    return f"_{plain}" if plain[:1].isdigit() else plain


def read_qnn(
    folder: Path, where: str, told: Mapping[str, OutputEntry]
) -> dict[str, tuple[Array, OutputEntry]]:
    """Every output by its name in the files: (N, *shape), and what the manifest tells of it.

    ``told`` adds dtype, shape and scale by output. A native file is only read where its dtype is
    told and there is no float file, or where its scale is told. Raises DataError.
    """
    if not folder.is_dir():
        raise DataError(f"{where}: no folder {folder}. Give the --output_dir of qnn-net-run.")
    numbers = sorted(
        int(found[1])
        for entry in folder.iterdir()
        if (found := _RESULT.fullmatch(entry.name)) and entry.is_dir()
    )
    if not numbers:
        raise DataError(
            f"{where}: {folder} holds no Result_0, Result_1 and so on. Give the --output_dir of "
            "qnn-net-run."
        )
    if numbers != list(range(len(numbers))):
        gap = next(i for i, number in enumerate(numbers) if i != number)
        raise DataError(
            f"{where}: {folder} has {len(numbers)} results up to Result_{numbers[-1]} and no "
            f"Result_{gap}, so it is not known whose they are. Copy all of them again."
        )
    files = [
        {path.name for path in (folder / f"Result_{n}").iterdir() if path.suffix == ".raw"}
        for n in numbers
    ]
    for n, names in enumerate(files):
        if names != files[0]:
            odd = min(names ^ files[0])
            raise DataError(
                f"{where}: {folder} is not complete: {odd} is not in both Result_0 and Result_{n}."
            )
    chosen = _chosen(where, folder, files[0], told)
    read: dict[str, tuple[Array, OutputEntry]] = {}
    for name, (file, entry) in chosen.items():
        rows = [
            read_array(folder / f"Result_{n}" / file, where, entry.dtype, entry.shape, None)
            for n in numbers
        ]
        sizes = sorted({row.size for row in rows})
        if len(sizes) > 1:
            raise DataError(
                f"{where}: {file} holds {sizes[0]:,} values in one Result folder and "
                f"{sizes[-1]:,} in another. One of them is cut off."
            )
        read[name] = (np.stack(rows), entry)
    return read


def _chosen(
    where: str, folder: Path, files: set[str], told: Mapping[str, OutputEntry]
) -> dict[str, tuple[str, OutputEntry]]:
    """The file to read of each output, with its dtype."""
    if not files:
        raise DataError(f"{where}: {folder / 'Result_0'} holds no .raw file.")
    known = {qnn_name(name): (name, entry) for name, entry in told.items()}
    stems = {file.removesuffix(".raw") for file in files}
    floats = {s for s in stems if not (s.endswith(_NATIVE) and s.removesuffix(_NATIVE))}
    natives = {s.removesuffix(_NATIVE) for s in stems - floats}
    strange = sorted(set(known) - floats - natives)
    if strange:
        raise DataError(
            f"{where}: output {known[strange[0]][0]!r} has no file in {folder / 'Result_0'}, which "
            f"holds {', '.join(sorted(files))}."
        )
    chosen = {}
    for stem in sorted(floats | natives):
        name, entry = known.get(stem, (stem, OutputEntry()))
        native = stem in natives and (stem not in floats or entry.scale is not None)
        if native and entry.dtype is None:
            raise DataError(
                f"{where}: {stem}{_NATIVE}.raw is in the graph's own dtype, which the file does "
                f"not tell. Give it in a manifest: [targets.outputs.{name}] with dtype and, for "
                "integers, scale and zero_point."
            )
        if not native and entry.dtype not in (None, "float32"):
            raise DataError(
                f"{where}: {stem}.raw is float32, as qnn-net-run writes it, and the manifest says "
                f"{entry.dtype}. Only {stem}{_NATIVE}.raw would be of another dtype."
            )
        file = f"{stem}{_NATIVE}.raw" if native else f"{stem}.raw"
        plain = entry if native else entry.model_copy(update={"dtype": "float32", "scale": None})
        chosen[name] = (file, plain)
    return chosen

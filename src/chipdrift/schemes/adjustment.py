"""Weights and biases that a scheme brings along: an .npz beside its TOML."""

from __future__ import annotations

import io
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.errors import ChipdriftError

Array = np.ndarray[Any, Any]
# A scheme is no place for a second model of any size.
_LARGEST = 1 << 32
# No node has so many inputs that their number is longer.
_DIGITS = 6
_GET = "Make it with numpy.savez, one float32 array for each NODE#SLOT."


def read_adjustment(data: bytes, where: str) -> dict[str, Array]:
    """The arrays of an .npz by "NODE#SLOT"; all float32 and finite.

    Raises ChipdriftError, which begins with ``where``, for what is no such file.
    """
    arrays: dict[str, Array] = {}
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = archive.infolist()
        if sum(entry.file_size for entry in entries) > _LARGEST:
            raise ChipdriftError(f"{where}: its arrays are larger than 4 GiB. {_GET}")
        # numpy takes NAME and NAME.npy for one array, and of two that are called alike the last.
        names = Counter(entry.filename.removesuffix(".npy") for entry in entries)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise ChipdriftError(
                f"{where}: the array {_shown(twice[0])} is in it twice. Leave one of them. {_GET}"
            )
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            for name in held.files:
                arrays[name] = _array(held[name], name, where)
    except (
        OSError,
        ValueError,
        EOFError,
        KeyError,
        OverflowError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ChipdriftError(
            f"{where}: no .npz, or a damaged one ({words[:120]}). Copy it again. {_GET}"
        ) from error
    except (NotImplementedError, RuntimeError, MemoryError) as error:
        raise ChipdriftError(f"{where}: it cannot be read ({str(error)[:120]}). {_GET}") from error
    for name, array in arrays.items():
        node, sign, slot = name.rpartition("#")
        if not (sign and node and slot.isascii() and slot.isdigit() and len(slot) <= _DIGITS):
            raise ChipdriftError(
                f"{where}: the array {_shown(name)} is not called NODE#SLOT, as in conv1#1 for the "
                f"weight of conv1. {_GET}"
            )
        if array.dtype != np.float32:
            raise ChipdriftError(
                f"{where}: the array {_shown(name)} is {array.dtype}, and the model's weights are "
                f"float32. {_GET}"
            )
        if not np.isfinite(array).all():
            raise ChipdriftError(
                f"{where}: the array {_shown(name)} holds NaN or infinity. Give finite numbers."
            )
    if not arrays:
        raise ChipdriftError(f"{where}: it holds no arrays. {_GET}")
    return arrays


def _array(held: Any, name: str, where: str) -> Array:
    """What numpy read of a member: the bare bytes, where it is no .npy."""
    if not isinstance(held, np.ndarray):
        raise ChipdriftError(
            f"{where}: the member {_shown(name)} is no array: it does not begin as an .npy does. "
            f"{_GET}"
        )
    return held


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:70]}...{name[-40:]}")


def write_adjustment(arrays: Mapping[str, Array]) -> bytes:
    """The .npz of these arrays; the same bytes for the same arrays."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in sorted(arrays):
            inner = io.BytesIO()
            np.save(inner, np.ascontiguousarray(arrays[name], np.float32), allow_pickle=False)
            # ZipInfo's own date is the first of January 1980.
            entry = zipfile.ZipInfo(f"{name}.npy")
            entry.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(entry, inner.getvalue())
    return stream.getvalue()


def beside(name: str, scheme: Path, where: str) -> bytes:
    """The bytes of the file ``name`` in the folder of the TOML file ``scheme``."""
    path = scheme.parent / name
    if Path(name).name != name or not name.endswith(".npz"):
        raise ChipdriftError(
            f"{where}: adjust: {name!r} is not the name of an .npz file. Give a name without a "
            "folder: the file lies beside the scheme's TOML."
        )
    try:
        if path.exists() and not path.is_file():
            raise ChipdriftError(f"{where}: adjust: {path} is no regular file. {_GET}")
        return path.read_bytes()
    except OSError as error:
        raise ChipdriftError(
            f"{where}: adjust: {path} cannot be read ({error.strerror}). The file lies beside the "
            "scheme's TOML: copy both."
        ) from error

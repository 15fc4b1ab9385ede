"""Arrays from files: ``.npy``, which tell their dtype and shape, and raw values, which do not."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chipdrift.errors import DataError
from chipdrift.imports.column import Array


def read_array(
    path: Path, where: str, dtype: str | None, shape: Sequence[int] | None, samples: int | None
) -> Array:
    """One file's array. ``where`` begins a complaint.

    ``samples`` N: all samples stacked, (N, *shape); 0 where N is not known; None: one sample, of
    ``shape``, or flat where that is not known. Raw values are little-endian. Raises DataError.
    """
    try:
        if path.suffix == ".npy":
            return _npy(path, where, dtype, shape, samples)
        data = path.read_bytes()
    except FileNotFoundError as error:
        raise DataError(f"{where}: {path} is not there. Put it there, or mend its name.") from error
    except OSError as error:
        raise DataError(f"{where}: {path} cannot be read ({error.strerror}).") from error
    if dtype is None:
        raise DataError(
            f"{where}: {path.name} is no .npy file, so its dtype must be given: "
            'dtype = "float32", say.'
        )
    kind = np.dtype(dtype).newbyteorder("<")
    if not data or len(data) % kind.itemsize:
        raise DataError(
            f"{where}: {path} has {len(data):,} bytes, which is no whole number of {dtype} values "
            f"({kind.itemsize} bytes each). It is cut off, or of another dtype."
        )
    flat = np.frombuffer(data, kind).astype(kind.newbyteorder("="))
    size = math.prod(shape) if shape is not None else None
    if samples is None:
        if size is not None and flat.size != size:
            raise DataError(
                f"{where}: {path} holds {flat.size:,} {dtype} values, expected {size:,} of shape "
                f"{_written(shape)}."
            )
        return flat if shape is None else flat.reshape(shape)
    if size is None:
        if not samples:
            raise DataError(
                f"{where}: {path.name} holds all samples, so the shape of one must be given: "
                "shape = [1, 10], say."
            )
        size = flat.size // samples
    if size == 0 or flat.size % size or (samples and flat.size != samples * size):
        expected = f"{samples:,} samples" if samples else "samples"
        raise DataError(
            f"{where}: {path} holds {flat.size:,} {dtype} values, expected {expected} of "
            f"{size:,} each."
        )
    return flat.reshape(flat.size // size, *(shape if shape is not None else (size,)))


def _npy(
    path: Path, where: str, dtype: str | None, shape: Sequence[int] | None, samples: int | None
) -> Array:
    try:
        with path.open("rb") as stream:
            array = np.lib.format.read_array(stream, allow_pickle=False)
    except OSError:
        raise
    # numpy raises whatever it trips over in a damaged file.
    except Exception as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"{where}: {path} is no readable .npy file, or cut off ({words}). Save a plain array "
            "with numpy.save."
        ) from error
    array = array.astype(array.dtype.newbyteorder("="), copy=False)
    if array.dtype.kind not in "fiub":
        raise DataError(f"{where}: {path} holds {array.dtype}, expected numbers.")
    if dtype is not None and array.dtype.name != dtype:
        raise DataError(
            f"{where}: {path} holds {array.dtype.name}, and dtype says {dtype}. Leave dtype out: "
            "an .npy file tells its own."
        )
    found = array.shape if samples is None else array.shape[1:]
    if samples is not None and array.ndim == 0:
        raise DataError(f"{where}: {path} holds one number, expected one row per sample.")
    if samples and len(array) != samples:
        raise DataError(
            f"{where}: {path} holds {len(array):,} samples, expected {samples:,}; another output "
            "or the names of the samples say so."
        )
    if shape is not None and found != tuple(shape):
        raise DataError(
            f"{where}: {path} has shape {_written(found)} per sample, expected {_written(shape)}."
        )
    return array


def _written(shape: Sequence[int] | None) -> str:
    return f"({', '.join(map(str, shape or ()))})"

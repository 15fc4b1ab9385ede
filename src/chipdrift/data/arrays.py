"""Samples from an ``.npz`` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from chipdrift.data.samples import Array, Samples
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec


def load_npz(path: Path, inputs: Sequence[TensorSpec], limit: int | None) -> Samples:
    """One array per model input, samples along the first axis.

    Where the input's first dimension is 1 an array is N x the rest of its shape, else N x the whole
    shape. ``labels`` and every other array are kept for the metric.
    """
    arrays = _read(path)
    missing = [spec.name for spec in inputs if spec.name not in arrays]
    if missing:
        raise DataError(
            f"Data {path}: lacks the model's input{'s' if len(missing) > 1 else ''} "
            f"{', '.join(map(repr, missing))}; it has {', '.join(map(repr, arrays)) or 'nothing'}. "
            "Name each array after the input it feeds."
        )
    stacked = {spec.name: _whole(path, spec, arrays[spec.name]) for spec in inputs}
    counts = {name: len(array) for name, array in stacked.items()}
    total = next(iter(counts.values()), 0)
    if len(set(counts.values())) > 1:
        raise DataError(f"Data {path}: the inputs differ in their number of samples: {counts}.")
    count = total if limit is None else min(limit, total)
    labels = None if "labels" in stacked else arrays.get("labels")
    extras = {k: v for k, v in arrays.items() if k not in stacked and k != "labels"}
    if labels is not None and "pairs" not in extras:
        if labels.ndim == 0 or len(labels) != total:
            found = "one number" if labels.ndim == 0 else str(len(labels))
            raise DataError(
                f"Data {path}: labels are for {found}, the inputs hold {total} samples. "
                "Give one label per sample."
            )
        labels = labels[:count]
    if labels is not None and labels.dtype.kind == "f" and not np.isfinite(labels).all():
        raise DataError(f"Data {path}: labels hold NaN or infinity. Mend or leave out those.")
    if "pairs" in extras and count < total:
        labels, extras = _keep_pairs(path, labels, extras, count)
    return Samples(
        path.stem,
        inputs,
        count,
        lambda i: {name: array[i] for name, array in stacked.items()},
        labels,
        extras,
    )


def _read(path: Path) -> dict[str, Array]:
    if not path.exists():
        raise DataError(f"Data {path}: no such file. Give an .npz file made with numpy.savez.")
    try:
        # Opened here: numpy leaves a damaged file open.
        with path.open("rb") as stream:
            file = np.load(stream, allow_pickle=False)
            if not isinstance(file, np.lib.npyio.NpzFile):
                raise DataError(
                    f"Data {path}: a single array. Save it under its input's name: "
                    "numpy.savez(path, input_name=array)."
                )
            with file:
                arrays = {name: file[name] for name in file.files}
                return {k: v for k, v in arrays.items() if isinstance(v, np.ndarray)}
    except DataError:
        raise
    # zipfile, zlib and numpy raise whatever they trip over in a damaged file.
    except (Exception, MemoryError) as error:
        words = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"Data {path}: not a readable .npz file, or cut off ({words}). "
            "Save plain arrays with numpy.savez; object arrays are not read."
        ) from error


def _whole(path: Path, spec: TensorSpec, array: Array) -> Array:
    """``array`` as N x the input's whole shape, or an error that names both."""
    shape = tuple(spec.shape)
    row = shape[1:] if shape and shape[0] == 1 else shape
    if array.ndim == 0 or array.shape[1:] != row:
        # N x the whole shape is clear as well where the input has a batch of 1.
        if array.ndim and array.shape[1:] == shape:
            return array
        raise DataError(
            f"Data {path}: input {spec.name!r} has shape {array.shape}; expected (N, "
            f"{', '.join(map(str, row))}), one row per sample"
            f"{' without the batch of 1' if row != shape else ''}."
        )
    return array[:, None] if row != shape else array


def _keep_pairs(
    path: Path, labels: Array | None, extras: dict[str, Array], count: int
) -> tuple[Array | None, dict[str, Array]]:
    """Under a limit, keep the pairs whose two samples are both among the first ``count``."""
    pairs = extras["pairs"]
    if pairs.ndim != 2 or pairs.shape[1] != 2 or (labels is not None and len(labels) != len(pairs)):
        raise DataError(
            f"Data {path}: pairs has shape {pairs.shape}; expected (P, 2) with one label a pair."
        )
    kept = (pairs < count).all(axis=1)
    return (None if labels is None else labels[kept]), {**extras, "pairs": pairs[kept]}

"""What metrics over classes share: the top class, and labels that are class indices."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.errors import DataError
from chipdrift.metrics.base import Array, Ints, Outputs

NAN_CLASS = -1
"""The answer of a sample with NaN among its scores."""


def top_classes(rows: Array) -> Ints:
    """Index of the largest value on the last axis of ``rows`` (..., K): int64 (...).

    Ties go to the lowest index. Where any value is NaN the class is :data:`NAN_CLASS`.
    """
    top: Ints = rows.argmax(axis=-1).astype(np.int64)  # argmax stops at the first NaN it meets.
    best = np.take_along_axis(rows, top[..., None], axis=-1)[..., 0]
    return np.where(best != best, np.int64(NAN_CLASS), top)


def check_classes(name: str, outputs: Outputs, least: int) -> None:
    """Raise :class:`DataError` unless each sample's output has at least ``least`` classes."""
    classes = outputs.rows().shape[1]
    if classes < least:
        raise DataError(
            f"Metric {name!r}: output {outputs.primary!r} has {classes} values per sample, "
            f"expected at least {least} classes; name another output or metric."
        )


def check_class_labels(name: str, outputs: Outputs) -> None:
    """Raise :class:`DataError` unless labels are N integers within the output's classes."""
    labels = class_labels(name, outputs)
    classes = outputs.rows().shape[1]
    check_range(name, labels[:, None], classes, lowest=0)


def class_labels(name: str, outputs: Outputs) -> Ints:
    """The labels as int64 (N,), from (N,) or (N, 1) integers; else :class:`DataError`."""
    labels = integer_labels(name, outputs)
    if labels.shape not in ((outputs.samples,), (outputs.samples, 1)):
        raise DataError(
            f"Metric {name!r}: the labels have shape {labels.shape}, expected one class index for "
            f"each of the {outputs.samples} samples, ({outputs.samples},)."
            + (" Turn one-hot labels into indices with argmax." if labels.ndim == 2 else "")
        )
    return labels.reshape(-1)


def integer_labels(name: str, outputs: Outputs) -> Ints:
    """The labels as int64 of their own shape; :class:`DataError` unless they are integers."""
    labels = np.asarray(outputs.labels)
    if labels.dtype.kind not in "iu":
        raise DataError(
            f"Metric {name!r}: the labels have dtype {labels.dtype}, expected integers; convert "
            "them with astype('int64') if they are class indices."
        )
    return labels.astype(np.int64)


def check_range(
    name: str, labels: Ints, classes: int, *, lowest: int, ignored: int | None = None
) -> None:
    """Raise :class:`DataError` naming the first of ``labels`` (N, L) outside its range.

    The range is ``lowest`` to ``classes - 1``; ``ignored`` is allowed besides.
    """
    wrong = (labels < lowest) | (labels >= classes)
    if ignored is not None:
        wrong &= labels != ignored
    if wrong.any():
        row, column = (int(i) for i in np.argwhere(wrong)[0])
        where = f"sample {row}" if labels.shape[1] == 1 else f"sample {row}, position {column}"
        besides = "" if ignored is None else f" or {ignored}"
        raise DataError(
            f"Metric {name!r}: the label of {where} is {int(labels[row, column])}, expected "
            f"{lowest} to {classes - 1}{besides}; check that the labels belong to this model "
            "and count from the same index."
        )


def describe_class(answer: Any) -> str:
    """A class index for a person: "7", or "NaN"."""
    return "NaN" if int(answer) == NAN_CLASS else str(int(answer))


def describe_class_label(outputs: Outputs, row: int) -> str | None:
    """Sample ``row``'s class label, or None where the data has no integer labels per sample."""
    labels = outputs.labels
    if labels is None or labels.dtype.kind not in "iu" or labels.size != outputs.samples:
        return None
    return str(int(labels.reshape(-1)[row]))

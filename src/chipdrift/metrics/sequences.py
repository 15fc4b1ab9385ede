"""What metrics over sequences share: greedy CTC decoding and edit distance, many at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.errors import DataError
from chipdrift.metrics.base import Array, Ints, Outputs, check_numeric
from chipdrift.metrics.classes import NAN_CLASS, top_classes

BLANK = 0
"""CTC's blank class."""

_CHUNK = 4_000_000  # Cells of the distance table's row held at once.


def steps_of(name: str, outputs: Outputs) -> Array:
    """Scores (N, T, C), or integer classes (N, T), without the model's batch dimension of 1.

    Raises :class:`DataError` where the primary output is neither.
    """
    check_numeric(name, outputs)
    array = outputs.array
    rank = 2 if array.dtype.kind in "iu" else 3
    if array.ndim == rank + 1 and array.shape[1] == 1:
        return array[:, 0]
    if array.ndim != rank:
        raise DataError(
            f"Metric {name!r}: output {outputs.primary!r} has shape {array.shape[1:]} and dtype "
            f"{array.dtype}, expected scores (T, C) or integer classes (T) per sample; name "
            "another output or metric."
        )
    return array


def best_path(steps: Array) -> Ints:
    """The class of each step, int64 (N, T), from scores (N, T, C) or from classes (N, T).

    Ties go to the lowest class; a step with a NaN is -1.
    """
    return top_classes(steps) if steps.ndim == 3 else steps.astype(np.int64)


def decode_ctc(path: Ints) -> list[Ints | None]:
    """Greedy CTC decoding of ``path`` (N, T): repeats collapsed, then blanks dropped.

    Returns N int64 arrays of different lengths; None for a sample with a NaN step. Source: A.
    Graves et al., ICML 2006, section 3.2, best path decoding.
    """
    kept = path != BLANK
    kept[:, 1:] &= path[:, 1:] != path[:, :-1]
    broken = (path == NAN_CLASS).any(axis=1)
    return [None if bad else row[keep] for row, keep, bad in zip(path, kept, broken, strict=True)]


def pad(sequences: Sequence[Ints]) -> tuple[Ints, Ints]:
    """Sequences as one array (N, longest), padded with -1, and their lengths (N,), both int64."""
    lengths = np.array([len(s) for s in sequences], np.int64)
    padded = np.full((len(sequences), int(lengths.max(initial=0))), -1, np.int64)
    for row, sequence in zip(padded, sequences, strict=True):
        row[: len(sequence)] = sequence
    return padded, lengths


def edit_distances(first: Sequence[Ints], second: Sequence[Ints]) -> Ints:
    """Levenshtein distance of each pair of integer sequences: int64 (N,).

    Insertions, deletions and substitutions count one each. Source: R. A. Wagner and M. J. Fischer,
    J. ACM 21 (1974) 168-173, one row of the table at a time for many pairs together.
    """
    longest = 1 + max((len(s) for s in second), default=0)
    step = max(1, _CHUNK // longest)
    parts = [
        _distances(*pad(first[i : i + step]), *pad(second[i : i + step]))
        for i in range(0, len(first), step)
    ]
    return np.concatenate([np.zeros(0, np.int64), *parts])


def _distances(a: Ints, a_lengths: Ints, b: Ints, b_lengths: Ints) -> Ints:
    columns = np.arange(b.shape[1] + 1, dtype=np.int64)
    rows = np.arange(len(a))
    table = np.tile(columns, (len(a), 1))  # Row 0: all of b's prefix is inserted.
    found: Ints = np.where(a_lengths == 0, b_lengths, 0)
    for i in range(a.shape[1]):
        best = np.empty_like(table)
        best[:, 0] = i + 1
        unlike = (b != a[:, i : i + 1]).astype(np.int64)
        best[:, 1:] = np.minimum(table[:, 1:] + 1, table[:, :-1] + unlike)
        # An insertion costs one per column, so the best start is the least of value - column.
        table = np.minimum.accumulate(best - columns, axis=1) + columns
        found = np.where(a_lengths == i + 1, table[rows, b_lengths], found)
    return found

"""Character error rate of a text recogniser with CTC outputs."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from chipdrift.errors import DataError
from chipdrift.metrics.base import (
    Array,
    Floats,
    Ints,
    Kind,
    Metric,
    Outputs,
    Statistic,
)
from chipdrift.metrics.classes import check_range, integer_labels
from chipdrift.metrics.sequences import BLANK, best_path, decode_ctc, edit_distances, steps_of

_PAD = -1


@final
class Cer(Metric):
    """Sum of edit distances over sum of the labels' lengths, after greedy CTC decoding.

    The output is scores (N, T, C) or (N, 1, T, C), class 0 the blank, or integer classes (N, T) or
    (N, 1, T). Labels are class indices (N, L) from 1 to C - 1, padded with -1, or N strings, which
    need ``charset`` among the extras: C strings by class (the first, the blank's, is not read) or
    C - 1 strings for the classes from 1. Text is compared by code points. A sample with a NaN
    step decodes to nothing, so all of its label counts as lost. May exceed 1.
    """

    name = "cer"
    higher_is_better = False
    answer = "decoded text"
    kind: Kind = "statistic"
    needs_labels = True
    needs_reference = False

    def check_shapes(self, outputs: Outputs) -> None:
        """Scores per step; N labels, in range or text; some character to get wrong."""
        steps = steps_of(self.name, outputs)
        charset = _charset(self.name, outputs)
        if _is_text(outputs):
            if charset is None:
                raise DataError(
                    f"Metric {self.name!r}: the labels are text and the data has no 'charset' "
                    "array; add one with the string of each class."
                )
            _texts(self.name, outputs)
        else:
            labels = integer_labels(self.name, outputs)
            if labels.ndim != 2 or len(labels) != outputs.samples:
                raise DataError(
                    f"Metric {self.name!r}: the labels have shape {labels.shape}, expected "
                    f"({outputs.samples}, longest text) class indices padded with {_PAD}."
                )
            classes = steps.shape[2] if steps.ndim == 3 else np.iinfo(np.int64).max
            check_range(self.name, labels, classes, lowest=BLANK + 1, ignored=_PAD)
        if sum(len(label) for label in _labels(self.name, outputs)) == 0:
            raise DataError(
                f"Metric {self.name!r}: all labels are empty, expected at least one character; "
                "check the data's labels."
            )

    def measure(self, outputs: Outputs) -> Statistic:
        """The error rate over samples. A draw of empty labels alone counts as one character."""
        labels = _labels(self.name, outputs)
        charset = _charset(self.name, outputs)
        nothing = np.zeros(0, np.int64)
        found = [nothing if d is None else d for d in decode_ctc(_path(self.name, outputs))]
        if charset is not None:
            found = [_points(_text(sequence, charset)) for sequence in found]
            if not _is_text(outputs):
                labels = [_points(_text(label, charset)) for label in labels]
        edits = edit_distances(found, labels).astype(np.float64)
        lengths = np.array([len(label) for label in labels], np.float64)

        def values(weights: Ints) -> Floats:
            drawn = weights.astype(np.float64)
            rates: Floats = (drawn @ edits) / np.maximum(drawn @ lengths, 1.0)
            return rates

        return Statistic(outputs.samples, values)

    def answers(self, outputs: Outputs) -> Array:
        """Decoded texts, or class indices as "12 7" without a charset: an object array (N,)."""
        charset = _charset(self.name, outputs)
        found = np.empty(outputs.samples, np.object_)
        for row, sequence in enumerate(decode_ctc(_path(self.name, outputs))):
            found[row] = "NaN" if sequence is None else _text(sequence, charset)
        return found

    def describe(self, answer: Any) -> str:
        """The text in quotes, cut after 60 characters."""
        text = str(answer)
        return f'"{text if len(text) <= 60 else text[:57] + "..."}"'

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """The label's text."""
        labels = outputs.labels
        if labels is None:
            return None
        if _is_text(outputs):
            return self.describe(labels.reshape(-1)[row])
        sequence = labels[row].astype(np.int64)
        return self.describe(_text(sequence[sequence != _PAD], _charset(self.name, outputs)))


def _path(name: str, outputs: Outputs) -> Ints:
    return best_path(steps_of(name, outputs))


def _is_text(outputs: Outputs) -> bool:
    return outputs.labels is not None and outputs.labels.dtype.kind in "USO"


def _texts(name: str, outputs: Outputs) -> list[str]:
    labels = np.asarray(outputs.labels)
    texts = [t.decode() if isinstance(t, bytes) else t for t in labels.reshape(-1).tolist()]
    wrong = next((i for i, text in enumerate(texts) if not isinstance(text, str)), None)
    if len(texts) != outputs.samples or wrong is not None:
        found = f"{len(texts)} labels" if wrong is None else f"{texts[wrong]!r} for sample {wrong}"
        raise DataError(
            f"Metric {name!r}: found {found}, expected one text for each of the "
            f"{outputs.samples} samples; check the data's labels."
        )
    return texts


def _labels(name: str, outputs: Outputs) -> list[Ints]:
    """Code points of text labels, class indices of others."""
    if _is_text(outputs):
        return [_points(text) for text in _texts(name, outputs)]
    return [row[row != _PAD] for row in integer_labels(name, outputs)]


def _charset(name: str, outputs: Outputs) -> list[str] | None:
    """The string of each class, the blank's first, or None without a charset."""
    if "charset" not in outputs.extras:
        return None
    strings = [str(s) for s in np.asarray(outputs.extras["charset"]).reshape(-1).tolist()]
    steps = steps_of(name, outputs)
    if steps.ndim == 2:
        return strings
    classes = steps.shape[2]
    if len(strings) not in (classes, classes - 1):
        raise DataError(
            f"Metric {name!r}: the charset has {len(strings)} strings, expected {classes} (one per "
            f"class) or {classes - 1} (without the blank); check that it is this model's."
        )
    return strings if len(strings) == classes else ["", *strings]


def _text(sequence: Ints, charset: list[str] | None) -> str:
    if charset is None:
        return " ".join(map(str, sequence.tolist()))
    return "".join(charset[i] if 0 <= i < len(charset) else "\ufffd" for i in sequence.tolist())


def _points(text: str) -> Ints:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4").astype(np.int64)


METRIC = Cer()

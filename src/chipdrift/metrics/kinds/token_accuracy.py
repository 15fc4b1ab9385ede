"""Mean over samples of the share of right tokens."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from chipdrift.errors import DataError
from chipdrift.metrics.base import Array, Ints, Kind, Metric, Outputs, PerSample
from chipdrift.metrics.classes import NAN_CLASS, check_range, integer_labels
from chipdrift.metrics.sequences import best_path, steps_of

_IGNORED = -100


@final
class TokenAccuracy(Metric):
    """Share of a sample's T positions whose top class is the label, without those labelled -100.

    The output is scores (N, T, C) or (N, 1, T, C), or classes (N, T) or (N, 1, T) as integers;
    labels are integers (N, T). Tokens of one sample go right and wrong together, so the samples
    are what the bootstrap draws, each with equal weight. A position with a NaN is wrong. The
    answer holds the tokens of the labelled positions, or all where there are no labels.
    """

    name = "token_accuracy"
    higher_is_better = True
    answer = "token sequence"
    kind: Kind = "mean"
    needs_labels = True
    needs_reference = False

    def check_shapes(self, outputs: Outputs) -> None:
        """Scores per position, labels of the same N and T, each in range, one at least a sample."""
        steps = steps_of(self.name, outputs)
        labels = integer_labels(self.name, outputs)
        labels = labels[:, 0] if labels.ndim == 3 and labels.shape[1] == 1 else labels
        if labels.shape != steps.shape[:2]:
            raise DataError(
                f"Metric {self.name!r}: the labels have shape {labels.shape}, expected one token "
                f"per position, {steps.shape[:2]}; pad with {_IGNORED} what shall not count."
            )
        if steps.ndim == 3:
            check_range(self.name, labels, steps.shape[2], lowest=0, ignored=_IGNORED)
        empty = np.flatnonzero((labels == _IGNORED).all(axis=1))
        if len(empty):
            raise DataError(
                f"Metric {self.name!r}: all labels of sample {int(empty[0])} are {_IGNORED}, "
                "expected at least one token to score; leave the sample out."
            )

    def measure(self, outputs: Outputs) -> PerSample:
        """The share of right tokens of each sample."""
        path = best_path(steps_of(self.name, outputs))
        labels = integer_labels(self.name, outputs).reshape(path.shape)
        counted = labels != _IGNORED
        right = ((path == labels) & counted).sum(axis=1)
        return PerSample(right / counted.sum(axis=1), "mean")

    def answers(self, outputs: Outputs) -> Array:
        """The tokens in words, as "12 7 NaN": an object array of N strings."""
        path = best_path(steps_of(self.name, outputs))
        counted = np.ones(path.shape, np.bool_)
        if outputs.labels is not None and outputs.labels.size == path.size:
            counted = outputs.labels.reshape(path.shape) != _IGNORED
        found = np.empty(len(path), np.object_)
        found[:] = [_words(row[keep]) for row, keep in zip(path, counted, strict=True)]
        return found

    def describe(self, answer: Any) -> str:
        """The tokens, cut after 60 characters."""
        text = str(answer)
        return text if len(text) <= 60 else text[:57] + "..."

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """The label's tokens."""
        if outputs.labels is None:
            return None
        tokens = outputs.labels[row].reshape(-1)
        return self.describe(_words(tokens[tokens != _IGNORED]))


def _words(tokens: Ints) -> str:
    return " ".join("NaN" if t == NAN_CLASS else str(t) for t in tokens.tolist())


METRIC = TokenAccuracy()

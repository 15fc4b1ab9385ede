"""Share of samples whose label is among the top five classes."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from chipdrift.metrics.base import Array, Kind, Metric, Outputs, PerSample
from chipdrift.metrics.classes import (
    NAN_CLASS,
    check_class_labels,
    check_classes,
    class_labels,
    describe_class,
    describe_class_label,
    top_classes,
)

_PLACES = 5


@final
class Top5(Metric):
    """Top-5 accuracy: fewer than five classes come before the label.

    A class comes before the label with a larger value, or with an equal one and a lower index.
    Labels are N integers from 0 to K - 1 with K of 6 or more. A sample with a NaN is wrong. Two
    targets give the same answer where their top class is the same.
    """

    name = "top5"
    higher_is_better = True
    answer = "top class"
    kind: Kind = "proportion"
    needs_labels = True
    needs_reference = False

    def check_shapes(self, outputs: Outputs) -> None:
        """At least six classes, as with five everything is right, and labels within them."""
        check_classes(self.name, outputs, _PLACES + 1)
        check_class_labels(self.name, outputs)

    def measure(self, outputs: Outputs) -> PerSample:
        """1 where fewer than five classes come before the label."""
        rows = outputs.rows()
        labels = class_labels(self.name, outputs)[:, None]
        of_label = np.take_along_axis(rows, labels, axis=1)
        before = (rows > of_label).sum(axis=1)
        before += ((rows == of_label) & (np.arange(rows.shape[1]) < labels)).sum(axis=1)
        right = (before < _PLACES) & (top_classes(rows) != NAN_CLASS)
        return PerSample(right.astype(np.float64), "proportion")

    def answers(self, outputs: Outputs) -> Array:
        """Top classes, int64 (N,); -1 for NaN."""
        return top_classes(outputs.rows())

    def describe(self, answer: Any) -> str:
        """The class index, or "NaN"."""
        return describe_class(answer)

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """The label's class index."""
        return describe_class_label(outputs, row)


METRIC = Top5()

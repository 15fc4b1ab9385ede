"""Share of samples whose top class is the label."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from chipdrift.metrics.base import Array, Kind, Metric, Outputs, PerSample
from chipdrift.metrics.classes import (
    check_class_labels,
    check_classes,
    class_labels,
    describe_class,
    describe_class_label,
    top_classes,
)


@final
class Top1(Metric):
    """Top-1 accuracy: the largest of a sample's K values, ties to the lowest index, is the label.

    Labels are N integers from 0 to K - 1. A sample with a NaN is wrong.
    """

    name = "top1"
    higher_is_better = True
    answer = "top class"
    kind: Kind = "proportion"
    needs_labels = True
    needs_reference = False

    def check_shapes(self, outputs: Outputs) -> None:
        """At least two classes, and labels within them."""
        check_classes(self.name, outputs, 2)
        check_class_labels(self.name, outputs)

    def measure(self, outputs: Outputs) -> PerSample:
        """1 where the top class is the label."""
        right = top_classes(outputs.rows()) == class_labels(self.name, outputs)
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


METRIC = Top1()

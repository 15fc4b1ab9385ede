"""Share of samples whose top class is the float model's: for data without labels."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from chipdrift.metrics.base import Array, Kind, Metric, Outputs, PerSample, reference_rows
from chipdrift.metrics.classes import (
    NAN_CLASS,
    check_classes,
    describe_class,
    describe_class_label,
    top_classes,
)


@final
class Agreement(Metric):
    """Agreement with the baseline's top class; the baseline's own is 1 by definition.

    A sample with a NaN on either side does not agree.
    """

    name = "agreement"
    higher_is_better = True
    answer = "top class"
    kind: Kind = "proportion"
    needs_labels = False
    needs_reference = True

    def check_shapes(self, outputs: Outputs) -> None:
        """At least two classes."""
        check_classes(self.name, outputs, 2)

    def measure(self, outputs: Outputs) -> PerSample:
        """1 where the top class is the reference's."""
        top = top_classes(outputs.rows())
        same = (top == top_classes(reference_rows(outputs))) & (top != NAN_CLASS)
        return PerSample(same.astype(np.float64), "proportion")

    def answers(self, outputs: Outputs) -> Array:
        """Top classes, int64 (N,); -1 for NaN."""
        return top_classes(outputs.rows())

    def describe(self, answer: Any) -> str:
        """The class index, or "NaN"."""
        return describe_class(answer)

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """The label's class index, where there are labels after all."""
        return describe_class_label(outputs, row)


METRIC = Agreement()

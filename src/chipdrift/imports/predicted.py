"""The metric of predictions: outputs that are class numbers already, and no scores."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from chipdrift.errors import DataError
from chipdrift.metrics import Metric, Outputs
from chipdrift.metrics.base import Array, Kind, PerSample


@final
class Predicted(Metric):
    """Share of samples whose class is the label, or, without labels, the baseline's class.

    The primary output is (N,) integers; labels are (N,) integers.
    """

    higher_is_better = True
    answer = "class"
    kind: Kind = "proportion"

    def __init__(self, labelled: bool) -> None:
        self.name = "top1" if labelled else "agreement"
        self.needs_labels, self.needs_reference = labelled, not labelled

    def check_shapes(self, outputs: Outputs) -> None:
        """One class number per sample."""
        for what, array in (("predictions", outputs.array), ("labels", outputs.labels)):
            if array is not None and (array.dtype.kind not in "iu" or array.size != len(array)):
                raise DataError(
                    f"Metric {self.name!r}: the {what} are {array.dtype} of shape {array.shape}, "
                    "expected one class number per sample."
                )

    def measure(self, outputs: Outputs) -> PerSample:
        """1 where the class is the right one."""
        if self.needs_labels:
            assert outputs.labels is not None
            wanted = outputs.labels.reshape(-1)
        else:
            assert outputs.reference is not None
            wanted = self.answers(outputs.reference)
        return PerSample((self.answers(outputs) == wanted).astype(np.float64), "proportion")

    def answers(self, outputs: Outputs) -> Array:
        """The classes, int64 (N,)."""
        return outputs.array.reshape(-1).astype(np.int64, copy=False)

    def describe(self, answer: Any) -> str:
        """The class number."""
        return str(int(answer))

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """The label's class number."""
        return None if outputs.labels is None else str(int(outputs.labels.reshape(-1)[row]))

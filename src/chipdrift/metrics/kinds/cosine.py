"""Mean cosine between a sample's output and the float model's."""

from __future__ import annotations

from typing import Any, final

from chipdrift.metrics.base import (
    Array,
    Kind,
    Metric,
    Outputs,
    PerSample,
    check_numeric,
    reference_rows,
)
from chipdrift.metrics.closeness import bit_answers, cosines, describe_bits, row_sums


@final
class Cosine(Metric):
    """Cosine of each sample's flattened output x with the reference r: ``x.r / (|x| |r|)``.

    Two zero vectors give 1, one zero vector 0, and a sample with NaN, or with an infinity that the
    reference does not share, 0. The baseline's own is 1 by definition.
    """

    name = "cosine"
    higher_is_better = True
    answer = "output bits"
    kind: Kind = "mean"
    needs_labels = False
    needs_reference = True

    def check_shapes(self, outputs: Outputs) -> None:
        """Numbers, at least one per sample."""
        check_numeric(self.name, outputs)

    def measure(self, outputs: Outputs) -> PerSample:
        """The cosine of each sample, within [-1, 1]."""
        return PerSample(cosines(row_sums(outputs.rows(), reference_rows(outputs))), "mean")

    def answers(self, outputs: Outputs) -> Array:
        """A digest of each sample's output bits."""
        return bit_answers(outputs)

    def describe(self, answer: Any) -> str:
        """The digest's first digits."""
        return describe_bits(answer)

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """None: no label is read."""
        return None


METRIC = Cosine()

"""Mean over samples of the peak signal to noise ratio, in dB."""

from __future__ import annotations

from typing import Any, final

import numpy as np

from chipdrift.metrics.base import (
    Array,
    Kind,
    Metric,
    Outputs,
    PerSample,
    check_numeric,
    reference_rows,
)
from chipdrift.metrics.closeness import bit_answers, decibels, describe_bits, row_sums


@final
class Psnr(Metric):
    """``10 log10(peak^2 / mean (r - x)^2)`` of each sample's output x and reference r, in dB.

    The peak is the range, largest minus smallest finite value, of the reference over all samples.
    Each sample lies within +-150 dB (``closeness.CAP_DB``): no noise gives 150, noise over a
    constant reference or a NaN gives -150. The baseline's own is 150 by definition.
    """

    name = "psnr"
    higher_is_better = True
    answer = "output bits"
    kind: Kind = "mean"
    needs_labels = False
    needs_reference = True

    def check_shapes(self, outputs: Outputs) -> None:
        """Numbers, at least one per sample."""
        check_numeric(self.name, outputs)

    def measure(self, outputs: Outputs) -> PerSample:
        """The ratio of each sample in dB."""
        reference = reference_rows(outputs)
        sums = row_sums(outputs.rows(), reference)
        finite = reference[np.isfinite(reference)]
        peak = float(finite.max()) - float(finite.min()) if finite.size else 0.0
        energy = np.full(outputs.samples, peak * peak * reference.shape[1])
        return PerSample(decibels(energy, sums.noise, sums.finite), "mean")

    def answers(self, outputs: Outputs) -> Array:
        """A digest of each sample's output bits."""
        return bit_answers(outputs)

    def describe(self, answer: Any) -> str:
        """The digest's first digits."""
        return describe_bits(answer)

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """None: no label is read."""
        return None


METRIC = Psnr()

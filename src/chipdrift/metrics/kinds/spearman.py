"""Spearman's rank correlation: of similarities with people's judgements, or of plain scores."""

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
    check_numeric,
)
from chipdrift.metrics.closeness import bit_answers, cosines, describe_bits, row_sums


@final
class Spearman(Metric):
    """Correlation of the mid-ranks of labels and scores. Source: C. Spearman, AJP 15 (1904) 72-101.

    With ``pairs`` among the extras, integers (P, 2) of sample indices, there are P labels, and a
    pair's score is the cosine of its two samples' flattened outputs (0 where one is zero, 1 where
    they are equal); pairs are what the bootstrap draws. Without, the output is one number per
    sample with a label each.
    A score that is NaN ranks below all others. Where the scores, or the labels of a draw, are all
    equal there is no order and the correlation counts as 0.
    """

    name = "spearman"
    higher_is_better = True
    answer = "output bits"
    kind: Kind = "statistic"
    needs_labels = True
    needs_reference = False

    def check_shapes(self, outputs: Outputs) -> None:
        """Pairs of samples that exist, or one number a sample; as many labels, not all equal."""
        check_numeric(self.name, outputs)
        pairs = outputs.extras.get("pairs")
        if pairs is not None:
            _check_pairs(self.name, pairs, outputs.samples)
        elif outputs.rows().shape[1] != 1:
            raise DataError(
                f"Metric {self.name!r}: output {outputs.primary!r} has {outputs.rows().shape[1]} "
                "values per sample, expected one; add a 'pairs' array of sample indices to "
                "compare samples by cosine."
            )
        units = outputs.samples if pairs is None else len(pairs)
        labels = np.asarray(outputs.labels)
        if labels.dtype.kind not in "fiub" or labels.shape not in ((units,), (units, 1)):
            raise DataError(
                f"Metric {self.name!r}: the labels have dtype {labels.dtype} and shape "
                f"{labels.shape}, expected one number for each of the {units} "
                f"{'samples' if pairs is None else 'pairs'}."
            )
        numbers = labels.reshape(-1).astype(np.float64)
        missing = np.flatnonzero(np.isnan(numbers))
        if len(missing):
            raise DataError(
                f"Metric {self.name!r}: label {int(missing[0])} is NaN, expected a number; leave "
                "what has no label out."
            )
        if bool((numbers == numbers[0]).all()):
            raise DataError(
                f"Metric {self.name!r}: all {units} labels are {numbers[0]:g}, expected at least "
                "two different ones, as equal labels have no order."
            )

    def measure(self, outputs: Outputs) -> Statistic:
        """The correlation over pairs or samples, in [-1, 1]."""
        scores = _scores(outputs)
        labels = np.asarray(outputs.labels).reshape(-1).astype(np.float64)
        groups = [np.unique(v, return_inverse=True)[1].reshape(-1) for v in (scores, labels)]

        def values(weights: Ints) -> Floats:
            ranks = [np.stack([_mid_ranks(w, g) for w in weights]) for g in groups]
            return _correlation(weights.astype(np.float64), ranks[0], ranks[1])

        return Statistic(len(labels), values)

    def answers(self, outputs: Outputs) -> Array:
        """A digest of each sample's output bits."""
        return bit_answers(outputs)

    def describe(self, answer: Any) -> str:
        """The digest's first digits."""
        return describe_bits(answer)

    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """The sample's label; None where labels are of pairs."""
        if outputs.labels is None or "pairs" in outputs.extras:
            return None
        return f"{float(outputs.labels.reshape(-1)[row]):g}"


def _check_pairs(name: str, pairs: Array, samples: int) -> None:
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu" or len(pairs) == 0:
        raise DataError(
            f"Metric {name!r}: 'pairs' has dtype {pairs.dtype} and shape {pairs.shape}, expected "
            "integers (pairs, 2), the indices of two samples each."
        )
    wrong = np.argwhere((pairs < 0) | (pairs >= samples))
    if len(wrong):
        row, side = (int(i) for i in wrong[0])
        raise DataError(
            f"Metric {name!r}: pair {row} names sample {int(pairs[row, side])}, expected 0 to "
            f"{samples - 1}; measure all samples, or drop pairs and labels beyond those measured."
        )


def _scores(outputs: Outputs) -> Floats:
    """One score per pair or sample, float64, -inf in place of NaN."""
    rows = outputs.rows()
    pairs = outputs.extras.get("pairs")
    if pairs is None:
        scores = rows[:, 0].astype(np.float64)
    else:
        sums = row_sums(rows[pairs[:, 0]], rows[pairs[:, 1]])
        scores = cosines(sums)
        scores[~sums.finite] = np.nan
    return np.where(np.isnan(scores), -np.inf, scores)


def _mid_ranks(weights: Ints, groups: Array) -> Floats:
    """Mid-rank of each unit in a draw that holds it ``weights`` times; equal values share one."""
    counts = np.bincount(groups, weights)
    ranks: Floats = (np.cumsum(counts) - counts + (counts + 1) / 2)[groups]
    return ranks


def _correlation(weights: Floats, a: Floats, b: Floats) -> Floats:
    """Pearson's correlation of rows of ``a`` and ``b`` (B, U), each unit with its weight."""
    middle = (weights.sum(axis=1, keepdims=True) + 1) / 2
    a, b = a - middle, b - middle
    product, aa, bb = (np.einsum("bu,bu,bu->b", weights, x, y) for x, y in ((a, b), (a, a), (b, b)))
    lengths = np.sqrt(aa * bb)
    found = np.divide(product, lengths, out=np.zeros(len(weights)), where=lengths > 0)
    clipped: Floats = np.clip(found, -1.0, 1.0)
    return clipped


METRIC = Spearman()

"""Figures of one set of outputs, and of two sets on the same samples."""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from chipdrift.errors import DataError
from chipdrift.metrics import bootstrap, intervals
from chipdrift.metrics.base import Array, Floats, Ints, Metric, Outputs, PerSample, Statistic
from chipdrift.records import Interval, MetricInfo, MetricResult

_WORDS = {
    "proportion": ("Wilson score, 95 %", "exact McNemar, two-sided; Tango interval"),
    "mean": ("bootstrap percentile over samples, 95 %", "paired bootstrap over samples, two-sided"),
    "statistic": (
        "bootstrap percentile over samples or pairs, 95 %",
        "paired bootstrap over samples or pairs, two-sided",
    ),
}


class Comparison(NamedTuple):
    """A metric's value minus the baseline's, with its 95 % interval and the paired test's p-value.

    ``low`` and ``high`` are both None where no interval can be given. Interval and p-value may
    disagree at the 5 % line (an exact test beside a score interval): Holm-corrected p decides.
    """

    value: float
    low: float | None
    high: float | None
    p_value: float


def info(metric: Metric, outputs: Outputs) -> MetricInfo:
    """What the metric is, with its interval and test in words; a user's function is called."""
    metric.check(outputs)
    interval, test = _WORDS[metric.measure(outputs).kind]
    return MetricInfo(
        name=metric.name,
        higher_is_better=metric.higher_is_better,
        answer=metric.answer,
        output=outputs.primary,
        interval=interval,
        test=test,
        against_baseline=metric.needs_reference,
    )


def evaluate(metric: Metric, outputs: Outputs, level: float = 0.95) -> MetricResult:
    """The metric's value with its interval of ``level``.

    Proportions get Wilson's interval, all else a bootstrap's. ``low`` and ``high`` are None where
    the data cannot show a spread: fewer than five units, or every unit the same. Raises
    :class:`DataError` where the metric cannot read the outputs.
    """
    metric.check(outputs)
    measured = metric.measure(outputs)
    if isinstance(measured, PerSample):
        value = float(measured.scores.mean())
        if measured.kind == "proportion":
            z = intervals.normal_point(level)
            low, high = intervals.wilson(float(measured.scores.sum()), outputs.samples, z)
            return MetricResult(name=metric.name, value=value, low=low, high=high)
        measured = _mean(measured.scores)
    else:
        value = measured.value()
    resamples = _resamples(measured, bootstrap.INTERVAL_RESAMPLES)
    replicates = bootstrap.replicates((measured.values,), measured.units, resamples)[0]
    bounds = bootstrap.percentile_interval(value, replicates, measured.units, level)
    return MetricResult(name=metric.name, value=value, low=bounds[0], high=bounds[1])


def compare(metric: Metric, outputs: Outputs, baseline: Outputs, level: float = 0.95) -> Comparison:
    """The metric on ``outputs`` minus the metric on ``baseline``, sample by sample.

    ``level`` is the interval's. Both hold the same samples in the same order. Proportions: Tango's
    interval and the exact McNemar test. Means and statistics: bootstrap over units, both sides on
    the same draws. A baseline without a reference is its own: a metric that needs one is perfect
    on it. Raises :class:`DataError` where the metric cannot read either, or their units differ.
    """
    if metric.needs_reference and baseline.reference is None:
        baseline = replace(baseline, reference=baseline)
    metric.check(outputs)
    metric.check(baseline)
    a, b = metric.measure(outputs), metric.measure(baseline)
    _check_paired(metric.name, a, b)
    if isinstance(a, PerSample) and isinstance(b, PerSample):
        differences = a.scores - b.scores
        value = float(differences.mean())
        if a.kind == "proportion":
            gained, lost = int((differences > 0).sum()), int((differences < 0).sum())
            z = intervals.normal_point(level)
            low, high = intervals.tango(gained, lost, len(differences), z)
            return Comparison(value, low, high, intervals.mcnemar_exact(gained, lost))
        paired = _mean(differences)
        draws = bootstrap.replicates((paired.values,), paired.units, bootstrap.TEST_RESAMPLES)[0]
        return _comparison(value, draws, paired.units, level)
    if isinstance(a, Statistic) and isinstance(b, Statistic):
        resamples = _resamples(a, bootstrap.TEST_RESAMPLES)
        both = bootstrap.replicates((a.values, b.values), a.units, resamples)
        return _comparison(a.value() - b.value(), both[0] - both[1], a.units, level)
    raise AssertionError("checked above: both sides are of one kind")


def agreement(metric: Metric, a: Outputs, b: Outputs) -> Interval:
    """Share of samples with the same answer, with Wilson's interval; see :func:`answers_agree`."""
    return answers_agree(metric.answers(a), metric.answers(b))


def answers_agree(a: Array, b: Array) -> Interval:
    """Share of equal elements of two ``Metric.answers`` arrays (N,), with Wilson's interval.

    For many pairs compute each target's answers once. Two NaN answers are equal.
    Raises :class:`DataError` for no samples or differing N.
    """
    if a.shape != b.shape or a.ndim != 1 or len(a) == 0:
        raise DataError(
            f"Answers of shapes {a.shape} and {b.shape} cannot be compared, expected the same "
            "samples, at least one; run both targets on the same data."
        )
    same = int(np.count_nonzero(a == b))
    low, high = intervals.wilson(same, len(a))
    return Interval(value=same / len(a), low=low, high=high)


def _mean(scores: Floats) -> Statistic:
    def values(weights: Ints) -> Floats:
        means: Floats = weights.astype(np.float64) @ scores / len(scores)
        return means

    return Statistic(len(scores), values)


def _resamples(statistic: Statistic, wanted: int) -> int:
    return wanted if statistic.resamples is None else min(wanted, statistic.resamples)


def _comparison(value: float, differences: Floats, units: int, level: float) -> Comparison:
    low, high = bootstrap.percentile_interval(value, differences, units, level)
    return Comparison(value, low, high, bootstrap.p_value(differences, units))


def _check_paired(name: str, a: PerSample | Statistic, b: PerSample | Statistic) -> None:
    units = [m.units if isinstance(m, Statistic) else len(m.scores) for m in (a, b)]
    if a.kind != b.kind or units[0] != units[1]:
        raise DataError(
            f"Metric {name!r} gave a {a.kind} of {units[0]} units and for the baseline a {b.kind} "
            f"of {units[1]}, expected the same on both; measure both on the same samples."
        )

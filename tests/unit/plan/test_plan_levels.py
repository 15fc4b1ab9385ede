"""``level=``: intervals of another confidence than 95 %, which many looks at one set need."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats
from scipy.optimize import brentq
from statsmodels.stats.proportion import proportion_confint

from chipdrift.metrics import Outputs, compare, evaluate, get_metric
from chipdrift.metrics.bootstrap import percentile_interval
from chipdrift.metrics.intervals import Z, normal_point, tango, wilson

LEVELS = (0.5, 0.9, 0.95, 0.975, 1 - 0.05 / 3, 0.999)
TABLES = [(0, 0, 50), (3, 1, 40), (0, 7, 100), (12, 30, 298), (5, 5, 10)]


def tango_by_hand(gained: int, lost: int, n: int, level: float) -> tuple[float, float]:
    """Solve T(D)^2 = chi-square's quantile, by scipy, with the likelihood maximized by brute force.

    The trinomial likelihood over P(lost) = q, P(gained) = q + D is maximized by its derivative's
    root, not by Tango's closed form.
    """

    def nuisance(d: float) -> float:
        low, high = max(0.0, -d), (1.0 - d) / 2

        def slope(q: float) -> float:
            total = lost / q if lost else 0.0
            total += gained / (q + d) if gained else 0.0
            rest = n - gained - lost
            return total - (2 * rest / (1 - 2 * q - d) if rest else 0.0)

        inner = 1e-13 * max(1.0, high - low)
        a, b = low + inner, high - inner
        if b <= a or slope(a) <= 0:
            return low
        if slope(b) >= 0:
            return high
        return float(brentq(slope, a, b, xtol=1e-15, rtol=1e-14))

    quantile = float(stats.chi2.ppf(level, 1))

    def square(d: float) -> float:
        q = nuisance(d)
        variance = n * (2 * q + d * (1 - d))
        return (gained - lost - n * d) ** 2 / max(variance, 1e-300) - quantile

    observed = (gained - lost) / n
    edge = 1 - 1e-9
    low = brentq(square, -edge, observed - 1e-9) if square(-edge) > 0 else -1.0
    high = brentq(square, observed + 1e-9, edge) if square(edge) > 0 else 1.0
    return float(low), float(high)


def test_95_percent_is_to_the_bit_what_it_was() -> None:
    """The constant, not the inverse function's neighbour of it."""
    assert normal_point(0.95) == Z == 1.959963984540054
    # These are printed by the version before level= was there (git show b09cdc4).
    assert wilson(93, 100) == (0.8625048526092651, 0.9656807389327273)
    assert tango(2, 9, 100) == (-0.145889164640103, -0.005955714968908326)


@pytest.mark.parametrize("level", LEVELS)
def test_the_normal_point_is_scipys(level: float) -> None:
    assert normal_point(level) == pytest.approx(stats.norm.ppf(0.5 + level / 2), rel=1e-14)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("k", "n"), [(0, 10), (93, 100), (297, 298), (298, 298), (1, 3)])
def test_wilson_equals_statsmodels_at_every_level(k: int, n: int, level: float) -> None:
    expected = proportion_confint(k, n, alpha=1 - level, method="wilson")
    assert wilson(k, n, normal_point(level)) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize(("gained", "lost", "n"), TABLES)
def test_tango_equals_its_inversion_at_every_level(
    gained: int, lost: int, n: int, level: float
) -> None:
    expected = tango_by_hand(gained, lost, n, level)
    assert tango(gained, lost, n, normal_point(level)) == pytest.approx(expected, abs=1e-6)


def test_no_change_at_all_ends_where_the_closed_form_says() -> None:
    for level in LEVELS:
        z2 = stats.chi2.ppf(level, 1)
        for n in (20, 298):
            end = z2 / (n + z2)
            assert tango(0, 0, n, normal_point(level)) == pytest.approx((-end, end), abs=1e-9)


def test_the_bootstraps_interval_of_normal_data_is_the_t_interval() -> None:
    """Hesterberg's widened quantiles, on a million draws of the mean."""
    n = 20
    rng = np.random.default_rng(4)
    scores = rng.standard_normal(n)
    spread = scores.std() / math.sqrt(n)  # of the bootstrap: 1/n, not 1/(n-1)
    draws = scores.mean() + spread * rng.standard_normal(1_000_000)
    for level in (0.5, 0.9, 0.95, 0.99):
        low, high = percentile_interval(float(scores.mean()), draws, n, level)
        expected = stats.t.interval(level, n - 1, scores.mean(), stats.sem(scores))
        assert low is not None and high is not None
        assert (low, high) == pytest.approx(expected, abs=0.01)


def outputs(correct: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> Outputs:
    logits = np.zeros((len(correct), 2), np.float32)
    logits[np.arange(len(correct)), np.where(correct, 0, 1)] = 1
    labels = np.zeros(len(correct), np.int64)
    return Outputs(arrays={"y": logits}, primary="y", labels=labels, extras={})


def test_a_metrics_interval_and_a_comparisons_are_of_the_level() -> None:
    rng = np.random.default_rng(2)
    right = rng.random(200) < 0.9
    other = right ^ (rng.random(200) < 0.2)
    top1 = get_metric("top1")
    gained, lost = int((other & ~right).sum()), int((right & ~other).sum())
    assert gained and lost
    for level in LEVELS:
        found = evaluate(top1, outputs(right), level)
        expected = proportion_confint(int(right.sum()), 200, alpha=1 - level, method="wilson")
        assert (found.low, found.high) == pytest.approx(expected, abs=1e-12)
        difference = compare(top1, outputs(other), outputs(right), level)
        hand = tango_by_hand(gained, lost, 200, level)
        assert (difference.low, difference.high) == pytest.approx(hand, abs=1e-6)
        assert difference.p_value == compare(top1, outputs(other), outputs(right)).p_value
    assert evaluate(top1, outputs(right)) == evaluate(top1, outputs(right), 0.95)


@pytest.mark.parametrize("name", ["cosine", "sqnr"])
def test_bootstrapped_intervals_widen_with_the_level(name: str) -> None:
    rng = np.random.default_rng(3)
    base = rng.standard_normal((60, 8)).astype(np.float32)
    reference = Outputs(arrays={"y": base}, primary="y", labels=None, extras={})
    noises = [base + rng.standard_normal(base.shape).astype(np.float32) * 0.3 for _ in range(2)]
    a, b = (
        Outputs(arrays={"y": noise}, primary="y", labels=None, extras={}, reference=reference)
        for noise in noises
    )
    metric = get_metric(name)
    for ends in (
        [evaluate(metric, a, level) for level in LEVELS[:-1]],
        [compare(metric, a, b, level) for level in LEVELS[:-1]],
    ):
        lows, highs = [found.low for found in ends], [found.high for found in ends]
        assert None not in lows + highs
        assert all(x > y for x, y in pairwise(lows))  # type: ignore[operator]
        assert all(x < y for x, y in pairwise(highs))  # type: ignore[operator]
    assert evaluate(metric, a, 0.9999).low is None  # beyond the draws: no end is made up

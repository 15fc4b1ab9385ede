"""The paired bootstrap: how a mean or a statistic varies when the units are drawn again.

Draws are seeded, so the same data gives the same figures. Both the interval and the p-value carry
Hesterberg's correction for few units, so that they agree with each other: the p-value is at most
0.05 just where the interval leaves out 0, up to the granularity of the draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from chipdrift.metrics.base import Floats, Ints

INTERVAL_RESAMPLES = 1_999
"""Draws for an interval alone."""

TEST_RESAMPLES = 9_999
"""Draws for a p-value: its least, about 0.0002, survives Holm's correction over 200 cells."""

_SEED = 20_260_101
_CHUNK = 2_000_000  # Draws held in memory at once.
_UNDEFINED = 0.05  # Share of draws that may be NaN.


def replicates(
    statistics: Sequence[Callable[[Ints], Floats]], units: int, resamples: int
) -> Floats:
    """Each statistic on ``resamples`` draws of ``units`` units with replacement.

    A statistic takes int64 weights (B, units) and returns float64 (B,); all get the same draws, so
    differences of their rows are paired. Returns float64 (len(statistics), resamples). Source:
    B. Efron, Annals of Statistics 7 (1979) 1-26.
    """
    generator = np.random.default_rng(_SEED)
    chunk = max(1, _CHUNK // units)
    found = np.empty((len(statistics), resamples), np.float64)
    for start in range(0, resamples, chunk):
        size = min(chunk, resamples - start)
        drawn = generator.integers(0, units, size=(size, units))
        drawn += np.arange(size, dtype=np.int64)[:, None] * units
        weights = np.bincount(drawn.ravel(), minlength=size * units).reshape(size, units)
        for row, statistic in enumerate(statistics):
            found[row, start : start + size] = statistic(weights)
    return found


def percentile_interval(
    value: float, draws: Floats, units: int, level: float = 0.95
) -> tuple[float, float] | tuple[None, None]:
    """The expanded percentile interval of ``draws`` (B,), around the observed ``value``.

    The quantiles lie at ``Phi(-sqrt(n / (n - 1)) t)``, t being Student's point of ``level`` (its
    97.5 % point for 0.95) with n - 1 degrees of freedom and n the ``units``: for normal data this
    is the t interval. Source: T. Hesterberg, The American Statistician 69 (2015) 371-386, section
    3.2. (None, None) where the data cannot show a spread: all draws alike (a width of zero would
    claim certainty that equal scores do not give), or so few units (under four) that the quantile
    lies beyond the draws. Widened, where a biased statistic's draws miss it, to hold ``value``.
    Draws that are NaN, on which the statistic is not defined, are left out; over 5 % of them give
    (None, None).
    """
    undefined = np.isnan(draws)
    draws = draws[~undefined]
    if units < 2 or undefined.mean() > _UNDEFINED or _alike(draws):
        return None, None
    from scipy.special import ndtr, stdtrit

    tail = float(ndtr(-math.sqrt(units / (units - 1)) * float(stdtrit(units - 1, (1 + level) / 2))))
    if tail * (len(draws) + 1) < 1.0:
        return None, None
    low, high = np.quantile(draws, [tail, 1 - tail])
    return min(float(low), value), max(float(high), value)


def p_value(differences: Floats, units: int) -> float:
    """Two-sided p-value that the difference is 0, from its ``differences`` (B,) over the draws.

    ``2 min((1 + #<=0) / (B + 1), (1 + #>=0) / (B + 1))``, at most 1 (A. C. Davison and D. V.
    Hinkley, Bootstrap Methods, 1997, section 4.2), then moved from the normal to Student's t with
    n - 1 degrees of freedom as the interval's quantiles are. So few units cannot make a strong
    claim: one unit gives 1.0, two at the least 0.23. Identical data gives 1.0. A difference that is
    NaN counts against a claim on both sides.
    """
    if units < 2:
        return 1.0
    from scipy.special import ndtri, stdtr

    below, above = int((~(differences > 0)).sum()), int((~(differences < 0)).sum())
    raw = min(1.0, 2.0 * (1 + min(below, above)) / (len(differences) + 1))
    t = float(ndtri(raw / 2)) * math.sqrt((units - 1) / units)
    return min(1.0, 2.0 * float(stdtr(units - 1, t)))


def _alike(draws: Floats) -> bool:
    # Equal scores, weighted and summed in another order, differ in their last bits.
    spread = float(draws.max() - draws.min())
    return spread <= 1e-12 * float(np.abs(draws).max())

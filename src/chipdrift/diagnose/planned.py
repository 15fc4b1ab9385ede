"""How many samples show a loss, by the test that decides it."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from chipdrift.diagnose.tested import SIGNIFICANT, Difference
from chipdrift.metrics.intervals import Z, tango

POWER = 0.8
"""In so many of the runs with the samples named the test shows the loss: four of five."""

# Beyond so many standard deviations a binomial count is not looked at.
_WIDE = 9.0


def samples_needed(found: Difference, proportion: bool) -> int | None:
    """The samples with which a difference of this size and spread is shown with ``POWER``.

    A proportion's difference is decided by the exact McNemar test, and only samples on which just
    one side is right count in it: their rates are taken as seen. Any other figure's spread falls
    with the root of the samples. None for no difference and where there is no interval.
    """
    if found.value == 0 or found.low is None or found.high is None:
        return None
    if proportion:
        more, fewer = _discordant(found)
        rates = more / found.samples, fewer / found.samples
        enough = _least(lambda n: power(n, *rates, found.tests) >= POWER, found.samples)
    else:
        from scipy.special import ndtri

        near = found.low if found.value > 0 else found.high
        spread = abs(found.value - near) / Z
        reach = -float(ndtri(SIGNIFICANT / 2 / found.tests)) + float(ndtri(POWER))
        enough = math.ceil(found.samples * (reach * spread / abs(found.value)) ** 2)
    return max(enough, found.samples + 1)


def power(samples: int, more: float, fewer: float, tests: int) -> float:
    """How often the exact test, corrected for ``tests``, shows a difference in its true direction.

    Of a sample the one side alone is right with the chance ``more``, the other alone with the
    smaller ``fewer``: the number that differ is binomial, and of these the number on the lesser
    side, which the test wants to be small, too.
    """
    from scipy.special import bdtr, gammaln

    rate = min(1.0, more + fewer)
    mean, spread = samples * rate, math.sqrt(samples * rate * (1 - rate)) + 1
    first, last = mean - _WIDE * spread, mean + _WIDE * spread
    differing = np.arange(max(0, math.floor(first)), min(samples, math.ceil(last)) + 1)
    log_chance = gammaln(samples + 1) - gammaln(differing + 1) - gammaln(samples - differing + 1)
    log_chance = log_chance + differing * math.log(rate)
    if rate < 1:
        log_chance += (samples - differing) * math.log1p(-rate)
    else:
        log_chance[differing < samples] = -np.inf
    most = np.minimum(differing, np.floor(differing / 2 - Z / 2 * np.sqrt(differing)) + 2)
    while True:
        p_value = 2 * np.where(most < 0, 0.0, bdtr(np.maximum(most, 0), differing, 0.5))
        over = (most >= 0) & (p_value * tests >= SIGNIFICANT)
        if not over.any():
            break
        most[over] -= 1
    small = bdtr(np.maximum(most, 0), differing, fewer / (more + fewer))
    return float((np.exp(log_chance) * np.where(most < 0, 0.0, small)).sum())


def _discordant(found: Difference) -> tuple[int, int]:
    """How many samples one side alone has right, and the other: the larger number first.

    The record holds their difference and Tango's interval, which is the wider the more there are.
    """
    assert found.low is not None and found.high is not None
    apart = round(abs(found.value) * found.samples)
    width = found.high - found.low

    def wide(fewer: int) -> float:
        low, high = tango(fewer + apart, fewer, found.samples)
        return high - low

    low, high = 0, (found.samples - apart) // 2
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if wide(middle) >= width else (middle + 1, high)
    nearest = min({low, max(0, low - 1)}, key=lambda fewer: abs(wide(fewer) - width))
    return nearest + apart, nearest


def _least(enough: Callable[[int], bool], start: int) -> int:
    """Samples from which on it is enough, looked for upwards from ``start``."""
    low, high = start, 2 * start
    if enough(start):
        return start
    while not enough(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high

"""Intervals and tests for proportions, Holm's correction, and sample sizes. All at 95 %.

The intervals invert score tests and the paired p-value is exact, so at the 5 % line the two can
disagree: Tango's interval may exclude 0 where McNemar's p is above 0.05. The product calls a
difference real by the Holm-corrected p-value alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from chipdrift.errors import DataError

Z = 1.959963984540054
"""The normal distribution's 97.5 % point."""


def normal_point(level: float) -> float:
    """The point that a two-sided interval of ``level`` reaches to, in standard deviations."""
    if level == 0.95:
        return Z
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))


def wilson(successes: float, n: int, z: float = Z) -> tuple[float, float]:
    """Wilson's score interval of a proportion, ``successes`` out of ``n``.

    Source: E. B. Wilson, JASA 22 (1927) 209-212. ``successes`` may be a fraction, as sample-size
    planning needs. Raises :class:`DataError` for ``n < 1`` and ValueError for impossible counts.
    """
    _check_n(n)
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} successes out of {n}")
    p = successes / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = _wilson_half(p, n, z)
    low = 0.0 if successes == 0 else max(0.0, middle - half)
    high = 1.0 if successes == n else min(1.0, middle + half)
    return low, high


def tango(gained: float, lost: float, n: int, z: float = Z) -> tuple[float, float]:
    """Tango's score interval of the difference ``(gained - lost) / n`` of paired proportions.

    ``gained`` counts samples right here and wrong in the other, ``lost`` the reverse, ``n`` all
    samples. With no discordant sample it is about ``+-Z^2 / (n + Z^2)``, not zero width. Source:
    T. Tango, Statistics in Medicine 17 (1998) 891-908: the differences D whose score statistic

        T(D) = (gained - lost - n D) / sqrt(n (2 q + D (1 - D)))

    lies within +-``z``, q being the likelihood's maximum over P(lost) with the difference held at
    D, the larger root of ``2n q^2 + ((2n - gained + lost) D - gained - lost) q - lost D (1 - D)``.
    T falls with D, so each limit is found by bisection. Counts may be fractions, for planning.
    Raises :class:`DataError` for ``n < 1`` and ValueError for impossible counts.
    """
    _check_n(n)
    if gained < 0 or lost < 0 or gained + lost > n * (1 + 1e-12):
        raise ValueError(f"{gained} gained and {lost} lost out of {n}")
    difference = (gained - lost) / n
    low = _bisect(lambda d: _tango_score(gained, lost, n, d) > z, -1.0, difference)
    high = _bisect(lambda d: _tango_score(gained, lost, n, d) >= -z, difference, 1.0)
    return low, high


def mcnemar_exact(gained: int, lost: int) -> float:
    """McNemar's exact two-sided p-value: under no difference, gains are Binomial(discordant, 1/2).

    ``min(1, 2 P(X <= min(gained, lost)))``; 1.0 with no discordant sample. Source: Q. McNemar,
    Psychometrika 12 (1947) 153-157, in its binomial form.
    """
    if gained < 0 or lost < 0:
        raise ValueError(f"{gained} gained and {lost} lost")
    if gained == lost:
        return 1.0
    from scipy.special import bdtr

    return min(1.0, 2.0 * float(bdtr(min(gained, lost), gained + lost, 0.5)))


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Holm's step-down correction of ``p_values``, in their own order, at most 1.

    The chance of one false call among all is held at the level. Source: S. Holm, Scandinavian
    Journal of Statistics 6 (1979) 65-70. Raises ValueError for a value outside [0, 1].
    """
    for p in p_values:
        if not 0.0 <= p <= 1.0:
            raise ValueError(f"p-value {p} outside [0, 1]")
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return tuple(corrected)


def samples_for_halfwidth(half_width: float, p: float = 0.5) -> int:
    """Least n whose Wilson interval around the proportion ``p`` has at most this half-width.

    Raises :class:`DataError` for a half-width outside (0, 0.5) or ``p`` outside [0, 1].
    """
    _check_share("half-width", half_width, 0.0, 0.5)
    if not 0.0 <= p <= 1.0:
        raise DataError(f"The expected proportion is {p}, expected a number from 0 to 1.")
    return _least(lambda n: _wilson_half(p, n) <= half_width)


def samples_for_paired_halfwidth(half_width: float, discordant: float) -> int:
    """Least n whose Tango interval around no difference has at most this half-width.

    ``discordant`` is the expected share of samples on which exactly one side is right, split
    evenly: the widest case. Raises :class:`DataError` for a half-width outside (0, 1) or a share
    outside [0, 1].
    """
    _check_share("half-width", half_width, 0.0, 1.0)
    if not 0.0 <= discordant <= 1.0:
        raise DataError(f"The discordant share is {discordant}, expected a number from 0 to 1.")

    def narrow_enough(n: int) -> bool:
        low, high = tango(n * discordant / 2, n * discordant / 2, n)
        return (high - low) / 2 <= half_width

    return _least(narrow_enough)


def _wilson_half(p: float, n: int, z: float = Z) -> float:
    return z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))


def _tango_score(gained: float, lost: float, n: int, difference: float) -> float:
    linear = (2 * n - gained + lost) * difference - gained - lost
    constant = -lost * difference * (1 - difference)
    root = math.sqrt(max(0.0, linear * linear - 8 * n * constant))
    # The larger root, in whichever form does not subtract two near numbers.
    q = (root - linear) / (4 * n) if linear <= 0 else -2 * constant / (root + linear)
    variance = n * (2 * q + difference * (1 - difference))
    excess = gained - lost - n * difference
    if variance <= 0:
        return 0.0 if excess == 0 else math.copysign(math.inf, excess)
    return excess / math.sqrt(variance)


def _bisect(holds: Callable[[float], bool], low: float, high: float) -> float:
    """The point in [low, high] up to which ``holds``, to the last bit of a float."""
    if holds(high):
        return high
    while True:
        middle = (low + high) / 2
        if middle in (low, high):
            return middle
        if holds(middle):
            low = middle
        else:
            high = middle


def _least(enough: Callable[[int], bool]) -> int:
    """Least n that is enough, where every larger n is too."""
    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def _check_n(n: int) -> None:
    if n < 1:
        raise DataError(f"An interval over {n} samples was asked for, expected at least one.")


def _check_share(what: str, value: float, low: float, high: float) -> None:
    if not low < value < high:
        raise DataError(f"The {what} is {value}, expected a number between {low} and {high}.")

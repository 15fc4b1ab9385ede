"""Axes of a chart: where a value lies in percent, and the round numbers beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

# From this ratio on, an axis of costs is logarithmic.
_DECADES = 6.0
_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_ROUND = (1.0, 1.5, 2.0, 3.0, 5.0, 7.0)
_MOST_TICKS = 6
# A figure is off the axis that is so many times the others' spread above or below them. Whoever
# looks for the least that will do looks below the budget rather than far above it.
_ABOVE, _BELOW = 1.5, 6.0


@final
@dataclass(frozen=True)
class Axis:
    """A range that is drawn; ``logarithmic`` for costs far apart.

    ``under`` and ``over`` say that values lie below and above it: those are drawn in a band of
    their own at that end.
    """

    low: float
    high: float
    logarithmic: bool = False
    under: bool = False
    over: bool = False

    def place(self, value: float) -> float:
        """Percent from the low end: 4 to 96, less 14 for a band, whose values lie at its middle."""
        begin, end = (18.0 if self.under else 4.0), (82.0 if self.over else 96.0)
        if value < self.low:
            return 6.0
        if value > self.high:
            return 94.0
        high, low, at = self.high, self.low, value
        if self.logarithmic:
            high, low, at = math.log(high), math.log(low), math.log(at)
        return begin + (end - begin) * ((at - low) / (high - low) if high > low else 0.5)

    def ticks(self) -> list[float]:
        """Round numbers in the range."""
        if self.logarithmic:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            found = [mantissa * 10.0**decade for decade in decades for mantissa in _ROUND]
        else:
            step = _step((self.high - self.low) / (_MOST_TICKS - 1))
            first = math.ceil(self.low / step - 1e-9)
            last = math.floor(self.high / step + 1e-9)
            found = [count * step + 0.0 for count in range(first, last + 1)]
        inside = [tick for tick in found if self.low - 1e-12 <= tick <= self.high * (1 + 1e-12)]
        while len(inside) > _MOST_TICKS + 1:
            inside = inside[::2]
        return inside


def cost_axis(values: Sequence[float]) -> Axis:
    """An axis that shows all costs."""
    low, high = min(values), max(values)
    if low > 0 and high / low >= _DECADES:
        return Axis(low, high, logarithmic=True)
    return Axis(*_spread(low, high))


def figure_axis(wanted: Sequence[float], every: Sequence[float], kept: Sequence[float]) -> Axis:
    """An axis of figures of which more is better: those ``wanted``, and what lies near them.

    What is far from the rest, the cheapest of all or the float model perhaps, would press the
    others together; it lies off the axis, if it is none of those ``kept``.
    """
    ranked = sorted({*wanted, *kept})
    while len(ranked) > 2 and ranked[-1] not in kept and _apart(ranked[::-1], _ABOVE):
        ranked.pop()
    while len(ranked) > 2 and ranked[0] not in kept and _apart(ranked, _BELOW):
        ranked.pop(0)
    low, high = ranked[0], ranked[-1]
    reach = 0.75 * max(high - low, 1e-12)
    near = [value for value in every if low - reach <= value <= high + reach]
    low, high = min([*near, low]), max([*near, high])
    under, over = any(value < low for value in every), any(value > high for value in every)
    return Axis(*_spread(low, high), under=under, over=over)


def _apart(ranked: Sequence[float], times: float) -> bool:
    """Whether the first is ``times`` farther from the second than the others lie apart."""
    first, second, last = ranked[0], ranked[1], ranked[-1]
    return abs(first - second) > times * abs(second - last)


def labels(
    ticks: Sequence[float], place: Callable[[float], float], text: Callable[[float], str]
) -> tuple[tuple[float, str], ...]:
    """Each tick's place in percent and its text; of equal texts the first."""
    found: dict[str, float] = {}
    for tick in ticks:
        found.setdefault(text(tick), round(place(tick), 2))
    return tuple((at, words) for words, at in found.items())


def _spread(low: float, high: float) -> tuple[float, float]:
    """A range with some width, where all values are one."""
    if high > low:
        return low, high
    half = abs(low) * 0.05 or 0.01
    return low - half, high + half


def _step(least: float) -> float:
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * step for step in _STEPS if power * step >= least * (1 - 1e-9))

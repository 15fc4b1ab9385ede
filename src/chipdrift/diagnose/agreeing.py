"""Which pair of a run agrees least: the report's and the diagnosis's choice, one and the same."""

from __future__ import annotations

import math
from collections.abc import Sequence

from chipdrift.records import Pair


def least_agreeing(pairs: Sequence[Pair]) -> Pair | None:
    """The pair with the fewest samples of the same answer; None where no pair differs at all.

    Of equals it is the one whose outputs are farthest apart, then the one with the fewest identical
    samples, then that of which most was measured, then the first.
    """
    return min((pair for pair in pairs if differs(pair)), key=_closeness, default=None)


def differs(pair: Pair) -> bool:
    """Whether any sample's answer or bits differ."""
    return pair.agreement < 1 or pair.identical < 1


def _closeness(pair: Pair) -> tuple[float, float, float, int]:
    """In the outputs' own numbers: a step of 8 bits is 256 of 16, and float has no steps."""
    apart = math.inf if pair.max_abs is None else pair.max_abs  # None: not finite, or classes alone
    # Scales are float32: what parts two distances further behind is their rounding.
    return pair.agreement, -float(f"{apart:.6g}"), pair.identical, -pair.measured

"""Whether a figure holds a limit: yes, no, or not proven."""

from __future__ import annotations

import math
from typing import NamedTuple

from chipdrift.gate.records import Outcome
from chipdrift.records import Evidence

# From the least to the most that is known of silicon. A host's runtime is beside them: it is no
# step on the way to a phone.
_LADDER: tuple[Evidence, ...] = (
    *("hypothesis", "prediction", "emulated-runtime", "vendor-simulator"),
    *("reported", "device"),
)
# More would be told as a number that nobody means.
_MOST_SAMPLES = 1_000_000


class Figure(NamedTuple):
    """What a limit is held against; ``low`` and ``high`` are its 95 % interval.

    ``sampled``: it is of samples, so that without an interval it proves nothing.
    """

    found: float
    low: float | None = None
    high: float | None = None
    sampled: bool = False


def at_most(figure: Figure, limit: float, judge: str) -> Outcome:
    """Hold ``figure`` against the most that is allowed.

    By ``interval``: broken where the whole interval is above the limit, held where none of it is,
    unproven between. By ``value``, and for what is counted: by the figure alone. What is no number
    is broken.
    """
    found, low, high, sampled = figure
    if math.isnan(found):
        return "fail"
    if judge == "value" or not sampled:
        return "pass" if found <= limit else "fail"
    if low is None or high is None or math.isnan(low) or math.isnan(high):
        return "unproven"
    if low > limit:
        return "fail"
    return "pass" if high <= limit else "unproven"


def at_least(figure: Figure, limit: float, judge: str) -> Outcome:
    """Hold ``figure`` against the least that is allowed: :func:`at_most`, mirrored."""
    found, low, high, sampled = figure
    mirrored = Figure(
        -found, None if high is None else -high, None if low is None else -low, sampled
    )
    return at_most(mirrored, -limit, judge)


def accepts(wanted: Evidence | tuple[Evidence, ...], evidence: Evidence) -> bool:
    """Whether ``evidence`` is one of the kinds ``wanted``, or at least the one that is."""
    if isinstance(wanted, tuple):
        return evidence in wanted
    if wanted not in _LADDER or evidence not in _LADDER:
        return evidence == wanted
    return _LADDER.index(evidence) >= _LADDER.index(wanted)


def samples_to_tell(figure: Figure, limit: float, samples: int) -> int | None:
    """About how many samples would decide, if the figure stays; None where none would.

    An interval's width falls with the root of their number. Near an end of its range it reaches
    less far there on few samples than it will on many, so half its width is the least.
    """
    found, low, high, _ = figure
    if low is None or high is None or found == limit:
        return None
    reach = max((high - found) if found < limit else (found - low), (high - low) / 2)
    needed = samples * (reach / (limit - found)) ** 2
    if not math.isfinite(needed) or needed > _MOST_SAMPLES:
        return None
    digits = max(0, len(str(int(needed))) - 2)
    return int(math.ceil(needed / 10**digits) * 10**digits)

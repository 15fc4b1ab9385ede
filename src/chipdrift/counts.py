"""Numbers of things in a finding's words, and numbers that are held against a limit."""

from __future__ import annotations

_DIGITS = 9


def rounded(value: float, times: float = 1.0) -> float:
    """Without the last bits, which are of the arithmetic: 7 of 100 are 7 points, not more."""
    return round(times * value, _DIGITS) + 0.0


def counted(count: int, noun: str) -> str:
    """ "1 sample", "1,200 samples"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def agreeing(count: int, one: str, many: str) -> str:
    """The form of a verb that goes with ``count`` things."""
    return one if count == 1 else many


def besides(count: int, noun: str = "other node") -> str:
    """ " and 1 other node", " and 4 other nodes"; nothing where there are none."""
    return f" and {counted(count, noun)}" if count else ""

"""Numbers of things in a finding's words."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """ "1 sample", "1,200 samples"."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def agreeing(count: int, one: str, many: str) -> str:
    """The form of a verb that goes with ``count`` things."""
    return one if count == 1 else many


def besides(count: int, noun: str = "other node") -> str:
    """ " and 1 other node", " and 4 other nodes"; nothing where there are none."""
    return f" and {counted(count, noun)}" if count else ""

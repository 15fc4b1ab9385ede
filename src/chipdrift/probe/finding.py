"""What a probe found: a rule, the answers that speak for it, and what they rule out."""

from __future__ import annotations

from typing import Any

from chipdrift.records import Record


class Finding(Record):
    """One rule of the profile, or one fact about the target.

    ``place`` is where the rule stands in the profile (empty for a fact that no profile holds);
    ``value`` is what was found, None where the answers do not decide. ``explained`` of ``asked``
    outputs are as the rule says; ``ruled_out`` gives the share that other values explain;
    ``undecided`` are values that explain the answers equally well.
    """

    subject: str
    rule: str
    place: tuple[str, ...] = ()
    value: Any = None
    words: str
    asked: int = 0
    explained: int = 0
    ruled_out: tuple[tuple[str, float], ...] = ()
    undecided: tuple[str, ...] = ()

"""One chip, and how a field's value is chosen among the facts about it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from chipdrift.records import Record

WEAK = ("draft", "conflict", "inference", "unverified")
"""Statuses of facts that are shown as alternatives and never used as a value."""


class Fact(Record):
    """What one source says about one field. ``status`` tells what kind of evidence it is."""

    value: str
    status: str
    source: str

    @property
    def weak(self) -> bool:
        """Is it an alternative to show only?"""
        return self.status.startswith(WEAK)


class Chip(Record):
    """One piece of silicon, known by its SoC id (``SM8650``).

    A field is None where no strong source tells it. ``facts`` has every fact by field, strong and
    weak; ``conflicts`` has those that say something else than the value used. ``fp16`` says whether
    the simulator computes FLOAT16 models in half precision on this chip's NPU, None where the chip
    is not simulated; ``fp16_words`` says the same in words. ``not_simulated`` is the reason why the
    simulator cannot stand in for this chip, None where it can.
    """

    vendor: str
    soc: str
    marketing_names: tuple[str, ...] = ()
    hexagon: str | None = None
    soc_model: int | None = None
    vtcm_mb: int | None = None
    ro_soc_model: str | None = None
    ro_soc_manufacturer: str | None = None
    codename: str | None = None
    fp16: bool | None = None
    fp16_words: str
    not_simulated: str | None
    facts: dict[str, tuple[Fact, ...]]
    conflicts: dict[str, tuple[Fact, ...]]

    @property
    def label(self) -> str:
        """The SoC id with its first marketing name: ``SM8650 (Snapdragon 8 Gen 3)``."""
        names = [name for name in self.marketing_names if name != self.soc]
        return f"{self.soc} ({names[0]})" if names else self.soc


def choose(facts: Iterable[Fact]) -> str | None:
    """Choose the value with most strong sources; among equals the first in alphabetical order."""
    sources: dict[str, set[str]] = defaultdict(set)
    for fact in facts:
        if not fact.weak:
            sources[fact.value].add(fact.source)
    return min(sources, key=lambda value: (-len(sources[value]), value), default=None)


def strong_values(facts: Iterable[Fact]) -> tuple[str, ...]:
    """List the different values of a field that may have several, most sources first."""
    strong = [fact for fact in facts if not fact.weak]
    found: list[str] = []
    while (best := choose(f for f in strong if f.value not in found)) is not None:
        found.append(best)
    return tuple(found)


def others(facts: Iterable[Fact], used: str | None) -> tuple[Fact, ...]:
    """List the facts that say something else than the value used."""
    return tuple(fact for fact in facts if fact.value != used)

"""Find chips by any of their names.

A name is cut into tokens of letters and digits, in lower case; ``+`` counts as ``plus``. So
``8 gen 3`` is found in ``Snapdragon 8 Gen 3``, not in ``Snapdragon 8s Gen 3``.
"""

from __future__ import annotations

import difflib
import re
from enum import IntEnum
from functools import cache

from chipdrift.chips.catalogue import all_chips
from chipdrift.chips.chip import Chip
from chipdrift.errors import UnknownNameError

FILLER = frozenset({"qualcomm", "snapdragon", "mediatek", "samsung", "google"})
"""Words that a query may carry or leave out."""

VARIANT = re.compile(r"([a-z]+\d{4})[a-z]{1,2}")
"""A SoC id with a bin's letters, written together: ``sm8650ac``."""

PREFIX = 3
"""Length from which the start of a token is enough."""

Tokens = tuple[str, ...]


NEAR = 4
"""Number of near names in an error."""


class Match(IntEnum):
    """How well a query fits a chip, best first."""

    EXACT = 0
    """It is one of its names, but for filler words, spaces and punctuation."""
    PART = 1
    """It stands in one of its names in one piece."""
    WORDS = 2
    """All its words are in one name."""
    VARIANT = 3
    """It is the SoC id with a bin's letters: SM8650-AC."""
    ACROSS = 4
    """All its words are in the chip's names together."""
    PREFIX = 5
    """All its words begin words of the chip's names."""
    NONE = 6


def find_chips(query: str) -> list[Chip]:
    """Find the chips that fit a name, best first.

    Names are the SoC id, marketing names, ``ro.soc.model``, code names, board codes, devices seen
    with it, the Hexagon generation and the vendor. Among equal matches the SoC id and the marketing
    name go before the others, then short names before long ones.

    Raises:
        UnknownNameError: nothing fits; the message lists near names.
    """
    wanted = without_filler(tokens(query))
    ranked = []
    for chip in all_chips():
        match, kind, length = rank(wanted, names(chip))
        if match is not Match.NONE:
            ranked.append(((match, kind, length, chip.vendor, chip.soc), chip))
    if not ranked:
        raise unknown(query)
    return [chip for _, chip in sorted(ranked, key=lambda entry: entry[0])]


def get_chip(soc: str) -> Chip:
    """Get the chip with this SoC id, in upper or lower case.

    Raises:
        UnknownNameError: no chip has this id; the message lists what was found by other names.
    """
    for chip in all_chips():
        if chip.soc.lower() == soc.strip().lower():
            return chip
    try:
        found = find_chips(soc)
    except UnknownNameError:
        raise unknown(soc) from None
    near = ", ".join(chip.label for chip in found[:NEAR])
    raise UnknownNameError(f"Unknown chip {soc!r}. Near names: {near}. See chipdrift chips.")


def tokens(text: str) -> Tokens:
    """Cut a name into its words."""
    return tuple(re.findall(r"[a-z0-9]+", text.lower().replace("+", " plus ")))


def without_filler(words: Tokens) -> Tokens:
    """Leave out filler words, unless there is nothing else."""
    return tuple(word for word in words if word not in FILLER) or words


@cache
def all_names() -> dict[str, tuple[Tokens, ...]]:
    """List every chip's names as tokens, by ``vendor/soc``, the most telling first."""
    return {
        f"{chip.vendor}/{chip.soc}": tuple(
            without_filler(tokens(name))
            for name in (
                chip.soc,
                *chip.marketing_names,
                *(
                    fact.value
                    for field in ("ro_soc_model", "codename", "board_code", "observed_device")
                    for fact in chip.facts.get(field, ())
                    if not fact.weak
                ),
                chip.hexagon or "",
                chip.vendor,
            )
            if name
        )
        for chip in all_chips()
    }


def names(chip: Chip) -> tuple[Tokens, ...]:
    """List one chip's names as tokens."""
    return all_names()[f"{chip.vendor}/{chip.soc}"]


def rank(wanted: Tokens, known: tuple[Tokens, ...]) -> tuple[Match, int, int]:
    """Tell the best match, which name it is (by position) and that name's number of words."""
    if not wanted:
        return Match.NONE, 0, 0
    best = min((match_name(wanted, name), i, len(name)) for i, name in enumerate(known))
    if best[0] is not Match.NONE:
        return best
    compact = "".join(wanted)
    variant = VARIANT.fullmatch(compact)
    if variant and (variant[1],) == known[0]:
        return Match.VARIANT, 0, 1
    words = {word for name in known for word in name}
    if words.issuperset(wanted):
        return Match.ACROSS, 0, len(words)
    if all(word in words or starts(word, words) for word in wanted):
        return Match.PREFIX, 0, len(words)
    return Match.NONE, 0, 0


def match_name(wanted: Tokens, name: Tokens) -> Match:
    """Match a query against one name."""
    compact = "".join(wanted)
    if compact == "".join(name):
        return Match.EXACT
    runs = ("".join(name[i:j]) for i in range(len(name)) for j in range(i + 1, len(name) + 1))
    if compact in runs:
        return Match.PART
    return Match.WORDS if set(name).issuperset(wanted) else Match.NONE


def starts(word: str, words: set[str]) -> bool:
    """Is a word long enough to stand for those it begins?"""
    return len(word) >= PREFIX and any(other.startswith(word) for other in words)


def unknown(query: str) -> UnknownNameError:
    """Build the error: what was asked for, the near chips, and where the list is."""
    labels: dict[str, str] = {}
    for chip in all_chips():
        for name in (chip.soc, *chip.marketing_names):
            labels.setdefault(" ".join(without_filler(tokens(name))), chip.label)
    asked = " ".join(without_filler(tokens(query)))
    near = difflib.get_close_matches(asked, sorted(labels), n=NEAR, cutoff=0.5)
    shown = list(dict.fromkeys(labels[name] for name in near))
    guess = f" Near names: {', '.join(shown)}." if shown else ""
    return UnknownNameError(f"Unknown chip {query!r}.{guess} See chipdrift chips.")

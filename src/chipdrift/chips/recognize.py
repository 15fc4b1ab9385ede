"""Which chip a few words name, where they name one: ``Snapdragon 8 Gen 2 (SM8550)``."""

from __future__ import annotations

import re

from chipdrift.chips.catalogue import all_chips
from chipdrift.chips.chip import Chip
from chipdrift.chips.search import VARIANT, tokens, without_filler


def recognize(words: str) -> Chip | None:
    """The one chip that ``words`` name; None where they name none, or more than one.

    A chip is named by its SoC id among other words, also with a bin's letters behind it, or by a
    marketing name or ``ro.soc.model`` that is all of the words. A part of a marketing name is no
    name: "Snapdragon 8 Gen 3 for Galaxy" is another chip than "Snapdragon 8 Gen 3".
    """
    by_id = {chip.soc.lower(): chip for chip in all_chips()}
    named = {soc for soc in by_id if _stands_in(soc, words.lower())}
    # SM8750-AC holds SM8750, which is another row.
    named -= {soc for soc in named if any(other.startswith(f"{soc}-") for other in named)}
    if not named:
        glued = {match[1] for word in tokens(words) if (match := VARIANT.fullmatch(word))}
        named = glued & by_id.keys()
    if named:
        return by_id[named.pop()] if len(named) == 1 else None
    wanted = "".join(without_filler(tokens(words)))
    found = [chip for chip in all_chips() if wanted and wanted in _whole_names(chip)]
    return found[0] if len(found) == 1 else None


def same_silicon(a: Chip, b: Chip) -> bool:
    """Whether two rows are one piece of silicon: the same SoC id, but for a bin's letters."""
    return a.vendor == b.vendor and a.soc.partition("-")[0] == b.soc.partition("-")[0]


def _stands_in(soc: str, words: str) -> bool:
    return re.search(rf"(?<![a-z0-9]){re.escape(soc)}(?![a-z0-9])", words) is not None


def _whole_names(chip: Chip) -> set[str]:
    names = (chip.soc, *chip.marketing_names, chip.ro_soc_model or "")
    return {"".join(without_filler(tokens(name))) for name in names if name}

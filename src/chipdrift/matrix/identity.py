"""Which chip, generation and SDK release a cell is of, as far as it says so itself."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from chipdrift.chips import Chip, recognize, same_silicon
from chipdrift.records import Cell, Relation
from chipdrift.targets.tuned import bare

# "v73", "v68 and v69", "v73 to v81": what a profile's description says of itself.
_GENERATIONS = re.compile(r"\bv(\d\d)\b(?:\s+(?:to|and)\s+v(\d\d)\b)?")
# Releases of other runtimes are none of the vendor's SDK.
_RELEASE = re.compile(r"(?:\b(?:qnn|snpe|qairt)\D{0,12}|^v?)(\d+)\.(\d+)", re.IGNORECASE)


@final
@dataclass(frozen=True)
class Identity:
    """What is known: the catalogue's chip, what it is called, its generations, its SDK's release.

    ``generations`` is the first and the last; a chip has one. ``release`` is major and minor.
    """

    chip: Chip | None
    name: str | None
    generations: tuple[int, int] | None
    sdk: str | None

    @property
    def generation(self) -> str | None:
        """ "v73", "v73 to v81"."""
        if self.generations is None:
            return None
        first, last = self.generations
        return f"v{first}" if first == last else f"v{first} to v{last}"

    @property
    def release(self) -> tuple[int, int] | None:
        """The SDK's major and minor number: builds of one release are one release."""
        found = _RELEASE.search(self.sdk or "")
        return None if found is None else (int(found[1]), int(found[2]))


def identity_of(cell: Cell, description: str) -> Identity:
    """What ``cell`` says of its chip; ``description`` is its target's, in words.

    A device tells its SoC id (``soc``), an import its ``chip``; the simulator's chip is its
    target's name; a profile has only its description. An emulated processor is no chip's, whatever
    the phone around it says of itself.
    """
    words = cell.versions.get("soc") or cell.versions.get("chip") or "unknown"
    sdk = cell.versions.get("sdk") or cell.versions.get("qnn")
    if cell.evidence == "emulated-runtime":
        return Identity(None, None, None, sdk)
    if words != "unknown":
        chip = recognize(words)
        return Identity(chip, chip.soc if chip else words, _of_chip(chip), sdk)
    if cell.evidence == "vendor-simulator" and "imported" not in cell.versions:
        # An import's name holds a folder's, which may be called like any chip.
        chip = recognize(bare(cell.target).partition(":")[2])
        return Identity(chip, chip.soc if chip else None, _of_chip(chip), sdk)
    if cell.evidence == "prediction":
        named = [chip for part in description.split(",") if (chip := recognize(part)) is not None]
        if named:
            return Identity(named[0], named[0].soc, _of_chip(named[0]), sdk)
        told = _GENERATIONS.search(description)
        generations = None if told is None else (int(told[1]), int(told[2] or told[1]))
        return Identity(None, None, generations, sdk)
    return Identity(None, None, None, sdk)


def relation_of(simulator: Identity, silicon: Identity) -> Relation:
    """How near the simulated chip is to the silicon; unknown where either is."""
    a, b = simulator, silicon
    if a.chip is not None and b.chip is not None:
        if same_silicon(a.chip, b.chip):
            return "same-chip"
        if a.chip.vendor != b.chip.vendor:
            return "other-generation"
    if a.generations is None or b.generations is None:
        return "unknown"
    apart = a.generations[1] < b.generations[0] or b.generations[1] < a.generations[0]
    return "other-generation" if apart else "same-generation"


def _of_chip(chip: Chip | None) -> tuple[int, int] | None:
    """A chip's Hexagon generation, where a strong source tells it."""
    told = _GENERATIONS.fullmatch(chip.hexagon) if chip is not None and chip.hexagon else None
    return None if told is None else (int(told[1]), int(told[1]))

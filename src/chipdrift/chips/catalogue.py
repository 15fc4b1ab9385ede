"""All chips, from ``facts.csv``."""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from chipdrift.chips import simulator
from chipdrift.chips.chip import Chip, Fact, choose, others, strong_values
from chipdrift.errors import ChipdriftError

FIELDS = {
    "marketing_name": "marketing_names",
    "htp_arch": "hexagon",
    "htp_arch_hint": "hexagon",
    "qnn_soc_model": "soc_model",
    "ro.soc.model": "ro_soc_model",
    "ro.soc.manufacturer": "ro_soc_manufacturer",
    "internal_codename": "codename",
}
"""The file's names of fields that have another name here."""

SEVERAL = frozenset({"marketing_names", "observed_device", "board_code", "note"})
"""Fields that may have several values at once: two strong ones are no conflict."""


@cache
def all_chips() -> tuple[Chip, ...]:
    """List every chip of the catalogue in the order of vendor and SoC id."""
    path = Path(__file__).with_name("facts.csv")
    facts: dict[tuple[str, str], dict[str, list[Fact]]] = defaultdict(lambda: defaultdict(list))
    with path.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            field = FIELDS.get(row["field"], row["field"])
            fact = Fact(value=row["value"], status=row["status"], source=row["source"])
            facts[row["vendor"], row["soc"]][field].append(fact)
    generations: dict[str, list[str]] = defaultdict(list)
    for fields in facts.values():
        soc_model, hexagon = choose(fields["soc_model"]), choose(fields["hexagon"])
        if soc_model and hexagon:
            generations[soc_model].append(hexagon)
    return tuple(
        build(vendor, soc, facts[vendor, soc], generations) for vendor, soc in sorted(facts)
    )


def build(
    vendor: str,
    soc: str,
    facts: Mapping[str, list[Fact]],
    generations: Mapping[str, list[str]],
) -> Chip:
    """Make a chip of all facts about it; ``generations`` are all chips' by ``soc_model``."""
    facts = {field: found for field, found in facts.items() if found}
    used = {field: choose(found) for field, found in facts.items()}
    conflicts = {
        field: tuple(f for f in others(found, used[field]) if f.weak or field not in SEVERAL)
        for field, found in facts.items()
    }
    soc_model, vtcm_mb, hexagon = used.get("soc_model"), used.get("vtcm_mb"), used.get("hexagon")
    number = int(soc_model) if soc_model else None
    same_id = generations.get(soc_model or "", [])
    reason = simulator.refusal(vendor, soc, number, hexagon, conflicts, same_id)
    simulated = reason is None and number is not None
    return Chip(
        vendor=vendor,
        soc=soc,
        marketing_names=strong_values(facts.get("marketing_names", ())),
        hexagon=hexagon,
        soc_model=number,
        vtcm_mb=int(vtcm_mb) if vtcm_mb else None,
        ro_soc_model=used.get("ro_soc_model"),
        ro_soc_manufacturer=used.get("ro_soc_manufacturer"),
        codename=used.get("codename"),
        fp16=simulator.simulator_rows()[number].fp16 == "yes" if simulated and number else None,
        fp16_words=simulator.fp16_words(number) if simulated and number else "not simulated",
        not_simulated=reason,
        facts={field: tuple(found) for field, found in sorted(facts.items())},
        conflicts={field: found for field, found in sorted(conflicts.items()) if found},
    )


def simulator_id(chip: Chip) -> int:
    """Tell the ``soc_model`` with which the simulator stands in for a chip.

    Raises:
        ChipdriftError: the simulator cannot; the message is ``chip.not_simulated``.
    """
    if chip.not_simulated is not None or chip.soc_model is None:
        raise ChipdriftError(chip.not_simulated or f"{chip.soc} has no known QNN soc_model.")
    return chip.soc_model


@cache
def simulated_chips() -> tuple[Chip, ...]:
    """List the chips that the simulator can stand in for."""
    return tuple(chip for chip in all_chips() if chip.not_simulated is None)

"""Which variant each chip gets, under which names, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final, get_args

from chipdrift.bundle.source import Source
from chipdrift.chips import get_chip
from chipdrift.errors import ChipdriftError, RunError
from chipdrift.plan.records import Choice, PlanChip
from chipdrift.records import Cell, Evidence, Interval

# Silicon first, a hypothesis last: as the records list them.
_RANK = {evidence: place for place, evidence in enumerate(get_args(Evidence))}
_UNITS = {"sqnr": " dB", "psnr": " dB"}
# What phones with a Qualcomm chip were seen to say, and what Qualcomm calls itself.
_QUALCOMM = ("QTI", "Qualcomm", "Qualcomm Technologies, Inc")


@final
@dataclass(frozen=True)
class Assigned:
    """A chip with what it gets. ``cell`` is that of the confirming run, None where there is none.

    ``npu`` is False where the variant is the safe one, or did not run on an NPU when confirmed.
    """

    chip: PlanChip
    choice: Choice
    variant: str
    names: tuple[str, ...]
    manufacturers: tuple[str, ...]
    npu: bool
    why: str
    cell: Cell | None


def assign(
    source: Source,
    cells: Mapping[tuple[str, str], Cell],
    off: Sequence[str],
    allow_missed: bool,
) -> tuple[list[Assigned], list[str]]:
    """Every chip of the plan with what it gets, and warnings.

    ``cells`` are the confirming run's by scheme and target. A choice that misses the budget is
    withheld, and the chip gets the safe variant, unless ``allow_missed``. Raises RunError where two
    chips share a name in Android and would get different variants on equal evidence.
    """
    found = []
    warnings: list[str] = []
    for choice in source.plan.choices:
        chip = source.chip(choice)
        names = tuple(chip.ro_soc_models or ((chip.soc,) if chip.soc else ()))
        if not names:
            warnings.append(
                f"{chip.name} has no name by which a phone tells its chip (ro.soc.model): no phone "
                "will get what was planned for it"
            )
        found.append(_assigned(source, cells, choice, chip, names, allow_missed))
    withheld = [one.chip.name for one in found if one.variant != (one.choice.variant or "")]
    if withheld:
        warnings.append(
            f"{', '.join(withheld)}: the plan found nothing that holds the budget, so the safe "
            "variant is shipped. --allow-missed ships the nearest all the same"
        )
    gone = [one.chip.name for one in found if set(one.names) & set(off)]
    if gone:
        warnings.append(f"{', '.join(gone)}: planned for, and on the list of --off")
    return _once(source, found, warnings), warnings


def off_names(words: Sequence[str]) -> tuple[tuple[str, ...], list[str]]:
    """Android's names of the chips whose NPU stays off, and warnings about unknown ones."""
    names: list[str] = []
    warnings = []
    for word in words:
        try:
            chip = get_chip(word)
        except ChipdriftError:
            warnings.append(
                f"--off {word}: the catalogue does not know this chip; it is taken as it is for "
                "what the phone says of itself (ro.soc.model)"
            )
            names.append(word)
        else:
            names += filter(None, (chip.ro_soc_model, chip.soc))
    return tuple(dict.fromkeys(names)), warnings


def _assigned(
    source: Source,
    cells: Mapping[tuple[str, str], Cell],
    choice: Choice,
    chip: PlanChip,
    names: tuple[str, ...],
    allow_missed: bool,
) -> Assigned:
    planned, safe = choice.variant, source.plan.safe
    held = choice.standing in ("confirmed", "within") or (
        allow_missed and choice.standing == "missed"
    )
    variant = planned if planned is not None and held else safe
    cell = cells.get((source.variant(variant).scheme, chip.target))
    if cell is not None and cell.placement is not None:
        on_npu = cell.placement.npu > 0
    else:
        on_npu = not chip.target.startswith("ort:")
    return Assigned(
        chip=chip,
        choice=choice,
        variant=variant,
        names=names,
        manufacturers=_manufacturers(chip),
        npu=on_npu and variant != safe,
        why=_why(source, choice, variant),
        cell=cell,
    )


def _manufacturers(chip: PlanChip) -> tuple[str, ...]:
    if chip.soc is None:
        return ()
    try:
        row = get_chip(chip.soc)
    except ChipdriftError:
        return ()
    makers = [row.ro_soc_manufacturer, *(_QUALCOMM if row.vendor == "Qualcomm" else (row.vendor,))]
    return tuple(dict.fromkeys(filter(None, makers)))


def _why(source: Source, choice: Choice, variant: str) -> str:
    figure = _figure(source, choice)
    if choice.variant is None or choice.standing == "none":
        return f"nothing quantized runs on {choice.chip}: the safe variant {variant}"
    if variant != choice.variant:
        return (
            f"the nearest for {choice.chip}, {choice.variant}, misses the budget "
            f"{source.plan.budget.text}{figure}: the safe variant {variant}"
        )
    state = {
        "confirmed": "holds the budget with its whole interval",
        "within": "holds the budget, its interval reaches beyond",
        "missed": "misses the budget and is shipped because --allow-missed was given",
    }[choice.standing]
    return f"{variant} {state}: {source.plan.budget.text}{figure}"


def _figure(source: Source, choice: Choice) -> str:
    metric = source.plan.metric
    basis = f"; {choice.evidence}, {choice.samples} samples: {metric.name}"
    if metric.against_baseline:
        # It compares with the float model already: a loss against that is no figure.
        if choice.metric is None:
            return ""
        unit, found = _UNITS.get(metric.name, ""), choice.metric
        between = "" if found.low is None else f" ({found.low:.4g} to {found.high:.4g})"
        return f"{basis} {found.value:.4g}{unit}{between}"
    if choice.loss is None:
        return ""
    return f"{basis} worse than float by {_interval(choice.loss)}"


def _interval(value: Interval) -> str:
    if value.low is None or value.high is None:
        return f"{value.value:.4g}"
    return f"{value.value:.4g} (interval {value.low:.4g} to {value.high:.4g})"


def _once(source: Source, found: Sequence[Assigned], warnings: list[str]) -> list[Assigned]:
    """Each name with one chip alone: of several, that with the strongest evidence has it."""
    kept: list[Assigned] = []
    for one in sorted(found, key=lambda one: _RANK[one.choice.evidence]):
        rival = next((k for k in kept if set(k.names) & set(one.names)), None)
        if rival is None:
            kept.append(one)
            continue
        shared = ", ".join(sorted(set(rival.names) & set(one.names)))
        if one.variant != rival.variant and one.choice.evidence == rival.choice.evidence:
            raise RunError(
                f"Plan {source.folder}: {rival.chip.name} gets {rival.variant} and "
                f"{one.chip.name} gets {one.variant}, and a phone tells both as {shared}. Plan for "
                "one of them."
            )
        warnings.append(
            f"a phone tells {rival.chip.name} and {one.chip.name} both as {shared}: it gets what "
            f"was planned for {rival.chip.name} ({rival.choice.evidence})"
        )
    order = {choice.chip: place for place, choice in enumerate(source.plan.choices)}
    return sorted(kept, key=lambda one: order[one.chip.name])

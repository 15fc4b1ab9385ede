"""``chipdrift chips``, ``targets`` and ``schemes``: what there is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chipdrift.cli.console import print_json, say
from chipdrift.cli.options import Json

if TYPE_CHECKING:
    from chipdrift.chips import Chip


def chips(
    name: Annotated[
        str | None,
        typer.Argument(help='Part of a name: "8 gen 3", sm8650, kailua, v73. Default: all.'),
    ] = None,
    json: Json = False,
) -> None:
    """List the chip catalogue: every field with its source and status.

    Example: chipdrift chips "8 gen 3"
    """
    from chipdrift.chips import all_chips, find_chips, simulator_versions

    found = list(all_chips()) if name is None else find_chips(name)
    if json:
        print_json(
            {
                "schema_version": 1,
                "measured_with": simulator_versions(),
                "chips": [chip.model_dump(mode="json") for chip in found],
            }
        )
        return
    _print_chips(found)
    if name is not None and len(found) <= 3:
        for chip in found:
            _print_facts(chip)
    versions = ", ".join(f"{k} {v}" for k, v in simulator_versions().items())
    say(
        f"{len(found)} chip{'s' if len(found) != 1 else ''}. FP16 and 'simulated' are as measured "
        f"on Qualcomm's simulator ({versions}), not on silicon. ? marks a fact of weak "
        "standing. --json has every source."
    )


def _print_chips(found: list[Chip]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("SoC", "name", "Hexagon", "soc_model", "VTCM", "ro.soc.model", "FP16"):
        table.add_column(heading, no_wrap=heading == "SoC")
    table.add_column("simulated")
    for chip in found:
        fp16 = "" if chip.fp16 is None else ("yes" if chip.fp16 else "no")
        table.add_row(
            chip.soc,
            ", ".join(chip.marketing_names) or chip.vendor,
            _shown(chip, "hexagon", chip.hexagon),
            _shown(chip, "soc_model", chip.soc_model),
            _shown(chip, "vtcm_mb", None if chip.vtcm_mb is None else f"{chip.vtcm_mb} MB"),
            _shown(chip, "ro_soc_model", chip.ro_soc_model),
            fp16,
            "yes" if chip.not_simulated is None else "no",
        )
    Console().print(table)


def _shown(chip: Chip, field: str, value: object) -> str:
    if value is not None:
        return str(value)
    weak = dict.fromkeys(fact.value for fact in chip.facts.get(field, ()))
    return "/".join(weak) + "?" if weak else ""


def _print_facts(chip: Chip) -> None:
    typer.echo(f"\n{chip.label}")
    for field, facts in chip.facts.items():
        for fact in facts:
            typer.echo(f"  {field}: {fact.value}  [{fact.status}] {fact.source}")
    typer.echo(f"  FP16: {chip.fp16_words}")
    if chip.not_simulated is not None:
        typer.echo(f"  not simulated: {chip.not_simulated}")


def targets(json: Json = False) -> None:
    """List the targets that a model can be measured on, and why one is missing.

    Example: chipdrift targets
    """
    from chipdrift.targets import list_targets

    found = list_targets()
    if json:
        print_json(
            {"schema_version": 1, "targets": [info.model_dump(mode="json") for info in found]}
        )
        return
    width = max(len(info.name) for info in found)
    for info in found:
        mark = "" if info.available else "  (not here)"
        typer.echo(f"{info.name:<{width}}  {info.evidence:<17} {info.description}{mark}")
    for reason in dict.fromkeys(info.reason for info in found if info.reason):
        names = [info.name for info in found if info.reason == reason]
        say(f"{names[0]}{' and ' + str(len(names) - 1) + ' more' if names[1:] else ''}: {reason}.")


def schemes(json: Json = False) -> None:
    """List the built-in quantization schemes.

    Example: chipdrift schemes
    """
    from chipdrift.schemes import builtin_schemes

    found = builtin_schemes()
    if json:
        print_json(
            {
                "schema_version": 1,
                "schemes": [scheme.model_dump(mode="json") for scheme in found.values()],
            }
        )
        return
    width = max(map(len, found))
    for scheme in found.values():
        typer.echo(f"{scheme.name:<{width}}  {scheme.description}")
    say("A TOML file of your own works as well: --scheme path/to/mine.toml.")
    say("In it, [[layer]] tables give single nodes another precision (docs/howto/own-scheme.md).")

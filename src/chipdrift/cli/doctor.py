"""``chipdrift doctor``: what is here, what lacks, and the command that gets it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from chipdrift.cli.console import print_json
from chipdrift.cli.options import Json

if TYPE_CHECKING:
    from chipdrift.doctor import Checkup


def doctor(
    target: Annotated[
        str | None,
        typer.Argument(help="A target (ort:arm64) or a runtime (ort). Default: every runtime."),
    ] = None,
    json: Json = False,
) -> None:
    """Tell what a target needs, what of it is here, and how to get what lacks.

    Exit code 0: it can be had (without TARGET: always); 1: it cannot; 2: nobody knows the name.

    Example: chipdrift doctor ort:arm64
    """
    from chipdrift.doctor import check_runtimes, check_target

    found = check_runtimes() if target is None else [check_target(target)]
    if json:
        print_json(
            {"schema_version": 1, "checkups": [one.model_dump(mode="json") for one in found]}
        )
    else:
        for one in found:
            _print(one)
    if target is not None and not found[0].available:
        raise typer.Exit(1)


def _print(one: Checkup) -> None:
    where = "here" if one.available else "not here"
    if one.targets != 1:
        where = f"{one.here} of {one.targets} targets here"
    typer.echo(
        f"{one.name.rstrip(':')}: {where}" + (f" ({one.description})" if one.description else "")
    )
    for part in one.parts:
        if part.found is not None:
            typer.echo(f"  {part.name}: {part.found}")
        else:
            lacks = "not there, and it goes without" if part.optional else "lacks"
            typer.echo(f"  {part.name}: {lacks}. Get it: {part.get}")
    if all(part.found is not None or part.optional for part in one.parts):
        for reason in one.reasons:
            typer.echo(f"  {reason}")

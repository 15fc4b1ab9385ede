"""``chipdrift plan``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chipdrift.cli.console import (
    parse_shapes,
    print_json,
    say,
    show_progress,
    split,
)
from chipdrift.cli.options import Jobs, Json, Limit, Output, Shape, Timeout
from chipdrift.errors import ChipdriftError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from chipdrift.plan import Plan

_DEFAULT_SCHEMES = "w8a8,w8a8_pc,w8a16,w8a16_pc,w4a16_pc,fp16"


def plan(
    model: Annotated[Path, typer.Argument(help="ONNX model in float, opset 11 or newer.")],
    data: Annotated[
        str,
        typer.Option(
            "--data", help="Labelled samples: some choose, the others confirm (as for matrix)."
        ),
    ],
    calibration: Annotated[str, typer.Option("--calibration", help="Samples that set the ranges.")],
    chips: Annotated[
        list[str],
        typer.Option(
            "--chips",
            help="Chips, comma-separated: names of the catalogue (their simulator confirms), or "
            "targets such as adb:SERIAL and sim:FILE.toml.",
        ),
    ],
    budget: Annotated[
        str,
        typer.Option(
            "--budget", help='What must hold: "top1 drop <= 1%", "agreement >= 98%", say.'
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Plan folder; a second run goes on.")],
    objective: Annotated[
        str, typer.Option("--objective", help="What is kept low: latency or size.")
    ] = "latency",
    max_variants: Annotated[
        int | None,
        typer.Option("--max-variants", min=1, help="Ship at most so many different models."),
    ] = None,
    scheme: Annotated[
        list[str] | None,
        typer.Option("--scheme", help=f"Schemes to begin with. Default: {_DEFAULT_SCHEMES}."),
    ] = None,
    confirm: Annotated[
        str | None,
        typer.Option("--confirm", help="Samples that confirm; all of --data chooses then."),
    ] = None,
    choose: Annotated[float, typer.Option("--choose", help="Share of --data that chooses.")] = 0.5,
    times: Annotated[
        Path | None,
        typer.Option("--times", help="Milliseconds measured elsewhere: a CSV of chip, scheme, ms."),
    ] = None,
    thorough: Annotated[
        bool,
        typer.Option("--thorough", help="Search on where the cheapest scheme already holds."),
    ] = False,
    calibrate: Annotated[
        bool,
        typer.Option("--calibrate/--no-calibrate", help="Calibrate on each target's own numerics."),
    ] = True,
    shape: Shape = None,
    output: Output = None,
    limit: Limit = None,
    jobs: Jobs = None,
    timeout: Timeout = 600.0,
    json: Json = False,
) -> None:
    """For each chip the cheapest variant that keeps the accuracy, confirmed on its own numerics.

    Example: chipdrift plan model.onnx --data eval.npz --calibration cal.npz
    --chips sm8450,sm8550,sm7550 --budget "top1 drop <= 1%" -o runs/plan

    Exit code 0: every chip has a variant within the budget. 1: a chip has none. 2: misuse.
    """
    from chipdrift.plan import run_plan
    from chipdrift.report import write_report

    if objective not in ("latency", "size"):
        raise ChipdriftError(f"--objective {objective}: latency or size is expected.")
    with show_progress() as progress:
        found = run_plan(
            model,
            data,
            chips=split(chips),
            budget=budget,
            out=out,
            calibration=calibration,
            objective="size" if objective == "size" else "latency",
            max_variants=max_variants,
            schemes=split(scheme) if scheme else _DEFAULT_SCHEMES.split(","),
            confirm_data=confirm,
            share=choose,
            shapes=parse_shapes(shape or []),
            limit=limit,
            output=output,
            jobs=jobs,
            timeout=timeout,
            times=times,
            thorough=thorough,
            calibrate=calibrate,
            progress=progress,
            tell=say,
        )
    if json:
        print_json(found)
    else:
        from rich.console import Console

        print_plan(found, Console(highlight=False))
        say(f"Plan: {out / 'plan.json'}")
    report = write_report(out)
    if not json:
        say(f"Report: {report}")
        say(f"Next: chipdrift bundle {out} -o DIR")
    if any(choice.standing in ("missed", "none") for choice in found.choices):
        raise typer.Exit(1)


def print_plan(found: Plan, console: Console) -> None:
    """The plan as a table, with its sentences and warnings."""
    from rich.text import Text

    from chipdrift.report.figures import listing

    for number, words in enumerate(found.words):
        console.print(Text(words), style="bold" if number == 0 else "", soft_wrap=True)
    console.print()
    console.print(_table(found))
    console.print()
    for name, why in dict.fromkeys((choice.variant, choice.why) for choice in found.choices):
        chips = [c.chip for c in found.choices if (c.variant, c.why) == (name, why)]
        gets = "" if name is None else f" models/{name}.onnx,"
        console.print(Text(f"{listing(chips)}:{gets} {why}"), soft_wrap=True)
    for warning in found.warnings:
        say(f"Warning: {warning}")


def _table(found: Plan) -> Table:
    from rich.table import Table
    from rich.text import Text

    from chipdrift.plan.wording import amount, change_words, cost_words

    share, up = found.metric.interval.startswith("Wilson"), found.metric.higher_is_better
    alone = found.metric.against_baseline  # it is against the float model already
    table = Table(box=None, pad_edge=False)
    for head in ("chip", "variant", found.metric.name, "against float", "cost", "standing"):
        table.add_column(head, overflow="fold")
    for choice in found.choices:
        metric = "-" if choice.metric is None else amount(choice.metric.value, share)
        table.add_row(
            Text(choice.chip),
            Text(choice.variant or "-"),
            metric + (" %" if share and choice.metric else ""),
            "-" if alone or choice.loss is None else change_words(choice.loss, up, share),
            cost_words(choice.cost),
            choice.standing,
            style="" if choice.standing in ("confirmed", "within") else "bold red",
        )
    return table

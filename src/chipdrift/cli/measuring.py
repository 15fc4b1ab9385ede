"""``chipdrift demo`` and ``chipdrift matrix``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from chipdrift.cli.console import (
    duration,
    parse_shapes,
    print_json,
    say,
    show_progress,
    split,
)
from chipdrift.cli.options import Jobs, Json, Limit, Output, Shape, Timeout

if TYPE_CHECKING:
    from chipdrift.matrix import Estimate
    from chipdrift.records import Matrix

DEMO_SCHEMES = ["fp32", "fp16", "w8a8", "w8a8_pc", "w8a16_pc", "w4a16_pc"]
# One chip for each Hexagon generation, v68 to v81.
DEMO_CHIPS = ["sm8350", "sm8450", "sm8550", "sm8650", "sm8750", "sm8850"]


def demo(
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder.")] = Path("runs/demo"),
    jobs: Jobs = None,
    json: Json = False,
) -> None:
    """Measure the built-in model (handwritten digits) on six Hexagon generations.

    Example: chipdrift demo -o runs/demo
    """
    from chipdrift.demo import paths
    from chipdrift.targets import list_targets

    there = {info.name: info for info in list_targets()}
    targets = ["ort:cpu"]
    for chip in DEMO_CHIPS:
        info = there[f"htp:{chip}"]
        if info.available:
            targets.append(info.name)
        else:
            say(f"{info.name} is left out: {info.reason}.")
    files = paths()
    _measure(
        {
            "model": files.model,
            "data": files.data,
            "calibration": files.calibration,
            "schemes": DEMO_SCHEMES,
            "targets": targets,
            "out": out,
            "metric": "top1",
            "jobs": jobs,
        },
        json,
    )


def matrix(
    model: Annotated[Path, typer.Argument(help="ONNX model, opset 11 or newer.")],
    data: Annotated[
        str,
        typer.Option(
            "--data",
            help="Evaluation samples: .npz, a folder of images with chipdrift.toml, or "
            "module:function.",
        ),
    ],
    scheme: Annotated[
        list[str],
        typer.Option("--scheme", help="Schemes, comma-separated: built-in names or TOML files."),
    ],
    target: Annotated[
        list[str], typer.Option("--target", help="Targets, comma-separated: see chipdrift targets.")
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="Run folder; a second run goes on.")],
    calibration: Annotated[
        str | None,
        typer.Option("--calibration", help="Samples that set the ranges; same forms as --data."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            "--metric",
            help="top1, top5, agreement, cosine, sqnr, psnr, token_accuracy, cer, spearman, or "
            "module:function over (outputs, labels). Default: top1 with labels, else agreement.",
        ),
    ] = None,
    shape: Shape = None,
    output: Output = None,
    limit: Limit = None,
    jobs: Jobs = None,
    timeout: Timeout = 600.0,
    audit: Annotated[
        int,
        typer.Option(
            "--audit",
            min=1,
            help="Samples on which chips must be identical, in every activation, to share the "
            "rest.",
        ),
    ] = 4,
    exhaustive: Annotated[
        bool, typer.Option("--exhaustive", help="Every chip runs every sample; nothing is shared.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Say how long it will take and how many samples it needs."),
    ] = False,
    interval: Annotated[
        float,
        typer.Option("--interval", help="With --dry-run: wished half width of the interval."),
    ] = 0.02,
    no_samples: Annotated[
        bool, typer.Option("--no-samples", help="Keep inputs and pictures out of the run's report.")
    ] = False,
    json: Json = False,
) -> None:
    """Measure a model under every scheme on every target, with intervals and agreement.

    Example: chipdrift matrix model.onnx --data eval.npz --calibration cal.npz
    --scheme fp32,fp16,w8a8 --target ort:cpu,htp:sm8450,htp:sm8550 -o runs/first

    Exit code 0: done. 1: a cell failed. 2: misuse. "unsupported" is a result.
    """
    asked: dict[str, Any] = {
        "model": model,
        "data": data,
        "schemes": split(scheme),
        "targets": split(target),
        "out": out,
        "metric": metric,
        "calibration": calibration,
        "shapes": parse_shapes(shape or []),
        "limit": limit,
        "output": output,
        "jobs": jobs,
        "timeout": timeout,
        "audit": audit,
        "exhaustive": exhaustive,
    }
    if dry_run:
        from chipdrift.matrix import estimate_matrix

        with contextlib.redirect_stdout(sys.stderr):
            estimate = estimate_matrix(**asked, half_width=interval)
        if json:
            print_json(estimate)
        else:
            _print_estimate(estimate)
        return
    _measure({**asked, "keep_samples": not no_samples}, json)


def _measure(asked: dict[str, Any], json: bool) -> None:
    from chipdrift.matrix import run_matrix

    # What a user's own functions print must not stand before the JSON document.
    with contextlib.redirect_stdout(sys.stderr), show_progress() as progress:
        found: Matrix = run_matrix(**asked, progress=progress)

    from chipdrift.report import print_matrix, write_report

    written = write_report(asked["out"])
    if json:
        for warning in found.warnings:
            say(f"Warning: {warning}")
        print_json(found)
    else:
        from rich.console import Console

        print_matrix(found, Console())
    say(f"Report: {written}")
    failed = [cell for cell in found.cells if cell.status == "failed"]
    for cell in failed:
        say(f"Failed: {cell.scheme} on {cell.target}: {cell.reason}")
    if failed:
        raise typer.Exit(1)


def _print_estimate(estimate: Estimate) -> None:
    for cell in estimate.cells:
        if cell.seconds_per_sample is None:
            typer.echo(f"{cell.scheme:>12}  {cell.target:<14} {cell.status}: {cell.reason}")
        else:
            typer.echo(
                f"{cell.scheme:>12}  {cell.target:<14} {1000 * cell.seconds_per_sample:9.1f} ms a "
                f"sample, {cell.lacking} to run: {duration(cell.seconds)}"
            )
    typer.echo(
        f"{estimate.samples} samples on {estimate.cores} cores: at most "
        f"{duration(estimate.seconds_at_most)}; about {duration(estimate.seconds_if_alike)} if the "
        "chips whose first answers are the same turn out to be alike."
    )
    width = f"{100 * estimate.half_width:g}"
    shares = ", ".join(
        f"{100 * float(share):g} %: {count:,}" for share, count in estimate.needed.items()
    )
    typer.echo(
        f"A 95 % interval of ±{width} points needs, by the share of right answers: {shares} "
        f"samples (you have {estimate.samples:,})."
    )
    differing = ", ".join(
        f"{100 * float(share):g} %: {count:,}"
        for share, count in estimate.needed_difference.items()
    )
    typer.echo(
        f"A difference between two chips within ±{width} points needs, by the share of samples on "
        f"which only one of them is right: {differing} samples."
    )
    for warning in estimate.warnings:
        say(f"Warning: {warning}")

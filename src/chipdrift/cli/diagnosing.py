"""``chipdrift diagnose`` and ``chipdrift checks``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from chipdrift.cli.console import MOST_SECONDS, parse_shapes, print_json, say, show_progress, split
from chipdrift.cli.options import Json
from chipdrift.errors import ChipdriftError


def diagnose(
    subject: Annotated[
        Path, typer.Argument(help="A run folder, or an ONNX model (with --data and --scheme).")
    ],
    target: Annotated[
        str | None, typer.Option("--target", help="A: the target in question, say htp:sm8450.")
    ] = None,
    against: Annotated[
        str | None, typer.Option("--against", help="B: another target (import:RUN, too), or float.")
    ] = None,
    scheme: Annotated[
        str | None, typer.Option("--scheme", help="The scheme under which they part.")
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="Samples, as for matrix; of a run, only if they have moved."),
    ] = None,
    calibration: Annotated[
        str | None, typer.Option("--calibration", help="For a model: samples that set the ranges.")
    ] = None,
    metric: Annotated[
        str | None, typer.Option("--metric", help="For a model: as for chipdrift matrix.")
    ] = None,
    shape: Annotated[
        list[str] | None,
        typer.Option("--shape", help="For a model: pin an input's open dimensions."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="For a model: only the first N samples.")
    ] = None,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="For a model: the run folder that is made.")
    ] = Path("runs/diagnose"),
    samples: Annotated[
        int,
        typer.Option("--samples", min=1, help="Samples whose activations are all compared."),
    ] = 16,
    profile: Annotated[
        list[str] | None,
        typer.Option(
            "--profile",
            help="The profile by which a target computes: htp:sm8450=v69.toml (chipdrift probe).",
        ),
    ] = None,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=1, max=MOST_SECONDS, help="Seconds for one session or one sample."
        ),
    ] = 600.0,
    json: Json = False,
) -> None:
    """Where two targets part, which node does it, by which mechanism, and what to do.

    Without --target it takes the run's pair that agrees least.

    Example: chipdrift diagnose runs/demo --scheme w8a8 --target htp:sm8450 --against htp:sm8550

    Exit code 0: done, whatever was found. 2: misuse.
    """
    from chipdrift.diagnose import run_diagnosis
    from chipdrift.report import write_report
    from chipdrift.report.diagnosed import print_diagnosis
    from chipdrift.targets import whole_name

    target = target and whole_name(target)
    against = against and whole_name(against)
    folder = subject
    if subject.suffix == ".onnx" or subject.is_file():
        folder = out
        _measure(
            subject, data, calibration, scheme, target, against, metric, shape, limit, out, timeout
        )
        data = None
    else:
        ignored = {
            "--calibration": calibration, "--metric": metric, "--shape": shape, "--limit": limit,
        }  # fmt: skip
        given = [name for name, value in ignored.items() if value]
        if given:
            raise ChipdriftError(
                f"Run {subject}: {', '.join(given)} can be given for a model only; the run has its "
                "own. Name the model in the run's place to measure it anew."
            )
    diagnosis = run_diagnosis(
        folder,
        scheme=scheme,
        target=target,
        against=against,
        samples=samples,
        data=data,
        profiles=_profiles(profile or []),
        timeout=timeout,
        tell=lambda words: say(f"  {words}"),
    )
    written = write_report(folder)
    if json:
        print_json(diagnosis)
    else:
        from rich.console import Console

        print_diagnosis(diagnosis, Console())
    say(f"Report: {written}")


def checks(
    name: Annotated[str | None, typer.Argument(help="One check: its whole page.")] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="All pages as one Markdown document.")
    ] = False,
    json: Json = False,
) -> None:
    """List the checks of a diagnosis, or print the page of one.

    Example: chipdrift checks silent-fallback
    """
    from chipdrift.diagnose.checks import all_checks, checks_page, get_check

    if markdown:
        if name is not None or json:
            raise ChipdriftError(
                "--markdown prints all pages as one document: leave out --json and the name."
            )
        typer.echo(checks_page(), nl=False)
        return
    found = [get_check(name)] if name is not None else list(all_checks().values())
    if json:
        pages = [{"name": c.name, "title": c.title, "page": c.page} for c in found]
        print_json({"schema_version": 1, "checks": pages})
        return
    if name is not None:
        typer.echo(found[0].page)
        return
    wide = max(len(check.name) for check in found)
    for check in found:
        typer.echo(f"{check.name:<{wide}}  {check.title}")


def _measure(
    model: Path,
    data: str | None,
    calibration: str | None,
    scheme: str | None,
    target: str | None,
    against: str | None,
    metric: str | None,
    shape: list[str] | None,
    limit: int | None,
    out: Path,
    timeout: float,
) -> None:
    """The run that a diagnosis of a model rests on: both targets under one scheme."""
    missing = [
        name
        for name, value in (("--data", data), ("--scheme", scheme), ("--target", target))
        if value is None
    ]
    if missing:
        raise ChipdriftError(
            f"Model {model}: a diagnosis of a model needs {', '.join(missing)}. Give them, or name "
            "a run folder in the model's place."
        )
    if "," in (scheme or ""):
        raise ChipdriftError(f"--scheme {scheme}: a diagnosis is of one scheme. Give one.")
    from chipdrift.matrix import run_matrix

    targets = [name for name in (target, against) if name is not None and name != "float"]
    asked: dict[str, Any] = {
        "schemes": split([scheme or ""]),
        "targets": targets,
        "out": out,
        "metric": metric,
        "calibration": calibration,
        "shapes": parse_shapes(shape or []),
        "limit": limit,
        "timeout": timeout,
    }
    with contextlib.redirect_stdout(sys.stderr), show_progress() as progress:
        run_matrix(model, data or "", **asked, progress=progress)


def _profiles(given: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for text in given:
        name, equals, profile = text.partition("=")
        if not equals or not name:
            raise ChipdriftError(
                f"--profile {text}: expected TARGET=PROFILE, say htp:sm8450=v69.toml."
            )
        if name in found and found[name] != profile:
            raise ChipdriftError(
                f"--profile {name} is given twice, {found[name]} and {profile}: give it once."
            )
        found[name] = profile
    return found

"""``chipdrift gate``."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chipdrift.cli.console import print_json, say
from chipdrift.cli.options import Json
from chipdrift.errors import ChipdriftError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from chipdrift.gate import Gate


def gate(
    run: Annotated[
        Path | None, typer.Argument(help="A run folder: measured, imported, with phones.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="What the run must hold: a TOML file.")
    ] = None,
    baseline: Annotated[
        Path | None, typer.Option("--baseline", help="Tell what changed since this baseline.")
    ] = None,
    write_baseline: Annotated[
        Path | None,
        typer.Option("--write-baseline", help="Write this run's baseline, to be committed."),
    ] = None,
    junit: Annotated[Path | None, typer.Option("--junit", help="Write JUnit XML.")] = None,
    sarif: Annotated[Path | None, typer.Option("--sarif", help="Write SARIF 2.1.0.")] = None,
    markdown: Annotated[
        Path | None, typer.Option("--markdown", help="Write a summary for a pull request.")
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Print a commented policy and end.")
    ] = False,
    json: Json = False,
) -> None:
    """Hold a run against a policy, for CI. Nothing is run, and only the policy decides.

    Example: chipdrift gate --example > policy.toml

    Example: chipdrift gate runs/nightly --policy policy.toml --junit gate.xml --markdown gate.md

    Example: chipdrift gate runs/nightly --policy policy.toml --baseline baseline.json

    Exit code 0: passed. 1: a limit is broken, or unproven where the policy lets that fail.
    2: misuse, or a policy that names what the run has not.
    """
    from chipdrift.gate import example_policy, junit_xml, run_gate, sarif_json
    from chipdrift.gate import markdown as to_markdown

    if example:
        typer.echo(example_policy(), nl=False)
        return
    if run is None or policy is None:
        raise ChipdriftError(
            "chipdrift gate needs a run folder and --policy FILE. chipdrift gate --example prints "
            "a policy to start from."
        )
    _check_outputs(run, policy, baseline, write_baseline, junit, sarif, markdown)
    found = run_gate(run, policy, baseline, since=write_baseline is None or baseline is not None)
    if json:
        print_json(found)
    else:
        from rich.console import Console

        _print(found, Console(highlight=False))
    for warning in found.warnings:
        say(f"Warning: {warning}")
    for option, file, make in (
        ("--junit", junit, junit_xml),
        ("--sarif", sarif, sarif_json),
        ("--markdown", markdown, to_markdown),
    ):
        if file is not None:
            _write(option, file, make(found))
    if write_baseline is not None:
        _write_baseline(run, write_baseline)
    if found.failed:
        raise typer.Exit(1)


def _write_baseline(run: Path, file: Path) -> None:
    from chipdrift.gate.baseline import make_baseline, write_baseline
    from chipdrift.matrix import read_matrix

    write_baseline(file, make_baseline(run, read_matrix(run)))
    say(f"Baseline: {file}")


def _check_outputs(run: Path, policy: Path, baseline: Path | None, *outputs: Path | None) -> None:
    """Refuse to write over what is read, or twice into one file."""
    taken = {policy.resolve(): "the policy"}
    if baseline is not None:
        taken[baseline.resolve()] = "the baseline"
    names = ("--write-baseline", "--junit", "--sarif", "--markdown")
    for name, file in zip(names, outputs, strict=True):
        if file is None:
            continue
        place = file.resolve()
        if place in taken:
            raise ChipdriftError(f"{name} {file}: this is {taken[place]}. Give another file.")
        if place.is_dir():
            raise ChipdriftError(f"{name} {file}: this is a folder. Give the file to write.")
        if place.parent == run.resolve() and place.exists():
            raise ChipdriftError(
                f"{name} {file}: this is a file of the run. Give one outside the run folder."
            )
        taken[place] = f"the file of {name}"


def _write(option: str, file: Path, text: str) -> None:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise ChipdriftError(
            f"{option} {file}: cannot be written ({error.strerror}). Give another file."
        ) from error


def _print(found: Gate, console: Console) -> None:
    from rich.text import Text

    from chipdrift.gate.markdown import verdict

    head = f"{found.run}: {verdict(found)}"
    console.print(Text(head), style="bold red" if found.failed else "bold", soft_wrap=True)
    shown = [check for check in found.checks if check.outcome != "pass"]
    if shown:
        console.print()
        console.print(_table(found))
        console.print()
    for check in sorted(shown, key=lambda check: not check.breaks):
        state = "broken" if check.outcome == "fail" else "unproven"
        console.print(Text(f"{state}: {check.words}"), soft_wrap=True)
    for line in _since(found):
        console.print(Text(line), soft_wrap=True)


def _table(found: Gate) -> Table:
    from rich.table import Table
    from rich.text import Text

    from chipdrift.gate.wording import amount

    table = Table(box=None, pad_edge=False)
    for head in ("", "scheme", "target", "limit", "found", "95 % interval", "allowed"):
        table.add_column(head, overflow="fold", justify="right" if head == "found" else "left")
    for check in sorted(found.checks, key=lambda check: not check.breaks):
        if check.outcome == "pass":
            continue
        between = ""
        if check.low is not None and check.high is not None:
            between = f"{amount(check.low)} to {amount(check.high)}"
        table.add_row(
            "broken" if check.outcome == "fail" else "unproven",
            check.scheme,
            Text(check.target),
            check.limit,
            check.shown,
            between,
            Text(check.allowed),
            style="bold red" if check.breaks else "",
        )
    return table


def _since(found: Gate) -> Iterator[str]:
    if not found.since:
        return
    changed = [change for change in found.since if change.kind != "same"]
    yield ""
    if not changed:
        yield f"Since the baseline: no change in {len(found.since)} cells."
    for change in changed:
        yield f"Since the baseline: {change.scheme} on {change.target}: {change.words}"

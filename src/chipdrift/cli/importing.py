"""``chipdrift import``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chipdrift.cli.console import parse_shapes, print_json, say, split
from chipdrift.cli.options import Json, Output

if TYPE_CHECKING:
    from rich.console import Console

    from chipdrift.records import Matrix

# In the terminal; --json and the report have all.
_MOST_PAIRS = 60


def import_(
    source: Annotated[
        Path,
        typer.Argument(
            help="A table (CSV, TSV, gzipped or not, Parquet), a folder with import.toml, or what "
            "qnn-net-run wrote."
        ),
    ],
    out: Annotated[Path, typer.Option("--out", "-o", help="The run folder that is made.")],
    index: Annotated[
        str | None,
        typer.Option("--index", help="A table's column that names the sample. Default: the row."),
    ] = None,
    label: Annotated[
        str | None, typer.Option("--label", help="A table's column with the right classes.")
    ] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option("--columns", help="A table's targets, comma-separated. Default: the rest."),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option("--scheme", help="The scheme under which the model ran. Default: asis."),
    ] = None,
    target: Annotated[
        str | None,
        typer.Option("--target", help="For qnn-net-run: what to call the device."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            "--against", help="The target that the others are set against. Default: the first."
        ),
    ] = None,
    origin: Annotated[
        str | None, typer.Option("--source", help="Who measured it, where it comes from: kept.")
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", help="The ONNX model that ran: names and shapes of its outputs."),
    ] = None,
    data: Annotated[
        str | None,
        typer.Option("--data", help="With --model: the samples, as for chipdrift matrix."),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option("--metric", help="Of outputs, not of predictions; as for chipdrift matrix."),
    ] = None,
    output: Output = None,
    shape: Annotated[
        list[str] | None,
        typer.Option("--shape", help="With --model: pin an input's open dimensions."),
    ] = None,
    common: Annotated[
        bool,
        typer.Option("--common", help="Keep only the samples that every target answered."),
    ] = False,
    json: Json = False,
) -> None:
    """Make a run of outputs that someone else measured; print which targets agree.

    Evidence is "reported" unless a manifest says otherwise. The run is read like any other, and
    the target import:RUN puts its outputs beside measured ones.

    Example: chipdrift import predictions.csv.gz --index qsl_idx -o runs/phones

    Example: chipdrift import phones/ --model model.onnx --data eval.npz -o runs/phones

    Exit code 0: done. 2: misuse, or a source that cannot be read; no run is left then.
    """
    from chipdrift.imports import run_import
    from chipdrift.report import write_report

    # What a user's own data function or metric prints must not stand before the JSON document.
    with contextlib.redirect_stdout(sys.stderr):
        found = run_import(
            source,
            out=out,
            index=index,
            label=label,
            columns=split(columns or []),
            scheme=scheme,
            target=target,
            against=against,
            origin=origin,
            model=model,
            data=data,
            metric=metric,
            output=output,
            shapes=parse_shapes(shape or []),
            common=common,
        )
    written = write_report(out)
    for warning in found.warnings:
        say(f"Warning: {warning}")
    if json:
        print_json(found)
    else:
        from rich.console import Console

        _print(found, Console(highlight=False))
    say(f"Report: {written}")


def _print(matrix: Matrix, console: Console) -> None:
    """Where the outputs come from, then the pairs, equal targets in one line."""
    from rich.table import Table
    from rich.text import Text

    from chipdrift.counts import counted

    count = f"{counted(len(matrix.targets), 'target')}, {counted(matrix.data.samples, 'sample')}"
    console.print(Text(f"{matrix.model.name}: outputs of {count}"))
    seen: dict[str, list[str]] = {}
    for cell in matrix.cells:
        told = "; ".join(f"{key} {value}" for key, value in cell.versions.items())
        seen.setdefault(f"{cell.evidence}: {told}" if told else cell.evidence, []).append(
            cell.target
        )
    for words, targets in seen.items():
        names = "every target" if len(seen) == 1 else ", ".join(dict.fromkeys(targets))
        console.print(Text(f"{names}: {words}"))
    console.print()
    if not matrix.metric.against_baseline:
        _print_accuracy(matrix, console)
    _print_silicon(matrix, console)
    many = len(matrix.schemes) > 1
    alike = [group for group in matrix.groups if len(group.targets) > 1]
    for group in alike:
        under = f"under {group.scheme} " if many else ""
        console.print(
            Text(f"Identical {under}on every sample: {', '.join(group.targets)}"), soft_wrap=True
        )
    if alike:
        console.print()
    first = {(g.scheme, t): g.targets[0] for g in matrix.groups for t in g.targets}
    size = {(g.scheme, g.targets[0]): len(g.targets) for g in matrix.groups}
    shown = [
        p
        for p in matrix.pairs
        if first[p.scheme, p.a] != first[p.scheme, p.b]
        and first[p.scheme, p.a] == p.a
        and first[p.scheme, p.b] == p.b
    ]
    if not shown:
        return
    table = Table(box=None, pad_edge=False)
    for head in (*(["scheme"] if many else []), "a", "b"):
        table.add_column(head, overflow="fold")
    for head in ("samples", "agreement", "95 % interval", "differ"):
        table.add_column(head, justify="right", no_wrap=True)
    shown.sort(key=lambda p: p.agreement)
    for pair in shown[:_MOST_PAIRS]:
        more = [
            f"{name} +{alone - 1}" if (alone := size[pair.scheme, name]) > 1 else name
            for name in (pair.a, pair.b)
        ]
        low, high = pair.agreement_low, pair.agreement_high
        table.add_row(
            *([pair.scheme] if many else []),
            *map(Text, more),
            f"{pair.samples:,}",
            _percent(pair.agreement),
            "" if low is None or high is None else f"{_percent(low)} to {_percent(high)}",
            f"{round((1 - pair.agreement) * pair.samples):,}",
        )
    console.print(table)
    if len(shown) > _MOST_PAIRS:
        console.print(Text(f"{len(shown) - _MOST_PAIRS} more pairs that agree more: --json."))


def _print_silicon(matrix: Matrix, console: Console) -> None:
    """How far simulators among the targets predicted the silicon among them."""
    if not matrix.silicon:
        return
    from rich.text import Text

    from chipdrift.report.printing import printable
    from chipdrift.report.silicon import silicon
    from chipdrift.report.terminal import print_checks

    print_checks(matrix, console)
    for finding in silicon(matrix):
        console.print(Text(printable(console, finding.text)))
    console.print()


def _print_accuracy(matrix: Matrix, console: Console) -> None:
    from rich.text import Text

    from chipdrift.report.figures import Figures

    figures = Figures.of(matrix)
    for cell in matrix.cells:
        if cell.metric is None:
            continue
        span = figures.span(cell.metric)
        words = f"{cell.target}: {cell.metric.name} {figures.value(cell.metric.value)}"
        real = cell.delta is not None and cell.delta.significant
        apart = f", differs from {matrix.baseline.target}'s" if real else ""
        under = f" under {cell.scheme}" if len(matrix.schemes) > 1 else ""
        console.print(Text(f"{words}{f' ({span})' if span else ''}{under}{apart}"))
    console.print()


def _percent(share: float) -> str:
    """Two places, and only 1 itself is 100 %."""
    return f"{100 * share:.2f} %" if share in (0.0, 1.0) else f"{min(100 * share, 99.99):.2f} %"

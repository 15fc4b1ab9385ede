"""``chipdrift regress``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from chipdrift.cli.console import print_json, say, split
from chipdrift.cli.options import Json

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from chipdrift.regress import Change, Regression

# Samples and nodes named in the terminal; --json has all.
_MOST = 5
_LIMITS = (
    "Limits, comma-separated: changed=0.5 (% of the samples have another answer), bits=0 (% have "
    "other bits), lsb=1 (largest distance), loss=1 (of the metric; points, where it is a share), "
    "moved=0 (nodes that left the NPU), slower=20 (% more time)."
)

_Before = Annotated[Path, typer.Argument(help="The run before, or the only one.")]
_After = Annotated[
    Path | None, typer.Argument(help="The run after. Default: another target of the same run.")
]
_Target = Annotated[str | None, typer.Option(help="The target before, in the first run.")]
_Against = Annotated[
    str | None, typer.Option(help="The target after. Default: the same, in the second run.")
]
_Schemes = Annotated[
    list[str] | None, typer.Option(help="Only these schemes, comma-separated. Default: all.")
]
_Limits = Annotated[list[str] | None, typer.Option(help=_LIMITS)]
_Data = Annotated[
    str | None, typer.Option(help="Where the samples are now, if not where they were.")
]


def regress(
    run_a: _Before,
    run_b: _After = None,
    target: _Target = None,
    against: _Against = None,
    scheme: _Schemes = None,
    fail_above: _Limits = None,
    data: _Data = None,
    json: Json = False,
) -> None:
    """Say what changed between two runs, or two releases of an SDK: answers, placement, time.

    Nothing is run: both sides have been measured. Without --target, targets are paired by their
    names; in one run each chip's releases, the oldest first.

    Example: chipdrift regress runs/monday runs/tuesday --fail-above changed=0.5,loss=1,moved=0

    Example: chipdrift regress runs/sdks --target htp:sm8550@2.50 --against htp:sm8550@2.51

    Exit code 0: done. 1: a limit is exceeded; a cell that lost its answers exceeds every limit.
    2: misuse, or two runs that cannot be compared.
    """
    from chipdrift.regress import run_regress

    # What a user's own data function or metric prints must not stand before the JSON document.
    with contextlib.redirect_stdout(sys.stderr):
        found = run_regress(
            run_a,
            run_b,
            target=target,
            against=against,
            schemes=split(scheme or []),
            limits=split(fail_above or []),
            data=data,
        )
    if json:
        print_json(found)
    else:
        from rich.console import Console

        _print(found, Console(highlight=False))
    for warning in found.warnings:
        say(f"Warning: {warning}")
    for change in found.changes:
        if change.exceeds:
            say(f"Above the limit: {_name(change)}: {_above(found, change)}")
    if found.failed:
        raise typer.Exit(1)


def _name(change: Change) -> str:
    return f"{change.scheme} on {_sides(change)}"


def _sides(change: Change) -> str:
    """ "htp:sm8550", "htp:sm8550@2.50 to @2.51"."""
    if change.a == change.b:
        return change.a
    chip, at, release = change.b.partition("@")
    same = at and chip == change.a.partition("@")[0]
    return f"{change.a} to {at}{release}" if same else f"{change.a} to {change.b}"


def _above(found: Regression, change: Change) -> str:
    from chipdrift.regress.limits import LIMITS, measured
    from chipdrift.report.figures import number

    if change.status_b != "ok":
        return f"it had answers and is {change.status_b} now: {change.reason_b}"
    words = []
    for name in change.exceeds:
        value = measured(name, change, found.metric)
        assert value is not None
        words.append(f"{number(value)} {LIMITS[name]}, limit {found.limits[name]:g}")
    return "; ".join(words)


def _print(found: Regression, console: Console) -> None:
    from rich.text import Text

    runs = found.a.run if found.a == found.b else f"{found.a.run} to {found.b.run}"
    console.print(
        Text(f"{found.model}: {runs}, {found.samples:,} samples, {found.metric.name}"), style="bold"
    )
    versions: dict[str, list[str]] = {}
    for change in found.changes:
        told = ", ".join(
            f"{name} {old or 'unknown'} to {new or 'unknown'}"
            for name, (old, new) in change.versions.items()
        )
        versions.setdefault(told, []).append(_sides(change))
    for told, pairs in versions.items():
        if told:
            console.print(Text(f"{', '.join(dict.fromkeys(pairs))}: {told}"), soft_wrap=True)
    console.print()
    console.print(_table(found))
    console.print(
        Text(
            "answers: samples with another one; bits: samples with any other bit; LSB: the largest "
            "distance; left: nodes that left the NPU; time: median of a sample on this host, of "
            "a phone by its own clock"
        ),
        style="dim",
    )
    console.print()
    for line in _sentences(found):
        console.print(Text(line), soft_wrap=True)


def _table(found: Regression) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    table.add_column("scheme", no_wrap=True)
    table.add_column("target", overflow="fold")
    heads = ("answers", "bits", "LSB", found.metric.name, "left", "time")
    for head in heads:
        table.add_column(head, justify="right", no_wrap=True)
    for change in found.changes:
        style = "bold red" if change.exceeds else ""
        table.add_row(change.scheme, Text(_sides(change)), *_figures(found, change), style=style)
    return table


def _figures(found: Regression, change: Change) -> list[str]:
    from chipdrift.report.figures import number, p_value, percent

    if change.agreement is None or change.identical is None:
        return [f"{change.status_a} to {change.status_b}", *[""] * 5]
    metric = ""
    if change.metric_a is not None and change.metric_b is not None:
        share = "wilson" in found.metric.interval.lower()
        values = (change.metric_a.value, change.metric_b.value)
        old, new = (f"{100 * v:.1f}" if share else f"{v:.4g}" for v in values)
        metric = old if old == new else f"{old} to {new}"
        if change.delta is not None and change.delta.value:
            metric += f" (p {p_value(change.delta.p_holm)})"
    time = change.timing
    return [
        f"{change.changed:,} of {change.samples:,}",
        percent(1 - change.identical),
        "" if change.lsb is None else f"{change.lsb.max:,}",
        metric,
        f"{len(change.left_npu)}",
        "" if time is None else f"x{number(time.ratio)}",
    ]


def _sentences(found: Regression) -> list[str]:
    """What the table has no room for, and whether anything changed at all."""
    lines = []
    for change in found.changes:
        if change.status_a != change.status_b:
            reason = change.reason_b if change.status_b != "ok" else change.reason_a
            lines.append(f"{_name(change)}: {change.status_a} to {change.status_b}: {reason}")
        for words, places in (("left the NPU", change.left_npu), ("is on it", change.joined_npu)):
            for place in places[:_MOST]:
                told = f": {place.reason}" if place.reason else ""
                lines.append(f"{_name(change)}: {place.op} {place.node} {words}{told}")
            if len(places) > _MOST:
                lines.append(f"{_name(change)}: {len(places) - _MOST} more nodes: --json")
        for one in change.parted[:_MOST]:
            label = f", right is {one.label}" if one.label is not None else ""
            lines.append(f"{_name(change)}: sample {one.sample}: {one.a} to {one.b}{label}")
        if change.delta is not None and change.delta.significant:
            lines.append(f"{_name(change)}: the difference in {found.metric.name} is real (Holm)")
    compared = [change for change in found.changes if change.identical is not None]
    same = [change for change in compared if change.identical == 1]
    moved = any(change.left_npu or change.joined_npu for change in compared)
    if compared and len(same) == len(compared) and not moved:
        lines.append(
            f"No answer, no bit and no node's place changed in {len(compared)} "
            f"cell{'s' if len(compared) != 1 else ''}."
        )
    return lines

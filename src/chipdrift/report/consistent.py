"""A consistency check on a terminal: a row for each pair of targets, a column for each input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chipdrift.counts import counted
from chipdrift.diagnose.compared import Comparison, Consistency
from chipdrift.report.briefly import shortened
from chipdrift.report.figures import listing
from chipdrift.report.printing import folded, printable
from chipdrift.report.speaker import Speaker

if TYPE_CHECKING:
    from rich.console import Console

_BEYOND = "bold red"
# Outputs that get a table of their own; of a model with more, those that part most.
_TABLES = 4
_REAL = "sample "


def print_consistency(found: Consistency, console: Console) -> None:
    """Who answered, the pairs, and what parts by more than rounding explains."""
    say, found = Speaker(console), shortened(found)
    say.line()
    say.line(f"{found.model}, {found.scheme}: the same inputs", style="bold")
    for asked in found.targets:
        say.line(f"{asked.target}: {asked.description or asked.target} ({asked.evidence})", hang=2)
        if asked.refused is not None:
            say.line(f"gave no answers: {asked.refused}", indent=2, hang=2, style="yellow")
    say.line()
    outputs: dict[str, list[Comparison]] = {}
    for entry in found.comparisons:
        outputs.setdefault(entry.output, []).append(entry)
    shown = sorted(outputs, key=lambda name: max(map(_size, outputs[name])), reverse=True)[:_TABLES]
    for name in (name for name in outputs if name in shown):
        _print_table(found, name, outputs[name], say)
    left = len(outputs) - len(shown)
    if left:
        say.line(f"{counted(left, 'more output')}, which part less: --json has them.")
    say.line(
        "=: the same bits; a figure: the largest distance of any value; !: more than rounding "
        f"explains.{' samples: the worst of them.' if _real(found) else ''}"
    )
    if found.repeats:
        same = listing([f"{name} = {earlier}" for name, earlier in found.repeats.items()], 6)
        say.line(f"Inputs that are the same for this model, and so ask nothing new: {same}.")
    say.line(found.basis)
    say.line()
    for excess in found.excesses:
        say.line(f"! {excess.words}.", hang=2, style=_BEYOND)
    if found.excesses:
        pair = next((e for e in found.excesses if e.node is not None), found.excesses[0])
        say.line(f"Why{f' {pair.node} does it' if pair.node else ''}:")
        say.command(pair.command, 2)
        if not _real(found):
            say.line("A diagnosis needs samples: name their file, or a function, for DATA.")
    elif any(c.bound is not None for c in found.comparisons):
        say.line("Nothing parts by more than the rounding of this model explains.")


def _real(found: Consistency) -> list[str]:
    return [name for name in found.inputs if name.startswith(_REAL)]


def _print_table(
    found: Consistency, output: str, entries: Sequence[Comparison], say: Speaker
) -> None:
    from rich.table import Table
    from rich.text import Text

    stepped = any(e.distance.max_lsb is not None for e in entries)
    unit = "in steps of its quantizer (LSB)" if stepped else "in its own unit"
    say.line(f"{output}, {unit}", style="bold")
    inputs = {name: [name] for name in found.inputs if not name.startswith(_REAL)}
    if _real(found):
        inputs["samples"] = _real(found)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("", no_wrap=True)
    for name in inputs:
        table.add_column(name, justify="right", no_wrap=True)
    pairs: dict[tuple[str, str], list[Comparison]] = {}
    for entry in entries:
        pairs.setdefault((entry.a, entry.b), []).append(entry)
    rows = [
        (a, b, [_cell([e for e in of if e.input in names]) for names in inputs.values()])
        for (a, b), of in pairs.items()
    ]
    bounds = [_bounds([e for e in entries if e.input in names]) for names in inputs.values()]
    columns = zip(inputs, *(cells for *_, cells in rows), bounds, strict=True)
    figures = sum(max(map(len, column)) + 2 for column in columns)
    room = max(17, say.console.width - figures - 2)
    for a, b, cells in rows:
        first = folded(printable(say.console, a), room)
        second = folded(printable(say.console, b), room - 2).replace("\n", "\n  ")
        styled = [Text(cell, style=_BEYOND if cell.endswith("!") else "") for cell in cells]
        table.add_row(Text(f"{first}\n  {second}"), *styled)
    table.add_row(Text("rounding explains", style="dim"), *(Text(b, style="dim") for b in bounds))
    say.console.print(table)
    say.line()


def _cell(entries: Sequence[Comparison]) -> str:
    """The worst of some comparisons; ``=`` where all are the same bits."""
    apart = [entry for entry in entries if entry.distance.differing]
    if not apart:
        return "="
    worst = max(apart, key=_size)
    steps = worst.distance.max_lsb
    words = f"{steps:,.0f}" if steps is not None else f"{worst.distance.max_abs:.2g}"
    return f"{words}!" if worst.exceeds else words


def _size(entry: Comparison) -> tuple[bool, float, float]:
    return entry.exceeds, entry.distance.max_lsb or 0.0, entry.distance.max_abs


def _bounds(entries: Sequence[Comparison]) -> str:
    """What rounding explains for an input; for several of them, the least and the most."""
    known = [
        f"{e.bound:.2g}" if e.bound_lsb is None else f"{e.bound_lsb:.0f}"
        for e in sorted(entries, key=lambda e: e.bound or 0.0)
        if e.bound is not None
    ]
    if not known:
        return "?"
    return known[0] if known[0] == known[-1] else f"{known[0]}-{known[-1]}"

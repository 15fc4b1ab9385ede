"""A consistency check on a terminal: a row for each pair of targets, a column for each input."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chipdrift.diagnose.compared import Comparison, Consistency

_BEYOND = "bold red"


def print_consistency(found: Consistency, console: Console) -> None:
    """Who answered, the pairs, and what parts by more than rounding explains."""
    console.print()
    console.print(Text(f"{found.model}, {found.scheme}: the same inputs", style="bold"))
    for asked in found.targets:
        words = f"{asked.target}: {asked.description or asked.target} ({asked.evidence})"
        console.print(Text(words))
        if asked.refused is not None:
            console.print(Text(f"  gave no answers: {asked.refused}", style="yellow"))
    if not found.comparisons:
        console.print(Text("\nFewer than two targets answered: nothing to compare."))
        return
    console.print()
    _print_table(found, console)
    console.print(
        Text(
            "= the same bits; else the largest distance, in steps of the output (LSB) or in its "
            "own unit. ! more than rounding explains."
        )
    )
    console.print(Text(f"Explained is {found.basis}."))
    console.print()
    for excess in found.excesses:
        console.print(Text("! ", style=_BEYOND) + Text(f"{excess.words}."))
    if found.excesses:
        where = next((e.node for e in found.excesses if e.node is not None), None)
        pair = found.excesses[0]
        console.print(
            Text(
                f"Why{f' {where} does it' if where else ''}: chipdrift diagnose MODEL --data DATA "
                f"--scheme {found.scheme} --target {pair.a} --against {pair.b}"
            )
        )
    elif any(c.bound is not None for c in found.comparisons):
        console.print(Text("Nothing parts by more than the rounding of this model explains."))


def _print_table(found: Consistency, console: Console) -> None:
    columns = [name for name in found.inputs if not name.startswith("sample ")]
    real = [name for name in found.inputs if name.startswith("sample ")]
    table = Table(box=None, pad_edge=False)
    table.add_column("", overflow="fold")
    for name in [*columns, *(["samples"] if real else [])]:
        table.add_column(name, justify="right")
    pairs: dict[tuple[str, str], dict[str, list[Comparison]]] = {}
    for entry in found.comparisons:
        pairs.setdefault((entry.a, entry.b), {}).setdefault(entry.input, []).append(entry)
    for (a, b), by_input in pairs.items():
        cells = [_cell(by_input[name]) for name in columns]
        if real:
            cells.append(_cell([entry for name in real for entry in by_input[name]]))
        table.add_row(Text(f"{a}\n  {b}"), *cells)
    console.print(table)


def _cell(entries: Sequence[Comparison]) -> Text:
    """The worst of some comparisons; ``=`` where all are the same bits."""
    apart = [entry for entry in entries if entry.distance.differing]
    if not apart:
        return Text("=")
    worst = max(apart, key=lambda e: (e.exceeds, e.distance.max_lsb or 0, e.distance.max_abs))
    steps = worst.distance.max_lsb
    words = f"{steps:,.0f}" if steps is not None else f"{worst.distance.max_abs:.2g}"
    return Text(f"{words}!", style=_BEYOND) if worst.exceeds else Text(words)

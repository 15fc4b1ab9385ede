"""The matrix on a terminal: a table that fits, then the summary's sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from chipdrift.counts import counted
from chipdrift.records import Cell, Matrix
from chipdrift.report.checked import Row, section
from chipdrift.report.figures import Figures
from chipdrift.report.phones import lines
from chipdrift.report.placed import assumption
from chipdrift.report.printing import folded, printable
from chipdrift.report.summary import findings

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_COLOURS = {"loss": "bold red", "gain": "green", "caution": "yellow", "missing": "dim"}
# A long name in a column's head is folded to a few lines, in a row's to a third of the terminal.
_HEAD = 14
_NAME = 22
_MOST_OTHERS = 8
_LEGEND = {
    "*": "* differs from the baseline (p < 0.05 after Holm's correction)",
    "=": "= shared with a chip that answers identically",
    "-": "- no result",
    "!": "! failed",
    "?": "? see the caution below",
}


def print_matrix(matrix: Matrix, console: Console) -> None:
    """Print the matrix and what was found, within ``console``'s width, with or without colour.

    Schemes are rows and targets columns, or the other way round where only that fits; where
    neither does, the columns are split over several tables.
    """
    figures = Figures.of(matrix)
    unit = f" in {figures.unit}" if figures.unit else ""
    _say(
        console,
        f"{matrix.model.name}: {matrix.metric.name}{unit}, ± half of its 95 % interval, on "
        f"{counted(matrix.data.samples, 'sample')} of {matrix.data.name}",
        "bold",
    )
    console.print()
    texts = {(cell.scheme, cell.target): _short(figures, cell) for cell in matrix.cells}
    for table in _tables(matrix, texts, console):
        console.print(table)
        console.print()
    for mark, words in _LEGEND.items():
        if any(text == mark if mark in "-!" else mark in text for text in texts.values()):
            _say(console, words, "dim")
    base = matrix.baseline
    value = "no figure" if base.metric is None else figures.value(base.metric.value)
    span = figures.span(base.metric) if base.metric is not None else None
    where = f"{base.words.capitalize()}, {base.scheme} on {base.target}"
    _say(console, f"{where}: {value}{f' ({span})' * bool(span)}")
    console.print()
    print_checks(matrix, console)
    _print_phones(matrix, console)
    for finding in findings(matrix):
        _say(console, finding.text, _COLOURS.get(finding.kind, ""), bullet=True)


def print_checks(matrix: Matrix, console: Console) -> None:
    """Simulator against silicon: a table where it fits, else a line for each check.

    All of the same chip; of other chips, which check no simulator, a few where there is nothing
    else.
    """
    found = section(matrix)
    if found is None or found.instead:
        return
    _say(console, "Simulator against silicon" + ("" if found.same else " of other chips"), "bold")
    shown = found.same or found.others[:_MOST_OTHERS]
    table = _checks_table(matrix, shown, console)
    if _fits(table, console):
        console.print(table)
    else:
        for row in shown:
            words = (
                f"{row.scheme}, {row.simulator} against {row.silicon} ({row.relation}): same "
                f"{matrix.metric.answer} on {row.same}, {row.predicted} predicted, "
                f"{row.observed} {row.evidence}, p {row.p}"
            )
            _say(console, words, bullet=True)
    left = len(found.same) + len(found.others) - len(shown)
    if left:
        words = f"{counted(left, 'comparison')} with other chips, which check no simulator"
        _say(console, f"{words}: see the report.", "dim")
    console.print()


def _print_phones(matrix: Matrix, console: Console) -> None:
    """One line per phone: what a sample took there, and how hot it was."""
    told = lines(matrix)
    if not told:
        return
    _say(console, "On the phones", "bold")
    for words, hot in told:
        _say(console, words, _COLOURS["caution"] if hot else "", bullet=True)
    console.print()


def _checks_table(matrix: Matrix, rows: Sequence[Row], console: Console) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 2))
    for head in ("", "simulator", "silicon", f"same {matrix.metric.answer}", matrix.metric.name):
        table.add_column(head, no_wrap=True)
    table.add_column("p", justify="right", no_wrap=True)
    for row in rows:
        lines = (
            [row.scheme],
            [*_folded(console, row.simulator), *row.relation.split(", ")],
            [*_folded(console, row.silicon), *_folded(console, row.its)],
            [row.same, row.span],
            [
                f"{row.predicted} predicted",
                f"{row.observed} {row.evidence}{'*' if row.significant else ''}",
            ],
            [row.p],
        )
        cells = ("\n".join(printable(console, line) for line in some if line) for some in lines)
        style = "bold red" if row.significant else ""
        table.add_row(*(Text(cell, style=style) for cell in cells))
    return table


def _folded(console: Console, name: str) -> list[str]:
    return folded(printable(console, name), _NAME).split("\n")


def _short(figures: Figures, cell: Cell) -> str:
    """One cell in a few characters: "97.3±1.3*", "=97.3", "-", "!"."""
    if cell.metric is None:
        return "!" if cell.status == "failed" else "-"
    text = figures.bare(cell.metric.value)
    half = figures.half_width(cell.metric)
    if cell.copied_from is not None:
        text = f"={text}"
    elif half is not None:
        text = f"{text}±{half}"
    if cell.reason or assumption(cell):
        text += "?"
    return f"{text}*" if cell.delta is not None and cell.delta.significant else text


def _tables(matrix: Matrix, texts: dict[tuple[str, str], str], console: Console) -> Sequence[Table]:
    """One table where it fits, with long names folded if need be; else targets down the page.

    There, schemes come in portions where they do not fit side by side.
    """
    schemes = [scheme.name for scheme in matrix.schemes]
    targets = list(matrix.targets)
    for fold in (None, _HEAD):
        across = _table(console, schemes, targets, texts, fold)
        if _fits(across, console):
            return [across]
    down = {(target, scheme): text for (scheme, target), text in texts.items()}
    tables = []
    while schemes:
        count = len(schemes)
        table = _table(console, targets, schemes, down)
        while count > 1 and not _fits(table, console):
            count -= 1
            table = _table(console, targets, schemes[:count], down)
        tables.append(table)
        schemes = schemes[count:]
    return tables


def _table(
    console: Console,
    rows: Sequence[str],
    columns: Sequence[str],
    texts: dict[tuple[str, str], str],
    fold: int | None = None,
) -> Table:
    """``fold``: the most characters of a column's head on one line."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 0, 0, 1))
    table.add_column("", no_wrap=True)
    for name in columns:
        start, colon, rest = printable(console, name).partition(":")
        head = "\n".join(folded(part, fold) for part in (start + colon, rest) if part)
        table.add_column(Text(head), justify="right", no_wrap=True)
    for row in rows:
        cells = [printable(console, texts.get((row, column), "")) for column in columns]
        styled = [Text(c, style="bold red" if c.endswith(("*", "!")) else "") for c in cells]
        table.add_row(Text(folded(printable(console, row), console.width // 3)), *styled)
    return table


def _fits(table: Table, console: Console) -> bool:
    unbounded = console.options.update(max_width=100_000)
    return console.measure(table, options=unbounded).maximum <= console.width


def _say(console: Console, words: str, style: str = "", bullet: bool = False) -> None:
    from rich.table import Table
    from rich.text import Text

    text = Text(printable(console, words), style=style)
    if not bullet:
        console.print(text)
        return
    grid = Table.grid(padding=(0, 1, 0, 0))
    grid.add_column()
    grid.add_column(overflow="fold")  # a path longer than the line is broken, not cut off
    grid.add_row(Text("-", style=style), text)
    console.print(grid)

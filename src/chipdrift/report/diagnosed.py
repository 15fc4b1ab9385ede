"""A diagnosis in the terminal."""

from __future__ import annotations

import re
from textwrap import wrap
from typing import TYPE_CHECKING

from chipdrift.findings import Diagnosis, Distance, Finding
from chipdrift.report.figures import counted, percent
from chipdrift.report.printing import command_lines, folded, printable
from chipdrift.report.told import (
    FLOAT,
    alike,
    at_the_output,
    left_npu,
    mechanisms_of,
    pair_of,
    thinned,
    where_from,
    where_they_part,
)

if TYPE_CHECKING:
    from rich.console import Console

_ROWS = 24
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
# Lines longer than this are hard to read on a wide terminal.
_WIDEST = 110
_INDENT = 9


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Verdict, findings worst first, and the drift along the depth, within ``console``'s width.

    Commands stand on lines of their own that can be copied as they are.
    """
    say = _Speaker(console)
    say.line(f"{diagnosis.model}, {pair_of(diagnosis)}", style="bold")
    for letter, side in (("A", diagnosis.a), ("B", diagnosis.b)):
        name = "" if side.name == side.target else f" is {side.name}"
        say.line(f"{letter}  {side.target}{name} ({side.evidence}){left_npu(side)}", hang=3)
    say.line()
    say.line(f"Verdict: {diagnosis.verdict.words}", hang=_INDENT, style="bold")
    say.line(where_they_part(diagnosis))
    apart = at_the_output(diagnosis)
    if apart:
        say.line(apart)
    _print_parts(diagnosis, say)
    say.line()
    for number, finding in enumerate(diagnosis.findings, 1):
        _print_finding(number, finding, say)
    if not diagnosis.findings:
        say.line(
            "No finding: nothing to mend."
            if alike(diagnosis)
            else "No finding: no check sees anything to mend in this."
        )
        say.line()
    if not alike(diagnosis):
        _print_drift(diagnosis, say)
    for note in diagnosis.notes:
        say.line(f"Note: {note.rstrip('.')}.", hang=6)


class _Speaker:
    """Prints text wrapped between words, with a hanging indent."""

    def __init__(self, console: Console) -> None:
        self.console = console
        self.width = min(console.width, _WIDEST)

    def line(self, words: str = "", indent: int = 0, hang: int = 0, style: str = "") -> None:
        """``words`` after ``indent`` spaces; what does not fit goes on after ``indent + hang``."""
        from rich.text import Text

        # A figure is not parted from its unit.
        text = re.sub(r"(?<=\d) (?=(%|dB|LSB)\b|%)", "\u00a0", printable(self.console, words))
        lines = wrap(
            text,
            max(20, self.width),
            initial_indent=" " * indent,
            subsequent_indent=" " * (indent + hang),
            break_on_hyphens=False,
        )
        for found in lines or [""]:
            self.console.print(Text(found.replace("\u00a0", " "), style=style), soft_wrap=True)

    def command(self, command: str, indent: int) -> None:
        """A command, broken only where the shell takes it so."""
        from rich.text import Text

        text = printable(self.console, command)
        first, *rest = command_lines(text, max(20, self.console.width - indent - 2))
        lines = [f"{' ' * indent}$ {first}", *(f"{' ' * indent}  {line}" for line in rest)]
        for found in lines:
            self.console.print(Text(found, style="bold"), soft_wrap=True)


def _print_parts(diagnosis: Diagnosis, say: _Speaker) -> None:
    parts = mechanisms_of(diagnosis)
    if not parts:
        return
    say.line(where_from(diagnosis))
    wide = max(len(share) for share, *_ in parts)
    for share, cause, nodes, _ in parts:
        where = f" ({counted(nodes, 'node')})" if nodes is not None else ""
        say.line(f"{share:>{wide}}  {cause}{where}", indent=2, hang=wide + 2)


def _print_finding(number: int, finding: Finding, say: _Speaker) -> None:
    say.line(
        f"{finding.severity:<{_INDENT - 1}} {number}. {finding.title}",
        hang=_INDENT + 3,
        style=_STYLES[finding.severity],
    )
    for label, words in (
        ("", finding.words),
        ("Shown by: ", finding.experiment),
        ("Fix: ", finding.fix),
    ):
        if words:
            say.line(f"{label}{words}", indent=_INDENT, hang=2 if label else 0)
    if finding.command:
        say.command(finding.command, _INDENT)
    say.line(f"More: chipdrift checks {finding.check}", indent=_INDENT, style="dim")
    say.line()


def _print_drift(diagnosis: Diagnosis, say: _Speaker) -> None:
    from rich.table import Table
    from rich.text import Text

    console = say.console
    own = {entry.tensor: entry.distance for entry in diagnosis.own}
    shown = thinned(diagnosis.activations, _ROWS)
    if not shown:
        return
    say.line("Drift along the depth", style="bold")
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("node", no_wrap=True)
    table.add_column("op", no_wrap=True)
    for name in ("differs", "mean", "max", "SQNR", "own"):
        table.add_column(name, justify="right", no_wrap=True)
    rows = [(a, (*_figures(a.distance), _own(own.get(a.tensor)))) for a in shown]
    # The figures are never cut: the names share what is left of the line, or are folded.
    widths = [max(len(c) for c in column) for column in zip(*(r for _, r in rows), strict=True)]
    heads = [len(n) for n in ("differs", "mean", "max", "SQNR", "own")]
    figures = sum(max(w, h) + 2 for w, h in zip(widths, heads, strict=True))
    room = max(16, console.width - figures - 4)
    node = max(len(a.node) for a in shown)
    op = min(max(len(a.op) for a in shown), max(6, room // 3, room - node))
    for activation, texts in rows:
        table.add_row(
            Text(folded(printable(console, activation.node), room - op)),
            Text(folded(printable(console, activation.op), op)),
            *texts,
        )
    console.print(table)
    theirs = (
        "the float model's" if diagnosis.b.target == FLOAT else f"those of {diagnosis.a.target}"
    )
    say.line(
        "differs, mean, max: share of values that are not equal and by how many steps of the "
        "quantizer (LSB), inside the model. SQNR: 40 dB is a difference of 1 % of the signal. "
        f"own: share that differs when the node runs alone, its inputs {theirs}.",
        style="dim",
    )
    left = len(diagnosis.activations) - len(shown)
    if left:
        say.line(f"{counted(left, 'activation')} more in the report and in the JSON (--json).")


def _own(distance: Distance | None) -> str:
    return "not run" if distance is None else percent(distance.differing)


def _figures(distance: Distance) -> tuple[str, str, str, str]:
    return (
        percent(distance.differing),
        f"{distance.mean_lsb:.3f}" if distance.mean_lsb is not None else "",
        f"{distance.max_lsb:,.0f} LSB"
        if distance.max_lsb is not None
        else f"{distance.max_abs:.3g}",
        f"{distance.sqnr_db:.0f} dB" if distance.sqnr_db is not None else "same",
    )

"""A diagnosis in the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from chipdrift.counts import counted
from chipdrift.findings import Diagnosis, Finding
from chipdrift.report.briefly import shortened
from chipdrift.report.deep import print_drift
from chipdrift.report.speaker import Speaker
from chipdrift.report.told import (
    alike,
    at_the_output,
    calm,
    commanded,
    layers_of,
    left_npu,
    left_over,
    mechanisms_of,
    pair_of,
    where_from,
    where_they_part,
)

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}
_INDENT = 9


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Verdict, findings worst first, and the drift along the depth, within ``console``'s width.

    Commands stand on lines of their own that can be copied as they are.
    """
    say, diagnosis = Speaker(console), shortened(diagnosis)
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
    said = calm(diagnosis)
    for number, (finding, earlier) in enumerate(
        zip(diagnosis.findings, commanded(diagnosis), strict=True), 1
    ):
        if said and finding.severity == "note":
            say.line(said)
            say.line()
            said = None
        _print_finding(number, finding, earlier, say)
    if not diagnosis.findings:
        say.line(
            "No finding: nothing to mend."
            if alike(diagnosis)
            else "No finding: no check sees anything to mend in this."
        )
        say.line()
    if not alike(diagnosis):
        print_drift(diagnosis, say)
    for note in diagnosis.notes:
        say.line(f"Note: {note.rstrip('.')}.", hang=6)


def _print_parts(diagnosis: Diagnosis, say: Speaker) -> None:
    parts = mechanisms_of(diagnosis)
    if not parts:
        return
    say.line(where_from(diagnosis))
    wide = max(len(share) for share, *_ in parts)
    for share, cause, nodes, _ in parts:
        where = f" ({counted(nodes, 'node')})" if nodes is not None else ""
        say.line(f"{share:>{wide}}  {cause}{where}", indent=2, hang=wide + 2)
    left = left_over(diagnosis)
    if left is not None:
        say.line(left)
    layers = layers_of(diagnosis)
    if layers is not None:
        say.line(layers, hang=2)


def _print_finding(number: int, finding: Finding, earlier: int | None, say: Speaker) -> None:
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
    if earlier is not None:
        say.line(f"Command: the same as for {earlier}", indent=_INDENT)
    elif finding.command:
        say.command(finding.command, _INDENT)
    say.line(f"More: chipdrift checks {finding.check}", indent=_INDENT, style="dim")
    say.line()

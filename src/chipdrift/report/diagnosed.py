"""A diagnosis in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from chipdrift.findings import WORDS, Activation, Diagnosis, Distance, Finding

_ROWS = 24
_STYLES = {"error": "bold red", "warning": "yellow", "note": "dim"}


def print_diagnosis(diagnosis: Diagnosis, console: Console) -> None:
    """Verdict, findings, the drift along the depth, and what each rests on."""
    a, b = diagnosis.a, diagnosis.b
    console.print()
    console.print(
        Text(f"{diagnosis.model}, {diagnosis.scheme}: {a.target} against {b.target}", style="bold")
    )
    console.print(Text(f"A {a.target}: {a.name} ({a.evidence})"))
    console.print(Text(f"B {b.target}: {b.name} ({b.evidence})"))
    console.print(Text(f"\nVerdict: {diagnosis.verdict.words}"))
    console.print(Text(_where(diagnosis)))
    if diagnosis.attributions:
        parts = [f"{WORDS[p.mechanism]} {100 * p.drift:.0f} %" for p in diagnosis.attributions]
        left = diagnosis.unexplained
        parts.append(f"unexplained {100 * left:.0f} %" if left is not None else "")
        console.print(Text("The drift at the output: " + ", ".join(filter(None, parts)) + "."))
    console.print()
    for finding in diagnosis.findings:
        _print_finding(finding, console)
    if not diagnosis.findings:
        console.print("No finding.")
    _print_drift(diagnosis, console)
    for note in diagnosis.notes:
        console.print(Text(f"Note: {note}."))


def _where(diagnosis: Diagnosis) -> str:
    if diagnosis.first_layer is None:
        return f"All activations of {diagnosis.samples} samples are identical, bit for bit."
    words = f"First activation that differs: {diagnosis.first_layer}"
    if diagnosis.first_op is not None:
        words += f"; first node that differs by itself: {diagnosis.first_op}"
    return words + f" ({diagnosis.samples} samples, nodes alone on {diagnosis.own_samples})."


def _print_finding(finding: Finding, console: Console) -> None:
    mark = Text(f"{finding.severity:<8}", style=_STYLES[finding.severity])
    console.print(mark + Text(f"{finding.title}  [{finding.check}]", style="bold"))
    for label, words in (
        ("", finding.words),
        ("shown by: ", finding.experiment),
        ("fix: ", finding.fix),
        ("", f"$ {finding.command}" if finding.command else ""),
    ):
        if words:
            console.print(Text(f"        {label}{words}"), soft_wrap=False)
    console.print()


def _print_drift(diagnosis: Diagnosis, console: Console) -> None:
    own = {entry.tensor: entry.distance for entry in diagnosis.own}
    shown = _thinned(diagnosis.activations)
    table = Table(title="Drift along the depth", title_justify="left", box=None, pad_edge=False)
    for name in ("node", "op"):
        table.add_column(name, overflow="fold")
    for name in ("differs", "mean", "max", "SQNR", "adds itself"):
        table.add_column(name, justify="right")
    for activation in shown:
        mine = own.get(activation.tensor)
        table.add_row(
            activation.node,
            activation.op,
            *_figures(activation.distance),
            f"{100 * mine.differing:.2f} %" if mine is not None else "",
        )
    console.print(table)
    left = len(diagnosis.activations) - len(shown)
    if left:
        console.print(f"{left} further activations are in the JSON document (--json).")


def _figures(distance: Distance) -> tuple[str, str, str, str]:
    return (
        f"{100 * distance.differing:.2f} %",
        f"{distance.mean_lsb:.3f}" if distance.mean_lsb is not None else "",
        f"{distance.max_lsb:.0f} LSB"
        if distance.max_lsb is not None
        else f"{distance.max_abs:.3g}",
        f"{distance.sqnr_db:.0f} dB" if distance.sqnr_db is not None else "same",
    )


def _thinned(activations: tuple[Activation, ...]) -> list[Activation]:
    """At most so many rows, evenly along the depth, the first that differs among them."""
    if len(activations) <= _ROWS:
        return list(activations)
    step = len(activations) / _ROWS
    chosen = {int(i * step) for i in range(_ROWS)} | {len(activations) - 1}
    first = next((i for i, a in enumerate(activations) if a.distance.differing > 0), None)
    if first is not None:
        chosen.add(first)
    return [activations[i] for i in sorted(chosen)]

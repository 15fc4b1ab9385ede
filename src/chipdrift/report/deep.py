"""The drift along the depth of a model as a table on a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

from chipdrift.counts import counted
from chipdrift.findings import Activation, Diagnosis, Distance, Own
from chipdrift.report.figures import listing, percent, pieces
from chipdrift.report.printing import folded, printable, shortened
from chipdrift.report.speaker import Speaker
from chipdrift.report.told import FLOAT, stepped, thinned

_ROWS = 24
# An op's name is still to be told with so many characters.
_SHORTEST = 7
_NOT_RUN = "not run"
_BESIDE = "+"


@final
class _Column(NamedTuple):
    """A column of figures: its head, and a cell for each row."""

    head: str
    cells: list[str]

    @property
    def width(self) -> int:
        return max(map(len, (self.head, *self.cells)))


def print_drift(diagnosis: Diagnosis, say: Speaker) -> None:
    """A row for each activation (of many, some), its figures inside the model and alone.

    The figures are never cut: names share what is left of the line, or are folded.
    """
    from rich.table import Table
    from rich.text import Text

    shown = thinned(diagnosis.activations, _ROWS)
    if not shown:
        return
    say.line("Drift along the depth", style="bold")
    own = {entry.tensor: entry for entry in diagnosis.own}
    columns = _columns(diagnosis, shown, own)
    names = [printable(say.console, a.node) for a in shown]
    ops = [printable(say.console, a.op) for a in shown]
    room = say.console.width - sum(column.width + 2 for column in columns) - 2
    node, op = _widths(names, ops, room)
    table = Table(box=None, pad_edge=False, padding=(0, 1))
    table.add_column("node", no_wrap=True)
    table.add_column("op", no_wrap=True)
    for column in columns:
        table.add_column(column.head, justify="right", no_wrap=True)
    for row, (name, kind) in enumerate(zip(names, ops, strict=True)):
        cells = [column.cells[row] for column in columns]
        table.add_row(Text(folded(name, node)), Text(shortened(kind, op)), *cells)
    say.console.print(table)
    say.line(_legend(diagnosis, shown, own), style="dim")
    for words in _not_run(shown, own):
        say.line(words, hang=2)
    left = len(diagnosis.activations) - len(shown)
    if left:
        say.line(f"{counted(left, 'activation')} more in the report and in the JSON (--json).")


def _columns(
    diagnosis: Diagnosis, shown: Sequence[Activation], own: dict[str, Own]
) -> list[_Column]:
    far = [a.distance for a in shown]
    alone = [own[a.tensor].distance if a.tensor in own else None for a in shown]
    columns = [_Column("differs", [percent(d.differing) for d in far])]
    if any(d.mean_lsb is not None for d in far):
        columns.append(
            _Column("mean", ["" if d.mean_lsb is None else f"{d.mean_lsb:.3f}" for d in far])
        )
    columns.append(_Column("max", [_largest(d) for d in far]))
    columns.append(_Column("SQNR", [_noise(d) for d in far]))
    shares = [
        _NOT_RUN if d is None else percent(d.differing) + _BESIDE * bool(own[a.tensor].together)
        for a, d in zip(shown, alone, strict=True)
    ]
    columns.append(_Column("own", shares))
    if diagnosis.b.target == FLOAT:
        noises = ["" if d is None else _noise(d) for d in alone]
        columns.append(_Column("own SQNR", noises))
    return columns


def _largest(distance: Distance) -> str:
    if distance.max_lsb is not None:
        return f"{distance.max_lsb:,.0f} LSB"
    return f"{distance.max_abs:.3g}"


def _noise(distance: Distance) -> str:
    return f"{distance.sqnr_db:.0f} dB" if distance.sqnr_db is not None else "same"


def _widths(names: Sequence[str], ops: Sequence[str], room: int) -> tuple[int, int]:
    """The columns of nodes and ops in ``room`` characters.

    Ops are shortened before a node's name is folded within one of its words.
    """
    node = max(map(len, names))
    piece = max(len(part) for name in names for part in pieces(name))
    op = max(map(len, ops))
    if node + op <= room:
        return node, op
    op = max(min(op, _SHORTEST), min(op, max(room - node, min(room // 3, room - piece))))
    return max(12, room - op), op


def _legend(diagnosis: Diagnosis, shown: Sequence[Activation], own: Mapping[str, Own]) -> str:
    steps = any(a.distance.max_lsb is not None for a in shown)
    how = (
        "differs, mean, max: share of values that are not equal and by how many steps of the "
        "quantizer (LSB), inside the model."
        if steps
        else "differs, max: share of values that are not equal and by how much at most, inside the "
        "model."
    )
    floating = diagnosis.b.target == FLOAT
    fed = "the float model's" if floating else f"those of {diagnosis.a.target}"
    also = (
        "; own SQNR: what that leaves. Both SQNR count the rounding to integers, too"
        if floating
        else ""
    )
    joined = any(a.tensor in own and own[a.tensor].together for a in shown)
    beside = f" {_BESIDE}: run with the nodes that it is computed together with." if joined else ""
    return (
        f"{how} SQNR: the power of A's signal over that of the difference; 40 dB is a difference "
        f"of 1 % of A's signal, so A and B exchanged give another figure. own: share of "
        f"{'integers' if steps and stepped(diagnosis) else 'values'} that differs when the node "
        f"runs alone, its inputs {fed}{also}.{beside}"
    )


def _not_run(shown: Sequence[Activation], own: dict[str, Own]) -> list[str]:
    """Why the nodes marked so were not run alone, each reason once."""
    reasons: dict[str, list[str]] = {}
    for activation in shown:
        entry = own.get(activation.tensor)
        if entry is None:
            words = "it is no node of its own in the model as it was cut up"
        elif entry.distance is None:
            words = entry.words or "no value of it could be compared"
        else:
            continue
        reasons.setdefault(words.rstrip("."), []).append(activation.node)
    return [
        f"{_NOT_RUN}: {listing(list(dict.fromkeys(nodes)), 4)}: {words}."
        for words, nodes in reasons.items()
    ]

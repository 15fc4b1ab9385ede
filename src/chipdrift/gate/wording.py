"""What a check says: one sentence with the cell, the figure, the limit and what to do."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from typing import Any

from chipdrift.counts import counted
from chipdrift.gate.judge import Figure
from chipdrift.records import Cell, Matrix, MetricInfo

_MOST_NAMES = 4
_LONGEST = 80
_STEPS = (3, 4, 5, 6, 9)


def is_share(metric: MetricInfo) -> bool:
    """Whether the metric is a proportion: Wilson's interval says so. Its points are per cent."""
    return "wilson" in metric.interval.lower()


def points(value: str, metric: MetricInfo) -> str:
    """ "1.5 points of top1", "0.02 of spearman": an amount of the metric in its unit."""
    unit = "point " if value == "1" else "points "
    return f"{value} {unit if is_share(metric) else ''}of {metric.name}"


def amount(value: float, beside: float | None = None) -> str:
    """A number in three digits, or as many as tell it from the limit ``beside`` it."""
    for digits in _STEPS:
        text, other = f"{value:.{digits}g}", None if beside is None else f"{beside:.{digits}g}"
        if text != other or value == beside:
            break
    return f"{value:,.0f}" if abs(value) >= 1000 and value == round(value) else text


def names(nodes: Sequence[str], most: int = _MOST_NAMES) -> str:
    """ "a, b, c and 3 more", long names cut."""
    shown = [n if len(n) <= _LONGEST else f"{n[:50]}...{n[-25:]}" for n in nodes[:most]]
    more = len(nodes) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more > 0 else "")


def interval(figure: Figure) -> str:
    """ "95 % interval 0.2 to 3.1", or that there is none; nothing for what is counted."""
    if not figure.sampled:
        return ""
    if figure.low is None or figure.high is None:
        return "no interval can be given"
    return f"95 % interval {amount(figure.low)} to {amount(figure.high)}"


def basis(cell: Cell) -> str:
    """ "597 samples, vendor-simulator", and whose answers they are."""
    words = f"{counted(cell.samples, 'sample')}, {cell.evidence}"
    return words if cell.copied_from is None else f"{words}, answers shared with {cell.copied_from}"


def sentence(subject: str, fact: str, told: str, limit: str, ending: str) -> str:
    """One sentence; ``told`` stands in brackets, ``ending`` says what to do or why it holds."""
    brackets = f" ({told})" if told else ""
    end = f"{fact}{brackets}; {limit}" + (f": {ending}" if ending else "")
    return f"{subject}: {end}."


def diagnose_command(run: str, scheme: str, target: str, against: str) -> str:
    """The command that looks into a cell of the run."""
    words = ["chipdrift", "diagnose", run, "--scheme", scheme, "--target", target]
    return shlex.join([*words, "--against", against])


def neighbour(matrix: Matrix, cell: Cell) -> str | None:
    """The target under the same scheme whose answers are furthest from this cell's."""
    met = [p for p in matrix.pairs if p.scheme == cell.scheme and cell.target in (p.a, p.b)]
    if not met:
        return None
    worst = min(met, key=lambda pair: (pair.agreement, pair.identical))
    return worst.b if worst.a == cell.target else worst.a


def sounder(matrix: Matrix, cell: Cell, metric: MetricInfo) -> str:
    """What to set a cell that lost against: a target that lost less, else the float model.

    Where every target loses as much it is the quantization, and the float model shows that.
    """
    sign = -1.0 if metric.higher_is_better else 1.0

    def lost(one: Cell) -> float:
        return math.inf if one.delta is None else sign * one.delta.value

    others = [c for c in matrix.cells if c.scheme == cell.scheme and c.status == "ok" and c != cell]
    best = min(others, key=lost, default=None)
    return "float" if best is None or lost(best) > lost(cell) / 2 else best.target


def clean(value: Any) -> str:
    """Words on one line, of characters that XML and terminals can hold."""
    text = "".join(c if c.isprintable() else " " for c in str(value))
    return " ".join(text.split())

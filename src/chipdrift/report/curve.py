"""The drift along the depth of the model, drawn: one chart for all pairs under one scheme.

The drawing stretches with the page: lines and dots keep their width, and all text stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import final

from chipdrift.findings import Diagnosis, Distance
from chipdrift.report.told import measured

# More lines than this in one chart cannot be told apart.
MOST = 6
_WIDE, _HIGH = 1000.0, 200.0
# Where a value lies that has no place on the axis of decibels: nothing differs.
_SAME = _HIGH - 8
# Decibels from which on it is all the same: a millionth of the signal.
_QUIET = 120
_TOPS = (1e-4, 1e-3, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)


@final
@dataclass(frozen=True)
class Line:
    """A pair's curve as SVG path data: through all activations, and a dot for each node's own."""

    label: str
    number: int
    path: str
    dots: str


@final
@dataclass(frozen=True)
class Panel:
    """One measure: its lines, and the ticks as (percent from the top, text)."""

    title: str
    lines: tuple[Line, ...]
    ticks: tuple[tuple[float, str], ...]


@final
@dataclass(frozen=True)
class Column:
    """One place along the depth: where it lies, and what all pairs measured there in words."""

    x: float
    width: float
    title: str


@final
@dataclass(frozen=True)
class Chart:
    """The pairs of one scheme; ``first`` and ``last`` name the ends of the axis."""

    scheme: str
    lines: tuple[tuple[int, str], ...]
    panels: tuple[Panel, ...]
    columns: tuple[Column, ...]
    first: str
    last: str


@dataclass(frozen=True)
class _Curve:
    """A pair's worst distance at each depth, in place and alone, and who is there."""

    label: str
    seen: dict[int, Distance]
    own: dict[int, Distance]
    names: dict[int, str]


def charts(diagnoses: Sequence[Diagnosis]) -> list[Chart]:
    """A chart for each scheme (and model file), split where it has more than :data:`MOST` pairs."""
    groups: dict[tuple[str, str], list[Diagnosis]] = {}
    for diagnosis in diagnoses:
        groups.setdefault((diagnosis.scheme, diagnosis.model_sha256), []).append(diagnosis)
    made = []
    for (scheme, _), group in groups.items():
        curves = [curve for curve in map(_curve, group) if curve.seen]
        made += [_chart(scheme, curves[at : at + MOST]) for at in range(0, len(curves), MOST)]
    return made


def _curve(diagnosis: Diagnosis) -> _Curve:
    seen: dict[int, Distance] = {}
    own: dict[int, Distance] = {}
    names: dict[int, str] = {}
    for activation in (*diagnosis.activations, *diagnosis.outputs):
        names.setdefault(activation.depth, f"{activation.node} ({activation.op})")
        _worst(seen, activation.depth, activation.distance)
    for entry in diagnosis.own:
        if entry.distance is not None:
            _worst(own, entry.depth, entry.distance)
    return _Curve(f"{diagnosis.a.target} against {diagnosis.b.target}", seen, own, names)


def _worst(found: dict[int, Distance], depth: int, distance: Distance) -> None:
    if depth not in found or found[depth].differing < distance.differing:
        found[depth] = distance


def _chart(scheme: str, curves: Sequence[_Curve]) -> Chart:
    names = {depth: name for curve in curves for depth, name in curve.names.items()}
    count = max(names) + 1
    step = _WIDE / count

    def across(depth: int) -> float:
        return step * (depth + 0.5)

    distances = [d for c in curves for d in (*c.seen.values(), *c.own.values())]
    panels = [_shares(curves, distances, across)]
    decibels = [d.sqnr_db for d in distances if d.sqnr_db is not None]
    if decibels:
        panels.append(_noise(curves, decibels, across))
    columns = []
    for depth, name in sorted(names.items()):
        words = [name]
        for curve in curves:
            at, alone = curve.seen.get(depth), curve.own.get(depth)
            prefix = f"{curve.label}: " if len(curves) > 1 else ""
            if at is not None:
                words.append(f"{prefix}{measured(at)}")
            if alone is not None:
                words.append(f"{prefix}alone: {measured(alone)}")
        columns.append(Column(round(across(depth) - step / 2, 2), round(step, 2), "\n".join(words)))
    return Chart(
        scheme=scheme,
        lines=tuple((number, curve.label) for number, curve in enumerate(curves, 1)),
        panels=tuple(panels),
        columns=tuple(columns),
        first=names[min(names)],
        last=names[max(names)],
    )


def _shares(
    curves: Sequence[_Curve], distances: Sequence[Distance], across: Callable[[int], float]
) -> Panel:
    """The share of values that differ, from nothing to a round number over the largest."""
    largest = max((d.differing for d in distances), default=0.0)
    top = next((t for t in _TOPS if t >= largest), 1.0)

    def down(distance: Distance) -> float:
        return _HIGH * (1 - distance.differing / top) * 0.94 + _HIGH * 0.03

    ticks = tuple(
        (round(3 + 94 * (1 - part), 1), f"{100 * top * part:g} %" if part else "0")
        for part in (0.0, 0.5, 1.0)
    )
    return Panel("Share of values that differ", _lines(curves, across, down), ticks)


def _noise(
    curves: Sequence[_Curve], decibels: Sequence[float], across: Callable[[int], float]
) -> Panel:
    """The SQNR, the worst (lowest) at the top, what does not differ at the bottom."""
    finite = [min(200.0, max(-40.0, d)) for d in decibels]
    low = min(_QUIET - 10, 10 * math.floor(min(finite) / 10))
    high = min(_QUIET, max(low + 10, 10 * math.ceil(max(finite) / 10)))
    bottom = _HIGH * 0.85

    def down(distance: Distance) -> float:
        if distance.sqnr_db is None:
            return _SAME
        level = min(float(high), max(float(low), distance.sqnr_db))
        return _HIGH * 0.03 + (bottom - _HIGH * 0.03) * (level - low) / (high - low)

    middle = (low + high) / 2
    ticks = [
        (round(100 * (0.03 + 0.82 * (level - low) / (high - low)), 1), f"{level:g} dB")
        for level in (low, middle, high)
    ]
    if max(finite) > high:
        ticks[-1] = (ticks[-1][0], f"> {high:g} dB")
    ticks.append((100 * _SAME / _HIGH, "same"))
    title = "SQNR: noise that the difference adds (higher in the chart is worse)"
    return Panel(title, _lines(curves, across, down), tuple(ticks))


def _lines(
    curves: Sequence[_Curve],
    across: Callable[[int], float],
    down: Callable[[Distance], float],
) -> tuple[Line, ...]:
    lines = []
    for number, curve in enumerate(curves, 1):
        points = [(across(depth), down(found)) for depth, found in sorted(curve.seen.items())]
        # Side by side, so that none hides another's.
        aside = (number - (len(curves) + 1) / 2) * (across(1) - across(0)) / (len(curves) + 1)
        dots = [(across(depth) + aside, down(found)) for depth, found in sorted(curve.own.items())]
        lines.append(
            Line(
                label=curve.label,
                number=number,
                path="M" + "L".join(f"{x:.1f},{y:.1f}" for x, y in points),
                # A line of no length with round ends is a dot, however the drawing is stretched.
                dots="".join(f"M{x:.1f},{y:.1f}h0" for x, y in dots),
            )
        )
    return tuple(lines)

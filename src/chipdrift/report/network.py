"""A diagnosed model as a graph of its nodes, one below the other, coloured by own error."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import final

from chipdrift.diagnose.explorer import STEPS, error_percent, step_of
from chipdrift.findings import WORDS, Activation, Diagnosis, Distance, Explanation, Own
from chipdrift.report.figures import listing, percent

# Beyond so many lines side by side the rest share the last one.
_LANES = 14
_PITCH = 9
_LEFT = 9


@final
@dataclass(frozen=True)
class Row:
    """A node: its lines in the graph as SVG path data, its tint, and its figures in words.

    ``tint`` is the place in :data:`~chipdrift.diagnose.explorer.STEPS`, None where the node was not
    run alone. ``own`` and ``arrived`` are (share that differs, steps, error) alone and in place.
    """

    node: str
    op: str
    others: str
    path: str
    tint: int | None
    own: tuple[str, str, str] | None
    arrived: tuple[str, str, str] | None
    why: str
    note: str


@final
@dataclass(frozen=True)
class Network:
    """All nodes in the model's order; ``width`` is that of the drawing in pixels."""

    rows: tuple[Row, ...]
    width: int
    drawn: bool
    steps: tuple[str, ...]


def network(diagnosis: Diagnosis) -> Network:
    """The graph of a diagnosis; without edges where it was made before they were kept."""
    groups: dict[int, list[Own]] = {}
    for entry in diagnosis.own:
        groups.setdefault(entry.depth, []).append(entry)
    depths = sorted(groups)
    row_of = {depth: row for row, depth in enumerate(depths)}
    makers = {entry.tensor: row_of[entry.depth] for entry in diagnosis.own}
    readers: dict[int, set[int]] = {}
    for entry in diagnosis.own:
        row = row_of[entry.depth]
        for tensor in entry.inputs:
            source = makers.get(tensor)
            if source is not None and source < row:
                readers.setdefault(source, set()).add(row)
    paths, lanes = _drawn(len(depths), readers)
    seen = {a.tensor: a for a in (*diagnosis.activations, *diagnosis.outputs)}
    why = {explanation.node: explanation for explanation in diagnosis.explanations}
    rows = tuple(
        _row(groups[depth], seen, why, path, diagnosis)
        for depth, path in zip(depths, paths, strict=True)
    )
    return Network(rows, 2 * _LEFT + _PITCH * lanes, bool(readers), _legend())


def _legend() -> tuple[str, ...]:
    bounds = [bound for bound, _ in STEPS]
    words = ["identical"]
    for low, high in pairwise(bounds):
        if high == bounds[-1]:
            words.append(f"more than {low:g} %")
        else:
            words.append(f"up to {high:g} %")
    return tuple(words)


def _row(
    entries: list[Own],
    seen: dict[str, Activation],
    why: dict[str, Explanation],
    path: str,
    diagnosis: Diagnosis,
) -> Row:
    lead = entries[0]
    own = _largest([e.distance for e in entries if e.distance is not None])
    arrived = _largest([seen[e.tensor].distance for e in entries if e.tensor in seen])
    sides = ((diagnosis.a.target, lead.in_place_a), (diagnosis.b.target, lead.in_place_b))
    apart = [name for name, same in sides if same is False]
    notes = []
    if lead.words:
        notes.append(f"not run alone: {lead.words}")
    if apart:
        words = f"inside the model {listing(apart)} computes it otherwise than alone"
        if lead.together:
            words += f"; its own figures are with {listing(list(lead.together), 4)} beside it"
        notes.append(words)
    return Row(
        node=lead.node,
        op=lead.op,
        others=listing([name for name in lead.nodes if name != lead.node], 4),
        path=path,
        tint=step_of(own) if own is not None else None,
        own=_figures(own) if own is not None else None,
        arrived=_figures(arrived) if arrived is not None else None,
        why=_causes(why.get(lead.node)),
        note="; ".join(notes),
    )


def _largest(distances: list[Distance]) -> Distance | None:
    return max(distances, key=lambda d: (error_percent(d), d.differing), default=None)


def _figures(distance: Distance) -> tuple[str, str, str]:
    steps = ""
    if distance.max_lsb is not None and distance.mean_lsb is not None:
        steps = f"{distance.max_lsb:,.0f} / {distance.mean_lsb:.3g}"
    elif distance.differing:
        steps = f"{distance.max_abs:.3g} abs."
    if distance.sqnr_db is None:
        return percent(distance.differing), steps, "same"
    return percent(distance.differing), steps, f"{distance.sqnr_db:.0f} dB"


def _causes(explanation: Explanation | None) -> str:
    """The mechanisms with their part in the node's difference; what remains, where it is much."""
    if explanation is None:
        return ""
    words = [
        f"{WORDS.get(m.mechanism, m.mechanism)} {100 * m.closes:.0f} %"
        for m in sorted(explanation.mechanisms, key=lambda m: -m.closes)
        if m.closes >= 0.005
    ]
    if explanation.unexplained >= 0.005:
        words.append(f"unexplained {100 * explanation.unexplained:.0f} %")
    return ", ".join(words)


def _drawn(rows: int, readers: dict[int, set[int]]) -> tuple[list[str], int]:
    """Each row's path in a box 100 high, and the number of lanes beside the nodes' own.

    A node feeds the one below it by a straight line, and those further down by one lane from which
    each of them is reached.
    """
    lanes: list[int] = []  # the last row of what each lane holds
    paths = [""] * rows
    for source in range(rows):
        targets = readers.get(source, set())
        if source + 1 in targets:
            paths[source] += f"M{_LEFT},50V100"
            paths[source + 1] += f"M{_LEFT},0V50"
        far = sorted(target for target in targets if target > source + 1)
        if not far:
            continue
        lane = next((i for i, end in enumerate(lanes) if end <= source), len(lanes))
        lane = min(lane, _LANES - 1)
        if lane == len(lanes):
            lanes.append(0)
        lanes[lane] = max(lanes[lane], far[-1])
        x = _LEFT + _PITCH * (lane + 1)
        paths[source] += f"M{_LEFT},50C{x},50 {x},60 {x},100"
        for row in range(source + 1, far[-1] + 1):
            if row in far:
                paths[row] += f"M{x},0C{x},40 {x},50 {_LEFT},50"
            if row != far[-1]:
                paths[row] += f"M{x},0V100"
    return paths, len(lanes)

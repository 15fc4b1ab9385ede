"""Placement: what ran on the NPU and what left it, per target and scheme."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import final

from chipdrift.records import Cell, Matrix, NodePlace
from chipdrift.report.figures import has_npu, name_targets


@final
@dataclass(frozen=True)
class Place:
    """One cell's nodes. ``mark`` is "npu", "mixed", "cpu" (all left the NPU) or "host"."""

    mark: str
    npu: int
    cpu: int
    graph_io: int
    conversions: int
    fallback: int


@final
@dataclass(frozen=True)
class Fallback:
    """The same list of nodes that left the NPU, with all targets that share it."""

    scheme: str
    targets: str
    npu: int
    ops: tuple[tuple[str, int], ...]
    nodes: tuple[NodePlace, ...]


@final
@dataclass(frozen=True)
class Placements:
    """Rows are targets, columns schemes; None where there is no placement."""

    schemes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Place | None, ...]], ...]
    fallbacks: tuple[Fallback, ...]


def placements(matrix: Matrix) -> Placements:
    """Every placement, and each distinct list of fallback nodes once, the longest first."""
    cells = {(cell.scheme, cell.target): cell for cell in matrix.cells}
    schemes = tuple(
        scheme.name
        for scheme in matrix.schemes
        if any(c.scheme == scheme.name and c.placement is not None for c in matrix.cells)
    )
    rows = tuple(
        (target, row)
        for target in matrix.targets
        if any(row := tuple(_place(cells.get((scheme, target))) for scheme in schemes))
    )
    alike: dict[tuple[str, int, tuple[NodePlace, ...]], list[str]] = defaultdict(list)
    for cell in matrix.cells:
        place = cell.placement
        if place is not None and place.fallback:
            alike[cell.scheme, place.npu, place.fallback].append(cell.target)
    fallbacks = [
        Fallback(
            scheme=scheme,
            targets=name_targets(matrix, targets, most=30),
            npu=npu,
            ops=tuple(Counter(node.op for node in nodes).most_common()),
            nodes=nodes,
        )
        for (scheme, npu, nodes), targets in alike.items()
    ]
    fallbacks.sort(key=lambda fallback: -len(fallback.nodes))
    return Placements(schemes, rows, tuple(fallbacks))


def _place(cell: Cell | None) -> Place | None:
    if cell is None or cell.placement is None:
        return None
    place = cell.placement
    mark = "host"
    if has_npu(cell):
        mark = "cpu" if place.npu == 0 else "mixed" if place.fallback else "npu"
    return Place(
        mark=mark,
        npu=place.npu,
        cpu=place.cpu,
        graph_io=place.graph_io,
        conversions=place.conversions,
        fallback=len(place.fallback),
    )

"""Placement: what ran on the NPU, or in our engine, and what left it, per target and scheme."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Literal, final

from chipdrift.records import Cell, Matrix, NodePlace
from chipdrift.report.figures import has_npu, is_engine, name_targets

# Nodes that left the NPU, that the engine left to onnxruntime, that rest on an unknown rule.
Listed = Literal["npu", "engine", "assumed"]


@final
@dataclass(frozen=True)
class Place:
    """One cell's nodes. ``mark`` is "npu", "mixed", "cpu" (all left the NPU) or "host".

    ``engine``: of our engine, where ``npu`` counts the nodes under its profile's rules.
    """

    mark: str
    engine: bool
    npu: int
    cpu: int
    graph_io: int
    conversions: int
    fallback: int
    assumed: int


@final
@dataclass(frozen=True)
class NodeList:
    """The same list of nodes, with all targets that share it; ``total`` nodes in all."""

    what: Listed
    scheme: str
    targets: str
    total: int
    ops: tuple[tuple[str, int], ...]
    nodes: tuple[NodePlace, ...]


@final
@dataclass(frozen=True)
class Placements:
    """Rows are targets, columns schemes; None where there is no placement.

    ``npu`` and ``engine``: whether any target has an NPU, and whether any is our engine.
    """

    schemes: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Place | None, ...]], ...]
    lists: tuple[NodeList, ...]
    npu: bool
    engine: bool


def placements(matrix: Matrix) -> Placements:
    """Every placement, and each distinct list of nodes once, the longest first."""
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
    alike: dict[tuple[Listed, str, int, tuple[NodePlace, ...]], list[str]] = defaultdict(list)
    for cell in matrix.cells:
        place = cell.placement
        if place is None:
            continue
        total = place.npu + len(place.fallback)
        if place.fallback:
            left: Listed = "engine" if is_engine(cell) else "npu"
            alike[left, cell.scheme, total, place.fallback].append(cell.target)
        if place.assumed:
            alike["assumed", cell.scheme, total, place.assumed].append(cell.target)
    lists = [
        NodeList(
            what=what,
            scheme=scheme,
            targets=name_targets(matrix, targets, most=30),
            total=total,
            ops=tuple(Counter(node.op for node in nodes).most_common()),
            nodes=nodes,
        )
        for (what, scheme, total, nodes), targets in alike.items()
    ]
    lists.sort(key=lambda entry: -len(entry.nodes))
    placed = [cell for cell in matrix.cells if cell.placement is not None]
    return Placements(
        schemes,
        rows,
        tuple(lists),
        npu=any(has_npu(cell) for cell in placed),
        engine=any(is_engine(cell) for cell in placed),
    )


def _place(cell: Cell | None) -> Place | None:
    if cell is None or cell.placement is None:
        return None
    place = cell.placement
    mark = "host"
    if has_npu(cell) or is_engine(cell):
        mark = "cpu" if place.npu == 0 else "mixed" if place.fallback else "npu"
    return Place(
        mark=mark,
        engine=is_engine(cell),
        npu=place.npu,
        cpu=place.cpu,
        graph_io=place.graph_io,
        conversions=place.conversions,
        fallback=len(place.fallback),
        assumed=len(place.assumed),
    )

"""The parts of a quantized model that a scheme can treat otherwise, and what is between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import onnx

from chipdrift.graph.taps import MOVES

# They pick integers and compute none: their sides have one quantizer.
_PICKS = frozenset({*MOVES, "MaxPool", "GlobalMaxPool"})
_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Unit:
    """A node of the quantized model that computes; ``nodes`` are the float model's behind it."""

    name: str
    op: str
    nodes: tuple[str, ...]


@dataclass(frozen=True)
class Edge:
    """An activation between units, by their position: ``writer`` is None for the graph's input.

    ``nodes`` are the float model's nodes on the way that only move values (a Reshape, a MaxPool);
    ``final`` says that the graph's own output is among its readers.
    """

    tensor: str
    writer: int | None
    readers: tuple[int, ...]
    nodes: tuple[str, ...]
    final: bool


def find_units(
    data: bytes, trace: Mapping[str, tuple[str, ...]]
) -> tuple[tuple[Unit, ...], tuple[Edge, ...]]:
    """Units and edges of a QDQ model (serialized), in the graph's order.

    ``trace`` maps its nodes to the float model's, as :func:`chipdrift.graph.trace_nodes` does; a
    node that stands for none (made by the quantizer) is passed through.
    """
    graph = onnx.load_from_string(data).graph
    constants = {init.name for init in graph.initializer}
    for node in graph.node:
        if node.op_type in _QDQ and node.input[0] in constants:
            constants.update(node.output)
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in dict.fromkeys(node.input):
            readers.setdefault(name, []).append(node)
    finals = {value.name for value in graph.output}
    computing = [
        node
        for node in graph.node
        if node.op_type not in _QDQ | _PICKS
        and trace.get(node.name)
        and any(name and name not in constants for name in node.input)
    ]
    units = tuple(Unit(n.name, n.op_type, tuple(trace[n.name])) for n in computing)
    places = {node.name: index for index, node in enumerate(computing)}
    starts: list[tuple[str, int | None]] = [(value.name, None) for value in graph.input]
    starts += [(out, places[node.name]) for node in computing for out in node.output if out]
    edges = []
    for tensor, writer in starts:
        found: set[int] = set()
        passed: dict[str, None] = {}
        final = False
        pending, seen = [tensor], {tensor}
        while pending:
            name = pending.pop()
            final = final or name in finals
            for node in readers.get(name, ()):
                if node.name in places:
                    found.add(places[node.name])
                    continue
                passed.update(dict.fromkeys(trace.get(node.name, ())))
                fresh = [out for out in node.output if out and out not in seen]
                seen.update(fresh)
                pending += fresh
        edges.append(Edge(tensor, writer, tuple(sorted(found)), tuple(passed), final))
    return units, tuple(edges)

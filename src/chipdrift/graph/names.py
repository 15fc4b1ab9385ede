"""Every node of a graph has a name of its own."""

from __future__ import annotations

import onnx


def name_nodes(graph: onnx.GraphProto) -> None:
    """The first node of a name keeps it; others and the unnamed get one that no node has."""
    taken = {node.name for node in graph.node}
    seen: set[str] = set()
    for index, node in enumerate(graph.node):
        if not node.name or node.name in seen:
            name = node.name or f"{node.op_type}_{index}"
            while name in taken:
                name = f"{name}#{index}"
            node.name = name
            taken.add(name)
        seen.add(node.name)

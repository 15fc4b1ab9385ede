"""Put a graph's nodes in the order that ONNX asks for: every tensor is made before it is read."""

from __future__ import annotations

from collections.abc import Iterator

import onnx


def sort_nodes(graph: onnx.GraphProto) -> None:
    """Sort ``graph``'s nodes in place; what is in order already stays as it is.

    Runtimes sort for themselves, so converters get away with less; walking a graph does not.
    Nodes of a cycle keep their place at the end: the runtime will say what it thinks of them.
    """
    made = {out for node in graph.node for out in node.output if out}
    waiting = list(graph.node)
    ordered: list[onnx.NodeProto] = []
    there: set[str] = set()
    while waiting:
        late = []
        for node in waiting:
            if any(name in made and name not in there for name in _reads(node)):
                late.append(node)
            else:
                ordered.append(node)
                there.update(node.output)
        if len(late) == len(waiting):
            ordered += late
            break
        waiting = late
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del graph.node[:]
    graph.node.extend(kept)


def _reads(node: onnx.NodeProto) -> Iterator[str]:
    """The tensors that a node and its subgraphs name as inputs."""
    yield from node.input
    for attribute in node.attribute:
        for inner in [attribute.g, *attribute.graphs]:
            for child in inner.node:
                yield from _reads(child)

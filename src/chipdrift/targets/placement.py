"""From the list of nodes a runtime gives to what a person asks: did it run on the NPU?"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from chipdrift.records import NodePlace, Placement

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})


def summarize(
    nodes: Iterable[tuple[str, str, str]],
    border: Collection[str],
    has_npu: bool,
    expandable: Mapping[str, str] | None = None,
) -> Placement:
    """Count (processor, node, op) entries.

    ``border`` names the Quantize and Dequantize nodes of the graph's own inputs and outputs, which
    run on the CPU by design. All other nodes on the CPU of a target with an NPU left it.
    ``expandable`` maps nodes to ops that onnxruntime may replace by nodes without a name, on the
    CPU where it has no kernel for them: one that is missing stands for those in its place.
    """
    nodes = list(nodes)
    npu = cpu = graph_io = conversions = 0
    fallback: list[NodePlace] = []
    seen = {node for _, node, _ in nodes}
    gone = {node: op for node, op in (expandable or {}).items() if node not in seen}
    if gone and any(processor == "cpu" and not node for processor, node, _ in nodes):
        nodes = [entry for entry in nodes if entry[1] or entry[0] != "cpu"]
        cpu += len(gone)
        if has_npu:
            fallback += [
                NodePlace(node=node, op=op, reason="expanded into smaller nodes on the CPU")
                for node, op in gone.items()
            ]
    for processor, node, op in nodes:
        if processor == "npu":
            npu += op not in _CONVERSIONS
        elif op in _CONVERSIONS and node in border:
            graph_io += 1
        elif op in _CONVERSIONS:
            conversions += 1
        else:
            cpu += 1
            if has_npu:
                fallback.append(NodePlace(node=node or "(unnamed)", op=op))
    fallback.sort(key=lambda place: (place.op, place.node))
    return Placement(
        npu=npu, cpu=cpu, graph_io=graph_io, conversions=conversions, fallback=tuple(fallback)
    )

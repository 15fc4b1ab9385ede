"""From the list of nodes a runtime gives to what a person asks: did it run on the NPU?"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from chipdrift.records import NodePlace, Placement

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})


def summarize(
    nodes: Iterable[tuple[str, str, str]], border: Collection[str], has_npu: bool
) -> Placement:
    """Count (processor, node, op) entries.

    ``border`` names the Quantize and Dequantize nodes of the graph's own inputs and outputs, which
    run on the CPU by design. All other nodes on the CPU of a target with an NPU left it.
    """
    npu = cpu = graph_io = conversions = 0
    fallback: list[NodePlace] = []
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
                fallback.append(NodePlace(node=node, op=op))
    fallback.sort(key=lambda place: (place.op, place.node))
    return Placement(
        npu=npu, cpu=cpu, graph_io=graph_io, conversions=conversions, fallback=tuple(fallback)
    )

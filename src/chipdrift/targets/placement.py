"""From the list of nodes a runtime gives to what a person asks: did it run on the NPU?"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

from chipdrift.records import NodePlace, Placement

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_STRAYED = "the scheme keeps it in float32 on the CPU, and it ran on the NPU all the same"
# onnxruntime's layout step calls what it touches "<name>_token_<number>".
_TOKEN = re.compile(r"_token_\d+$")


def summarize(
    nodes: Iterable[tuple[str, str, str]],
    border: Collection[str],
    has_npu: bool,
    expandable: Mapping[str, str] | None = None,
    known: Collection[str] | None = None,
    kept: Collection[str] = (),
    fence: Collection[str] = (),
) -> Placement:
    """Count (processor, node, op) entries.

    ``border`` names the Quantize and Dequantize nodes of the graph's own inputs and outputs, which
    run on the CPU by design. All other nodes on the CPU of a target with an NPU left it.
    ``expandable`` maps nodes to ops that onnxruntime may replace by nodes without a name, on the
    CPU where it has no kernel for them: one that is missing stands for those in its place.
    ``known`` are the model's own nodes: with it, what the layout step renamed gets its name back,
    and the Transposes that it added are left out.
    ``kept`` names nodes that the scheme keeps on the CPU, which do not fall back, and ``fence``
    those around them, which are conversions.
    """
    nodes = list(nodes) if known is None else _before_layout(nodes, border, known)
    npu = cpu = graph_io = conversions = 0
    fallback: list[NodePlace] = []
    stayed: list[NodePlace] = []
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
        if node in kept:
            npu += processor == "npu"
            cpu += processor != "npu"
            reason = _STRAYED if processor == "npu" and has_npu else None
            stayed.append(NodePlace(node=node, op=op, reason=reason))
        elif node in fence:
            conversions += processor != "npu"
        elif processor == "npu":
            npu += op not in _CONVERSIONS
        elif op in _CONVERSIONS and node in border:
            graph_io += 1
        elif op in _CONVERSIONS:
            conversions += 1
        else:
            cpu += 1
            if has_npu:
                fallback.append(NodePlace(node=node or "(unnamed)", op=op))
    for places in (fallback, stayed):
        places.sort(key=lambda place: (place.op, place.node))
    return Placement(
        npu=npu,
        cpu=cpu,
        graph_io=graph_io,
        conversions=conversions,
        fallback=tuple(fallback),
        kept=tuple(stayed),
    )


def _before_layout(
    nodes: Iterable[tuple[str, str, str]], border: Collection[str], known: Collection[str]
) -> list[tuple[str, str, str]]:
    """The entries as they were named before onnxruntime changed NCHW to NHWC for the NPU."""
    entries = list(nodes)
    seen = {node for _, node, _ in entries}
    lost = sorted(name for name in border if name not in seen)
    found = []
    for processor, node, op in entries:
        name = node if node in known else _TOKEN.sub("", node)
        if name != node and op == "Transpose" and name not in known:
            continue
        # A renamed Quantize or Dequantize on the CPU is the graph's own that is missing.
        if name != node and op in _CONVERSIONS and processor == "cpu" and lost:
            name = lost.pop()
        found.append((processor, name, op))
    return found

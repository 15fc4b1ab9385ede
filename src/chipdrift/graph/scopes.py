"""What stands outside a node: a model's own functions, and the tensors that a body reads."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import onnx
import onnx.inliner

from chipdrift.errors import ModelError
from chipdrift.graph.names import name_nodes


def inlined(proto: onnx.ModelProto) -> onnx.ModelProto:
    """``proto`` with the nodes of its own functions in the place of their calls.

    A model without functions is handed back as it is; any other is a copy, whose nodes have names
    of their own. Raises ModelError for a function written for another opset than its model's, some
    op of which has changed in between.
    """
    if not proto.functions:
        return proto
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    versions = {entry.domain: entry.version for entry in model.opset_import}
    for function in model.functions:
        _bring(function, versions)
    flat = onnx.inliner.inline_local_functions(model)
    name_nodes(flat.graph)
    return flat


def _bring(function: onnx.FunctionProto, versions: Mapping[str, int]) -> None:
    """Let ``function`` import the model's opsets, if all of its ops are the same there."""
    for entry in function.opset_import:
        wanted = versions.get(entry.domain, entry.version)
        if wanted == entry.version:
            continue
        for op in _ops(function.node, entry.domain):
            known = onnx.defs.has(op, max(wanted, entry.version), entry.domain)
            if known and len({_since(op, v, entry.domain) for v in (wanted, entry.version)}) > 1:
                raise ModelError(
                    f"Function {function.domain}.{function.name} is written for opset "
                    f"{entry.version} and its model for opset {wanted}, between which {op} "
                    "changed. Export the model again with one opset."
                )
        entry.version = wanted


def _since(op: str, version: int, domain: str) -> int | None:
    """The opset that defined ``op`` as ``version`` has it; None where it has no such op."""
    if not onnx.defs.has(op, version, domain):
        return None
    return int(onnx.defs.get_schema(op, version, domain).since_version)


def _ops(nodes: Iterable[onnx.NodeProto], domain: str) -> Iterator[str]:
    """The op types of ``domain`` in ``nodes`` and their bodies."""
    for node in nodes:
        if node.domain == domain:
            yield node.op_type
        for body in _bodies(node):
            yield from _ops(body.node, domain)


def outer_reads(attributes: Mapping[str, Any]) -> tuple[str, ...]:
    """The tensors that a node's bodies (If, Loop, Scan) read from around it, in order, each once.

    ``attributes`` are a node's, bodies as GraphProtos.
    """
    held = [v for value in attributes.values() for v in (value if type(value) is list else [value])]
    return tuple(dict.fromkeys(_free(v for v in held if isinstance(v, onnx.GraphProto))))


def _bodies(node: onnx.NodeProto) -> Iterator[onnx.GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _free(graphs: Iterable[onnx.GraphProto]) -> Iterator[str]:
    """What ``graphs`` read and do not hold or make themselves."""
    for graph in graphs:
        own = {value.name for value in graph.input} | {held.name for held in graph.initializer}
        own |= {held.values.name for held in graph.sparse_initializer}
        own |= {out for node in graph.node for out in node.output}
        for node in graph.node:
            read = (*node.input, *_free(_bodies(node)))
            yield from (name for name in read if name and name not in own)

"""Which nodes of the float model a node of the quantized model stands for."""

from __future__ import annotations

import onnx
from google.protobuf.message import DecodeError

from chipdrift.errors import ModelError

# What optimizers and converters put around a node they replace.
_WRAPPERS = frozenset({"Cast", "Reshape"})


def trace_nodes(source: onnx.ModelProto, derived: onnx.ModelProto) -> dict[str, tuple[str, ...]]:
    """Map each node of ``derived`` (Quantize and Dequantize left out) to nodes of ``source``.

    A node keeps its tensors' names through fusion, so what it stands for is found by walking the
    float graph backwards from the node's outputs until a tensor that the derived graph still makes.
    A node that is in neither (made by a conversion) maps to an empty tuple; the node whose output
    it casts or reshapes stands for what makes the tensor that comes out.
    """
    makers = {out: node for node in source.graph.node for out in node.output}
    names = {node.name for node in source.graph.node}
    known = {*makers, *(value.name for value in source.graph.input)}
    made = {float_name(out) for node in derived.graph.node for out in node.output}
    wrapped: dict[str, str] = {}
    wrappers: set[str] = set()
    for node in derived.graph.node:
        if node.op_type in _WRAPPERS and node.name not in names:
            inner, outer = float_name(node.input[0]), float_name(node.output[0])
            if inner == outer:
                wrappers.add(node.name)
            elif inner not in known:
                wrapped[inner] = outer
                wrappers.add(node.name)
    traced: dict[str, tuple[str, ...]] = {}
    for node in derived.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            continue
        found: list[str] = []
        starts = [] if node.name in wrappers else [float_name(out) for out in node.output]
        pending = [name for name in (_outermost(s, wrapped) for s in starts) if name in makers]
        seen: set[str] = set()
        while pending:
            maker = makers[pending.pop()]
            if maker.name in seen:
                continue
            seen.add(maker.name)
            found.append(maker.name)
            pending.extend(i for i in maker.input if i in makers and i not in made)
        if not found and node.name in names:
            found = [node.name]
        traced[node.name] = tuple(reversed(found))
    return traced


def trace_heirs(source: bytes, derived: bytes) -> dict[str, tuple[str, tuple[str, ...]]]:
    """What became of each named node of ``source`` (both serialized; weights are not read).

    A node's heir is the node of ``derived`` that stands for it, given with all that it stands for;
    ("", ()) where none does. Raises ModelError where one of the two is no model.
    """
    try:
        first, second = (onnx.load_from_string(data) for data in (source, derived))
    except DecodeError as error:
        raise ModelError(f"A model of the run cannot be read: {error}") from error
    found: dict[str, tuple[str, tuple[str, ...]]] = {
        node.name: ("", ()) for node in first.graph.node if node.name
    }
    for node, origins in trace_nodes(first, second).items():
        found.update({name: (node, origins) for name in origins if not found[name][0]})
    return found


def _outermost(tensor: str, wrapped: dict[str, str]) -> str:
    """What ``tensor`` is called once it has been cast and reshaped."""
    while tensor in wrapped:
        tensor = wrapped[tensor]
    return tensor


def float_name(tensor: str) -> str:
    """The name the tensor had before the quantizer, or a float16 layer, put nodes in between."""
    for suffix in (
        "/inner",
        "_QuantizeLinear_Output",
        "_DequantizeLinear_Output",
        "_QuantizeLinear_Input",
    ):
        tensor = tensor.removesuffix(suffix)
    return tensor

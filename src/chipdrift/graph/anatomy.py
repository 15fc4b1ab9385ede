"""A model taken apart for a diagnosis: what to tap, what to run alone, how to read it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import onnx

from chipdrift.graph.cut import Cut, cut_pieces
from chipdrift.graph.quantizers import output_quantizers, tensor_quantizers
from chipdrift.graph.taps import MOVES, tap_activations
from chipdrift.graph.trace import float_name
from chipdrift.records import Quantizer


@dataclass(frozen=True, eq=False)
class Anatomy:
    """A model's activations and pieces.

    ``tapped`` is the model with all activations as outputs, ``tensors`` their names in order, of
    which the first ``finals`` are the model's own. ``quantizers`` are those of tensors of integers
    and of the model's outputs, ``graph`` is the graph's name in the file.
    """

    tapped: bytes
    tensors: tuple[str, ...]
    finals: int
    cut: Cut
    quantizers: Mapping[str, Quantizer]
    graph: str = ""


def dissect(data: bytes) -> Anatomy:
    """Take a model (serialized) apart."""
    proto = onnx.load_from_string(data)
    tapped = tap_activations(data)
    names = tuple(value.name for value in onnx.load_from_string(tapped).graph.output)
    return Anatomy(
        tapped=tapped,
        tensors=names,
        finals=len(proto.graph.output),
        cut=cut_pieces(data),
        quantizers={**tensor_quantizers(proto), **output_quantizers(proto)},
        graph=proto.graph.name,
    )


def computing_only(data: bytes, anatomy: Anatomy) -> Anatomy:
    """``anatomy`` with the activations of nodes that compute; those that only move are not tapped.

    A runtime that merges moves with their neighbours may answer otherwise where it must show what
    is between them.
    """
    moved = {
        tensor for piece in anatomy.cut.pieces if piece.op in MOVES for tensor in piece.outputs
    }
    tapped = tap_activations(data, moved)
    names = tuple(value.name for value in onnx.load_from_string(tapped).graph.output)
    return replace(anatomy, tapped=tapped, tensors=names)


def ending_in(data: bytes, tensor: str) -> bytes:
    """The model (serialized) up to ``tensor``, which is its only output."""
    proto = onnx.load_from_string(data)
    graph = proto.graph
    wanted, kept = {tensor}, []
    for node in reversed(graph.node):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update(node.input)
            for attribute in node.attribute:
                for body in (attribute.g, *attribute.graphs):
                    wanted.update(name for inner in body.node for name in inner.input)
    nodes = [onnx.NodeProto.FromString(node.SerializeToString()) for node in kept[::-1]]
    tapped = onnx.load_from_string(tap_activations(data)).graph.output
    output = next((value for value in tapped if value.name == tensor), None)
    del graph.node[:]
    graph.node.extend(nodes)
    held = [init for init in graph.initializer if init.name in wanted]
    del graph.initializer[:]
    graph.initializer.extend(held)
    del graph.output[:]
    graph.output.append(output or onnx.ValueInfoProto(name=tensor))
    return bytes(proto.SerializeToString(deterministic=True))


def float_twins(quantized: bytes, original: bytes) -> dict[str, str]:
    """Each tensor of integers of a QDQ model with the float model's tensor that it stands for."""
    proto, source = onnx.load_from_string(quantized), onnx.load_from_string(original)
    made = {out for node in source.graph.node for out in node.output}
    made |= {value.name for value in source.graph.input}
    found = {}
    for node in proto.graph.node:
        if node.op_type == "QuantizeLinear":
            names = (node.input[0], float_name(node.input[0]), float_name(node.output[0]))
            twin = next((name for name in names if name in made), None)
            if twin is not None:
                found[node.output[0]] = twin
    return found

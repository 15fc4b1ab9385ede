"""What a peer's QDQ model lacks for onnxruntime's QNN provider, added without another choice.

Every step here keeps the peer's scales and its types. The provider takes a node in integers if
each of its inputs comes straight from a Dequantize, all of one type, and its output goes into a
Quantize of that type, unsigned for activations; what is not so runs in float or leaves the NPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

_QUANTIZE, _REAL = "QuantizeLinear", "DequantizeLinear"
_MOVING = frozenset({"Flatten", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "MaxPool"})
_WEIGHING = frozenset({"Conv", "ConvTranspose", "Gemm"})
_TYPES = {8: np.uint8, 16: np.uint16}

Array = np.ndarray[Any, Any]


class Graph:
    """A graph being rewritten: its constants, and who makes and reads a tensor."""

    def __init__(self, model: onnx.ModelProto) -> None:
        self.graph = model.graph
        del self.graph.value_info[:]  # they may tell other types
        self.constants = {t.name: numpy_helper.to_array(t) for t in self.graph.initializer}
        self.makers = {name: node for node in self.graph.node for name in node.output}
        self.readers: dict[str, list[onnx.NodeProto]] = {}
        for node in self.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def constant(self, name: str, value: Array) -> str:
        if name not in self.constants:
            self.constants[name] = value
            self.graph.initializer.append(numpy_helper.from_array(value, name))
        return name

    def real(self, name: str) -> onnx.NodeProto | None:
        """The Dequantize that makes a tensor."""
        maker = self.makers.get(name)
        return maker if maker is not None and maker.op_type == _REAL else None

    def computing(self) -> Iterator[tuple[int, onnx.NodeProto]]:
        """Nodes but the quantizers, last first, so that what is inserted moves none to come."""
        for index in range(len(self.graph.node) - 1, -1, -1):
            node = self.graph.node[index]
            if node.op_type not in (_QUANTIZE, _REAL):
                yield index, node

    def pair(self, source: str, name: str, scale: str, zero: str) -> list[onnx.NodeProto]:
        """A Quantize and a Dequantize that make ``name`` of ``source``."""
        code = f"{name}_code"
        return [
            helper.make_node(_QUANTIZE, [source, scale, zero], [code], f"{name}_q"),
            helper.make_node(_REAL, [code, scale, zero], [name], f"{name}_dq"),
        ]


def make_unsigned(model: onnx.ModelProto) -> None:
    """Signed integers of activations become unsigned ones that are 128 more: the same numbers."""
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type in (_QUANTIZE, _REAL) and node.input[0] not in graph.constants:
            zero = graph.constants[node.input[2]]
            if zero.dtype == np.int8:
                raised = (zero.astype(np.int16) + 128).astype(np.uint8)
                node.input[2] = graph.constant(f"{node.input[2]}/unsigned", raised)


def repeat_quantizers(model: onnx.ModelProto) -> None:
    """Behind what only moves integers they are quantized once more, by the same scale: no loss."""
    graph = Graph(model)
    outputs = {value.name for value in model.graph.output}
    for index, node in graph.computing():
        before = graph.real(node.input[0]) if node.op_type in _MOVING else None
        (made, *_) = node.output
        readers = graph.readers.get(made, [])
        if before is None or made in outputs or any(r.op_type == _QUANTIZE for r in readers):
            continue
        again = f"{made}/again"
        for reader in readers:
            reader.input[:] = [again if name == made else name for name in reader.input]
        pair = graph.pair(made, again, before.input[1], before.input[2])
        for offset, added in enumerate(pair, 1):
            model.graph.node.insert(index + offset, added)


def count_from_front(model: onnx.ModelProto) -> None:
    """Axes of weights as 0, 1 and so on: the provider knows no others."""
    graph = Graph(model)
    for node in model.graph.node:
        if node.op_type in (_QUANTIZE, _REAL) and node.input[0] in graph.constants:
            for attribute in node.attribute:
                if attribute.name == "axis" and attribute.i < 0:
                    attribute.i += graph.constants[node.input[0]].ndim


def convert_at_borders(model: onnx.ModelProto) -> None:
    """A node that reads or writes two types computes in the wider one; conversions do the rest.

    Narrow inputs are widened, which loses nothing, and a narrow output is first written in wide
    integers of the same range. That is nearest to AIMET's simulation, where such a node reads and
    writes each tensor in its own type. A Clip gets its real bounds back.
    """
    graph = Graph(model)
    before: dict[int, list[onnx.NodeProto]] = {}
    for index, node in graph.computing():
        if node.op_type == "Clip":
            _give_bounds(graph, node)
        reals = {
            place: real
            for place, name in enumerate(node.input)
            if (real := graph.real(name)) is not None
            and not (node.op_type in _WEIGHING and real.input[0] in graph.constants)
        }
        ends = _ends(graph, node.output[0])
        if not ends or not reals:
            continue
        borders = [*reals.values(), *ends]
        bits = max(_bits(graph, border) for border in borders)
        for place, real in reals.items():
            if _bits(graph, real) < bits:
                before.setdefault(index, []).extend(_widened(graph, node, place, real, bits))
        for end in ends:
            if _bits(graph, end) < bits:
                name = f"{end.input[0]}/{end.output[0]}/wide"
                scale, zero = (graph.constants[of] for of in end.input[1:3])
                names = _converted(graph, name, scale, zero, bits)
                position = next(i for i, n in enumerate(graph.graph.node) if n is end)
                before.setdefault(position, []).extend(graph.pair(end.input[0], name, *names))
                end.input[0] = name
    nodes = list(graph.graph.node)
    del graph.graph.node[:]
    for index, node in enumerate(nodes):
        graph.graph.node.extend([*before.get(index, []), node])


def _give_bounds(graph: Graph, clip: onnx.NodeProto) -> None:
    for place, name in enumerate(clip.input):
        real = graph.real(name)
        if real is not None and real.input[0] in graph.constants:
            scale, zero = (graph.constants[of] for of in real.input[1:3])
            value = (graph.constants[real.input[0]].astype(np.float32) - zero) * scale
            clip.input[place] = graph.constant(f"{name}/bound", value.astype(np.float32))


def _bits(graph: Graph, quantizer: onnx.NodeProto) -> int:
    return 8 * int(graph.constants[quantizer.input[2]].itemsize)


def _ends(graph: Graph, name: str) -> list[onnx.NodeProto]:
    """The Quantizes that read a tensor, behind a Clip or Relu, too."""
    found = []
    for reader in graph.readers.get(name, ()):
        if reader.op_type == _QUANTIZE:
            found.append(reader)
        elif reader.op_type in ("Clip", "Relu"):
            found += _ends(graph, reader.output[0])
    return found


def _widened(
    graph: Graph, node: onnx.NodeProto, place: int, real: onnx.NodeProto, bits: int
) -> list[onnx.NodeProto]:
    """What makes input ``place`` of ``node`` a tensor of ``bits``, and lets it read that."""
    source = node.input[place]
    name = node.input[place] = f"{source}/{node.name}/wide"
    scale, zero = (graph.constants[of] for of in real.input[1:3])
    step, point = _converted(graph, name, scale, zero, bits)
    if real.input[0] not in graph.constants:
        return graph.pair(source, name, step, point)
    codes = graph.constants[real.input[0]].astype(np.float64)
    value = (codes - zero) * scale / graph.constants[step] + graph.constants[point]
    kept = np.clip(np.round(value), 0, 2**bits - 1).astype(_TYPES[bits])
    inputs = [graph.constant(f"{name}/codes", kept), step, point]
    return [helper.make_node(_REAL, inputs, [name], f"{name}_dq")]


def _converted(graph: Graph, name: str, scale: Array, zero: Array, bits: int) -> tuple[str, str]:
    """Names of scale and zero point for the same range in ``bits``."""
    levels, wanted = 2 ** (8 * zero.itemsize) - 1, 2**bits - 1
    step = (scale.astype(np.float64) * levels / wanted).astype(np.float32)
    point = np.round(zero.astype(np.float64) * wanted / levels).astype(_TYPES[bits])
    return graph.constant(f"{name}/scale", step), graph.constant(f"{name}/zero", point)

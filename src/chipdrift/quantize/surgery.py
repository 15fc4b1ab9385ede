"""A quantized graph while the nodes that stay in float are cut out of it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chipdrift.graph import float_name, sort_nodes

Shape = tuple[int, ...]
Border = tuple[str, str, str]  # tensor, from, to
_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
_LARGE = 4096  # bytes: longer constants are no shapes


class Surgery:
    """``proto`` is changed in place; ``source`` is the float model that it was made of.

    ``raw`` maps a tensor of the float model to what a node in float writes, before any quantizer;
    ``fence`` collects the names of nodes that only hold others in their place.
    """

    def __init__(self, proto: onnx.ModelProto, source: onnx.ModelProto) -> None:
        self.proto, self.graph = proto, proto.graph
        self.constants = {init.name: init for init in self.graph.initializer}
        self.raw: dict[str, str] = {}
        self.fence: set[str] = set()
        self.shapes = {name: shape for name, _, shape in typed(source)}
        self.reals = {name for name, kind, _ in typed(source) if kind == TensorProto.FLOAT}
        self._inputs = {value.name for value in self.graph.input}
        self._quantizers = {
            float_name(node.output[0]): node
            for node in self.graph.node
            if node.op_type == "QuantizeLinear"
            and node.output[0] == f"{float_name(node.output[0])}_QuantizeLinear_Output"
        }

    def grown(self, names: Collection[str], others: Collection[str] = ()) -> set[str]:
        """``names`` and what reads their real numbers with no quantizer in between."""
        found = {node.name for node in self.graph.node if node.name in names}
        while True:
            made = {out for node in self.graph.node if node.name in found for out in node.output}
            more = {
                node.name
                for node in self.graph.node
                if node.op_type not in (*_CONVERSIONS, "Cast")
                and node.name not in found
                and node.name not in others
                and made & set(node.input)
            }
            if not more:
                return found
            found |= more

    def nodes(self, names: Collection[str]) -> list[onnx.NodeProto]:
        """The nodes of these names, in order."""
        return [node for node in self.graph.node if node.name in names]

    def readers(self, name: str, without: Collection[str]) -> list[onnx.NodeProto]:
        """The nodes that read ``name`` and are not among those named."""
        return [n for n in self.graph.node if name in n.input and n.name not in without]

    def is_end(self, name: str) -> bool:
        """Whether ``name`` is an output of the graph."""
        return any(value.name == name for value in self.graph.output)

    def origin(self, name: str, on_npu: bool = False) -> tuple[str, onnx.NodeProto | None]:
        """Where a node in float gets ``name`` from: real numbers, or integers and their maker.

        An input of the graph comes as it is, but to an NPU that gets its integers: given both, the
        simulator cannot run the graph (onnxruntime-qnn 2.7.0: invalid tensor, error 6004).
        """
        tensor = float_name(name)
        if tensor in self.raw:
            return self.raw[tensor], None
        quantize = self._quantizers.get(tensor)
        if quantize is None or (tensor in self._inputs and not on_npu):
            return (tensor if tensor in self._inputs else name), None
        return quantize.output[0], quantize

    def border_in(self, name: str, kind: str) -> list[Border]:
        """What it costs to bring ``name`` into float: nothing from the graph's own inputs."""
        tensor = float_name(name)
        if tensor in self._inputs or tensor in self.raw:
            return []  # between two islands it is counted where it leaves the first
        return [(tensor, "integers", kind)]

    def border_out(self, out: str, readers: list[onnx.NodeProto], kind: str) -> list[Border]:
        """What it costs to bring ``out`` back: nothing to the graph's own outputs."""
        if not readers:
            return []
        back = any(node.op_type == "QuantizeLinear" for node in readers)
        return [(float_name(out), kind, "integers" if back else "another float")]

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        """A new node named after its output, which is handed back."""
        self.graph.node.append(helper.make_node(op, inputs, [output], output, **attributes))
        return output

    def dequantize(self, integers: str, quantize: onnx.NodeProto, output: str) -> str:
        """The real numbers of ``integers``, which ``quantize`` made."""
        inputs = [integers, *quantize.input[1:]]
        return self.add("DequantizeLinear", inputs, output, domain=quantize.domain)

    def constant(self, name: str, values: np.ndarray[Any, Any]) -> str:
        """An initializer; one that is there already is taken for the same."""
        if name not in self.constants:
            self.graph.initializer.append(numpy_helper.from_array(values, name))
            self.constants[name] = self.graph.initializer[-1]
        return name

    def finish(self) -> None:
        """Drop what nobody reads any more, and put the nodes in order."""
        graph = self.graph
        del graph.value_info[:]
        while True:
            read = {name for node in graph.node for name in node.input}
            read |= {value.name for value in graph.output}
            dead = [node for node in graph.node if not read & set(node.output)]
            if not dead:
                break
            for node in dead:
                graph.node.remove(node)
        for init in [init for init in graph.initializer if init.name not in read]:
            graph.initializer.remove(init)
        sort_nodes(graph)


def typed(proto: onnx.ModelProto) -> Iterator[tuple[str, int, Shape | None]]:
    """Name, element type and shape of every tensor; no shape where a dimension is not known."""
    light = onnx.ModelProto()
    light.CopyFrom(proto)
    for init in light.graph.initializer:
        if len(init.raw_data) > _LARGE:
            init.ClearField("raw_data")
    graph = onnx.shape_inference.infer_shapes(light, data_prop=True).graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        kind = value.type.tensor_type
        dims = [d.dim_value if d.HasField("dim_value") else 0 for d in kind.shape.dim]
        known = kind.HasField("shape") and all(dims)
        yield value.name, kind.elem_type, tuple(dims) if known else None


def renamed(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Let ``node`` read other tensors, by the old name."""
    node.input[:] = [names.get(name, name) for name in node.input]

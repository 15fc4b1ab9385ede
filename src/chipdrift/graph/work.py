"""How much each node of a model computes and moves, counted from static shapes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import onnx

from chipdrift.graph.load import LoadedModel

Shape = tuple[int, ...]
Ports = tuple[tuple[str, int], ...]

# These move no data: the same bytes under another shape.
_VIEWS = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Identity", "Dropout"})
# What quantizers and NPUs take into the node whose output it alone reads.
_JOINING = frozenset({"Relu", "Clip", "BatchNormalization"})
_NORM_HOSTS = frozenset({"Conv", "ConvTranspose", "Gemm"})
# They multiply and accumulate in a way that is not counted here.
_UNCOUNTED = frozenset(
    {
        *("Einsum", "If", "Loop", "Scan", "Attention", "MultiHeadAttention", "QLinearConv"),
        *("QLinearMatMul", "ConvInteger", "MatMulInteger", "DeformConv", "GroupQueryAttention"),
        *("MatMulNBits", "FusedConv", "FusedMatMul", "QGemm", "DFT", "STFT"),
    }
)


@dataclass(frozen=True)
class NodeWork:
    """What a node of the float model does in one run.

    ``macs`` are multiply-accumulates: one product and one sum each; adding a bias is none.
    ``weights`` are the elements of its constants in floating point and ``weight_bytes`` their size
    in the model file. ``inputs`` and ``outputs`` are the activations (tensor, elements), and
    ``reads`` and ``writes`` their sums, without those of a view (Reshape, Flatten), which moves
    nothing. ``joined`` names the node that takes this one in: a Relu, Clip, BatchNormalization
    or bias that alone reads it. ``constant``: it depends on no input of the graph and is folded
    away. ``unknown`` says what could not be counted and is 0 here.
    """

    name: str
    op: str
    macs: int = 0
    weights: int = 0
    weight_bytes: int = 0
    inputs: Ports = ()
    outputs: Ports = ()
    reads: int = 0
    writes: int = 0
    joined: str | None = None
    constant: bool = False
    unknown: tuple[str, ...] = ()

    @property
    def runs(self) -> bool:
        """Whether it is a layer of its own in what runs."""
        return not self.constant and self.joined is None


def count_work(model: LoadedModel) -> tuple[NodeWork, ...]:
    """The work of every node of ``model``, in the order of the graph."""
    graph = model.proto.graph
    shapes = _shapes(graph)
    weights = {init.name: init for init in graph.initializer}
    functions = {(f.domain, f.name) for f in model.proto.functions}
    varying = {value.name for value in graph.input}
    found: list[NodeWork] = []
    for node in graph.node:
        constant = _is_constant(node, varying)
        if not constant:
            varying.update(node.output)
        body = (node.domain, node.op_type) in functions
        found.append(_count(node, shapes, weights, varying, constant, body))
    return _joined(found, graph)


def _is_constant(node: onnx.NodeProto, varying: set[str]) -> bool:
    if any(a.HasField("g") or a.graphs for a in node.attribute):
        return False
    alone = not node.input and node.op_type != "Constant"
    return not alone and not any(name in varying for name in node.input)


def _count(
    node: onnx.NodeProto,
    shapes: Mapping[str, Shape],
    weights: Mapping[str, onnx.TensorProto],
    varying: set[str],
    constant: bool,
    body: bool,
) -> NodeWork:
    name, op = node.name, node.op_type
    if constant:
        return NodeWork(name, op, constant=True)
    unknown: list[str] = []
    own = [weights[i] for i in dict.fromkeys(node.input) if i in weights]
    # Shapes, axes and other integers are no weights.
    own = [w for w in own if np.issubdtype(_dtype(w), np.inexact)]
    inputs = _ports([i for i in dict.fromkeys(node.input) if i in varying], shapes, unknown)
    outputs = _ports([o for o in node.output if o], shapes, unknown)
    macs = 0
    if body or op in _UNCOUNTED:
        unknown.append(f"the multiply-accumulates of {op}")
    elif (count := _COUNTS.get(op)) is not None:
        counted = count(node, shapes)
        macs = counted or 0
        if counted is None:
            unknown.append(f"the multiply-accumulates of {op}: a shape is not known")
    view = op in _VIEWS
    return NodeWork(
        name=name,
        op=op,
        macs=macs,
        weights=sum(prod(w.dims) for w in own),
        weight_bytes=sum(prod(w.dims) * _dtype(w).itemsize for w in own),
        inputs=inputs,
        outputs=outputs,
        reads=0 if view else sum(elements for _, elements in inputs),
        writes=0 if view else sum(elements for _, elements in outputs),
        unknown=tuple(unknown),
    )


def _ports(names: list[str], shapes: Mapping[str, Shape], unknown: list[str]) -> Ports:
    unknown.extend(f"the shape of {name}" for name in names if name not in shapes)
    return tuple((name, prod(shapes[name]) if name in shapes else 0) for name in names)


def _joined(found: list[NodeWork], graph: onnx.GraphProto) -> tuple[NodeWork, ...]:
    makers = {out: index for index, node in enumerate(graph.node) for out in node.output}
    readers: dict[str, int] = {value.name: 1 for value in graph.output}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    weights = {init.name: init for init in graph.initializer}
    for index, node in enumerate(graph.node):
        made = [name for name in node.input if name in makers]
        host = makers[made[0]] if made else None
        if host is None or readers[made[0]] > 1:
            continue
        before = found[host]
        bias = before.op == "MatMul" and _adds_bias(node, weights)
        if node.op_type not in _JOINING and not bias:
            continue
        if before.constant or found[index].constant or before.op in _VIEWS:
            continue
        if node.op_type == "BatchNormalization" and before.op not in _NORM_HOSTS:
            continue
        found[index] = replace(found[index], joined=before.joined or before.name)
    return tuple(found)


def _adds_bias(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> bool:
    """Whether it adds one constant to each column: with a MatMul before it, that is a Gemm."""
    added = [weights[name] for name in node.input if name in weights]
    return node.op_type == "Add" and any(len(value.dims) == 1 for value in added)


def _shapes(graph: onnx.GraphProto) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {init.name: tuple(init.dims) for init in graph.initializer}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if not value.type.HasField("tensor_type") or not value.type.tensor_type.HasField("shape"):
            continue
        dims = value.type.tensor_type.shape.dim
        if all(dim.HasField("dim_value") for dim in dims):
            shapes[value.name] = tuple(dim.dim_value for dim in dims)
    return shapes


def _dtype(tensor: onnx.TensorProto) -> np.dtype[np.generic]:
    try:
        return np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type))
    except KeyError:
        return np.dtype(np.object_)


def _convolution(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Every element of the output sums over the kernel and the channels of its group."""
    out, kernel = shapes.get(node.output[0]), shapes.get(node.input[1])
    return None if out is None or kernel is None else prod(out) * prod(kernel[1:])


def _transposed(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Every element of the input is spread over the kernel and the channels of its group."""
    read, kernel = shapes.get(node.input[0]), shapes.get(node.input[1])
    return None if read is None or kernel is None else prod(read) * prod(kernel[1:])


def _product(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    out, left = shapes.get(node.output[0]), shapes.get(node.input[0])
    return None if out is None or not left else prod(out) * left[-1]


def _gemm(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    out, left = shapes.get(node.output[0]), shapes.get(node.input[0])
    turned = any(a.name == "transA" and a.i for a in node.attribute)
    return None if out is None or left is None else prod(out) * left[0 if turned else 1]


def _recurrent(node: onnx.NodeProto, shapes: Mapping[str, Shape]) -> int | None:
    """Every step multiplies its input and its state with all gates' matrices."""
    read, own = shapes.get(node.input[0]), [shapes.get(name) for name in node.input[1:3]]
    if read is None or own[0] is None or own[1] is None:
        return None
    return prod(read[:2]) * (prod(own[0]) + prod(own[1]))


_COUNTS: dict[str, Callable[[onnx.NodeProto, Mapping[str, Shape]], int | None]] = {
    "Conv": _convolution,
    "ConvTranspose": _transposed,
    "MatMul": _product,
    "Gemm": _gemm,
    **dict.fromkeys(("LSTM", "GRU", "RNN"), _recurrent),
}

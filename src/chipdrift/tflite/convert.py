"""From a QDQ ONNX model to a TFLite model of the same integers, scales and zero points.

uint8 activations become int8: 128 is taken off integers and zero points alike, which changes no
real value. What TFLite cannot hold exactly is refused, never bent; where its kernels fix an output
scale (Softmax, Logistic, Tanh, pools) a QUANTIZE follows, and ``notes`` says so.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from chipdrift.tflite.errors import UnwritableError
from chipdrift.tflite.ops import writers
from chipdrift.tflite.source import Grid, Source
from chipdrift.tflite.writer import Value, Writer


@dataclass(frozen=True)
class Port:
    """A graph input or output. ``shift``: what int8 lacks to the ONNX integers; None for floats."""

    name: str
    shift: int | None


@dataclass(frozen=True)
class Converted:
    """The file, its ports in the order of the ONNX graph, and what had to be put in."""

    data: bytes
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    notes: tuple[str, ...]


def convert_file(path: str | Path) -> tuple[tuple[tuple[str, str], ...], Converted]:
    """(name, op) of every node of the ONNX file, and what ``to_tflite`` makes of it."""
    proto = onnx.load(path)
    return tuple((node.name, node.op_type) for node in proto.graph.node), to_tflite(proto)


def to_tflite(proto: onnx.ModelProto) -> Converted:
    """Write ``proto``; raises UnwritableError, which names node and op, where it cannot be."""
    source = Source(proto)
    writer = Writer(source)
    known = writers()
    tensors, inputs = _open_inputs(writer)
    # Weights first: a Clip fused into the node before it may read limits made further down.
    for node in source.nodes:
        if node.op_type == "DequantizeLinear":
            weight = source.weight(node)
            if weight is not None:
                writer.weights[node.output[0]] = weight
    for node in source.nodes:
        if node.op_type == "Constant" or (node.output and node.output[0] in writer.written):
            continue
        if node.op_type == "QuantizeLinear":
            _quantize(writer, node, tensors)
        elif node.op_type == "DequantizeLinear":
            _dequantize(writer, node)
        elif node.op_type in known:
            known[node.op_type](writer, node)
        else:
            raise UnwritableError.at(
                node.name, node.op_type, "an op that this TFLite writer does not know"
            )
    outputs = [_close(writer, value.name, _is_float(value)) for value in source.outputs]
    data = writer.flat.to_bytes(list(tensors.values()), [index for index, _ in outputs])
    return Converted(
        data, tuple(inputs), tuple(port for _, port in outputs), tuple(dict.fromkeys(writer.notes))
    )


def _is_float(value: onnx.ValueInfoProto) -> bool:
    return bool(value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT)


def _open_inputs(writer: Writer) -> tuple[dict[str, int], list[Port]]:
    """Graph inputs: float tensors, or integers whose grid is that of the DequantizeLinear."""
    tensors: dict[str, int] = {}
    ports = []
    for value in writer.source.inputs:
        name, users = value.name, writer.source.users[value.name]
        node = users[0] if users else onnx.NodeProto(name=name, op_type="input")
        shape = writer.source.shape(name, node)
        if _is_float(value):
            tensors[name] = writer.flat.tensor(name, shape, np.float32)
            ports.append(Port(name, None))
        elif users and node.op_type == "DequantizeLinear":
            grid = writer.source.grid(node)
            found = writer.fresh(name, shape, grid, "plain")
            writer.values[name] = found
            tensors[name] = found.forms["plain"]
            ports.append(Port(name, grid.shift))
        else:
            raise writer.error(node, f"graph input {name!r} is neither float32 nor quantized")
    return tensors, ports


def _quantize(writer: Writer, node: onnx.NodeProto, inputs: dict[str, int]) -> None:
    """A QuantizeLinear that no node before it took along: on a graph input, or once more."""
    name, out = node.input[0], node.output[0]
    if name in writer.source.constants:
        # The DequantizeLinear behind it reads the constant's integers.
        return
    grid = writer.source.grid(node)
    if name in writer.values:
        value = writer.requantized(node, writer.values[name], grid)
        writer.values[out] = Value(value.name, grid, value.shape, value.forms, value.data)
        return
    if name not in inputs:
        raise writer.error(node, f"it reads {name!r}, which is not a float that was written")
    found = writer.fresh(out, writer.source.shape(name, node), grid, "plain")
    writer.flat.operator(
        "QUANTIZE", [inputs[name]], [found.forms["plain"]], table="QuantizeOptions"
    )
    writer.values[out] = found


def _dequantize(writer: Writer, node: onnx.NodeProto) -> None:
    """The same integers under their float's name."""
    if node.output[0] in writer.weights:
        return
    grid = writer.source.grid(node)
    value = writer.activation(node, 0)
    if grid != value.grid:
        raise writer.error(
            node,
            f"it reads integers of scale {value.grid.scale:.6g} and zero point "
            f"{_found(value.grid)} as scale {grid.scale:.6g} and zero point {_found(grid)}",
        )
    writer.values[node.output[0]] = value


def _found(grid: Grid) -> int:
    """The zero point as the ONNX file has it."""
    return grid.zero_point + grid.shift


def _close(writer: Writer, name: str, is_float: bool) -> tuple[int, Port]:
    value = writer.values.get(name)
    if value is None:
        raise UnwritableError(f"Graph output {name!r} is not made from quantized values.")
    index = writer.form(value, "plain")
    if not is_float:
        return index, Port(name, value.grid.shift)
    found = writer.flat.tensor(f"{name}/float", value.shape, np.float32)
    writer.flat.operator("DEQUANTIZE", [index], [found], table="DequantizeOptions")
    return found, Port(name, None)

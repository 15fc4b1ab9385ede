"""What a QDQ model says of its own quantization."""

from __future__ import annotations

from typing import Any

import onnx
from onnx import numpy_helper

from chipdrift.records import Quantizer

# Ops that move integers about without changing them.
_MOVES = frozenset({"Reshape", "Flatten", "Squeeze", "Unsqueeze", "Transpose", "Identity"})


def is_quantized(proto: onnx.ModelProto) -> bool:
    """Whether the model holds Quantize or Dequantize nodes."""
    return any(n.op_type in ("QuantizeLinear", "DequantizeLinear") for n in proto.graph.node)


def output_quantizers(proto: onnx.ModelProto) -> dict[str, Quantizer]:
    """The quantizer of each graph output that a DequantizeLinear makes, by output name.

    Ops that only move data between the DequantizeLinear and the output are looked through, where
    the scale is per tensor. An output without a quantizer is absent.
    """
    makers = {out: node for node in proto.graph.node for out in node.output}
    constants = _constants(proto)
    found: dict[str, Quantizer] = {}
    for value in proto.graph.output:
        maker, moved = makers.get(value.name), False
        while maker is not None and maker.op_type in _MOVES:
            maker, moved = makers.get(maker.input[0]), True
        if maker is None or maker.op_type != "DequantizeLinear":
            continue
        quantizer = _quantizer(maker, constants, makers)
        if quantizer is not None and not (moved and len(quantizer.scale) > 1):
            found[value.name] = quantizer
    return found


def _constants(proto: onnx.ModelProto) -> dict[str, onnx.TensorProto]:
    """Initializers and the values of Constant nodes, by name."""
    found = {init.name: init for init in proto.graph.initializer}
    for node in proto.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Constant" and attribute.name == "value":
                found[node.output[0]] = attribute.t
    return found


def _quantizer(
    node: onnx.NodeProto,
    constants: dict[str, onnx.TensorProto],
    makers: dict[str, onnx.NodeProto],
) -> Quantizer | None:
    scale = constants.get(node.input[1])
    if scale is None or any(a.name == "block_size" and a.i for a in node.attribute):
        return None
    zero = constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
    scales = numpy_helper.to_array(scale).astype("float64").reshape(-1)
    if zero is None:
        zeros, dtype = [0] * len(scales), _integer_type(node.input[0], constants, makers)
    else:
        zeros = [int(v) for v in numpy_helper.to_array(zero).astype("int64").reshape(-1)]
        dtype = onnx.TensorProto.DataType.Name(zero.data_type).lower()
    axis = next((a.i for a in node.attribute if a.name == "axis"), 1)
    return Quantizer(
        scale=tuple(float(v) for v in scales),
        zero_point=tuple(zeros),
        dtype=dtype,
        axis=axis if len(scales) > 1 else None,
    )


def _integer_type(
    name: str, constants: dict[str, onnx.TensorProto], makers: dict[str, onnx.NodeProto]
) -> str:
    """The type of the integers called ``name``, where no zero point tells."""
    kind: int = onnx.TensorProto.UINT8
    maker = makers.get(name)
    if name in constants:
        kind = constants[name].data_type
    elif maker is not None and maker.op_type == "QuantizeLinear":
        kind = next((a.i for a in maker.attribute if a.name == "output_dtype" and a.i), kind)
        if len(maker.input) > 2 and maker.input[2] in constants:
            kind = constants[maker.input[2]].data_type
    return str(onnx.TensorProto.DataType.Name(kind)).lower()


def expandable_nodes(proto: onnx.ModelProto) -> dict[str, str]:
    """Name to op of the nodes that ONNX defines as a function of simpler ops (Softmax, Gelu)."""
    opset = max((e.version for e in proto.opset_import if e.domain in ("", "ai.onnx")), default=1)
    found = {}
    for node in proto.graph.node:
        if node.domain in ("", "ai.onnx") and onnx.defs.has(node.op_type, opset):
            schema: Any = onnx.defs.get_schema(node.op_type, opset)
            if schema.has_function or schema.has_context_dependent_function:
                found[node.name] = node.op_type
    return found


def border_quantizers(proto: onnx.ModelProto) -> frozenset[str]:
    """Names of the Quantize nodes on graph inputs and the Dequantize nodes on graph outputs."""
    inputs = {value.name for value in proto.graph.input}
    outputs = {value.name for value in proto.graph.output}
    return frozenset(
        node.name
        for node in proto.graph.node
        if (node.op_type == "QuantizeLinear" and node.input[0] in inputs)
        or (node.op_type == "DequantizeLinear" and node.output[0] in outputs)
    )


def tensor_quantizers(proto: onnx.ModelProto) -> dict[str, Quantizer]:
    """The quantizer of each tensor of integers that a QuantizeLinear makes, by the tensor's name.

    Blockwise ones are absent, as are those whose scale is computed at run time.
    """
    makers = {out: node for node in proto.graph.node for out in node.output}
    constants = _constants(proto)
    found: dict[str, Quantizer] = {}
    for node in proto.graph.node:
        if node.op_type != "QuantizeLinear":
            continue
        quantizer = _quantizer(node, constants, makers)
        if quantizer is not None:
            kind = _integer_type(node.output[0], constants, makers)
            found[node.output[0]] = quantizer.model_copy(update={"dtype": kind})
    return found

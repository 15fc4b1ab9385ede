"""Make every activation of a model a graph output."""

from __future__ import annotations

from collections.abc import Collection

import onnx
from onnx import shape_inference

# Element types that runtimes hand out as outputs; 4-bit integers are not among them.
_TAPPABLE = frozenset(
    {
        onnx.TensorProto.FLOAT,
        onnx.TensorProto.FLOAT16,
        onnx.TensorProto.UINT8,
        onnx.TensorProto.INT8,
        onnx.TensorProto.UINT16,
        onnx.TensorProto.INT16,
        onnx.TensorProto.INT32,
        onnx.TensorProto.INT64,
    }
)


# Ops that change no value: what they make is known from what they are given.
MOVES = frozenset(
    {
        "Cast", "Concat", "DepthToSpace", "Expand", "Flatten", "Gather", "Identity", "Reshape",
        "Slice", "SpaceToDepth", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


def tap_activations(data: bytes, without: Collection[str] = ()) -> bytes:
    """Return the model with every activation as a further output, after its own outputs.

    A QDQ model is tapped at its integers (the output of each QuantizeLinear) and at the floats
    that no quantizer follows; a float model at every node's output. What derives from weights
    alone is left out, as are the tensors named in ``without``.
    """
    proto = shape_inference.infer_shapes(onnx.load_from_string(data))
    graph = proto.graph
    own = {value.name for value in graph.output}
    types = {value.name: value for value in graph.value_info}
    users: dict[str, list[str]] = {}
    for node in graph.node:
        for name in node.input:
            users.setdefault(name, []).append(node.op_type)
    varying = {value.name for value in graph.input}
    for node in graph.node:
        if not any(name in varying for name in node.input):
            continue
        varying.update(node.output)
        if node.op_type == "DequantizeLinear":
            continue
        for name in node.output:
            followed = users.get(name, [])
            quantized_next = bool(followed) and all(op == "QuantizeLinear" for op in followed)
            # What follows an op of com.microsoft has no known type; the runtime finds it out.
            value = types.get(name, onnx.ValueInfoProto(name=name))
            known = value.type.tensor_type.elem_type in _TAPPABLE or not value.HasField("type")
            if name in without:
                continue
            if name and name not in own and not quantized_next and known:
                graph.output.append(value)
    return bytes(proto.SerializeToString(deterministic=True))

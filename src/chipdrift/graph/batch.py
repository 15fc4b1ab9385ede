"""The same model for several samples at once."""

from __future__ import annotations

import onnx
from onnx import shape_inference


def batched(data: bytes, count: int) -> bytes | None:
    """The model (serialized) with ``count`` in place of a first dimension of 1, or None.

    None where the batch is fixed in the model: an input does not begin with 1, an output would not
    begin with ``count``, or a shape inside (a Reshape to [1, 8], say) says otherwise.
    """
    proto = onnx.load_from_string(data)
    graph = proto.graph
    held = {init.name for init in graph.initializer}
    ranks = {value.name: len(value.type.tensor_type.shape.dim) for value in graph.output}
    for value in graph.input:
        if value.name in held:
            continue
        dims = value.type.tensor_type.shape.dim
        if not dims or dims[0].dim_value != 1:
            return None
        dims[0].dim_value = count
    del graph.value_info[:]
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    try:
        inferred = shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)
    except shape_inference.InferenceError:
        return None
    for value in inferred.graph.output:
        dims = value.type.tensor_type.shape.dim
        if len(dims) != ranks[value.name] or not dims or dims[0].dim_value != count:
            return None
    return bytes(inferred.SerializeToString(deterministic=True))

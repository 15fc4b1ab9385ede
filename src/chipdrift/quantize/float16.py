"""Between float32 and float16 models."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chipdrift.graph import sort_nodes


def to_float16(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Weights and arithmetic in float16, by onnxruntime's converter; inputs and outputs stay.

    A model that is float16 already is returned as it is.
    """
    if any(init.data_type == TensorProto.FLOAT16 for init in proto.graph.initializer):
        return proto
    from onnxruntime.transformers.float16 import convert_float_to_float16

    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    converted: onnx.ModelProto = convert_float_to_float16(copy, keep_io_types=True)
    # The converter puts its Casts at the end.
    sort_nodes(converted.graph)
    return converted


def to_float32(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Widen every float16 tensor to float32, which is exact; inputs and outputs stay float16.

    A Cast at each float16 input and output keeps the model's face as it was.
    """
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    graph = model.graph
    del graph.value_info[:]
    for init in graph.initializer:
        if init.data_type == TensorProto.FLOAT16:
            init.CopyFrom(
                numpy_helper.from_array(
                    numpy_helper.to_array(init).astype(np.float32), name=init.name
                )
            )
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.TENSOR and (
                attribute.t.data_type == TensorProto.FLOAT16
            ):
                wide = numpy_helper.to_array(attribute.t).astype(np.float32)
                attribute.t.CopyFrom(numpy_helper.from_array(wide, name=attribute.t.name))
            is_cast = node.op_type == "Cast" and attribute.name == "to"
            if is_cast and attribute.i == TensorProto.FLOAT16:
                attribute.i = TensorProto.FLOAT
    before, after = [], []
    for value in graph.input:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            wide_name = f"{value.name}_float32"
            _rename_uses(graph, value.name, wide_name)
            before.append(
                helper.make_node(
                    "Cast", [value.name], [wide_name], f"{value.name}_cast", to=TensorProto.FLOAT
                )
            )
    for value in graph.output:
        if value.type.tensor_type.elem_type == TensorProto.FLOAT16:
            wide_name = f"{value.name}_float32"
            for node in graph.node:
                node.output[:] = [wide_name if o == value.name else o for o in node.output]
            _rename_uses(graph, value.name, wide_name)
            after.append(
                helper.make_node(
                    "Cast", [wide_name], [value.name], f"{value.name}_cast", to=TensorProto.FLOAT16
                )
            )
    nodes = [*before, *graph.node, *after]
    kept = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]
    del graph.node[:]
    graph.node.extend(kept)
    return onnx.shape_inference.infer_shapes(model, data_prop=True)


def _rename_uses(graph: onnx.GraphProto, old: str, new: str) -> None:
    for node in graph.node:
        node.input[:] = [new if name == old else name for name in node.input]

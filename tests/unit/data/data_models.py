"""A model that answers what it is given."""

from __future__ import annotations

from pathlib import Path

import onnx
from onnx import TensorProto, helper


def identity_model(path: Path, shape: list[int]) -> Path:
    """Adds nothing but a node: input ``x``, output ``y``."""
    graph = helper.make_graph(
        [helper.make_node("Mul", ["x", "one"], ["y"], "times_one")],
        "identity",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)],
        [helper.make_tensor("one", TensorProto.FLOAT, [], [1.0])],
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )
    return path

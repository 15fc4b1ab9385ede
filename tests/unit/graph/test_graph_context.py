"""Names made fit for files: unique, the same network, and nothing but the border."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from chipdrift.errors import ModelError
from chipdrift.graph.context import fit_names, read_context


def save(path: Path, inputs: list[str], inside: str, outputs: list[str]) -> Path:
    """inputs[0] - inputs[1], and twice that."""
    tensors = [
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, [3]) for n in names]
        for names in (inputs, outputs)
    ]
    nodes = [
        helper.make_node("Sub", inputs, [inside], "sub"),
        helper.make_node("Identity", [inside], [outputs[0]], "same"),
        helper.make_node("Add", [inside, inside], [outputs[1]], "add"),
    ]
    opset = [helper.make_opsetid("", 17)]
    graph = helper.make_graph(nodes, "g", *tensors)
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return path


def test_names_that_fit_are_left(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", ["a", "_b1"], "in/side:0", ["y", "Z_9"])
    found = fit_names(path)
    assert found.data is None
    assert (found.inputs, found.outputs) == ({"a": "a", "_b1": "_b1"}, ("y", "Z_9"))


def test_two_names_never_become_one(tmp_path: Path) -> None:
    """All of them are plainly the same once other characters are gone, and one is taken."""
    path = save(tmp_path / "m.onnx", ["a b", "a/b"], "_a_b", ["a:b", "7"])
    found = fit_names(path)
    assert found.data is not None
    names = [*found.inputs.values(), *found.outputs]
    assert len(set(names)) == 4 and "_a_b" not in names
    assert all(re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name) for name in names)
    session = onnxruntime.InferenceSession(found.data, providers=["CPUExecutionProvider"])
    assert [value.name for value in session.get_outputs()] == list(found.outputs)
    x = np.arange(3, dtype=np.float32)
    first, second = session.run(None, {found.inputs["a b"]: 5 * x, found.inputs["a/b"]: x})
    np.testing.assert_array_equal(first, 4 * x)
    np.testing.assert_array_equal(second, 8 * x)
    kept = {node.name for node in onnx.load_from_string(found.data).graph.node}
    assert kept == {"sub", "same", "add"}


def test_a_model_that_nobody_compiled(tmp_path: Path) -> None:
    path = save(tmp_path / "m.onnx", ["a", "b"], "c", ["y", "z"])
    with pytest.raises(ModelError, match=r"in 0 parts, and leaves out Sub 'sub', Identity 'same'"):
        read_context(path)

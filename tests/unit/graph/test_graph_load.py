"""Loading: what is pinned, named, hashed and refused."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from graph_models import FLOAT, graph_model, run_ort, saved, value
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from chipdrift.errors import ModelError
from chipdrift.graph import load_model
from conftest import save_small_model

node = helper.make_node


@pytest.mark.parametrize("opset", range(11, onnx.defs.onnx_opset_version() + 1))
def test_every_opset_from_11_on(opset: int, tmp_path: Path) -> None:
    model = load_model(save_small_model(tmp_path / "m.onnx", opset=opset))
    assert model.info.opset == opset
    assert model.info.outputs[0].shape == (1, 4), "inferred from the pinned input"
    assert model.info.nodes == 5
    assert model.info.name == "m"


def test_the_hash_is_the_file_s(tmp_path: Path) -> None:
    path = save_small_model(tmp_path / "m.onnx", shape=["N", 3, "H", 6])
    one = load_model(path, {"x": (1, 3, 6, 6)})
    two = load_model(path, {"x": (2, 3, 9, 6)})
    assert one.info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert two.info.sha256 == one.info.sha256, "of the file, not of what was pinned"
    assert one.info.inputs[0].shape == (1, 3, 6, 6)
    assert two.info.outputs[0].shape == (2, 4)


def test_a_pinned_model_runs_as_the_open_one(tmp_path: Path) -> None:
    path = save_small_model(tmp_path / "m.onnx", shape=["N", 3, "H", "W"])
    x = np.random.default_rng(0).standard_normal((1, 3, 5, 7)).astype(np.float32)
    pinned = load_model(path, {"x": (1, 3, 5, 7)})
    found = run_ort(pinned.data, {"x": x})["y"]
    np.testing.assert_array_equal(found, run_ort(path.read_bytes(), {"x": x})["y"])


def test_inner_shapes_follow_the_pins(tmp_path: Path) -> None:
    """Shapes that the exporter wrote inside, for its own batch, are not taken for true."""
    model = graph_model(
        [node("Relu", ["x"], ["r"]), node("Neg", ["r"], ["y"])],
        [value("x", ["N", 4])],
        [value("y", ["M", 4])],
    )
    model.graph.value_info.append(value("r", [7, 4]))
    loaded = load_model(saved(tmp_path, model), {"x": (3, 4)})
    shapes = {
        v.name: v.type.tensor_type.shape.dim[0].dim_value for v in loaded.proto.graph.value_info
    }
    assert shapes["r"] == 3
    assert loaded.info.outputs[0].shape == (3, 4)


def test_an_input_without_any_shape_can_be_pinned(tmp_path: Path) -> None:
    path = saved(
        tmp_path, graph_model([node("Relu", ["x"], ["y"])], [value("x", None)], [value("y", None)])
    )
    assert load_model(path, {"x": (2, 5)}).info.outputs[0].shape == (2, 5)
    with pytest.raises(ModelError, match="open dimensions"):
        load_model(path)


def test_a_dimension_of_zero_counts_as_open(tmp_path: Path) -> None:
    path = saved(
        tmp_path,
        graph_model([node("Relu", ["x"], ["y"])], [value("x", [0, 3])], [value("y", None)]),
    )
    with pytest.raises(ModelError, match="--shape x=1,3"):
        load_model(path)
    assert load_model(path, {"x": (4, 3)}).info.inputs[0].shape == (4, 3)


def test_scalar_input(tmp_path: Path) -> None:
    path = saved(
        tmp_path, graph_model([node("Neg", ["x"], ["y"])], [value("x", [])], [value("y", None)])
    )
    assert load_model(path).info.inputs[0].shape == ()


def test_external_data_counts_for_the_hash(tmp_path: Path) -> None:
    source = onnx.load(save_small_model(tmp_path / "whole.onnx"))
    path = saved(
        tmp_path, source, "ext.onnx", save_as_external_data=True, location="w.bin", size_threshold=0
    )
    before = load_model(path)
    assert before.info.sha256 != hashlib.sha256(path.read_bytes()).hexdigest()
    both = path.read_bytes() + (tmp_path / "w.bin").read_bytes()
    assert before.info.sha256 == hashlib.sha256(both).hexdigest()
    x = np.random.default_rng(0).standard_normal((1, 3, 6, 6)).astype(np.float32)
    whole = load_model(tmp_path / "whole.onnx")
    np.testing.assert_array_equal(
        run_ort(before.data, {"x": x})["y"], run_ort(whole.data, {"x": x})["y"]
    )
    data = bytearray((tmp_path / "w.bin").read_bytes())
    data[0] ^= 1
    (tmp_path / "w.bin").write_bytes(data)
    assert load_model(path).info.sha256 != before.info.sha256


def test_external_data_of_a_constant_node_counts_too(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    nodes = [node("Constant", [], ["w"], value=weight), node("MatMul", ["x", "w"], ["y"])]
    model = graph_model(nodes, [value("x", [1, 4])], [value("y", None)])
    path = saved(
        tmp_path,
        model,
        save_as_external_data=True,
        location="w.bin",
        size_threshold=0,
        convert_attribute=True,
    )
    assert (tmp_path / "w.bin").stat().st_size == 64
    before = load_model(path).info.sha256
    (tmp_path / "w.bin").write_bytes(np.zeros(16, np.float32).tobytes())
    assert load_model(path).info.sha256 != before


def test_external_data_of_a_branch_counts_too(tmp_path: Path) -> None:
    weight = numpy_helper.from_array(np.ones(64, np.float32), "w")
    branch = helper.make_graph(
        [node("Add", ["x", "w"], ["s"])], "b", [], [value("s", [64])], [weight]
    )
    choose = node("If", ["flag"], ["y"], "if", then_branch=branch, else_branch=branch)
    model = graph_model([choose], [value("x", [64])], [value("y", None)], {"flag": np.array(True)})
    for attribute in model.graph.node[0].attribute:
        tensor = attribute.g.initializer[0]
        external_data_helper.set_external_data(tensor, "w.bin")
        tensor.ClearField("raw_data")
    (tmp_path / "w.bin").write_bytes(np.ones(64, np.float32).tobytes())
    path = tmp_path / "m.onnx"
    path.write_bytes(model.SerializeToString())
    before = load_model(path)
    x = np.zeros(64, np.float32)
    np.testing.assert_array_equal(run_ort(before.data, {"x": x})["y"], np.ones(64))
    (tmp_path / "w.bin").write_bytes(np.zeros(64, np.float32).tobytes())
    assert load_model(path).info.sha256 != before.info.sha256


def test_float16_and_integer_inputs_and_several_of_them(tmp_path: Path) -> None:
    inputs = [
        value("h", [1, 4], TensorProto.FLOAT16),
        value("i", [2], TensorProto.INT64),
        value("b", [3], TensorProto.BOOL),
    ]
    nodes = [
        node("Add", ["h", "c"], ["p"], "add"),
        node("Neg", ["i"], ["q"], "neg"),
        node("Not", ["b"], ["r"], "not"),
    ]
    outputs = [
        value("r", None, TensorProto.BOOL),
        value("p", None, TensorProto.FLOAT16),
        value("q", None, TensorProto.INT64),
    ]
    model = graph_model(nodes, inputs, outputs, {"c": np.ones(4, np.float16)})
    loaded = load_model(saved(tmp_path, model))
    assert [(s.name, s.dtype, s.shape) for s in loaded.info.inputs] == [
        ("h", "float16", (1, 4)),
        ("i", "int64", (2,)),
        ("b", "bool", (3,)),
    ]
    assert [(s.name, s.dtype) for s in loaded.info.outputs] == [
        ("r", "bool"),
        ("p", "float16"),
        ("q", "int64"),
    ]
    assert loaded.is_float16
    assert not load_model(save_small_model(tmp_path / "f.onnx")).is_float16


def test_initializers_listed_as_inputs_are_no_inputs(tmp_path: Path) -> None:
    """IR version 3 wanted every weight among the inputs."""
    model = graph_model(
        [node("MatMul", ["x", "w"], ["y"], "mm")],
        [value("w", [4, 2]), value("x", [1, 4])],
        [value("y", None)],
        {"w": np.arange(8, dtype=np.float32).reshape(4, 2)},
        opset=11,
        ir_version=3,
        opset_imports=[helper.make_opsetid("", 11)],
    )
    loaded = load_model(saved(tmp_path, model))
    assert [spec.name for spec in loaded.info.inputs] == ["x"]
    x = np.ones((1, 4), np.float32)
    np.testing.assert_array_equal(run_ort(loaded.data, {"x": x})["y"], [[12, 16]])


@pytest.mark.parametrize(
    "names",
    [
        ["conv", "relu", "neg", "abs"],
        ["", "", "", ""],
        ["a", "a", "a", "a"],
        ["Neg_1", "", "Neg_1", ""],
        ["Neg_1#1", "", "Neg_1", "Neg_1"],
        ["a#2", "a", "a", "a"],
        ["a", "a", "a#1", "a#1#1"],
        ["", "Neg_0", "Neg_0#0", "Neg_0#0#0"],
    ],
)
def test_node_names_become_unique_and_stay_where_they_can(names: list[str], tmp_path: Path) -> None:
    tensors = ["x", "t0", "t1", "t2", "y"]
    nodes = [node("Neg", [tensors[i]], [tensors[i + 1]], name) for i, name in enumerate(names)]
    path = saved(tmp_path, graph_model(nodes, [value("x", [1])], [value("y", None)]))
    found = [n.name for n in load_model(path).proto.graph.node]
    assert len(set(found)) == len(found)
    assert all(found)
    for i, name in enumerate(names):
        if name and name not in names[:i]:
            assert found[i] == name, "the first of a name keeps it"
    assert found == [n.name for n in load_model(path).proto.graph.node]
    assert load_model(path).data == load_model(path).data


def test_model_local_functions(tmp_path: Path) -> None:
    double = helper.make_function(
        "my.domain",
        "Double",
        ["a"],
        ["b"],
        [node("Add", ["a", "a"], ["b"])],
        [helper.make_opsetid("", 17)],
    )
    model = graph_model(
        [
            node("Double", ["x"], ["d"], "twice", domain="my.domain"),
            node("Neg", ["d"], ["y"], "neg"),
        ],
        [value("x", [1, 3])],
        [value("y", None)],
        functions=[double],
        opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("my.domain", 1)],
    )
    loaded = load_model(saved(tmp_path, model))
    assert [n.name for n in loaded.proto.graph.node] == ["twice", "neg"]
    x = np.array([[1, -2, 3]], np.float32)
    np.testing.assert_array_equal(run_ort(loaded.data, {"x": x})["y"], -2 * x)
    assert loaded.info.outputs[0].shape == (1, 3)


def test_a_sequence_input_is_refused(tmp_path: Path) -> None:
    sequence = helper.make_tensor_sequence_value_info("s", FLOAT, None)
    nodes = [node("SequenceAt", ["s", "i"], ["y"])]
    model = graph_model(nodes, [sequence], [value("y", [1])], {"i": np.array(0, np.int64)})
    with pytest.raises(ModelError, match="sequence_type"):
        load_model(saved(tmp_path, model))


def test_a_pin_for_an_unknown_input_names_the_near_ones(tmp_path: Path) -> None:
    path = save_small_model(tmp_path / "m.onnx")
    with pytest.raises(ModelError, match="near: x"):
        load_model(path, {"xx": (1, 3, 6, 6)})


def test_a_damaged_weight_is_named(tmp_path: Path) -> None:
    model = onnx.load(save_small_model(tmp_path / "m.onnx"))
    weight: Any = next(i for i in model.graph.initializer if i.name == "gw")
    weight.raw_data = weight.raw_data[:-3]
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="weight 'gw' is damaged"):
        load_model(path)

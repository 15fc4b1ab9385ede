"""Folding and fusing, and that a step which changes the answer is undone."""

from __future__ import annotations

from collections import Counter

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from quantize_models import Builder, Feed, custom, feeds, load, loaded, quantized, run

from chipdrift.quantize import apply_scheme, preprocess
from chipdrift.schemes import get_scheme


def ops(data: bytes) -> Counter[str]:
    return Counter(node.op_type for node in onnx.load_from_string(data).graph.node)


def test_gelu_and_layernorm_are_fused_and_nothing_of_them_is_left() -> None:
    for scheme in ("w8a8", "w8a16_pc", "w4a16_b32"):
        found = ops(quantized("attention", scheme).data)
        assert (found["Gelu"], found["LayerNormalization"]) == (1, 2)
        assert not found.keys() & {"Erf", "ReduceMean", "Pow", "Sqrt", "Sub", "Div"}


def test_gelu_in_another_order_is_fused() -> None:
    """TensorFlow's form: times the root of a half, and the half before x."""
    b = Builder(4)
    b.constant("half", 0.5)
    b.constant("one", 1.0)
    b.constant("root", np.sqrt(0.5))
    b.add("MatMul", ["x", b.weight("w", 16, 16)], "m")
    b.add("Mul", ["m", "root"], "d")
    b.add("Erf", ["d"], "e")
    b.add("Add", ["e", "one"], "a")
    b.add("Mul", ["a", "half"], "ah")
    b.add("Mul", ["m", "ah"], "g")
    b.layer_norm("g", 16, "y")
    model = load(b.model({"x": [1, 5, 16]}, ["y"], 17))
    found = ops(apply_scheme(model, get_scheme("w8a8"), feeds(model, 3)).data)
    assert (found["Gelu"], found["LayerNormalization"]) == (1, 1)


def test_batch_norms_and_activations_are_folded() -> None:
    found = ops(quantized("cnn", "w8a8").data)
    assert not found.keys() & {"BatchNormalization", "Relu", "Clip"}
    assert (found["Conv"], found["ConvTranspose"], found["Gemm"]) == (3, 1, 1)


def test_without_preprocess_the_primitives_stay() -> None:
    model = loaded("attention")
    scheme = custom(preprocess=False)
    found = ops(apply_scheme(model, scheme, feeds(model, 3)).data)
    assert (found["Erf"], found["ReduceMean"], found["Pow"], found["Sqrt"]) == (1, 4, 2, 2)
    assert not found.keys() & {"Gelu", "LayerNormalization"}
    cnn = loaded("cnn")
    found = ops(apply_scheme(cnn, scheme, feeds(cnn, 3)).data)
    assert found["BatchNormalization"] == 2


def test_preprocessing_keeps_the_float_model_s_answer() -> None:
    """1e-3 of the largest output is what the steps themselves allow; they do far better."""
    for name in ("cnn", "attention", "opset11", "two"):
        model = loaded(name)
        notes: list[str] = []
        done = preprocess.preprocess(model.proto, feeds(model, 1)[0], notes)
        assert notes == []
        for feed in feeds(model, 4, seed=77):
            for a, b in zip(
                run(model.data, feed), run(done.SerializeToString(), feed), strict=True
            ):
                np.testing.assert_allclose(b, a, rtol=0, atol=2e-5 * np.abs(a).max())


@pytest.mark.parametrize(
    ("step", "words"),
    [("_fold", "folding constants"), ("_fuse", "fusing Gelu and LayerNorm for QNN")],
)
@pytest.mark.parametrize("damage", ["value", "broken", "nan"])
def test_a_step_that_changes_the_answer_is_undone(
    step: str, words: str, damage: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = loaded("opset11")

    def spoil(proto: onnx.ModelProto) -> onnx.ModelProto:
        spoilt = onnx.ModelProto()
        spoilt.CopyFrom(proto)
        for init in spoilt.graph.initializer:
            if init.name == "bias3":
                array = numpy_helper.to_array(init).copy()
                array[1] = np.nan if damage == "nan" else array[1] + 0.05
                init.CopyFrom(numpy_helper.from_array(array, init.name))
        if damage == "broken":
            spoilt.graph.node[0].op_type = "NoSuchOp"
        return spoilt

    feed = feeds(model, 1)[0]
    monkeypatch.setattr(preprocess, step, spoil)
    notes: list[str] = []
    done = preprocess.preprocess(model.proto, feed, notes)
    assert any(note.startswith(f"left out {words}") for note in notes), notes
    found = run(done.SerializeToString(), feed)[0]
    wanted = run(model.data, feed)[0]
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-5 * np.abs(wanted).max())


def test_a_step_that_raises_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> onnx.ModelProto:
        raise RuntimeError("no adapter for Frob")

    model = loaded("opset11")
    monkeypatch.setattr(preprocess.version_converter, "convert_version", fail)
    notes: list[str] = []
    done = preprocess.preprocess(model.proto, feeds(model, 1)[0], notes)
    assert notes == ["kept at opset 11: onnx cannot raise it to 21 (no adapter for Frob)"]
    assert {o.version for o in done.opset_import if o.domain == ""} == {11}


def test_a_changed_integer_answer_is_undone_even_by_one() -> None:
    b = Builder(1)
    b.add("ArgMax", ["x"], "y", axis=1, keepdims=0)
    before = b.model({"x": [2, 5]}, ["y"], 17)
    before.graph.output[0].type.tensor_type.elem_type = onnx.TensorProto.INT64
    after = onnx.ModelProto()
    after.CopyFrom(before)
    after.graph.node[0].op_type = "ArgMin"
    feed: Feed = {"x": np.random.default_rng(0).standard_normal((2, 5)).astype(np.float32)}
    notes: list[str] = []
    assert preprocess._step(before, after, feed, "swapping", notes) is before
    assert notes == ["left out swapping: it changed the float model's answer"]
    notes.clear()
    assert preprocess._step(before, before, feed, "nothing", notes) is before
    assert notes == []


def test_a_nan_of_the_float_model_is_no_change() -> None:
    """Log of -1 and of 0: NaN and minus infinity before and after a step."""
    graph = helper.make_graph(
        [helper.make_node("Log", ["x"], ["y"], "log")],
        "g",
        [helper.make_tensor_value_info("x", 1, [2])],
        [helper.make_tensor_value_info("y", 1, [2])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    notes: list[str] = []
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    feed = {"x": np.array([-1, 0], np.float32)}
    assert preprocess._step(model, copy, feed, "copying", notes) is copy
    assert notes == []
    copy.graph.node[0].op_type = "Relu"
    assert preprocess._step(model, copy, feed, "swapping", notes) is model

"""Taps: nothing changed, nothing missed; the values are those of onnx's reference evaluator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from graph_models import graph_model, run_ort, value
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from chipdrift.graph import load_model, tap_activations
from conftest import save_small_model

node = helper.make_node


def names(data: bytes) -> list[str]:
    return [output.name for output in onnx.load_from_string(data).graph.output]


def test_every_activation_of_a_float_model(tmp_path: Path) -> None:
    model = load_model(save_small_model(tmp_path / "m.onnx"))
    tapped = tap_activations(model.data)
    assert names(tapped) == ["y", "c", "r", "p", "f"]
    x = np.random.default_rng(1).standard_normal((1, 3, 6, 6)).astype(np.float32)
    found = run_ort(tapped, {"x": x})
    wanted = ReferenceEvaluator(onnx.load_from_string(tapped)).run(None, {"x": x})
    for name, array in zip(names(tapped), wanted, strict=True):
        # Sums of 27 and 8 float32 products in another order.
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(found["y"], run_ort(model.data, {"x": x})["y"])
    for name in ("c", "r", "p"):
        cut = onnx.utils.Extractor(model.proto).extract_model(["x"], [name])
        np.testing.assert_array_equal(found[name], run_ort(cut.SerializeToString(), {"x": x})[name])


def qdq_chain(domain: str = "", opset: int = 21, zero: type = np.uint8) -> onnx.ModelProto:
    """x -QDQ-> MatMul -QDQ-> Softmax (its float goes to Neg and to a quantizer) -QDQ-> y."""
    ends = {"domain": domain}
    nodes = [
        node("DequantizeLinear", ["w", "sw", "zw"], ["wd"], "wdq"),
        node("QuantizeLinear", ["x", "s", "z"], ["xq"], "q0", **ends),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "d0", **ends),
        node("MatMul", ["xd", "wd"], ["m"], "mm"),
        node("QuantizeLinear", ["m", "s", "z"], ["mq"], "q1", **ends),
        node("DequantizeLinear", ["mq", "s", "z"], ["md"], "d1", **ends),
        node("Softmax", ["md"], ["sm"], "soft"),
        node("Neg", ["sm"], ["n"], "neg"),
        node("QuantizeLinear", ["sm", "s", "z"], ["sq"], "q2", **ends),
        node("DequantizeLinear", ["sq", "s", "z"], ["sd"], "d2", **ends),
        node("Add", ["sd", "n"], ["y"], "add"),
    ]
    rng = np.random.default_rng(0)
    weights = {
        "w": rng.integers(-127, 128, (4, 5)).astype(np.int8),
        "sw": np.float32(0.01),
        "zw": np.int8(0),
        "s": np.float32(2**-5 if zero is np.uint8 else 2**-12),
        "z": zero(100),
    }
    return graph_model(nodes, [value("x", [3, 4])], [value("y", None)], weights, opset, 10)


@pytest.mark.parametrize(
    "model",
    [qdq_chain(), qdq_chain(opset=13), qdq_chain("com.microsoft", 17, np.uint16)],
    ids=["opset21", "opset13", "uint16-microsoft"],
)
def test_a_qdq_model_is_tapped_at_its_integers(model: onnx.ModelProto) -> None:
    data = model.SerializeToString()
    tapped = tap_activations(data)
    assert names(tapped) == ["y", "xq", "mq", "sm", "n", "sq"], "no weights, no dequantized copies"
    x = np.random.default_rng(2).standard_normal((3, 4)).astype(np.float32)
    found = run_ort(tapped, {"x": x})
    np.testing.assert_array_equal(found["y"], run_ort(data, {"x": x})["y"])
    scale, zero = (2.0**-5, 100) if found["xq"].dtype == np.uint8 else (2.0**-12, 100)
    top = np.iinfo(found["xq"].dtype).max
    exact = np.clip(np.rint(x.astype(np.float64) / scale) + zero, 0, top)
    np.testing.assert_array_equal(found["xq"], exact)
    weights = {i.name: onnx.numpy_helper.to_array(i) for i in model.graph.initializer}
    sums = (found["xq"].astype(np.int64) - zero) @ weights["w"].astype(np.int64)
    # Exact products, then one rounding; onnxruntime's own may miss a tie by one step.
    wanted = np.clip(np.rint(sums * np.float64(np.float32(0.01))) + zero, 0, top)
    assert np.abs(found["mq"].astype(np.int64) - wanted).max() <= 1
    assert (found["mq"] == wanted).mean() > 0.8
    assert found["mq"].dtype == found["xq"].dtype
    np.testing.assert_array_equal(found["n"], -found["sm"])


def test_integers_and_half_floats_are_tapped_and_weights_are_not() -> None:
    nodes = [
        node("Add", ["c", "c"], ["cc"], "constant"),
        node("Mul", ["x", "cc"], ["m"], "mul"),
        node("ArgMax", ["m"], ["a"], "arg", axis=1),
        node("Cast", ["m"], ["h"], "half", to=TensorProto.FLOAT16),
        node("Split", ["m"], ["p", "q"], "split", axis=1, num_outputs=2),
        node("Sub", ["p", "q"], ["y"], "sub"),
    ]
    model = graph_model(
        nodes, [value("x", [2, 4])], [value("y", None)], {"c": np.float32([1, 2, 3, 4])}, 18
    )
    data = model.SerializeToString()
    tapped = tap_activations(data)
    assert set(names(tapped)) == {"y", "m", "a", "h", "p", "q"}
    x = np.random.default_rng(3).standard_normal((2, 4)).astype(np.float32)
    found = run_ort(tapped, {"x": x})
    np.testing.assert_array_equal(found["a"][:, 0], (x * [2, 4, 6, 8]).argmax(1))
    assert found["h"].dtype == np.float16
    np.testing.assert_array_equal(found["y"], run_ort(data, {"x": x})["y"])


def test_an_output_that_is_used_further_stays_one_output() -> None:
    nodes = [node("Relu", ["x"], ["y"], "r"), node("Neg", ["y"], ["z"], "n")]
    model = graph_model(nodes, [value("x", [3])], [value("z", None), value("y", None)])
    assert names(tap_activations(model.SerializeToString())) == ["z", "y"]


def test_nodes_out_of_order_are_tapped_all_the_same(tmp_path: Path) -> None:
    """Runtimes sort for themselves, so such files are about; loading sorts them."""
    model = onnx.load(save_small_model(tmp_path / "m.onnx"))
    plain = load_model(tmp_path / "m.onnx")
    nodes = [onnx.NodeProto.FromString(n.SerializeToString()) for n in reversed(model.graph.node)]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, tmp_path / "reversed.onnx")
    loaded = load_model(tmp_path / "reversed.onnx")
    assert [n.name for n in loaded.proto.graph.node] == [n.name for n in plain.proto.graph.node]
    assert names(tap_activations(loaded.data)) == ["y", "c", "r", "p", "f"]

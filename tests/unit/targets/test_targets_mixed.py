"""Mixed schemes on the simulator and on the engine: where nodes run, and which bits come out."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from targets_worker import Array, demo_feeds, open_in, run_in, working

from chipdrift.data import load_data
from chipdrift.demo import paths
from chipdrift.graph import load_model
from chipdrift.quantize import QuantizedModel, apply_scheme
from chipdrift.records import NodePlace, Placement
from chipdrift.schemes import Layer, get_scheme
from chipdrift.targets import get_target, summarize

htp = pytest.mark.htp
Answers = Callable[[str, QuantizedModel], tuple[Placement, list[Array]]]
KEPT = Layer(nodes=("block3/*",), kind="float32")
HALF = Layer(nodes=("block3/*",), kind="float16")
RAISED = Layer(nodes=("block3/*",), activations="uint16")
BLOCK = ("block3/depthwise", "block3/depthwise/relu6", "block3/pointwise", "block3/pointwise/relu6")


@functools.cache
def demo_mixed(*layers: Layer, base: str = "w8a8") -> QuantizedModel:
    model = load_model(paths().model)
    calibration = load_data(paths().calibration, model.info.inputs, 16)
    scheme = get_scheme(base).model_copy(update={"name": "mine", "layer": layers})
    return apply_scheme(model, scheme, calibration.feeds())


@pytest.fixture
def answers(worker_pool: Any, tmp_path: Path) -> Answers:
    """Where a target's nodes run and what it answers; its worker is the one of the test before."""

    def asked(target: str, made: QuantizedModel) -> tuple[Placement, list[Array]]:
        path = tmp_path / "m.onnx"
        path.write_bytes(made.data)
        worker = worker_pool.lend(get_target(target), -1)
        try:
            opened = open_in(worker, path)
            outputs = [run_in(worker, feed)[0] for feed in demo_feeds(8)]
        finally:
            worker.stop()
        found = summarize(
            opened.nodes, made.border, True, made.expandable, made.trace, made.kept, made.fence
        )
        return found, outputs

    return asked


@htp
@pytest.mark.parametrize("chip", ["sm8350", "sm8450", "sm8550", "sm7550"])
def test_what_a_scheme_keeps_in_float32_runs_on_the_cpu_of_every_chip(
    chip: str, answers: Answers
) -> None:
    pytest.importorskip("onnxruntime_qnn")
    made = demo_mixed(KEPT)
    place, _ = answers(f"htp:{chip}", made)
    assert tuple(sorted(node.node for node in place.kept)) == BLOCK
    assert {node.reason for node in place.kept} == {None}
    assert place.fallback == ()
    assert (place.npu, place.cpu) == (12, 4)


@htp
@pytest.mark.parametrize(
    ("chip", "profile"), [("sm8450", "hexagon-v69"), ("sm8550", "hexagon-v73")]
)
def test_the_cpu_computes_it_in_float32_to_the_bit(
    chip: str, profile: str, answers: Answers
) -> None:
    """The engine's float nodes are onnxruntime's, one by one; around them are the probed rules."""
    pytest.importorskip("onnxruntime_qnn")
    made = demo_mixed(KEPT)
    _, found = answers(f"htp:{chip}", made)
    _, wanted = answers(f"sim:{profile}", made)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


@htp
@pytest.mark.parametrize("chip", ["sm8350", "sm8450", "sm8550", "sm7550"])
def test_layers_of_two_types_stay_on_the_npu(chip: str, answers: Answers) -> None:
    pytest.importorskip("onnxruntime_qnn")
    place, _ = answers(f"htp:{chip}", demo_mixed(RAISED))
    assert (place.npu, place.cpu, place.conversions, place.fallback) == (14, 0, 0, ())


@htp
@pytest.mark.parametrize("chip", ["sm8450", "sm8550"])
def test_a_layer_in_float16_stays_on_an_npu_that_has_it(chip: str, answers: Answers) -> None:
    pytest.importorskip("onnxruntime_qnn")
    place, _ = answers(f"htp:{chip}", demo_mixed(HALF))
    assert (place.cpu, place.conversions, place.fallback) == (0, 0, ())


@htp
def test_a_graph_that_the_npu_cannot_run_is_no_answer_of_the_cpu(tmp_path: Path) -> None:
    """onnxruntime's Python would go on with the CPU: float and integers of one input fail there."""
    pytest.importorskip("onnxruntime_qnn")
    add = helper.make_node
    q = ["s", "z"]
    nodes = [
        add("QuantizeLinear", ["x", *q], ["xq"], "xq"),
        add("DequantizeLinear", ["xq", *q], ["xd"], "xd"),
        add("Cast", ["x"], ["half"], "half", to=TensorProto.FLOAT16),
        add("Mul", ["half", "w"], ["scaled"], "scaled"),
        add("Cast", ["scaled"], ["y"], "y", to=TensorProto.FLOAT),
        add("QuantizeLinear", ["y", *q], ["yq"], "yq"),
        add("DequantizeLinear", ["yq", *q], ["yd"], "yd"),
        add("Add", ["xd", "yd"], ["a"], "a"),
        add("QuantizeLinear", ["a", *q], ["aq"], "aq"),
        add("DequantizeLinear", ["aq", *q], ["out"], "out"),
    ]
    held = {"s": np.float32(0.03), "z": np.uint8(128), "w": np.ones((1, 64), np.float16)}
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "both",
        [value("x", TensorProto.FLOAT, [1, 64])],
        [value("out", TensorProto.FLOAT, [1, 64])],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    path = tmp_path / "both.onnx"
    onnx.save(model, path)
    with working(get_target("htp:sm8550")) as worker:
        opened = open_in(worker, path)
        assert ("npu", "scaled", "Mul") in opened.nodes
        worker.run("s", "0", {"x": np.ones((1, 64), np.float32)}, False)
        answer = worker.receive()
    assert answer[0] != "outputs"
    assert "6004" in str(answer)


@pytest.mark.parametrize(
    ("layers", "base"),
    [
        ((RAISED,), "w8a8"),
        ((RAISED,), "w8a8_pc"),
        ((Layer(nodes=("block3/*",), activations="uint8"),), "w8a16"),
        ((KEPT,), "w8a8"),
        ((Layer(nodes=("stem/conv", "block1/pointwise"), granularity="channel"),), "w8a8"),
        ((Layer(nodes=("head/*",), activations="uint16"), KEPT), "w8a8"),
    ],
)
def test_the_engine_computes_onnxruntimes_bits(
    layers: tuple[Layer, ...], base: str, answers: Answers
) -> None:
    made = demo_mixed(*layers, base=base)
    _, found = answers("sim:ort-mlas", made)
    _, wanted = answers("ort:cpu", made)
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_what_is_kept_does_not_fall_back_and_what_strays_is_told() -> None:
    nodes = [
        ("npu", "a", "Conv"),
        ("cpu", "k", "Softmax"),
        ("npu", "s", "Softmax"),
        ("cpu", "f", "Compress"),
        ("npu", "g", "Reshape"),
        ("cpu", "left", "Gelu"),
    ]
    found = summarize(nodes, (), True, kept={"k", "s"}, fence={"f", "g"})
    assert (found.npu, found.cpu, found.conversions) == (2, 2, 1)
    assert found.fallback == (NodePlace(node="left", op="Gelu"),)
    kept, strayed = found.kept
    assert (kept.node, kept.reason) == ("k", None)
    assert strayed.node == "s"
    assert "ran on the NPU all the same" in str(strayed.reason)
    host = summarize(nodes, (), False, kept={"k", "s"}, fence={"f", "g"})
    assert {node.reason for node in host.kept} == {None}

"""Fusion: one requantization where the model writes several steps."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Fusion, Profile, Requantize
from chipdrift.targets.sim.session import SimSession


def _model(between: bool, norm: bool) -> onnx.ModelProto:
    """Quantize -> Conv -> [Q -> DQ] -> [BatchNormalization] -> Relu -> Quantize -> Dequantize."""
    w = np.random.default_rng(5).integers(-127, 128, (6, 4, 3, 3)).astype(np.int8)
    constants = {
        "xs": np.float32(0.02), "xz": np.uint8(120), "w": w, "ws": np.float32(0.01),
        "wz": np.int8(0), "ms": np.float32(0.08), "mz": np.uint8(100), "ys": np.float32(0.05),
        "yz": np.uint8(0), "gamma": np.array([1.5, -0.7, 0.3, 2, -1, 0.9], np.float32),
        "beta": np.linspace(-1, 1, 6).astype(np.float32),
        "mean": np.linspace(-2, 2, 6).astype(np.float32),
        "var": np.linspace(0.5, 3, 6).astype(np.float32),
    }  # fmt: skip
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"]),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xr"]),
        helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wr"]),
        helper.make_node("Conv", ["xr", "wr"], ["c"], name="conv"),
    ]
    last = "c"
    if between:
        nodes.append(helper.make_node("QuantizeLinear", [last, "ms", "mz"], ["mq"]))
        nodes.append(helper.make_node("DequantizeLinear", ["mq", "ms", "mz"], ["mr"]))
        last = "mr"
    if norm:
        inputs = [last, "gamma", "beta", "mean", "var"]
        nodes.append(helper.make_node("BatchNormalization", inputs, ["n"], name="norm"))
        last = "n"
    nodes.append(helper.make_node("Relu", [last], ["r"], name="relu"))
    nodes.append(helper.make_node("QuantizeLinear", ["r", "ys", "yz"], ["yq"]))
    nodes.append(helper.make_node("DequantizeLinear", ["yq", "ys", "yz"], ["y"]))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 4, 4])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def _run(model: onnx.ModelProto, fusion: Fusion) -> tuple[np.ndarray, set[str]]:
    profile = Profile(name="p", fusion=fusion, requantize=Requantize())
    session = SimSession(program_of(model), profile, fast=False)
    x = np.random.default_rng(1).uniform(-2, 2, (1, 4, 6, 6)).astype(np.float32)
    places = {op for place, _, op in session.opened().nodes if place == "npu"}
    return session.run({"x": x})[0], places


def test_a_fused_activation_skips_the_quantizer_between() -> None:
    written, _ = _run(_model(True, False), Fusion())
    fused, _ = _run(_model(True, False), Fusion(activation="fused"))
    plain, _ = _run(_model(False, False), Fusion())
    assert not np.array_equal(written, plain)
    assert np.array_equal(fused, plain)


def test_batch_norm_in_one_requantization_is_within_a_step_of_float() -> None:
    model = _model(False, True)
    in_float, places = _run(model, Fusion())
    fused, fused_places = _run(model, Fusion(batch_norm="fused"))
    assert "BatchNormalization" not in places
    assert {"Conv", "BatchNormalization", "Relu"} <= fused_places
    steps = np.rint((fused - in_float) / np.float32(0.05))
    # The bias is rounded to the accumulator's grid, far finer than a step: only ties may move.
    assert np.abs(steps).max() <= 1
    assert (steps != 0).mean() < 0.02


def test_batch_norm_with_a_zero_factor_stays_in_float() -> None:
    model = _model(False, True)
    for tensor in model.graph.initializer:
        if tensor.name == "gamma":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(6, np.float32), "gamma"))
    session = SimSession(
        program_of(model), Profile(name="p", fusion=Fusion(batch_norm="fused")), fast=False
    )
    assert any("factor that is 0" in reason for reason in session.opened().reasons.values())

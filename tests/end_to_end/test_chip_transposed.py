"""Transposed convolutions on the simulated chips, and what the shipped profiles say of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipdrift import run_matrix

pytestmark = pytest.mark.htp


def three_up(path: Path) -> None:
    """Windows of 3x3, 4x4 and 2x2, strides 2, 2 and 1, with a bias and without, a Relu between."""
    rng = np.random.default_rng(1)
    held = {
        "a": rng.normal(0, 0.3, (3, 8, 3, 3)), "ab": rng.normal(0, 0.1, 8),
        "b": rng.normal(0, 0.3, (8, 10, 4, 4)), "bb": rng.normal(0, 0.1, 10),
        "c": rng.normal(0, 0.3, (10, 6, 2, 2)),
    }  # fmt: skip
    up = {"strides": [2, 2], "pads": [1] * 4}
    make = helper.make_node
    nodes = [
        make("ConvTranspose", ["x", "a", "ab"], ["t"], "up1", output_padding=[1, 1], **up),
        make("Relu", ["t"], ["u"], "relu"),
        make("ConvTranspose", ["u", "b", "bb"], ["v"], "up2", **up),
        make("ConvTranspose", ["v", "c"], ["y"], "up3"),
    ]
    graph = helper.make_graph(
        nodes,
        "up",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 6, 33, 33])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in held.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


def test_the_rules_of_convolutions_hold_at_8_bits(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    three_up(tmp_path / "up.onnx")
    rng = np.random.default_rng(2)
    for name in ("data", "calibration"):
        np.savez(tmp_path / f"{name}.npz", x=rng.normal(0, 1, (12, 3, 8, 8)).astype(np.float32))
    found = run_matrix(
        tmp_path / "up.onnx",
        tmp_path / "data.npz",
        schemes=["w8a8", "w8a8_pc"],
        targets=["htp:sm8450", "sim:hexagon-v69", "htp:sm8550", "sim:hexagon-v73"],
        out=tmp_path / "run",
        calibration=tmp_path / "calibration.npz",
        exhaustive=True,
    )
    pairs = {(p.scheme, p.a, p.b): p.identical for p in found.pairs}
    for scheme in ("w8a8", "w8a8_pc"):
        assert pairs[scheme, "htp:sm8450", "sim:hexagon-v69"] == 1
        assert pairs[scheme, "htp:sm8550", "sim:hexagon-v73"] == 1
        assert pairs[scheme, "htp:sm8450", "htp:sm8550"] < 1, "or the two would prove nothing"

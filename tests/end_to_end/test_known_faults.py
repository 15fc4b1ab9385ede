"""The faults in docs/known-faults.md are there, and chipdrift says so."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipdrift import run_matrix
from chipdrift.records import Matrix
from chipdrift.report.summary import findings


@pytest.mark.htp
@pytest.mark.parametrize("swapped", [False, True])
def test_a_named_hard_sigmoid_before_mul(swapped: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    rng = np.random.default_rng(0)
    weight = (rng.standard_normal((8, 3, 3, 3)) * 0.4).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], "conv", pads=[1] * 4),
        helper.make_node("HardSigmoid", ["c"], ["s"], "act/gate", alpha=1 / 6),
        helper.make_node("Mul", ["s", "c"] if swapped else ["c", "s"], ["y"], "act/mul"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 12)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=rng.standard_normal((8, 3, 6, 6)).astype(np.float32))
    found: Matrix = run_matrix(
        tmp_path / "m.onnx",
        tmp_path / "d.npz",
        schemes=["fp16"],
        targets=["htp:sm8550"],
        out=tmp_path / "run",
    )
    cell = found.cells[0]
    assert cell.placement is not None
    assert cell.placement.fallback == ()
    assert cell.sqnr_db is not None
    said = " ".join(finding.text for finding in findings(found))
    if swapped:
        assert cell.sqnr_db > 50
        assert "bear no relation" not in said
        assert not any("act/gate" in warning for warning in found.warnings)
    else:
        assert cell.sqnr_db < 0
        assert "bear no relation" in said
        assert any("act/gate" in warning for warning in found.warnings)

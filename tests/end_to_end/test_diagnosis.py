"""Real differences between real targets, diagnosed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipdrift import run_matrix
from chipdrift.demo import paths
from chipdrift.diagnose import run_diagnosis
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Diagnosis


def digits(folder: Path, scheme: str, targets: list[str], limit: int = 40) -> Path:
    files = paths()
    run_matrix(
        files.model,
        files.data,
        schemes=[scheme],
        targets=targets,
        out=folder / "run",
        calibration=files.calibration,
        limit=limit,
    )
    return folder / "run"


def mechanisms(diagnosis: Diagnosis) -> dict[str, float]:
    return {part.mechanism: part.drift for part in diagnosis.attributions}


def test_litert_rounds_twice_in_its_reference_kernels(tmp_path: Path) -> None:
    pytest.importorskip("ai_edge_litert")
    run = digits(tmp_path, "w8a8", ["litert:reference", "litert:xnnpack"])
    found = run_diagnosis(run, target="litert:reference", against="litert:xnnpack")
    assert found.findings[0].check == "mechanism"
    assert "rounds twice" in found.findings[0].words
    assert mechanisms(found)["rounding"] > 0.9


@pytest.mark.system
def test_avx2_saturates_pairs_and_the_cure_is_named(tmp_path: Path) -> None:
    run = digits(tmp_path, "w8a8_pc", ["ort:cpu", "ort:avx2"])
    found = run_diagnosis(run, target="ort:cpu", against="ort:avx2")
    worst = next(f for f in found.findings if f.check == "mechanism")
    assert worst.nodes[0] == "stem/conv"
    assert "pairs of products saturates in 16 bits" in worst.words
    assert "session.x64quantprecision" in worst.fix
    assert mechanisms(found) == {"accumulator_overflow": pytest.approx(1, abs=0.1)}


@pytest.mark.htp
@pytest.mark.parametrize("scheme", ["w8a8", "w8a16_pc"])
def test_two_generations_part_by_rules_that_are_known(scheme: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    run = digits(tmp_path, scheme, ["htp:sm8450", "htp:sm8550"])
    found = run_diagnosis(run, target="htp:sm8450", against="htp:sm8550")
    assert found.first_layer == found.first_op == "stem/conv"
    assert all(own.in_place_a and own.in_place_b for own in found.own)
    assert {"dropped_bits", "scale_precision"} <= mechanisms(found).keys()
    assert found.unexplained is not None
    assert abs(found.unexplained) < 0.02
    assert all(e.unexplained == 0 and e.basis_share == 1 for e in found.explanations)


def test_against_the_float_model_it_says_what_quantization_adds(tmp_path: Path) -> None:
    run = digits(tmp_path, "w8a8", ["ort:cpu"])
    found = run_diagnosis(run, against="float")
    noise = {a.node: a.distance.sqnr_db for a in found.activations}
    own = {o.node: o.distance for o in found.own}
    deep, alone = noise["block5/depthwise"], own["block5/depthwise"]
    assert deep is not None
    assert alone is not None
    assert alone.sqnr_db is not None
    assert alone.sqnr_db > deep + 3  # what it adds is less than what has come together


@pytest.mark.htp
def test_block_weights_with_a_bias_are_called_wrong_not_rounding(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    model, data = tmp_path / "blocks.onnx", tmp_path / "x.npz"
    onnx.save(block_convolution(), model)
    x = np.random.default_rng(0).standard_normal((40, 64, 6, 6)).astype(np.float32)
    np.savez(data, x=x)
    run = tmp_path / "run"
    run_matrix(model, data, schemes=["asis"], targets=["htp:sm8550", "ort:cpu"], out=run)
    found = run_diagnosis(run, target="htp:sm8550", against="ort:cpu", samples=4)
    worst = found.findings[0]
    assert (worst.check, worst.severity) == ("wrong-answers", "error")
    assert worst.nodes == ("conv",)


def block_convolution() -> onnx.ModelProto:
    """A 1x1 convolution, its weights int4 in blocks of 32, its bias a float."""
    rng = np.random.default_rng(1)
    weights = rng.integers(-7, 8, (16, 64, 1, 1))
    held = [
        helper.make_tensor("w", TensorProto.INT4, (16, 64, 1, 1), weights.reshape(-1).tolist()),
        numpy_helper.from_array(rng.uniform(0.01, 0.03, (16, 2, 1, 1)).astype(np.float32), "ws"),
        helper.make_tensor("wz", TensorProto.INT4, (16, 2, 1, 1), [0] * 32),
        numpy_helper.from_array(rng.standard_normal(16).astype(np.float32), "bias"),
        numpy_helper.from_array(np.float32(8 / 65535), "xs"),
        numpy_helper.from_array(np.uint16(32768), "xz"),
        numpy_helper.from_array(np.float32(16 / 65535), "ys"),
        numpy_helper.from_array(np.uint16(32768), "yz"),
    ]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "xs", "xz"], ["xq"], "x_q"),
        helper.make_node("DequantizeLinear", ["xq", "xs", "xz"], ["xr"], "x_dq"),
        helper.make_node(
            "DequantizeLinear", ["w", "ws", "wz"], ["wr"], "w_dq", axis=1, block_size=32
        ),
        helper.make_node("Conv", ["xr", "wr", "bias"], ["c"], "conv", kernel_shape=[1, 1]),
        helper.make_node("QuantizeLinear", ["c", "ys", "yz"], ["cq"], "c_q"),
        helper.make_node("DequantizeLinear", ["cq", "ys", "yz"], ["y"], "c_dq"),
    ]
    graph = helper.make_graph(
        nodes,
        "blocks",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 64, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 16, 6, 6])],
        held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 10
    return model


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ({"scheme": "w8a9"}, "w8a9"),
        ({"target": "htp:sm9999"}, "htp:sm9999"),
        ({"target": "float"}, "--against"),
        ({"target": "ort:cpu", "against": "ort:cpu"}, "both ort:cpu"),
        ({"profiles": {"sim:other": ""}}, "sim:other"),
        ({"data": "gone.npz"}, "gone.npz"),
    ],
)
def test_what_cannot_be_diagnosed_is_one_sentence(
    asked: dict[str, str], expected: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    run = tmp_path_factory.getbasetemp() / "one-run"
    if not run.exists():
        run.mkdir()
        digits(run, "w8a8", ["ort:cpu", "sim:ort-mlas"], 20)
    with pytest.raises(ChipdriftError, match=expected):
        run_diagnosis(run / "run", **asked)  # type: ignore[arg-type]


def test_a_run_without_two_targets_is_set_against_the_float_model(tmp_path: Path) -> None:
    found = run_diagnosis(digits(tmp_path, "w8a8", ["ort:cpu"], 20))
    assert (found.a.target, found.b.target) == ("ort:cpu", "float")


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    with pytest.raises(ChipdriftError, match="no such run"):
        run_diagnosis(tmp_path)

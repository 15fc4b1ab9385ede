"""The log's names against the model's nodes, on the command line and by themselves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from logs_models import DATA, save_erf_model

from chipdrift.graph import load_model
from chipdrift.logs import join_model, read_log

if TYPE_CHECKING:
    from conftest import Cli


def test_nodes_that_the_log_names_and_does_not(cli: Cli, tmp_path: Path) -> None:
    model = save_erf_model(tmp_path / "erf.onnx")
    code, out, err = cli("logs", DATA / "ort_qnn_w8a8_sm8450.log", "--model", model, "--json")
    assert (code, err) == (0, "")
    join = json.loads(out)["model"]
    # Relu and Clip went into the quantizers behind them: nobody names them.
    assert join == {
        "model": "erf.onnx",
        "named": ["conv", "conv2", "erf", "mul", "pool", "flatten", "gemm"],
        "silent": ["relu", "clip2"],
        "strangers": [],
        "added": join["added"],
    }
    assert join["added"] > 10


def test_a_profile_and_qnns_csv_are_joined_by_the_same_names(tmp_path: Path) -> None:
    loaded = load_model(save_erf_model(tmp_path / "erf.onnx"))
    nodes = {node.name: node.op_type for node in loaded.proto.graph.node}
    joined = {
        name: join_model(read_log(DATA / name), "erf.onnx", nodes).model
        for name in ("ort_profile_sm8450.json", "qnn_profile_sm8450.csv")
    }
    assert all(join is not None and join.strangers == () for join in joined.values())
    assert joined["ort_profile_sm8450.json"].named == ("erf",)  # type: ignore[union-attr]
    assert joined["qnn_profile_sm8450.csv"].named == (  # type: ignore[union-attr]
        "conv",
        "conv2",
        "mul",
        "pool",
        "flatten",
        "gemm",
    )


def test_a_log_of_another_model_is_seen(cli: Cli, tmp_path: Path) -> None:
    model = save_erf_model(tmp_path / "erf.onnx")
    code, out, _ = cli("logs", DATA / "ort_qnn_fused_sm8550.log", "--model", model, "--json")
    assert code == 0
    join = json.loads(out)["model"]
    assert join["named"] == []
    assert {"/out/Mod", "/gelu/Erf", "/hs/HardSigmoid"} <= set(join["strangers"])
    code, out, _ = cli("logs", DATA / "ort_qnn_fused_sm8550.log", "--model", model)
    assert "the log names 0 of 9 nodes" in out


def test_a_model_that_is_none(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "no.onnx"
    path.write_bytes(b"hello")
    code, out, err = cli("logs", DATA / "qnn_profile_sm8450.csv", "--model", path)
    assert (code, out) == (2, "")
    assert "not an ONNX file" in err

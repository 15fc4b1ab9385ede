"""The simulator's own log against what onnxruntime's API says of the same session."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from logs_models import save_erf_model
from onnx import numpy_helper

from chipdrift.chips import get_chip, simulator_id
from chipdrift.graph import load_model
from chipdrift.logs import LogFindings, read_log
from chipdrift.logs.session import plain_name
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme

pytestmark = pytest.mark.htp
pytest.importorskip("onnxruntime_qnn")

RUN = """
import json, sys
import numpy as np, onnxruntime as ort, onnxruntime_qnn as qnn
model, soc_model, folder = sys.argv[1:]
ort.set_default_logger_severity(0)
ort.register_execution_provider_library("QNNExecutionProvider", qnn.get_library_path())
device = next(d for d in ort.get_ep_devices() if d.ep_name == "QNNExecutionProvider")
options = ort.SessionOptions()
options.log_severity_level = 0
options.enable_profiling = True
options.profile_file_prefix = folder + "/profile"
options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
options.add_provider_for_devices([device], {
    "backend_path": qnn.get_qnn_htp_path(), "soc_model": soc_model,
    "profiling_level": "detailed", "profiling_file_path": folder + "/qnn.csv"})
session = ort.InferenceSession(model, options)
session.run(None, {"x": np.random.default_rng(0).standard_normal((1, 3, 16, 16)).astype("f4")})
session.end_profiling()
placed = {part.ep_name: [(n.name, n.op_type) for n in part.get_nodes()] for part in ()}
for part in session.get_provider_graph_assignment_info():
    placed.setdefault(part.ep_name, []).extend((n.name, n.op_type) for n in part.get_nodes())
open(folder + "/placed.json", "w").write(json.dumps(placed))
"""

CHIP = "sm8450"


@pytest.fixture(scope="module", params=["w8a8", "w8a8_pc"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp(request.param)
    loaded = load_model(save_erf_model(made / "float.onnx"))
    rng = np.random.default_rng(5)
    feeds = [{"x": rng.standard_normal((1, 3, 16, 16)).astype(np.float32)} for _ in range(8)]
    (made / "m.onnx").write_bytes(apply_scheme(loaded, get_scheme(request.param), feeds).data)
    soc_model = str(simulator_id(get_chip(CHIP)))
    with (made / "run.log").open("wb") as log:
        words = [sys.executable, "-c", RUN, made / "m.onnx", soc_model, made]
        subprocess.run(words, check=True, stdout=log, stderr=subprocess.STDOUT)
    return made


@pytest.fixture(scope="module")
def found(folder: Path) -> LogFindings:
    return read_log(folder / "run.log")


def test_nodes_are_where_the_api_says(folder: Path, found: LogFindings) -> None:
    api = json.loads((folder / "placed.json").read_text())

    def named(provider: str) -> set[tuple[str, str]]:
        nodes = {(plain_name(name), op) for name, op in api[provider]}
        return {(name, op) for name, op in nodes if "Linear" not in op and op != "Transpose"}

    for provider in ("QNNExecutionProvider", "CPUExecutionProvider"):
        log = {(p.node, p.op) for p in found.placements if p.provider == provider}
        log = {(node, op) for node, op in log if "Linear" not in str(op)}
        assert log == named(provider)
    assert [f.node for f in found.fallbacks] == ["erf"]
    on_cpu = [op for _, op in api["CPUExecutionProvider"] if "Linear" in op]
    assert found.graph_io + found.conversions == len(on_cpu)
    assert found.graph_io == 2


def test_quantizers_are_the_models(folder: Path, found: LogFindings) -> None:
    graph = onnx.load(folder / "m.onnx").graph
    values = {init.name: numpy_helper.to_array(init) for init in graph.initializer}
    wanted = {
        node.input[0]: (values[node.input[1]], values[node.input[2]])
        for node in graph.node
        if node.op_type == "DequantizeLinear"
    }
    compared = 0
    for tensor in found.quantizers:
        if tensor.tensor not in wanted:
            continue
        scale, zero_point = wanted[tensor.tensor]
        # QNN prints six digits.
        np.testing.assert_allclose(tensor.quantizer.scale, np.ravel(scale), rtol=5e-6)
        assert tensor.quantizer.zero_point == tuple(np.ravel(zero_point).tolist())
        assert tensor.quantizer.dtype == zero_point.dtype.name
        assert (tensor.quantizer.axis is not None) == (np.ndim(scale) == 1 and np.size(scale) > 1)
        compared += 1
    assert compared >= 8


def test_chip_and_versions_are_the_packages(found: LogFindings) -> None:
    from onnxruntime_qnn import build_and_package_info as package

    chips = {(chip.field, chip.value) for chip in found.chips}
    assert {("soc", "SM8450"), ("soc_model", "36"), ("arch", "69")} <= chips
    (sdk,) = [v.version for v in found.versions if v.what == "QNN SDK"]
    assert sdk.removeprefix("v").startswith(package.qnn_version)


def test_profile_and_csv_name_the_same_nodes(folder: Path) -> None:
    (profile,) = folder.glob("profile*.json")
    cpu = read_log(profile)
    assert [f.node for f in cpu.fallbacks] == ["erf"]
    npu = {plain_name(p.node or "") for p in read_log(folder / "qnn.csv").placements}
    assert {"conv", "conv2", "mul", "gemm"} <= npu
    assert "erf" not in npu


def test_no_line_is_lost(folder: Path, found: LogFindings) -> None:
    text = (folder / "run.log").read_bytes()
    lines = text.split(b"\n")[:-1]
    assert found.lines == len(lines)
    blank = sum(not line.replace(b"\x1b[m", b"").strip() for line in lines)
    assert found.read + found.unknown_lines + found.foreign + blank == len(lines)
    # What is foreign bears no mark of onnxruntime or QNN.
    marked = sum(b":onnxruntime:" in line for line in lines)
    assert found.foreign <= len(lines) - blank - marked
    assert sum(form.count for form in found.unknown) <= found.unknown_lines

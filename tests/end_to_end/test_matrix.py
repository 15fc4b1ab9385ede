"""``chipdrift matrix`` from the command line to the files it leaves, on real runtimes."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import onnx
import pyarrow.parquet as pq
import pytest
from onnx import TensorProto, helper, numpy_helper
from plan_runs import command

from chipdrift import cell_outputs, read_matrix, run_matrix
from chipdrift.demo import DemoPaths
from chipdrift.store import Store
from conftest import save_small_model

if TYPE_CHECKING:
    from conftest import Cli

CHIPS = "ort:cpu,htp:sm8450,htp:sm8475,htp:sm8550,htp:sm7550"


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demo on four chips under four schemes, 40 samples, by the real command."""
    pytest.importorskip("onnxruntime_qnn")
    from chipdrift.demo import paths

    out = tmp_path_factory.mktemp("runs") / "demo"
    words = [sys.executable, "-m", "chipdrift.cli.main", *demo_words(paths(), out)]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document == json.loads((out / "matrix.json").read_text())
    return out


def demo_words(demo: DemoPaths, out: Path) -> list[str]:
    return [
        *("matrix", str(demo.model)),
        *("--data", str(demo.data), "--calibration", str(demo.calibration), "--limit", "40"),
        *("--scheme", "fp32,fp16,w8a8,w8a16_pc", "--target", CHIPS, "-o", str(out), "--json"),
    ]


def load(out: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((out / "matrix.json").read_text())
    return document


@pytest.mark.htp
def test_the_document_has_what_the_readme_promises(measured: Path, demo: DemoPaths) -> None:
    import hashlib

    found = load(measured)
    assert found["schema_version"] == 1
    assert found["model"]["sha256"] == hashlib.sha256(demo.model.read_bytes()).hexdigest()
    assert len(found["data"]["sha256"]) == 64
    assert found["data"]["samples"] == 40
    assert (found["baseline"]["scheme"], found["baseline"]["target"]) == ("fp32", "ort:cpu")
    assert len(found["cells"]) == 4 * 5
    for cell in found["cells"]:
        assert cell["status"] in ("ok", "unsupported")
        assert cell["evidence"] == (
            "host-runtime" if cell["target"] == "ort:cpu" else "vendor-simulator"
        )
        assert cell["versions"]["onnxruntime"]
        if cell["status"] == "ok":
            assert cell["metric"]["low"] <= cell["metric"]["value"] <= cell["metric"]["high"]
            assert cell["delta"]["low"] <= cell["delta"]["value"] <= cell["delta"]["high"]
            assert 0 <= cell["delta"]["p_value"] <= cell["delta"]["p_holm"] <= 1
            assert 0 <= cell["agreement"] <= 1
            assert cell["seconds"] > 0
    pairs = [pair for pair in found["pairs"] if pair["scheme"] == "w8a8"]
    assert len(pairs) == 5 * 4 / 2
    assert any("isa" in cell["versions"] for cell in found["cells"])


@pytest.mark.htp
def test_unsupported_is_a_result_with_a_reason(measured: Path) -> None:
    cells = {(c["scheme"], c["target"]): c for c in load(measured)["cells"]}
    refused = cells["fp32", "htp:sm8550"]
    assert refused["status"] == "unsupported"
    assert "FP16" in refused["reason"]
    assert refused["metric"] is None
    # A convolution in FP16 is no fallback on a chip without it: no session can be built.
    without = cells["fp16", "htp:sm7550"]
    assert without["status"] == "unsupported"
    assert without["reason"].startswith("SM7550 has no FP16 on the simulated NPU")
    assert "Conv" in without["reason"]
    assert cells["fp16", "htp:sm8550"]["placement"]["fallback"] == []


@pytest.mark.htp
def test_placement_tells_the_graphs_own_quantization_from_a_fallback(measured: Path) -> None:
    cells = {(c["scheme"], c["target"]): c for c in load(measured)["cells"]}
    placed = cells["w8a8", "htp:sm8550"]["placement"]
    assert placed["npu"] > 10
    assert (placed["cpu"], placed["conversions"], placed["fallback"]) == (0, 0, [])
    assert placed["graph_io"] == 2
    assert cells["w8a8", "ort:cpu"]["placement"]["npu"] == 0
    assert cells["w8a8", "ort:cpu"]["placement"]["fallback"] == []


@pytest.mark.htp
def test_generations_part_and_twins_share(measured: Path) -> None:
    found = load(measured)
    cells = {(c["scheme"], c["target"]): c for c in found["cells"]}
    twin = cells["w8a8", "htp:sm8475"]
    assert twin["copied_from"] == "htp:sm8450"
    assert (twin["audited"], twin["measured"]) == (4, 4)
    assert cells["w8a8", "htp:sm8550"]["copied_from"] is None
    by_pair = {(p["a"], p["b"]): p for p in found["pairs"] if p["scheme"] == "w8a8"}
    parted = by_pair["htp:sm8450", "htp:sm8550"]
    assert parted["identical"] < 1
    assert parted["lsb"]["max"] >= 1
    assert by_pair["htp:sm8450", "htp:sm8475"]["identical"] == 1
    assert by_pair["htp:sm8450", "htp:sm8475"]["measured"] == 4
    groups = {tuple(g["targets"]): g for g in found["groups"] if g["scheme"] == "w8a8"}
    assert groups["htp:sm8450", "htp:sm8475"]["measured"] == 4
    assert cells["w8a8", "ort:cpu"]["lsb"] == {"max": 0, "mean": 0.0}
    assert cells["fp16", "htp:sm8550"]["lsb"] is None


@pytest.mark.htp
@pytest.mark.parametrize(
    ("scheme", "target", "soc_model"),
    [("w8a8", "htp:sm8450", 36), ("w8a16_pc", "htp:sm8550", 43), ("fp16", "htp:sm8475", 42)],
)
def test_outputs_are_what_ten_lines_of_onnxruntime_qnn_give(
    scheme: str, target: str, soc_model: int, measured: Path, demo: DemoPaths, tmp_path: Path
) -> None:
    script = textwrap.dedent(
        f"""
        import numpy as np, onnxruntime as ort, onnxruntime_qnn as qnn
        ort.register_execution_provider_library("QNNExecutionProvider", qnn.get_library_path())
        device = [d for d in ort.get_ep_devices() if d.ep_name == "QNNExecutionProvider"][0]
        options = ort.SessionOptions()
        options.add_provider_for_devices(
            [device], {{"backend_path": qnn.get_qnn_htp_path(), "soc_model": "{soc_model}"}})
        session = ort.InferenceSession("{model_file(measured, scheme)}", options)
        images = np.load("{demo.data}")["image"][:40]
        np.save("{tmp_path}/y.npy", [session.run(None, {{"image": x[None]}})[0] for x in images])
        """
    )
    subprocess.run([sys.executable, "-c", script], check=True, capture_output=True)
    ours, _ = cell_outputs(measured, scheme, target)
    theirs = np.load(tmp_path / "y.npy")
    assert ours["logits"].shape == theirs.shape == (40, 1, 10)
    assert ours["logits"].tobytes() == theirs.tobytes()


def model_file(run: Path, scheme: str) -> Path:
    info = next(s for s in load(run)["schemes"] if s["name"] == scheme)
    return run / info["file"]


@pytest.mark.htp
def test_sharing_gives_the_table_that_exhaustive_gives(
    measured: Path, demo: DemoPaths, tmp_path: Path
) -> None:
    out = tmp_path / "every"
    code, _, told = command(*demo_words(demo, out), "--exhaustive")
    assert code == 0, told
    own = ("seconds", "copied_from", "audited", "measured")
    tables = [
        [{k: v for k, v in cell.items() if k not in own} for cell in load(run)["cells"]]
        for run in (measured, out)
    ]
    assert tables[0] == tables[1]
    assert all(c["measured"] in (0, 40) for c in load(out)["cells"])


@pytest.mark.htp
def test_a_second_run_measures_nothing_and_more_samples_only_the_new(
    measured: Path, demo: DemoPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    from chipdrift.targets import WorkerProcess

    started: list[str] = []
    original = WorkerProcess.__init__

    def counted(self: WorkerProcess, target: Any, core: int) -> None:
        started.append(target.name)
        original(self, target, core)

    monkeypatch.setattr(WorkerProcess, "__init__", counted)
    asked: dict[str, Any] = {
        "calibration": demo.calibration,
        "schemes": ["fp32", "fp16", "w8a8", "w8a16_pc"],
        "targets": CHIPS.split(","),
        "out": measured,
    }
    before = rows(measured)
    again = run_matrix(demo.model, demo.data, limit=40, **asked)
    # A refusal is asked for again, since it may have been for lack of memory.
    assert set(started) <= {"htp:sm7550"}
    assert rows(measured) == before
    assert again.cells == read_matrix(measured).cells
    fewer = run_matrix(demo.model, demo.data, limit=20, **asked)
    assert set(started) <= {"htp:sm7550"}
    assert fewer.data.samples == 20
    run_matrix(demo.model, demo.data, limit=42, **asked)
    new = {k: rows(measured)[k] - before[k] for k in before}
    assert set(new.values()) == {0, 2}
    run_matrix(demo.model, demo.data, limit=40, **asked)


def rows(run: Path) -> dict[str, int]:
    with Store.read(run) as store:
        return dict(store._db.execute("SELECT cell, count(*) FROM outputs GROUP BY cell"))


@pytest.mark.htp
def test_tables_lie_beside_the_report(measured: Path) -> None:
    with (measured / "cells.csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    found = load(measured)
    assert [(c["scheme"], c["target"]) for c in lines] == [
        (c["scheme"], c["target"]) for c in found["cells"]
    ]
    assert float(lines[0]["metric_value"]) == found["cells"][0]["metric"]["value"]
    assert pq.read_table(measured / "cells.parquet").num_rows == len(lines)
    answers = pq.read_table(measured / "answers.parquet").to_pydict()
    shown = [
        (a == b)
        for a, b, s, t in zip(
            answers["answer"], answers["label"], answers["scheme"], answers["target"], strict=True
        )
        if (s, t) == ("w8a8", "htp:sm8550")
    ]
    cell = next(c for c in found["cells"] if (c["scheme"], c["target"]) == ("w8a8", "htp:sm8550"))
    assert np.mean(shown) == pytest.approx(cell["metric"]["value"], abs=1e-12)
    assert (measured / "report.html").stat().st_size > 5000


@pytest.mark.htp
def test_a_float_model_without_fp16_is_all_on_the_cpu(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["m"], "project"),
            helper.make_node("Softmax", ["m"], ["y"], "softmax"),
        ],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 5])],
        [numpy_helper.from_array(rng.standard_normal((8, 5)).astype(np.float32), "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, tmp_path / "m.onnx")
    np.savez(tmp_path / "d.npz", x=rng.standard_normal((12, 8)).astype(np.float32))
    found = run_matrix(
        tmp_path / "m.onnx",
        tmp_path / "d.npz",
        schemes=["fp16"],
        targets=["htp:sm7550", "htp:sm8550"],
        out=tmp_path / "run",
    )
    without, having = found.cells
    assert without.placement is not None
    assert having.placement is not None
    assert without.placement.npu == 0
    fallen = {place.node for place in without.placement.fallback}
    assert {"project", "softmax"} <= fallen
    assert without.placement.cpu == len(without.placement.fallback)
    assert "no FP16" in (without.reason or "")
    assert (having.placement.cpu, having.reason) == (0, None)


@pytest.mark.htp
def test_one_chip_by_two_names_runs_once(demo: DemoPaths, tmp_path: Path) -> None:
    found = run_matrix(
        demo.model,
        demo.data,
        calibration=demo.calibration,
        schemes=["w8a8"],
        targets=["htp:sm8350", "htp:SM8350P", "htp:sm8350"],
        out=tmp_path / "run",
        limit=6,
    )
    assert [cell.target for cell in found.cells] == ["htp:sm8350", "htp:sm8350p"]
    assert found.pairs[0].identical == 1.0
    # The baseline, w8a8 on ort:cpu, and one address for both names.
    assert sorted(rows(tmp_path / "run").values()) == [6, 6, 6]


@pytest.mark.htp
def test_a_session_that_cannot_be_built_is_unsupported_in_the_simulators_words(
    tmp_path: Path,
) -> None:
    """Weights in blocks of 32 under a convolution: SM8350 has no such kernel."""
    model = save_small_model(tmp_path / "wide.onnx", channels=8)
    proto = onnx.load(model)
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((8, 32, 1, 1)).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["y"], "conv")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 32, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 8, 4, 4])],
        [numpy_helper.from_array(weight, "w")],
    )
    proto.graph.CopyFrom(graph)
    onnx.save(proto, model)
    np.savez(tmp_path / "d.npz", x=rng.standard_normal((12, 32, 4, 4)).astype(np.float32))
    found = run_matrix(
        model,
        tmp_path / "d.npz",
        calibration=tmp_path / "d.npz",
        schemes=["w4a16_b32"],
        targets=["htp:sm8350", "htp:sm8550"],
        out=tmp_path / "run",
    )
    refused, ran = found.cells
    assert (refused.status, ran.status) == ("unsupported", "ok")
    assert len(refused.reason or "") > 30
    assert found.calibration is not None
    assert found.calibration.overlap == 12
    assert any("12 of 12 calibration samples" in warning for warning in found.warnings)


def test_dry_run_says_how_long_and_how_many(
    cli: Cli, small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    words = ["--data", small_data, "--scheme", "fp32", "--target", "ort:cpu"]
    words += ["-o", tmp_path / "run", "--dry-run"]
    code, out, _ = cli("matrix", small_model, *words, "--json")
    assert code == 0
    told = json.loads(out)
    assert told["samples"] == 40
    assert told["cells"][0]["lacking"] == 39
    assert told["seconds_at_most"] >= told["seconds_if_alike"] >= 0
    assert told["needed"]["0.5"] > told["needed"]["0.95"] > 100
    code, out, _ = cli("matrix", small_model, *words, "--interval", "0.05")
    assert code == 0
    assert "at most" in out
    assert "±5 points" in out
    assert not (tmp_path / "run" / "matrix.json").exists()


def test_no_samples_keeps_pictures_out(small_model: Path, small_data: Path, tmp_path: Path) -> None:
    from faulty_runtime import target

    asked: dict[str, Any] = {
        "schemes": ["fp32"],
        "targets": ["ort:cpu", target("reverse")],
        "out": tmp_path / "run",
    }

    def pictures() -> int:
        with Store.read(tmp_path / "run") as store:
            return int(store._db.execute("SELECT count(*) FROM pictures").fetchone()[0])

    run_matrix(small_model, small_data, **asked)
    assert pictures() > 0
    run_matrix(small_model, small_data, **asked, keep_samples=False)
    assert pictures() == 0


def test_several_inputs_and_outputs_and_a_metric_of_ones_own(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_two_by_two(tmp_path / "two.onnx")
    rng = np.random.default_rng(5)
    a = rng.standard_normal((30, 4)).astype(np.float32)
    b = rng.standard_normal((30, 1, 4)).astype(np.float32)
    np.savez("d.npz", a=a, b=b, labels=(a[:, 0] > 0).astype(int))
    (tmp_path / "own_metric.py").write_text(
        "def score(outputs, labels):\n"
        "    assert outputs['s'].shape == (len(labels), 4)\n"
        "    return (outputs['s'][:, 0] > 0) == labels\n"
    )
    code, out, err = cli(
        *("matrix", "two.onnx", "--data", "d.npz", "--scheme", "fp32", "--target", "ort:cpu"),
        *("--metric", "own_metric:score", "-o", "run", "--json"),
    )
    assert code == 0, err
    found = json.loads(out)
    expected = float(np.mean(((a + b[:, 0])[:, 0] > 0) == (a[:, 0] > 0)))
    assert found["cells"][0]["metric"]["value"] == pytest.approx(expected, abs=1e-12)
    code, _, err = cli(
        *("outputs", "run", "--scheme", "fp32", "--target", "ort:cpu", "-o", "out.npz")
    )
    assert code == 0, err
    with np.load("out.npz") as written:
        assert set(written.files) == {"s", "p"}
        np.testing.assert_array_equal(written["s"][:, 0], a + b[:, 0])
        np.testing.assert_array_equal(written["p"][:, 0], a * b[:, 0])


def test_open_dimensions_external_data_and_no_labels(cli: Cli, tmp_path: Path) -> None:
    model = onnx.load(save_small_model(tmp_path / "open.onnx", shape=["N", 3, "H", "W"]))
    path = tmp_path / "external.onnx"
    onnx.save(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    x = np.random.default_rng(1).standard_normal((20, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x)
    np.savez(tmp_path / "c.npz", x=x[:4] + 1)
    code, out, err = cli(
        *("matrix", path, "--data", tmp_path / "d.npz", "--calibration", tmp_path / "c.npz"),
        *("--scheme", "w8a8", "--target", "ort:cpu", "--shape", "x=1,3,6,6"),
        *("-o", tmp_path / "run", "--json"),
    )
    assert code == 0, err
    found = json.loads(out)
    assert found["metric"]["name"] == "agreement"
    assert found["cells"][0]["metric"]["value"] == found["cells"][0]["agreement"]
    assert found["model"]["inputs"][0]["shape"] == [1, 3, 6, 6]


def test_quantize_writes_the_file_that_the_matrix_runs(
    cli: Cli, small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    calibration = small_data.with_name("cal.npz")
    code, out, err = cli(
        *("quantize", small_model, "--scheme", "w8a8_pc", "--calibration", calibration),
        *("-o", tmp_path / "q.onnx", "--json"),
    )
    assert code == 0, err
    told = json.loads(out)
    assert told["nodes"]["conv"] == ["conv", "relu"]
    run_matrix(
        small_model,
        small_data,
        calibration=calibration,
        schemes=["w8a8_pc"],
        targets=["ort:cpu"],
        out=tmp_path / "run",
    )
    kept = model_file(tmp_path / "run", "w8a8_pc").read_bytes()
    assert kept == (tmp_path / "q.onnx").read_bytes()
    code, out, err = cli(
        *("matrix", tmp_path / "q.onnx", "--data", small_data, "--scheme", "asis"),
        *("--target", "ort:cpu", "-o", tmp_path / "asis", "--json"),
    )
    assert code == 0, err
    assert json.loads(out)["baseline"]["scheme"] == "asis"


@pytest.mark.parametrize("verb", ["chips", "targets", "schemes"])
def test_lists_print_one_json_document(verb: str, cli: Cli) -> None:
    code, out, _ = cli(verb, "--json")
    assert code == 0
    assert json.loads(out)["schema_version"] == 1
    assert cli(verb)[0] == 0


@pytest.mark.parametrize(
    "verb", ["demo", "matrix", "quantize", "report", "outputs", "chips", "targets", "schemes"]
)
def test_every_verb_has_help_with_an_example(verb: str, cli: Cli) -> None:
    code, out, _ = cli(verb, "--help")
    assert code == 0
    assert f"Example: chipdrift {verb}" in out


def save_two_by_two(path: Path) -> None:
    """Inputs a (1, 4) and b (1, 1, 4); outputs s = a + b and p = a * b, (1, 4)."""
    nodes = [
        helper.make_node("Reshape", ["b", "shape"], ["flat"], "reshape"),
        helper.make_node("Add", ["a", "flat"], ["s"], "add"),
        helper.make_node("Mul", ["a", "flat"], ["p"], "mul"),
    ]
    graph = helper.make_graph(
        nodes,
        "two",
        [
            helper.make_tensor_value_info("a", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, [1, 1, 4]),
        ],
        [
            helper.make_tensor_value_info("s", TensorProto.FLOAT, [1, 4]),
            helper.make_tensor_value_info("p", TensorProto.FLOAT, [1, 4]),
        ],
        [numpy_helper.from_array(np.array([1, 4], np.int64), "shape")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)

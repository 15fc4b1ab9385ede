"""chipdrift-runner on this host against onnxruntime's Python sessions, bit for bit."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "targets"))

import runner_models as models
from runner_built import (
    LIBRARY,
    Command,
    built,
    demo_requests,
    on,
    places,
    python_session,
    run_line,
)
from runner_process import loaded, request, same_bits, saved, tell
from targets_worker import open_in, run_in, working

from chipdrift.targets import get_target, ort

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory) -> Command:
    return [built(tmp_path_factory, "gcc")]


@pytest.mark.parametrize("shape", [(), (0, 3), (2, 3), (1, 2, 3, 4), (0,), (5,)])
def test_every_dtype_under_any_name(
    shape: tuple[int, ...], runner: Command, tmp_path: Path
) -> None:
    model = models.every_dtype(tmp_path / "m.onnx")
    feed = models.every_feed(shape, len(shape))
    files = saved(tmp_path / "in put=\t", feed)
    told = tell(runner, *on(model), requests=request(tmp_path / "out = put", files) + "end\n")
    assert told.kinds == ["opened", "ran", "ended"]
    assert [port["name"] for port in told.opened["inputs"]] == list(models.ODD_NAMES)
    assert [port["dtype"] for port in told.opened["inputs"]] == list(models.DTYPES)
    assert [port["name"] for port in told.opened["outputs"]] == [f"{n}!" for n in models.ODD_NAMES]
    found = loaded(tmp_path / "out = put")
    same_bits(found, python_session(model).run(feed))
    same_bits(found, list(feed.values()))


def test_placement_shapes_and_several_outputs(runner: Command, tmp_path: Path) -> None:
    model = models.product(tmp_path / "m.onnx")
    session = python_session(model)
    rng = np.random.default_rng(0)
    feeds = [
        {"b": rng.normal(size=(3, m)).astype("f4"), "a": rng.normal(size=(n, 3)).astype("f4")}
        for n, m in ((1, 1), (7, 5), (0, 4), (64, 33))
    ]
    lines = [
        request(tmp_path / f"out{i}", saved(tmp_path / f"in{i}", feed))
        for i, feed in enumerate(feeds)
    ]
    told = tell(runner, *on(model), requests="".join(lines))
    assert told.kinds == ["opened", *["ran"] * 4, "ended"]
    for i, feed in enumerate(feeds):
        same_bits(loaded(tmp_path / f"out{i}"), session.run(feed))
        assert told.answers[i + 1]["ran"]["outputs"] == ["0.npy", "1.npy"]
    opened = told.opened
    assert opened["onnxruntime"] == metadata.version("onnxruntime")
    assert opened["providers"] == ["CPUExecutionProvider"]
    plain = onnxruntime.InferenceSession(str(model))
    for ours, theirs in (("inputs", plain.get_inputs()), ("outputs", plain.get_outputs())):
        assert [p["shape"] for p in opened[ours]] == [p.shape for p in theirs]
        assert [p["name"] for p in opened[ours]] == [p.name for p in theirs]
    assert places(opened) == list(session.opened().nodes)
    assert set(opened["features"]) & set(ort.host_isa()) == set(opened["features"]) != set()
    ended = told.answers[-1]["ended"]
    assert (ended["samples"], ended["profile"]) == (4, None)
    assert 10_000 < ended["max_rss_kb"] < 60_000


@pytest.mark.parametrize("scheme", ["fp32", "w8a8", "w8a16_pc"])
def test_the_demo_s_models(scheme: str, runner: Command, tmp_path: Path) -> None:
    model, feeds, lines = demo_requests(scheme, 8, tmp_path)
    option = ("--session-option", "session.x64quantprecision=1")
    told = tell(runner, *on(model), *option, "--threads", 2, requests=lines)
    assert told.kinds == ["opened", *["ran"] * 8, "ended"]
    session = ort.open_session(str(model), {"session.x64quantprecision": "1"})
    for i, feed in enumerate(feeds):
        same_bits(loaded(tmp_path / f"out{i}"), session.run(feed))
    assert places(told.opened) == list(session.opened().nodes)


def test_an_option_of_the_session_and_the_log_s_level(runner: Command, tmp_path: Path) -> None:
    model, _, _ = demo_requests("w8a8", 1, tmp_path)
    option = ("--session-option", "session.disable_quant_qdq=1", "--log-level")
    told = [tell(runner, *on(model), *option, level) for level in (0, 4)]
    expected = ort.open_session(str(model), {"session.disable_quant_qdq": "1"}).opened()
    assert places(told[0].opened) == list(expected.nodes)
    assert places(told[0].opened) != list(python_session(model).opened().nodes)
    assert "[V:onnxruntime:" in told[0].log
    assert told[1].log == ""


def test_requests_of_a_file_are_one_document_and_a_profile_is_kept(
    runner: Command, tmp_path: Path
) -> None:
    model, _, lines = demo_requests("fp32", 2, tmp_path)
    listed = tmp_path / "requests"
    listed.write_text(lines + "what\nend\nrun\tnever\n")
    profile = ("--profile", tmp_path / "profile")
    told = tell(runner, "--library", LIBRARY, "--model", model, "--requests", listed, *profile)
    (document,) = told.answers
    assert list(document) == ["opened", "ran", "ended"]
    assert [next(iter(one)) for one in document["ran"]] == ["seconds", "seconds", "error"]
    events = json.loads(Path(document["ended"]["profile"]).read_text())
    runs = [event["dur"] for event in events if event["name"] == "model_run"]
    assert len(runs) == document["ended"]["samples"] == 2
    for micro, one in zip(runs, document["ran"], strict=False):
        assert 0.5 * micro <= one["seconds"] * 1e6 < 20 * micro + 2000
    refused = tell(
        *(runner, "--library", LIBRARY, "--model", models.unknown_op(tmp_path / "u.onnx")),
        *("--requests", listed),
    )
    assert (refused.kinds, refused.code) == (["refused"], 3)


def test_each_answer_comes_before_the_next_request(runner: Command, tmp_path: Path) -> None:
    model, _, lines = demo_requests("fp32", 3, tmp_path)
    command = [*runner, *map(str, on(model))]
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert "opened" in json.loads(process.stdout.readline())
        for line in lines.splitlines(keepends=True):
            process.stdin.write(line)
            process.stdin.flush()
            assert "ran" in json.loads(process.stdout.readline())
        # Half a line, as of a host that is killed, is not run.
        process.stdin.write(lines[:-8])
        process.stdin.close()
        *_, error, ended = map(json.loads, process.stdout)
    assert "does not end with a newline" in error["error"]
    assert (ended["ended"]["samples"], process.returncode) == (5, 0)


def test_nothing_is_left_in_memory_between_runs(runner: Command, tmp_path: Path) -> None:
    model = models.identity(tmp_path / "m.onnx")
    files = saved(tmp_path / "in", {"x": np.ones(1_000_000, "f4")})
    wrong = saved(tmp_path / "wrong", {"x": np.ones(1_000_000, "i4")})
    once = request(tmp_path / "out", files) + request(tmp_path / "out", wrong)
    # Together they take longer than the limit, which is each one's own.
    ended = [
        tell(runner, *on(model), "--timeout", 0.7, requests=once * times).answers[-1]["ended"]
        for times in (2, 600)
    ]
    assert ended[1]["seconds"] > 0.7
    assert ended[1]["max_rss_kb"] - ended[0]["max_rss_kb"] < 8_000  # one array is 4,000 kB


# Qualcomm's provider, in the vendor's simulator


def qnn_options(**changed: str | None) -> tuple[object, ...]:
    qnn = pytest.importorskip("onnxruntime_qnn")
    options = {"backend_path": qnn.get_qnn_htp_path(), "soc_model": "43", **changed}
    pairs = [part for k, v in options.items() if v for part in ("--provider-option", f"{k}={v}")]
    return ("--provider", "qnn", "--provider-library", qnn.get_library_path(), *pairs)


@pytest.mark.htp
@pytest.mark.parametrize("scheme", ["w8a8", "fp16"])
def test_the_simulator_answers_as_the_target_does(
    scheme: str, runner: Command, tmp_path: Path
) -> None:
    model, feeds, lines = demo_requests(scheme, 4, tmp_path)
    told = tell(runner, *on(model), *qnn_options(), requests=lines)
    assert told.kinds == ["opened", *["ran"] * 4, "ended"]
    assert told.opened["providers"] == ["QNNExecutionProvider", "CPUExecutionProvider"]
    with working(get_target("htp:sm8550")) as worker:
        expected = open_in(worker, model)
        for i, feed in enumerate(feeds):
            same_bits(loaded(tmp_path / f"out{i}"), run_in(worker, feed))
    assert places(told.opened) == list(expected.nodes)
    assert "npu" in {where for where, _, _ in places(told.opened)}


@pytest.mark.htp
def test_a_provider_that_does_not_start_is_an_error(runner: Command, tmp_path: Path) -> None:
    model, _, lines = demo_requests("w8a8", 1, tmp_path)
    for level in (2, 4):
        away = (*qnn_options(backend_path="/none/libQnnHtp.so"), "--log-level", level)
        told = tell(runner, *on(model), *away, requests=lines)
        assert (told.kinds, told.code) == (["error"], 4)
        assert "QNNExecutionProvider did not start" in told.last
        assert "/none/libQnnHtp.so: cannot open" in told.last
        assert ("[E:onnxruntime:" in told.log) == (level == 2)
    told = tell(runner, *on(model), *qnn_options(backend_path=None), requests=lines)
    assert (told.kinds, told.code) == (["error"], 4)
    assert "Error creating execution provider" in told.last
    assert not (tmp_path / "out0").exists()


@pytest.mark.htp
def test_a_model_of_which_the_npu_runs_nothing_is_opened(runner: Command, tmp_path: Path) -> None:
    model = models.identity(tmp_path / "m.onnx", "float64")
    line = run_line(tmp_path, np.ones(2))
    told = tell(runner, *on(model), *qnn_options(), requests=line)
    assert told.kinds == ["opened", "ran", "ended"]
    assert {where for where, _, _ in places(told.opened)} == {"cpu"}

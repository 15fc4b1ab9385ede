"""The worker process with the real onnxruntime, and with a runtime that misbehaves."""

from __future__ import annotations

import gc
import hashlib
import os
import signal
import time
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from faulty_runtime import target as faulty
from targets_worker import demo_feeds, demo_quantized, open_in, run_in, working

from chipdrift.store import pack_arrays
from chipdrift.targets import WorkerDiedError, WorkerProcess, get_target, summarize
from conftest import save_small_model

ORT = get_target("ort:cpu")


def plain(data: bytes, feeds: list[dict[str, np.ndarray]]) -> list[list[np.ndarray]]:
    """Ten lines of onnxruntime, as its documentation has them."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.add_session_config_entry("session.x64quantprecision", "1")
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [session.run(None, feed) for feed in feeds]


@pytest.mark.parametrize("scheme", ["fp32", "fp16", "w8a8", "w8a16_pc"])
def test_outputs_equal_those_of_a_plain_script(scheme: str, tmp_path: Path) -> None:
    made, feeds = demo_quantized(scheme), demo_feeds(4)
    path = tmp_path / "m.onnx"
    path.write_bytes(made.data)
    with working(ORT) as worker:
        opened = open_in(worker, path)
        for feed, wanted in zip(feeds, plain(made.data, feeds), strict=True):
            found = run_in(worker, feed)
            assert [(a.dtype, a.shape, a.tobytes()) for a in found] == [
                (a.dtype, a.shape, a.tobytes()) for a in wanted
            ]
            worker.run("s", "1", feed, True)
            answer = worker.receive()
            assert answer[:3] == ("digest", "s", "1")
            assert answer[4] == hashlib.sha256(pack_arrays(wanted)).hexdigest()
    placement = summarize(opened.nodes, made.border, False)
    assert placement.npu == 0
    assert placement.cpu > 0
    assert placement.fallback == ()
    assert {processor for processor, _, _ in opened.nodes} == {"cpu"}


def test_two_sessions_at_once_and_a_fresh_start(tmp_path: Path) -> None:
    one = save_small_model(tmp_path / "one.onnx")
    two = save_small_model(tmp_path / "two.onnx", channels=5)
    feed = {"x": np.random.default_rng(0).standard_normal((1, 3, 6, 6)).astype(np.float32)}
    with working(ORT) as worker:
        open_in(worker, one, "a")
        open_in(worker, two, "b", fresh=False)
        for path, slot in ((one, "a"), (two, "b"), (one, "a")):
            found = run_in(worker, feed, slot)[0]
            np.testing.assert_array_equal(found, plain(path.read_bytes(), [feed])[0][0])
        open_in(worker, one, "c", fresh=True)
        worker.run("a", "0", feed, False)
        assert worker.receive() == ("error", "a", "KeyError: 'a'"), "the others are closed"
        assert run_in(worker, feed, "c")[0].shape == (1, 4)


def test_a_model_that_onnxruntime_refuses_and_a_feed_that_does_not_fit(tmp_path: Path) -> None:
    path = tmp_path / "bad.onnx"
    path.write_bytes(b"\x08\x08this is no model")
    good = save_small_model(tmp_path / "good.onnx")
    with working(ORT) as worker:
        worker.open("s", str(path), ORT.options, True)
        verb, slot, words = worker.receive()
        assert slot == "s"
        assert verb in ("refused", "error")
        assert "\n" not in words
        open_in(worker, good)
        worker.run("s", "0", {"x": np.zeros((1, 3, 7, 6), np.float32)}, False)
        verb, _, words = worker.receive()
        assert verb == "error"
        assert "dimensions" in words
        assert len(run_in(worker, {"x": np.zeros((1, 3, 6, 6), np.float32)})) == 1, "it lives on"


def test_it_runs_on_the_core_it_was_given(tmp_path: Path) -> None:
    core = sorted(os.sched_getaffinity(0))[-1]
    worker = WorkerProcess(ORT, core)
    try:
        open_in(worker, save_small_model(tmp_path / "m.onnx"))
        assert os.sched_getaffinity(worker._process.pid) == {core}
    finally:
        worker.stop()


@pytest.mark.parametrize(
    ("number", "name"), [(signal.SIGKILL, "SIGKILL (out of memory?)"), (signal.SIGSEGV, "SIGSEGV")]
)
def test_a_killed_worker_is_noticed(number: int, name: str, tmp_path: Path) -> None:
    with working(ORT) as worker:
        open_in(worker, save_small_model(tmp_path / "m.onnx"))
        os.kill(worker._process.pid, number)
        worker._process.wait()
        worker.run("s", "0", {}, False)
        with pytest.raises(WorkerDiedError) as caught:
            worker.receive()
        assert f"killed by {name}" in str(caught.value)


def test_last_words_are_one_line_of_what_was_printed(tmp_path: Path) -> None:
    path = save_small_model(tmp_path / "m.onnx")
    with working(faulty("exit-open")) as worker:
        worker.open("s", str(path), worker.target.options, True)
        with pytest.raises(WorkerDiedError, match="exit code 3; last words: licence server"):
            worker.receive()
    with working(faulty("noise", after="99")) as worker:
        open_in(worker, path)
        feed = {"x": np.zeros((1, 3, 6, 6), np.float32)}
        np.testing.assert_array_equal(
            run_in(worker, feed)[0], plain(path.read_bytes(), [feed])[0][0]
        )
        words = worker.last_words()
        assert len(words) <= 600
        assert words.isprintable()
        assert "héllo" in words


def test_stop_ends_what_hangs_and_leaves_nothing_behind(tmp_path: Path) -> None:
    path = save_small_model(tmp_path / "m.onnx")
    started = time.monotonic()
    with working(faulty("hang-open")) as worker:
        worker.open("s", str(path), worker.target.options, True)
        assert not worker.connection.poll(0.5)
        pid = worker._process.pid
    assert time.monotonic() - started < 20
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    # An open file or process left behind would warn, and a warning is an error here.
    del worker
    gc.collect()

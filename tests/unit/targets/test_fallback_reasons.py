"""Why a node left the NPU, in the simulator's own words; and what native code prints."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipdrift.logs.printed import printed
from chipdrift.targets import get_target
from chipdrift.targets.process import WorkerProcess


def erf_between(path: Path) -> None:
    weights = np.random.default_rng(0).standard_normal((4, 3, 3, 3)).astype(np.float16)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], "conv"),
        helper.make_node("Erf", ["a"], ["b"], "erf"),
        helper.make_node("Relu", ["b"], ["y"], "relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, 4, 6, 6])],
        [numpy_helper.from_array(weights, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    onnx.save(model, path)


@pytest.mark.htp
def test_a_fallback_has_the_simulators_reason(tmp_path: Path) -> None:
    path = tmp_path / "erf.onnx"
    erf_between(path)
    target = get_target("htp:sm8450")
    worker = WorkerProcess(target, -1)
    try:
        worker.open("s", str(path), target.options, True)
        opened = worker.receive()[2]
    finally:
        worker.stop()
    assert ("cpu", "erf", "Erf") in opened.nodes
    assert "`Erf` are not supported" in opened.reasons["erf"]
    assert set(opened.reasons) == {"erf"}


def test_native_prints_are_caught_and_the_streams_come_back() -> None:
    def shout() -> None:
        os.write(1, b"out ")
        os.write(2, b"err")

    before = os.fstat(1).st_ino, os.fstat(2).st_ino
    assert printed(shout) == b"out err"
    assert (os.fstat(1).st_ino, os.fstat(2).st_ino) == before


def test_an_exception_comes_through_and_the_streams_come_back() -> None:
    before = os.fstat(1).st_ino

    def fail() -> None:
        raise RuntimeError("no session")

    with pytest.raises(RuntimeError, match="no session"):
        printed(fail)
    assert os.fstat(1).st_ino == before
    assert sys.stdout is not None

"""What all tests share: the demo's files, small ONNX models, a runtime that misbehaves."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipdrift.demo import DemoPaths, paths
from chipdrift.targets import WorkerProcess

TESTS = Path(__file__).parent
SUPPORT = TESTS / "support"
sys.path.insert(0, str(SUPPORT))

# Whose targets, where they are asked in the test's own process, need no fresh worker each.
KEPT_WORKERS = (
    "end_to_end/test_bad_input.py",
    "end_to_end/test_diagnosis.py",
    "end_to_end/test_gate.py",
    "end_to_end/test_import_target.py",
    "end_to_end/test_known_faults.py",
    "end_to_end/test_matrix_warnings.py",
    "end_to_end/test_planted_faults.py",
    "end_to_end/test_probe.py",
    "end_to_end/test_silicon.py",
    "end_to_end/test_silicon_table.py",
    "end_to_end/test_unknown_rules.py",
    "unit/diagnose",
    "unit/gate",
    "unit/metrics",
    "unit/test_regress.py",
)
# Tests among those that are about a worker's start.
FRESH_WORKERS = ("test_targets_that_are_too_slow_get_another_hint",)


@pytest.fixture(autouse=True)
def _support_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Worker processes find the tests' faulty runtime, too."""
    known = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", str(SUPPORT) + (os.pathsep + known if known else ""))


@pytest.fixture(scope="session", autouse=True)
def _templates_compiled_once() -> Iterator[None]:
    """A report's templates take a quarter of a second to compile, and are the same in all tests."""
    from chipdrift.report import page

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(page, "_environment", cache(page._environment))
        yield


@pytest.fixture(scope="session")
def demo() -> DemoPaths:
    return paths()


@pytest.fixture(scope="session")
def worker_pool() -> Iterator[Any]:
    """See :class:`worker_pool.WorkerPool`."""
    from worker_pool import WorkerPool

    pool = WorkerPool()
    yield pool
    pool.close()


@pytest.fixture(scope="module", autouse=True)
def _kept_workers(request: pytest.FixtureRequest) -> Iterator[None]:
    """Tests of what is made of answers ask the workers of the tests before."""
    if not any(request.path.is_relative_to(TESTS / kept) for kept in KEPT_WORKERS):
        yield
        return
    with request.getfixturevalue("worker_pool").lending():
        yield


@pytest.fixture(autouse=True)
def _fresh_workers(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    if request.node.originalname in FRESH_WORKERS:
        for module in ("chipdrift.matrix.schedule", "chipdrift.probe.ask"):
            monkeypatch.setattr(f"{module}.WorkerProcess", WorkerProcess)


@pytest.fixture(scope="session")
def exam_of(tmp_path_factory: pytest.TempPathFactory, worker_pool: Any) -> Iterator[Any]:
    """``exam_of(model, feeds, a, b, ...)``: see :class:`exams.Exams`."""
    from exams import Exams

    exams = Exams(tmp_path_factory.mktemp("exams"), worker_pool)
    yield exams
    exams.close()


@pytest.fixture
def small_model(tmp_path: Path) -> Path:
    """Conv, Relu, global pool, Gemm: input ``x`` (1, 3, 6, 6), output ``y`` (1, 4)."""
    return save_small_model(tmp_path / "small.onnx")


@pytest.fixture
def small_data(tmp_path: Path) -> Path:
    """Forty samples for ``small_model`` with labels, and ``cal.npz`` beside it with others."""
    rng = np.random.default_rng(7)
    x = rng.standard_normal((40, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "eval.npz", x=x, labels=rng.integers(0, 4, 40))
    np.savez(tmp_path / "cal.npz", x=rng.standard_normal((16, 3, 6, 6)).astype(np.float32))
    return tmp_path / "eval.npz"


def save_small_model(path: Path, opset: int = 17, **changes: Any) -> Path:
    """Write the small model; ``shape`` replaces its input's shape, ``channels`` its width."""
    rng = np.random.default_rng(3)
    width = changes.get("channels", 8)
    shape = changes.get("shape", [1, 3, 6, 6])
    weights = {
        "cw": rng.standard_normal((width, 3, 3, 3)) * 0.3,
        "cb": rng.standard_normal(width) * 0.1,
        "gw": rng.standard_normal((width, 4)),
        "gb": rng.standard_normal(4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "cw", "cb"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("GlobalAveragePool", ["r"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "gw", "gb"], ["y"], "gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None, 4])],
        [numpy_helper.from_array(v.astype(np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


class Cli:
    """Runs the command line in this process, as the console script does."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        from chipdrift.cli.main import main

        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "argv", ["chipdrift", *map(str, words)])
        code = 0
        try:
            main()
        except SystemExit as stop:
            code = int(stop.code or 0)
        out, err = self._capsys.readouterr()
        return code, out, err


@pytest.fixture
def cli(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    return Cli(monkeypatch, capsys)

"""Exams for the tests of checks: a model, samples and two targets, really run.

Both targets measure the model in a run of their own, then :func:`examine` looks at it as a
diagnosis does. Nothing is made up; the same question is asked once, and a target's worker serves
one exam after the other.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper
from worker_pool import WorkerPool, own_core

from chipdrift.demo import paths
from chipdrift.diagnose.case import FLOAT, make_case
from chipdrift.diagnose.checks import get_check
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.run import examine
from chipdrift.findings import Finding
from chipdrift.graph import dissect
from chipdrift.matrix import run_matrix
from chipdrift.probe.ask import Asker
from chipdrift.targets import Target, WorkerProcess

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]


class PooledAsker(Asker):
    """An asker whose worker comes from a pool, and can go back there between two questions."""

    def __init__(self, target: Target, pool: WorkerPool) -> None:
        super().__init__(target)
        self._pool = pool

    def rest(self) -> None:
        """Give the worker back; the next question asks for another."""
        self._stop()

    def _start(self) -> WorkerProcess:
        self._worker = self._pool.lend(self.target, -1)
        return self._worker


class Exams:
    """Makes exams in ``folder`` with workers of ``pool``, and keeps each until :meth:`close`."""

    def __init__(self, folder: Path, pool: WorkerPool) -> None:
        self._folder, self._stack, self._pool = folder, ExitStack(), pool
        self._made: dict[tuple[Any, ...], Exam] = {}
        self._askers: list[PooledAsker] = []
        self._numbers = itertools.count()

    def close(self) -> None:
        """End the workers."""
        self._stack.close()

    def __call__(
        self,
        model: bytes | Path,
        feeds: Sequence[Feed] | Path,
        a: str = "sim:ort-mlas",
        b: str = "ort:cpu",
        *,
        scheme: str = "asis",
        calibration: Sequence[Feed] | Path | None = None,
        labels: Sequence[int] | None = None,
        metric: str | None = None,
        samples: int = 4,
        profiles: Mapping[str, str] | None = None,
    ) -> Exam:
        """The exam of ``scheme``'s model on ``a`` and ``b`` (``float`` is the float model).

        ``model`` and the samples are bytes and arrays (with the batch of 1), or files. The model is
        already quantized where ``scheme`` is ``asis``; else a float one, and a QDQ scheme takes its
        ranges from ``calibration`` (the samples themselves where none is given). ``labels`` go with
        arrays. ``profiles`` as in :func:`run_diagnosis`.
        """
        files = [
            self._file(model),
            self._data(feeds, labels),
            self._data(feeds if calibration is None else calibration, None),
        ]
        key = (*files, a, b, scheme, metric, samples, tuple(sorted((profiles or {}).items())))
        if key not in self._made:
            for asker in self._askers:
                asker.rest()
            with self._pool.lending(), own_core():
                out = self._folder / f"run{next(self._numbers)}"
                self._measure(out, files, a, b, scheme, metric, samples)
                self._made[key] = self._examine(out, scheme, a, b, samples, profiles or {})
        return self._made[key]

    def _measure(
        self,
        out: Path,
        files: Sequence[Path],
        a: str,
        b: str,
        scheme: str,
        metric: str | None,
        samples: int,
    ) -> None:
        plain = ["fp32"] if b == FLOAT else []
        run_matrix(
            files[0],
            files[1],
            schemes=[*plain, scheme],
            targets=[a, *([b] if b != FLOAT else [])],
            out=out,
            metric=metric,
            calibration=None if scheme in ("asis", "fp16", "fp32") else files[2],
            limit=samples,
            jobs=1,
            exhaustive=True,
        )

    def _examine(
        self, out: Path, scheme: str, a: str, b: str, samples: int, profiles: Mapping[str, str]
    ) -> Exam:
        case = make_case(out, scheme, a, b, None, profiles)
        anatomy = dissect(case.model)
        chosen = range(min(samples, len(case.run.samples)))
        on_a = self._asker(case.a)
        on_b = self._asker(case.b) if case.b is not None else None
        return examine(case, anatomy, chosen, on_a, on_b)

    def _asker(self, target: Target) -> PooledAsker:
        asker = self._stack.enter_context(PooledAsker(target, self._pool))
        self._askers.append(asker)
        return asker

    def _file(self, model: bytes | Path) -> Path:
        if isinstance(model, Path):
            return model
        path = self._folder / f"{hashlib.sha256(model).hexdigest()[:16]}.onnx"
        path.write_bytes(model)
        return path

    def _data(self, feeds: Sequence[Feed] | Path, labels: Sequence[int] | None) -> Path:
        if isinstance(feeds, Path):
            return feeds
        arrays = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
        if labels is not None:
            arrays["labels"] = np.asarray(labels)
        digest = hashlib.sha256()
        for name, array in arrays.items():
            digest.update(repr((name, array.dtype, array.shape)).encode() + array.tobytes())
        path = self._folder / f"{digest.hexdigest()[:16]}.npz"
        np.savez(path, **arrays)
        return path


def looked(exam: Exam, check: str) -> list[Finding]:
    """What one check finds."""
    return list(get_check(check).look(exam))


def digits(change: Callable[[dict[str, Array]], None] | None = None) -> bytes:
    """The demo's model; ``change`` edits its weights by name, in place."""
    proto = onnx.load(paths().model)
    if change is not None:
        held = {i.name: numpy_helper.to_array(i).copy() for i in proto.graph.initializer}
        change(held)
        for tensor in proto.graph.initializer:
            tensor.CopyFrom(numpy_helper.from_array(held[tensor.name], tensor.name))
    return bytes(proto.SerializeToString())


def engine(folder: Path, rules: str, name: str = "planted") -> str:
    """The target of onnxruntime's rules with ``rules`` (TOML) behind them, a file in ``folder``."""
    plain = '[requantize]\nscale = "float32"\nmultiplier = "float32"\n'
    plain += "".join(f"[{t}]\n" for t in ("elementwise", "function") if f"[{t}]" not in rules)
    path = folder / f"{name}.toml"
    path.write_text(f'description = "A fault planted by a test."\n{plain}{rules}')
    return f"sim:{path}"


def at(node: str) -> str:
    """The TOML list of what ``node`` is called in the model, and in any piece cut out of it."""
    return str([node, *(f"p{index}/{node}" for index in range(40))])


def chain(*factors: Array) -> bytes:
    """A float model ``y = x @ m0 @ m1 ...``; a factor of one value multiplies (Mul) instead.

    Input ``x`` (1, rows of 8, columns of the first factor); nodes are called m0, m1, ...
    """
    first = columns = next(f.shape[0] for f in factors if f.ndim == 2)
    nodes, name = [], "x"
    for index, factor in enumerate(factors):
        op = "MatMul" if factor.ndim == 2 else "Mul"
        nodes.append(onnx.helper.make_node(op, [name, f"w{index}"], [f"t{index}"], f"m{index}"))
        name = f"t{index}"
        columns = factor.shape[1] if factor.ndim == 2 else columns
    kind = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        nodes,
        "chain",
        [onnx.helper.make_tensor_value_info("x", kind, [1, 8, first])],
        [onnx.helper.make_tensor_value_info(name, kind, [1, 8, columns])],
        [numpy_helper.from_array(f.astype(np.float32), f"w{i}") for i, f in enumerate(factors)],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8
    )
    return bytes(model.SerializeToString())


def rows(columns: int, seed: int = 0, samples: int = 4) -> list[Feed]:
    """Samples for :func:`chain`: normal values."""
    rng = np.random.default_rng(seed)
    return [{"x": rng.normal(size=(1, 8, columns)).astype(np.float32)} for _ in range(samples)]

"""A model, its samples and its budget: ours planned, the peers' task written, models judged."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import version_converter
from peers_price import Pricelist

from chipdrift.data import Samples, load_data
from chipdrift.graph import load_model
from chipdrift.matrix import cell_outputs, run_matrix
from chipdrift.metrics import Outputs, compare, evaluate
from chipdrift.plan import Plan, read_plan
from chipdrift.plan.budget import parse_budget, standing
from chipdrift.plan.records import Standing
from chipdrift.records import Cell, Interval

# Of the model that peers get: NNCF has scales per channel from 13 on, and what it quantizes at 21
# onnxruntime 1.31's optimizer makes invalid (a Quantize whose type is not its zero point's).
OPSET = 17
METRICS = ("top1", "agreement")


@dataclass(frozen=True)
class Row:
    """One variant on one chip, on the confirming samples; ``left`` nodes ran on the CPU."""

    who: str
    chip: str
    standing: Standing
    value: float | None = None
    loss: Interval | None = None
    cost: float | None = None
    left: int = 0
    words: str = ""

    @property
    def holds(self) -> bool:
        return self.standing in ("confirmed", "within")


class Case:
    """One model and budget. ``folder`` holds model.onnx, eval.npz and calibration.npz."""

    def __init__(
        self, folder: Path, work: Path, budget: str, shapes: dict[str, list[int]], limit: int | None
    ) -> None:
        self.name, self._folder, self._work = folder.name, folder, work
        self._shapes, self._limit = shapes, limit
        self.model = load_model(folder / "model.onnx", shapes)
        self.budget, self._metric = parse_budget(budget, "top1")
        if self.budget.metric not in METRICS:
            raise SystemExit(f"{budget}: the peers understand {' and '.join(METRICS)}.")
        self.prices = Pricelist(self.model)
        self._base: Outputs | None = None

    @property
    def budget_drop(self) -> float:
        """How far a score may fall, as peers understand a budget."""
        return self.budget.limit if self.budget.kind == "drop" else 1 - self.budget.limit

    def plan(self, chips: Sequence[str], jobs: int) -> tuple[Plan, float]:
        """Ours, by the command that a user types, and its seconds."""
        out, took = self._work / "plan", self._work / "seconds"
        if took.exists():
            return read_plan(out), float(took.read_text())
        words = ["plan", self._folder / "model.onnx", "--data", self._folder / "eval.npz"]
        words += ["--calibration", self._folder / "calibration.npz", "--chips", ",".join(chips)]
        words += ["--budget", self.budget.text, "-o", out, "--jobs", jobs]
        for name, shape in self._shapes.items():
            words += ["--shape", f"{name}={','.join(map(str, shape))}"]
        started = time.perf_counter()
        command = [sys.executable, "-m", "chipdrift.cli.main", *map(str, words)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):
            raise SystemExit(done.stderr[-3000:])
        took.write_text(str(time.perf_counter() - started))
        return read_plan(out), float(took.read_text())

    def task(self, rounding: int) -> Path:
        """The folder that the peers are given; the plan has parted the samples.

        ``rounding`` is how many steps AdaRound takes for a layer.
        """
        task = self._work / "task"
        task.mkdir(exist_ok=True)
        (spec,) = self.model.info.inputs
        folded(self.model.proto, task / "float.onnx")
        calibration = load_data(str(self._folder / "calibration.npz"), self.model.info.inputs)
        for name, samples in (("choose", self._part("choose")), ("calibration", calibration)):
            every = [samples.feed(i)[spec.name] for i in range(len(samples))]
            arrays = {spec.name: np.concatenate(every)}
            if samples.labels is not None:
                arrays["labels"] = samples.labels
            np.savez(task / f"{name}.npz", **arrays)
        told: dict[str, object] = {
            "input": spec.name,
            "metric": self.budget.metric,
            "limit": self.budget_drop,
        }
        told["rounding"] = rounding
        (task / "task.json").write_text(json.dumps(told))
        return task

    def judge(self, who: str, file: Path, chips: Sequence[str], jobs: int) -> Iterator[Row]:
        """A model on the chips, set against the float model on the same confirming samples."""
        base = self._float(jobs)
        targets = [chip if ":" in chip else f"htp:{chip}" for chip in chips]
        folder = self._run(file, "asis", targets, jobs)
        for chip, target in zip(chips, targets, strict=True):
            try:
                outputs, cell = self._outputs(folder, "asis", target)
            except LookupError as error:
                yield Row(who, chip, "none", words=str(error))
                continue
            outputs = replace(outputs, reference=base)
            value, change = evaluate(self._metric, outputs), compare(self._metric, outputs, base)
            assert change.low is not None
            assert change.high is not None
            loss = Interval(value=0.0 - change.value, low=-change.high, high=-change.low)
            left = () if cell.placement is None else cell.placement.fallback
            yield Row(
                who,
                chip,
                standing(self.budget, self._metric, value, loss),
                value.value,
                loss,
                None
                if target.startswith("ort:")
                else self.prices.price(file, chip, [node.node for node in left]),
                len(left),
                "" if cell.copied_from is None else f"as {cell.copied_from}",
            )

    def _part(self, name: str) -> Samples:
        file = str(self._work / "plan" / f"{name}.part.json")
        limit = self._limit if name == "confirm" else None
        return load_data(file, self.model.info.inputs, limit)

    def _float(self, jobs: int) -> Outputs:
        if self._base is None:
            folder = self._run(self._folder / "model.onnx", "fp32", ["ort:cpu"], jobs)
            found, _ = self._outputs(folder, "fp32", "ort:cpu")
            self._base = replace(found, reference=found)
        return self._base

    def _run(self, file: Path, scheme: str, targets: Sequence[str], jobs: int) -> Path:
        """What ``chipdrift matrix FILE --scheme asis --target ...`` does."""
        sha = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
        out = self._work / f"{scheme}-{sha}"
        run_matrix(
            file,
            str(self._work / "plan" / "confirm.part.json"),
            schemes=[scheme],
            targets=targets,
            out=out,
            metric="top1",
            limit=self._limit,
            shapes=self._shapes if scheme == "fp32" else None,
            jobs=jobs,
        )
        return out

    def _outputs(self, folder: Path, scheme: str, target: str) -> tuple[Outputs, Cell]:
        cells = json.loads((folder / "matrix.json").read_text())["cells"]
        (told,) = (c for c in cells if (c["scheme"], c["target"]) == (scheme, target))
        if told["status"] != "ok":
            raise LookupError(told["reason"] or told["status"])
        arrays, cell = cell_outputs(folder, scheme, target)
        labels = self._part("confirm").labels
        return Outputs(arrays=arrays, primary=self.model.info.outputs[0].name, labels=labels), cell


def folded(model: onnx.ModelProto, file: Path) -> None:
    """Write the float model as peers get it: constants and batch norms folded, opset ``OPSET``.

    By onnxruntime's basic optimizations, as the peers' own documentation advises; nodes keep their
    names.
    """
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset != OPSET:
        model = version_converter.convert_version(model, OPSET)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(file)
    options.log_severity_level = 3
    content = model.SerializeToString()
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    written = onnx.load(file)
    plain = [entry for entry in written.opset_import if entry.domain in ("", "ai.onnx")]
    del written.opset_import[:]
    written.opset_import.extend(plain)
    onnx.checker.check_model(written)
    onnx.save(written, file)

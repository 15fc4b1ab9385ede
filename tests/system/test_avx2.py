"""``ort:avx2`` under Debian's qemu: bit for bit a scalar model of its saturating products."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "targets"))

from targets_worker import demo_feeds, open_in, run_in, working

from chipdrift.data import load_data
from chipdrift.demo import DemoPaths
from chipdrift.graph import load_model
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.targets import Target, WorkerProcess, get_target
from chipdrift.targets.ort import EMULATED_ISA
from conftest import Cli

pytestmark = pytest.mark.system

Array = np.ndarray[Any, Any]


# The scalar model: to be replaced by chipdrift.numerics under the profile avx2-saturating.


def saturating(a: Array, w: Array) -> Array:
    """(M, K) uint8 by (K, N) int8: products k and k + 1 are added in int16, then int32 wraps."""
    a, w = a.astype(np.int32), w.astype(np.int32)
    total = np.zeros((a.shape[0], w.shape[1]), np.int32)
    for k in range(0, a.shape[1], 2):
        pair = a[:, k : k + 2] @ w[k : k + 2]
        total += pair.clip(-32768, 32767)
    return total


def exact(a: Array, w: Array) -> Array:
    return a.astype(np.int32) @ w.astype(np.int32)


@dataclass(frozen=True)
class Layer:
    """A QDQ layer ``x`` uint8 to ``y`` uint8: MatMul where ``kernel`` is 0, else Conv."""

    inputs: int
    outputs: int
    kernel: int = 0
    group: int = 1
    pad: int = 0
    per_channel: bool = False

    def __str__(self) -> str:
        kind = f"conv{self.kernel}x{self.kernel}-group{self.group}" if self.kernel else "matmul"
        return f"{kind}-{self.inputs}-{self.outputs}"

    @property
    def depthwise(self) -> bool:
        return self.group == self.inputs == self.outputs


LAYERS = [
    Layer(64, 32),
    Layer(63, 33),
    Layer(515, 17),
    Layer(1, 8),
    Layer(16, 16, kernel=3, pad=1),
    # Three channels: a pair reaches from one kernel position into the next.
    Layer(3, 16, kernel=3, pad=1),
    Layer(5, 7, kernel=3),
    Layer(16, 24, kernel=1),
    Layer(7, 9, kernel=1),
    Layer(16, 16, kernel=3, group=16, pad=1),
    Layer(12, 12, kernel=3, group=12),
    Layer(8, 16, kernel=3, group=8),
    Layer(12, 8, kernel=3, group=4),
]


@dataclass(frozen=True)
class Case:
    layer: Layer
    x: Array
    w: Array
    bias: Array
    x_zero: int
    y_zero: int
    x_scale: np.float32
    w_scale: Array
    y_scale: np.float32

    def answer(self, saturate: bool) -> Array:
        """What the layer answers, (M, N) or (1, N, H, W)."""
        scale = self.x_scale * self.w_scale / self.y_scale
        y = np.rint(self.total(saturate).astype(np.float32) * scale) + self.y_zero
        y = y.clip(0, 255).astype(np.uint8)
        if not self.layer.kernel:
            return y
        side = int(np.sqrt(len(y)))
        return y.reshape(1, side, side, -1).transpose(0, 3, 1, 2)

    def total(self, saturate: bool) -> Array:
        """Accumulators with zero point and bias, (output positions, N) int32."""
        layer = self.layer
        product = saturating if saturate and not layer.depthwise else exact
        rows = self._rows()
        wide, high = layer.inputs // layer.group, layer.outputs // layer.group
        parts = []
        for g in range(layer.group):
            a = rows[..., g * wide : (g + 1) * wide].reshape(rows.shape[0], -1)
            w = self.w if not layer.kernel else self.w[g * high : (g + 1) * high]
            if layer.kernel:
                w = w.transpose(2, 3, 1, 0).reshape(-1, high)
            parts.append(product(a, w) - self.x_zero * w.astype(np.int32).sum(0, dtype=np.int32))
        return np.concatenate(parts, axis=1) + self.bias

    def _rows(self) -> Array:
        """(output positions, kernel positions, channels): the order of K that MLAS has."""
        k, pad = self.layer.kernel, self.layer.pad
        if not k:
            return self.x[:, None, :]
        x = np.pad(self.x[0], ((0, 0), (pad, pad), (pad, pad)), constant_values=self.x_zero)
        side = x.shape[1] - k + 1
        views = [x[:, i : i + side, j : j + side] for i in range(k) for j in range(k)]
        return np.stack(views).transpose(2, 3, 0, 1).reshape(side * side, k * k, -1)

    def save(self, path: Path) -> Path:
        layer = self.layer
        axis = {"axis": 0 if layer.kernel else 1} if layer.per_channel else {}
        zeros = np.zeros(self.w_scale.shape, np.int8)
        constants = {
            "xs": self.x_scale,
            "xz": np.uint8(self.x_zero),
            "w": self.w,
            "ws": self.w_scale,
            "wz": zeros,
            "ys": self.y_scale,
            "yz": np.uint8(self.y_zero),
        }
        nodes = [
            helper.make_node("DequantizeLinear", ["x", "xs", "xz"], ["xf"]),
            helper.make_node("DequantizeLinear", ["w", "ws", "wz"], ["wf"], **axis),
        ]
        if layer.kernel:
            constants |= {
                "b": self.bias,
                "bs": (self.x_scale * self.w_scale).astype(np.float32),
                "bz": zeros.astype(np.int32),
            }
            nodes += [
                helper.make_node("DequantizeLinear", ["b", "bs", "bz"], ["bf"], **axis),
                helper.make_node(
                    "Conv", ["xf", "wf", "bf"], ["yf"], group=layer.group, pads=[layer.pad] * 4
                ),
            ]
        else:
            nodes.append(helper.make_node("MatMul", ["xf", "wf"], ["yf"]))
        nodes.append(helper.make_node("QuantizeLinear", ["yf", "ys", "yz"], ["y"]))
        graph = helper.make_graph(
            nodes,
            "layer",
            [helper.make_tensor_value_info("x", TensorProto.UINT8, self.x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.UINT8, None)],
            [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
        )
        opset = [helper.make_opsetid("", 17)]
        onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
        return path


def make_case(layer: Layer, rng: np.random.Generator, limit: int = 127) -> Case:
    """Integers over their whole range, many at its ends; outputs over theirs."""
    k, wide = layer.kernel, layer.inputs // layer.group
    w = rng.integers(-limit, limit + 1, (layer.outputs, wide, k, k) if k else (wide, layer.outputs))
    w = np.where(rng.random(w.shape) < 0.3, np.sign(w) * limit, w)
    x = rng.integers(0, 256, (1, layer.inputs, 8, 8) if k else (6, layer.inputs))
    x = np.where(rng.random(x.shape) < 0.3, 255, x)
    case = Case(
        layer=layer,
        x=x.astype(np.uint8),
        w=w.astype(np.int8),
        bias=rng.integers(-40000, 40000, layer.outputs if k else ()).astype(np.int32) * bool(k),
        x_zero=int(rng.choice([0, 128, 255, rng.integers(0, 256)])),
        y_zero=int(rng.integers(100, 156)),
        x_scale=np.float32(rng.uniform(0.003, 0.02)),
        w_scale=rng.uniform(0.001, 0.01, layer.outputs if layer.per_channel else ()).astype("f4"),
        y_scale=np.float32(1),
    )
    size = np.quantile(np.abs(case.total(True) * case.x_scale * case.w_scale), 0.8)
    return replace(case, y_scale=np.float32(size / rng.uniform(60, 100)))


@pytest.fixture(scope="module")
def avx2() -> Target:
    return get_target("ort:avx2")


@pytest.fixture(scope="module")
def worker(avx2: Target) -> Iterator[WorkerProcess]:
    with working(avx2) as process:
        yield process


def test_the_emulated_processor_has_what_the_target_says(avx2: Target) -> None:
    script = (
        "import json; from numpy._core._multiarray_umath import __cpu_features__ as f;"
        "print(json.dumps(f))"
    )
    done = subprocess.run(
        [*avx2.launcher, sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    found = json.loads(done.stdout)
    assert (found["AVX2"], found["FMA3"]) == (True, True)
    assert EMULATED_ISA == avx2.versions["isa"] == "avx2 fma"
    assert not any(found[name] for name in ("AVX512F", "AVX512BW", "AVX512VNNI"))
    assert done.stderr == "", "no warning about features that qemu lacks"


@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_every_integer_is_the_model_s(
    layer: Layer, per_channel: bool, worker: WorkerProcess, tmp_path: Path
) -> None:
    layer = replace(layer, per_channel=per_channel)
    rng = np.random.default_rng([layer.inputs, layer.outputs, layer.kernel, per_channel])
    differs = 0.0
    for _ in range(3):
        case = make_case(layer, rng)
        open_in(worker, case.save(tmp_path / "layer.onnx"))
        (found,) = run_in(worker, {"x": case.x})
        np.testing.assert_array_equal(found, case.answer(saturate=True))
        differs += float((found != case.answer(saturate=False)).mean())
        assert ((found > 0) & (found < 255)).mean() > 0.3, "most outputs must not be clipped"
    # One product fits into int16 and a depthwise convolution adds each to an int32 by itself.
    alone = layer.depthwise or (layer.inputs == 1 and not layer.kernel)
    assert (differs == 0.0) if alone else (differs > 0.05)


@pytest.mark.parametrize("layer", [Layer(64, 32), Layer(3, 16, kernel=3, pad=1)], ids=str)
def test_what_keeps_products_from_saturating(
    layer: Layer, worker: WorkerProcess, tmp_path: Path
) -> None:
    case = make_case(layer, np.random.default_rng(9))
    path = case.save(tmp_path / "layer.onnx")
    with working(get_target("ort:cpu")) as host:
        open_in(host, path)
        np.testing.assert_array_equal(run_in(host, {"x": case.x})[0], case.answer(saturate=False))
    # The option that ort:cpu has, on the emulated processor.
    worker.open("s", str(path), {"session.x64quantprecision": "1"}, True)
    assert worker.receive()[0] == "opened"
    np.testing.assert_array_equal(run_in(worker, {"x": case.x})[0], case.answer(saturate=False))
    # 255 * 64 * 2 fits: weights of seven bits never saturate.
    small = make_case(layer, np.random.default_rng(9), limit=64)
    open_in(worker, small.save(tmp_path / "small.onnx"))
    np.testing.assert_array_equal(run_in(worker, {"x": small.x})[0], small.answer(saturate=False))


PLAIN = """
import sys
import numpy as np, onnxruntime as ort
model, name, feeds, out = sys.argv[1:]
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
np.save(out, np.stack([session.run(None, {name: x})[0] for x in np.load(feeds)]))
"""


def test_a_matrix_and_its_outputs(demo: DemoPaths, tmp_path: Path, cli: Cli, avx2: Target) -> None:
    run = tmp_path / "run"
    code, out, err = cli(
        *("matrix", demo.model, "--data", demo.data, "--calibration", demo.calibration),
        *("--scheme", "w8a8,w8a8_pc", "--target", "ort:cpu,ort:avx2", "--limit", 60, "-o", run),
    )
    assert code == 0, err
    assert "emulated-runtime, ort:avx2" in " ".join(out.split())
    with (run / "cells.csv").open(encoding="utf-8") as file:
        cells = {(row["scheme"], row["target"]): row for row in csv.DictReader(file)}
    assert len(cells) == 4
    for scheme in ("w8a8", "w8a8_pc"):
        cell = cells[scheme, "ort:avx2"]
        assert (cell["status"], cell["evidence"]) == ("ok", "emulated-runtime")
        assert (cell["measured"], cell["placement_npu"]) == ("60", "0")
        assert f"isa=avx2 fma qemu={avx2.versions['qemu']} cpu=Haswell" in cell["versions"]
    # Weights use their whole range in every channel: there the products of the demo saturate.
    assert float(cells["w8a8_pc", "ort:avx2"]["lsb_max"]) > 1

    npz = tmp_path / "outputs.npz"
    code, _, err = cli("outputs", run, "--scheme", "w8a8_pc", "--target", "ort:avx2", "-o", npz)
    assert code == 0, err
    with np.load(npz) as file:
        found = file[next(iter(file.files))]
    feeds = demo_feeds(4)
    (name,) = feeds[0]
    np.save(tmp_path / "x.npy", np.stack([feed[name] for feed in feeds]))
    model = load_model(demo.model)
    calibration = load_data(demo.calibration, model.info.inputs).feeds()
    made = apply_scheme(model, get_scheme("w8a8_pc"), calibration)
    (tmp_path / "m.onnx").write_bytes(made.data)
    subprocess.run(
        [
            *("qemu-x86_64", "-cpu", "Haswell", sys.executable, "-c", PLAIN),
            *(str(tmp_path / "m.onnx"), name, str(tmp_path / "x.npy"), str(tmp_path / "y.npy")),
        ],
        check=True,
        timeout=120,
    )
    np.testing.assert_array_equal(found[:4], np.load(tmp_path / "y.npy"))

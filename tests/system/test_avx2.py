"""``ort:avx2`` under Debian's qemu: bit for bit the engine under the profile avx2-saturating."""

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

from qdq_models import X_SCALE, Qdq
from targets_worker import demo_feeds, open_in, run_in, working

from chipdrift.data import load_data
from chipdrift.demo import DemoPaths
from chipdrift.graph import load_model
from chipdrift.numerics.accumulate import product_sums
from chipdrift.numerics.fast import compile_op
from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.ops.conv import conv_sums
from chipdrift.numerics.profiles import get_profile
from chipdrift.numerics.tensors import Operand, OpSpec, Quant
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.targets import Target, WorkerProcess, get_target
from chipdrift.targets.ort import EMULATED_ISA
from chipdrift.targets.sim import open_session
from conftest import Cli

pytestmark = pytest.mark.system

Array = np.ndarray[Any, Any]


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

    @property
    def rule(self) -> str | None:
        """Whose rules it follows, of a convolution.

        Several filters per channel are no depthwise convolution to onnxruntime: it sums pairs.
        """
        if not self.kernel:
            return None
        return "depthwise" if self.depthwise else "grouped" if self.group > 1 else "plain"


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

    def spec(self, saturate: bool) -> OpSpec:
        """The layer under the profile avx2-saturating, or under the exact one."""
        layer = self.layer
        profile = get_profile("avx2-saturating" if saturate else "ort-mlas")
        op = "Conv" if layer.kernel else "MatMul"
        axis = None if not layer.per_channel else 0 if layer.kernel else 1
        zeros = np.zeros(self.w_scale.shape, np.int64)
        operands = [
            Operand(Quant(np.asarray(self.x_scale), np.asarray(self.x_zero), "uint8")),
            Operand(Quant(self.w_scale, zeros, "int8", axis), self.w),
        ]
        return OpSpec(
            op=op,
            node="layer",
            operands=(*operands, Operand(None, self.bias)) if layer.kernel else tuple(operands),
            attributes={"group": layer.group, "pads": [layer.pad] * 4},
            output=Quant(np.asarray(self.y_scale), np.asarray(self.y_zero), "uint8"),
            rules=profile.rules_for(op, 8, layer.rule),
        )

    def answer(self, saturate: bool) -> Array:
        """What the layer answers, (M, N) or (1, N, H, W), by the reference functions."""
        spec = self.spec(saturate)
        arrays = [self.x, *(operand.constant for operand in spec.operands[1:])]
        found = reference_ops()[spec.op](spec, arrays)
        kernel = compile_op(spec)
        assert kernel is not None
        np.testing.assert_array_equal(kernel([self.x]), found)
        return found

    def total(self) -> Array:
        """Accumulators with zero point and bias, channels last."""
        spec = self.spec(True)
        if self.layer.kernel:
            products, correction = conv_sums(spec, self.x, self.w, spec.attributes)
        else:
            zero = np.zeros(1, np.int64)
            products, correction = product_sums(
                self.x, self.w, self.x_zero, zero, spec.rules.accumulator
            )
        return products - correction + self.bias

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
    size = np.quantile(np.abs(case.total() * case.x_scale * case.w_scale), 0.8)
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


def stack(per_channel: bool, relu_zero: int = 0) -> Qdq:
    """Plain with Relu, depthwise, strided, pointwise, MatMul; every integer is an output."""
    b, scale = Qdq(21), X_SCALE
    x = b.input("x", (1, 5, 11, 9))
    steps: list[tuple[str, tuple[int, ...], float, int, dict[str, Any]]] = [
        ("plain", (12, 5, 3, 3), 0.07, relu_zero, {"pads": [1, 1, 1, 1]}),
        ("deep", (12, 1, 3, 3), 0.1, 131, {"group": 12}),
        ("strided", (8, 12, 3, 3), 0.16, 120, {"strides": [2, 2], "pads": [1, 1, 1, 1]}),
        ("point", (7, 8, 1, 1), 0.2, 117, {}),
    ]
    for name, shape, out_scale, zero, attributes in steps:
        y = b.conv(x, scale, shape, name, per_channel=per_channel, **attributes)
        y = b.add("Relu", [y], "relu") if name == "plain" else y
        b.outputs.append(b.quantized(y, out_scale, zero))
        x, scale = b.dequantized(b.outputs[-1], out_scale, zero), out_scale
    weight, _ = b.weight("last_w", (4, 6), 1 if per_channel else None)
    b.output(b.add("MatMul", [x, weight], "last"), 0.15, 120)
    return b


@pytest.mark.parametrize("per_channel", [False, True])
def test_every_integer_of_a_stack(per_channel: bool, worker: WorkerProcess, tmp_path: Path) -> None:
    """The engine as a target, layer after layer, against the runtime."""
    model = stack(per_channel)
    path = model.save(tmp_path)
    engine, exact = (
        open_session(path, get_target(f"sim:{name}").options)
        for name in ("avx2-saturating", "ort-mlas")
    )
    open_in(worker, Path(path))
    differs = 0
    for seed in range(6):
        feed = model.feed(seed)
        found = run_in(worker, feed)
        for a, b in zip(engine.run(feed), found, strict=True):
            np.testing.assert_array_equal(a, b)
            assert len(np.unique(b)) > 20
        differs += sum(int((a != b).sum()) for a, b in zip(exact.run(feed), found, strict=True))
    assert differs > 1000, "products must saturate"


def test_a_relu_that_quantization_does_not_contain_keeps_a_convolution_in_float(
    worker: WorkerProcess, tmp_path: Path
) -> None:
    """A limit of the engine: with a Relu and a zero point above 0 onnxruntime does not fuse.

    The convolution then runs in float32 and saturates nothing; no rule of a profile says so.
    """
    model = stack(False, relu_zero=17)
    path = model.save(tmp_path)
    feed = model.feed(0)
    open_in(worker, Path(path))
    found = run_in(worker, feed)[0]
    exact = open_session(path, get_target("sim:ort-mlas").options).run(feed)[0]
    np.testing.assert_array_equal(exact, found)
    pairs = open_session(path, get_target("sim:avx2-saturating").options).run(feed)[0]
    assert (pairs != found).mean() > 0.1


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

"""Qualcomm's simulator through the worker: the bits of a plain script, refusals, placement."""

from __future__ import annotations

import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from targets_worker import demo_feeds, demo_quantized, open_in, run_in, working

from chipdrift.errors import ChipdriftError
from chipdrift.graph import LoadedModel, load_model
from chipdrift.quantize import QuantizedModel, apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.targets import WorkerProcess, get_target, summarize

pytestmark = pytest.mark.htp
pytest.importorskip("onnxruntime_qnn")

SOC_MODEL = {"sm8350": "30", "sm8450": "36", "sm8550": "43"}
"""Qualcomm's own numbers, from its public headers; not read from our catalogue."""

PLAIN = """
import sys
import numpy as np, onnxruntime as ort, onnxruntime_qnn as qnn
model, soc_model, feeds, out = sys.argv[1:]
ort.register_execution_provider_library("QNNExecutionProvider", qnn.get_library_path())
device = next(d for d in ort.get_ep_devices() if d.ep_name == "QNNExecutionProvider")
options = ort.SessionOptions()
options.add_provider_for_devices(
    [device], {"backend_path": qnn.get_qnn_htp_path(), "soc_model": soc_model})
session = ort.InferenceSession(model, options)
assert "QNNExecutionProvider" in session.get_providers()
np.save(out, np.stack([session.run(None, {"image": x})[0] for x in np.load(feeds)]))
"""


@pytest.fixture(scope="module")
def samples() -> np.ndarray:
    (name,) = demo_feeds(1)[0]
    return np.stack([feed[name] for feed in demo_feeds(6)])


@pytest.mark.parametrize("chip", ["sm8450", "sm8550"])
@pytest.mark.parametrize("scheme", ["w8a8", "fp16"])
def test_outputs_equal_a_plain_script_bit_for_bit(
    scheme: str, chip: str, samples: np.ndarray, tmp_path: Path
) -> None:
    made = demo_quantized(scheme)
    path = tmp_path / "m.onnx"
    path.write_bytes(made.data)
    np.save(tmp_path / "x.npy", samples)
    (name,) = demo_feeds(1)[0]
    script = PLAIN.replace('"image"', repr(name))
    out = tmp_path / "y.npy"
    subprocess.run(
        [sys.executable, "-c", script, path, SOC_MODEL[chip], tmp_path / "x.npy", out],
        check=True,
        capture_output=True,
    )
    wanted = np.load(out)
    target = get_target(f"htp:{chip}")
    assert target.options["soc_model"] == SOC_MODEL[chip]
    with working(target) as worker:
        opened = open_in(worker, path)
        found = np.stack([run_in(worker, {name: x})[0] for x in samples])
    assert found.dtype == wanted.dtype
    np.testing.assert_array_equal(found, wanted)
    placement = summarize(opened.nodes, made.border, True)
    assert placement.npu > 0
    assert placement.fallback == ()
    # The simulated answer is no copy of the CPU's: near, and not all the same.
    with working(get_target("ort:cpu")) as worker:
        open_in(worker, path)
        cpu = np.stack([run_in(worker, {name: x})[0] for x in samples])
    assert np.abs(cpu - found).max() < 0.1 * np.abs(cpu).max()
    assert not np.array_equal(cpu, found)


def load_node(folder: Path, op: str, weight: list[int], shape: list[int]) -> LoadedModel:
    """A model of one node: input ``x``, a random weight, output ``y``."""
    values = (np.random.default_rng(0).standard_normal(weight) * 0.1).astype(np.float32)
    graph = helper.make_graph(
        [helper.make_node(op, ["x", "w"], ["y"], "node")],
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(values, "w")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, folder / "float.onnx")
    return load_model(folder / "float.onnx")


def quantize(model: LoadedModel, scheme: str, path: Path) -> tuple[QuantizedModel, dict[str, Any]]:
    """Write the quantized model to ``path``; also one of its calibration samples."""
    rng = np.random.default_rng(1)
    shape = model.info.inputs[0].shape
    feeds = [{"x": rng.standard_normal(shape).astype(np.float32)} for _ in range(4)]
    made = apply_scheme(model, get_scheme(scheme), feeds)
    assert made.notes == ()
    path.write_bytes(made.data)
    return made, feeds[0]


def refusal(worker: WorkerProcess, path: Path) -> str:
    worker.open("s", str(path), worker.target.options, True)
    verb, slot, words = worker.receive()
    assert (verb, slot) == ("refused", "s"), words
    assert "\n" not in words
    return str(words)


@pytest.mark.parametrize("chip", ["sm8350", "sm7550"])
def test_a_convolution_in_blocks_that_a_chip_refuses(chip: str, tmp_path: Path) -> None:
    """v68 takes no blocks at all, nor does SM7550; larger than 1x1 they are not even made."""
    model = load_node(tmp_path, "Conv", [8, 32, 1, 1], [1, 32, 8, 8])
    path, plain = tmp_path / "blocks.onnx", tmp_path / "plain.onnx"
    quantize(model, "w4a16_b32", path)
    made, feed = quantize(model, "w8a8", plain)
    with working(get_target(f"htp:{chip}")) as worker:
        words = refusal(worker, path)
        assert "OpType:Conv" in words
        assert "the graph is now invalid" in words
        # A refusal is an answer: the worker goes on with the next model.
        opened = open_in(worker, plain)
        assert run_in(worker, feed)[0].shape[:2] == (1, 8)
    assert summarize(opened.nodes, made.border, True).fallback == ()


def test_a_convolution_in_blocks_that_a_chip_takes(tmp_path: Path) -> None:
    model = load_node(tmp_path, "Conv", [8, 32, 1, 1], [1, 32, 8, 8])
    path = tmp_path / "blocks.onnx"
    made, feed = quantize(model, "w4a16_b32", path)
    with working(get_target("htp:sm8550")) as worker:
        opened = open_in(worker, path)
        found = run_in(worker, feed)[0]
    placement = summarize(opened.nodes, made.border, True)
    assert "node" in {node.split("_token")[0] for part, node, _ in opened.nodes if part == "npu"}
    assert (placement.cpu, placement.fallback) == (0, ())
    # The layout's Transposes are among the nodes, and take the name of the output's quantizer.
    assert placement.graph_io + placement.conversions == 2
    with working(get_target("ort:cpu")) as worker:
        open_in(worker, path)
        cpu = run_in(worker, feed)[0]
    # 17 of 65,536 steps as measured: SM8550 drops the low bits of 16-bit accumulators.
    assert np.abs(cpu - found).max() < 32 * made.quantizers["y"].scale[0]


def test_a_chip_without_fp16_leaves_the_model_to_the_cpu_or_refuses_it(tmp_path: Path) -> None:
    target = get_target("htp:sm7550")
    assert "no FP16" in target.cautions["float16"]
    assert "float16" not in get_target("htp:sm8550").cautions
    path = tmp_path / "m.onnx"
    path.write_bytes(demo_quantized("fp16").data)
    with working(target) as worker:
        assert "OpType:Conv" in refusal(worker, path)
    made, feed = quantize(load_node(tmp_path, "MatMul", [16, 8], [1, 16]), "fp16", path)
    with working(target) as worker:
        opened = open_in(worker, path)
        found = run_in(worker, feed)[0]
    placement = summarize(opened.nodes, made.border, True)
    assert placement.npu == 0
    assert placement.cpu == len(placement.fallback) == 3, "MatMul and the Casts at both ends"
    assert "MatMul" in {place.op for place in placement.fallback}
    with working(get_target("ort:cpu")) as worker:
        open_in(worker, path)
        np.testing.assert_array_equal(run_in(worker, feed)[0], found)
    with working(get_target("htp:sm8550")) as worker:
        placement = summarize(open_in(worker, path).nodes, made.border, True)
    assert placement.npu > 0
    assert placement.fallback == ()


def test_chips_are_one_family_and_float32_is_refused() -> None:
    chips = [get_target(f"htp:{soc}") for soc in ("sm8350", "sm8450", "sm8550", "sm7550")]
    assert {chip.family for chip in chips} == {"htp"}
    assert get_target("ort:cpu").family is None
    assert len({chip.options["soc_model"] for chip in chips}) == 4
    for chip in chips:
        assert chip.has_npu
        assert chip.evidence == "vendor-simulator"
        assert "FP16" in chip.refuses["float32"]
        assert chip.versions["onnxruntime-qnn"] == metadata.version("onnxruntime-qnn")
        assert chip.versions["qnn"].startswith("2.")
    assert get_target("htp:SM8550") == get_target("htp:sm8550")
    with pytest.raises(ChipdriftError, match="v66"):
        get_target("htp:sm8250")

"""The targets litert:xnnpack and litert:reference."""

from __future__ import annotations

import importlib.util
import json
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from qdq_models import conv_stack

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.targets import get_target, list_targets, litert, ort
from chipdrift.targets.base import RefusedError

KERNELS = ["xnnpack", "reference"]
Array = np.ndarray[Any, Any]


@pytest.mark.parametrize("kernels", KERNELS)
def test_the_targets(kernels: str) -> None:
    target = get_target(f"litert:{kernels}")
    assert (target.evidence, target.has_npu, target.family) == ("host-runtime", False, None)
    assert target.options == {"kernels": kernels}
    assert target.versions["ai-edge-litert"] == metadata.version("ai-edge-litert")
    assert {"machine", "isa", "tflite-writer"} < set(target.versions)
    assert set(target.refuses) == {"float32", "float16", "uint16"}
    assert [i.available for i in list_targets() if i.name == target.name] == [True]


def test_names_that_nobody_knows() -> None:
    with pytest.raises(UnknownNameError, match=r"Near names: .*litert:xnnpack"):
        get_target("litert:xnnpak")


def test_without_litert(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ChipdriftError, match=r"litert:reference .*'chipdrift\[litert\]'"):
        litert.resolve("reference")
    assert [(i.available, i.reason) for i in litert.listed()] == [(False, litert.missing())] * 2


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_conv_stack(per_channel: bool, dtype: Any, tmp_path: Path) -> None:
    """The founding notes' facts: XNNPACK is onnxruntime bit for bit, the reference kernels not."""
    model = conv_stack(per_channel, dtype)
    path = model.save(tmp_path)
    peer = ort.open_session(path, {"session.x64quantprecision": "1"})
    apart: dict[str, list[Array]] = {name: [] for name in KERNELS}
    for kernels in KERNELS:
        session = litert.open_session(path, {"kernels": kernels})
        for seed in range(12):
            feed = model.feed(seed)
            for theirs, ours in zip(peer.run(feed), session.run(feed), strict=True):
                assert (ours.dtype, ours.shape) == (dtype, theirs.shape)
                # Not all saturated: there is something to compare.
                assert len(np.unique(theirs)) > 20
                apart[kernels].append(np.abs(theirs.astype(int) - ours).ravel())
    assert np.concatenate(apart["xnnpack"]).max() == 0
    reference = np.concatenate(apart["reference"])
    # 0.6 % here, 0.1 % behind the first layer and 3 % behind the fourth, one step each: what two
    # roundings put off by one in one layer adds up in the next ones.
    assert 0 < reference.mean() < 0.02
    assert reference.max() <= 2


def test_every_node_is_told(tmp_path: Path) -> None:
    model = conv_stack(per_channel=False)
    session = litert.open_session(model.save(tmp_path), {"kernels": "xnnpack"})
    opened = session.opened()
    assert opened.nodes == tuple(("cpu", node.name, node.op_type) for node in model.nodes)


def test_a_refusal_is_a_result(tmp_path: Path) -> None:
    model = conv_stack(per_channel=False)
    model.output(model.add("Erf", ["x_real"], "e"), 0.1, 3)
    with pytest.raises(RefusedError, match=r"^Node 'n_e' \(Erf\): an op that"):
        litert.open_session(model.save(tmp_path), {"kernels": "reference"})


def float_border(folder: Path, scale: float) -> str:
    """A float input that is quantized, and the float of it."""
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["y"], "d"),
    ]
    graph = helper.make_graph(
        nodes,
        "border",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4096])],
        [
            helper.make_tensor_value_info("q", TensorProto.UINT8, [1, 4096]),
            helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4096]),
        ],
        [
            numpy_helper.from_array(np.float32(scale), "s"),
            numpy_helper.from_array(np.uint8(113), "z"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    path = folder / "border.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return str(path)


@pytest.mark.parametrize("scale", [1 / 255, 0.0371, 2 / 255])
def test_rounding_at_the_border(scale: float, tmp_path: Path) -> None:
    """As the module's words say; half of the inputs lie on ties."""
    path = float_border(tmp_path, scale)
    rng = np.random.default_rng(2)
    x = rng.uniform(-115, 145, (1, 4096)).astype(np.float32)
    x[:, ::2] = np.rint(x[:, ::2]) + np.float32(0.5)
    x *= np.float32(scale)
    q, y = litert.open_session(path, {"kernels": "xnnpack"}).run({"x": x})
    inverse = np.float32(1) / np.float32(scale)
    assert np.array_equal(q, np.clip(np.rint(x * inverse) + 113, 0, 255))
    assert np.array_equal(y, (q.astype(np.float32) - 113) * np.float32(scale))
    q, y = litert.open_session(path, {"kernels": "reference"}).run({"x": x})
    real = x / np.float32(scale)
    away = np.sign(real) * np.floor(np.abs(real) + np.float32(0.5))
    assert np.array_equal(q, np.clip(away + 113, 0, 255))
    assert np.array_equal(y, (q.astype(np.float32) - 113) * np.float32(scale))


def test_the_command(cli: Any, small_model: Path, small_data: Path, tmp_path: Path) -> None:
    code, out, err = cli(
        "matrix",
        small_model,
        "--data",
        small_data,
        "--calibration",
        small_data.parent / "cal.npz",
        "--scheme",
        "fp32,w8a8_pc,w8a16",
        "--target",
        "ort:cpu,litert:xnnpack,litert:reference",
        "--jobs",
        "1",
        "--limit",
        "10",
        "-o",
        tmp_path / "run",
        "--json",
    )
    assert code == 0, err
    document = json.loads(out)
    cells = {(c["scheme"], c["target"]): c for c in document["cells"]}
    for kernels in KERNELS:
        assert cells["w8a8_pc", f"litert:{kernels}"]["status"] == "ok"
        for scheme, words in (("fp32", "quantized models only"), ("w8a16", "16-bit activations")):
            cell = cells[scheme, f"litert:{kernels}"]
            assert cell["status"] == "unsupported" and words in cell["reason"]
    [pair] = [p for p in document["pairs"] if {p["a"], p["b"]} == {"ort:cpu", "litert:xnnpack"}]
    assert pair["identical"] == 1

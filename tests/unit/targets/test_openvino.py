"""The target openvino:cpu: what it computes in, what it refuses, and that it repeats itself."""

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
from targets_worker import demo_feeds, demo_quantized, open_in, run_in, working

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.targets import RefusedError, get_target, list_targets, openvino, ort
from conftest import save_small_model

Array = np.ndarray[Any, Any]


def saved(scheme: str, folder: Path) -> str:
    path = folder / f"{scheme}.onnx"
    path.write_bytes(demo_quantized(scheme).data)
    return str(path)


def opened(path: str) -> Any:
    return openvino.open_session(path, get_target("openvino:cpu").options)


def test_the_target() -> None:
    target = get_target("openvino:cpu")
    assert (target.evidence, target.has_npu, target.family) == ("host-runtime", False, None)
    assert target.versions["openvino"] == metadata.version("openvino")
    assert {"machine", "isa"} < set(target.versions)
    assert [i.available for i in list_targets() if i.name == target.name] == [True]
    (part,) = openvino.parts("cpu")
    assert (part.name, part.found) == ("openvino", metadata.version("openvino"))


def test_names_that_nobody_knows() -> None:
    with pytest.raises(UnknownNameError, match=r"Near names: openvino:cpu"):
        get_target("openvino:gpu")


def test_without_openvino(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ChipdriftError, match=r"openvino:cpu .*'chipdrift\[openvino\]'"):
        openvino.resolve("cpu")
    assert [(i.available, i.reason) for i in openvino.listed()] == [(False, openvino.missing())]
    assert openvino.parts("cpu")[0].found is None


def test_the_options_hold(tmp_path: Path) -> None:
    """As the plugin itself reports them; a name that it does not know it would refuse."""
    import openvino as runtime

    path = str(save_small_model(tmp_path / "m.onnx"))
    core = runtime.Core()
    compiled = core.compile_model(path, "CPU", dict(get_target("openvino:cpu").options))
    told = {name: compiled.get_property(name) for name in openvino.OPTIONS}
    assert told["INFERENCE_NUM_THREADS"] == told["NUM_STREAMS"] == 1
    assert told["INFERENCE_PRECISION_HINT"] == runtime.Type.f32
    assert told["EXECUTION_MODE_HINT"].name == "ACCURACY"
    assert told["DYNAMIC_QUANTIZATION_GROUP_SIZE"] == 0


@pytest.mark.parametrize("scheme", ["w8a8", "w8a8_pc"])
def test_8_bit_models_run_in_int8(scheme: str, tmp_path: Path) -> None:
    """OpenVINO's own graph: every convolution and product takes 8-bit integers."""
    import openvino as runtime

    compiled = runtime.Core().compile_model(
        saved(scheme, tmp_path), "CPU", dict(get_target("openvino:cpu").options)
    )
    found = [
        info["runtimePrecision"].astype(str)
        for info in (layer.get_rt_info() for layer in compiled.get_runtime_model().get_ops())
        if info["layerType"].astype(str) in ("Convolution", "FullyConnected")
    ]
    assert len(found) == 12
    assert set(found) == {"u8"}


@pytest.mark.parametrize("scheme", ["w8a8", "w8a8_pc"])
def test_the_demo_differs_by_its_input_quantizer(scheme: str, tmp_path: Path) -> None:
    """Real inputs on ties part it from onnxruntime; inputs away from ties do not."""
    path = saved(scheme, tmp_path)
    peer, session = ort.open_session(path, get_target("ort:cpu").options), opened(path)
    quantizer = demo_quantized(scheme).quantizers
    feeds = demo_feeds(40)
    step = next(q.scale[0] for name, q in quantizer.items() if name == "logits")
    apart = [np.abs(peer.run(f)[0] - session.run(f)[0]).max() / step for f in feeds]
    assert 0.5 < max(apart) < 4.5
    rng = np.random.default_rng(1)
    free = [{k: rng.uniform(0, 1, v.shape).astype(v.dtype) for k, v in f.items()} for f in feeds]
    same = [np.array_equal(peer.run(f)[0], session.run(f)[0]) for f in free]
    assert sum(same) >= 36


def quantize_model(path: Path, zero: int) -> str:
    """``x`` (1, 512) float to its integers (512, 1) of scale 0.25, behind a Transpose."""
    ends = ["s", "z"]
    nodes = [
        helper.make_node("QuantizeLinear", ["x", *ends], ["q"], "in"),
        helper.make_node("DequantizeLinear", ["q", *ends], ["d"], "back"),
        helper.make_node("Transpose", ["d"], ["t"], "turn", perm=[1, 0]),
        helper.make_node("QuantizeLinear", ["t", *ends], ["y"], "out"),
    ]
    graph = helper.make_graph(
        nodes,
        "ties",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 512])],
        [helper.make_tensor_value_info("y", TensorProto.UINT8, [512, 1])],
        [
            numpy_helper.from_array(np.float32(0.25), "s"),
            numpy_helper.from_array(np.uint8(zero), "z"),
        ],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), path)
    return str(path)


@pytest.mark.parametrize("zero", [126, 127])
def test_a_tie_is_rounded_with_the_zero_point(zero: int, tmp_path: Path) -> None:
    x = (np.arange(-256, 256, dtype=np.float32) / 8)[None]
    path = quantize_model(tmp_path / "ties.onnx", zero)
    (found,) = opened(path).run({"x": x})
    wanted = np.clip(np.rint(x * 4 + zero), 0, 255).astype(np.uint8)
    np.testing.assert_array_equal(found[:, 0], wanted[0])
    (theirs,) = ort.open_session(path, {}).run({"x": x})
    assert (theirs != found).mean() == (0.0 if zero == 126 else pytest.approx(0.49, abs=0.02))


@pytest.mark.parametrize("scheme", ["w8a16", "w4a16_pc", "w4a16_b32"])
def test_16_bit_quantizers_are_not_lost_in_silence(scheme: str, tmp_path: Path) -> None:
    with pytest.raises(RefusedError, match="took all 15 QuantizeLinear nodes of 16 bits out"):
        opened(saved(scheme, tmp_path))


def test_what_would_answer_without_them_is_another_network(tmp_path: Path) -> None:
    """Why it refuses: the quantizers hold the Relus. OpenVINO by its public API alone."""
    import openvino as runtime

    path = saved("w8a16", tmp_path)
    assert "Relu" not in {node.op_type for node in onnx.load(path).graph.node}
    compiled = runtime.Core().compile_model(path, "CPU", dict(openvino.OPTIONS))
    peer, feeds = ort.open_session(path, {}), demo_feeds(20)
    far = [np.abs(compiled(f)[0] - peer.run(f)[0]).max() for f in feeds]
    assert min(far) > 50, "logits of at most 10"


def test_openvino_s_own_words(tmp_path: Path) -> None:
    path = tmp_path / "m.onnx"
    save_small_model(path)
    model = onnx.load(path)
    model.graph.node[1].op_type = "QLinearSigmoid"
    model.graph.node[1].domain = "com.microsoft"
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    onnx.save(model, path)
    with pytest.raises(RefusedError, match=r"^OpenVINO: .*QLinearSigmoid") as caught:
        opened(str(path))
    assert "Exception from" not in str(caught.value)
    path.write_bytes(b"no model")
    with pytest.raises(RefusedError, match="not an ONNX file"):
        opened(str(path))


def test_in_the_worker(tmp_path: Path) -> None:
    """Placement of every node, and the same bits from another process."""
    path = saved("w8a8_pc", tmp_path)
    session, feeds = opened(path), demo_feeds(3)
    nodes = {(node.name, node.op_type) for node in onnx.load(path).graph.node}
    with working(get_target("openvino:cpu")) as worker:
        told = open_in(worker, Path(path))
        assert {(name, op) for _, name, op in told.nodes} == nodes
        assert {where for where, _, _ in told.nodes} == {"cpu"}
        answers = [run_in(worker, feed)[0] for feed in feeds]
    for feed, found in zip(feeds, answers, strict=True):
        np.testing.assert_array_equal(session.run(feed)[0], found)
    first = session.run(feeds[0])[0]
    kept = first.copy()
    session.run(feeds[1])
    np.testing.assert_array_equal(first, kept, "an answer must not be the runtime's own memory")


def test_the_how_to(tmp_path: Path) -> None:
    from documents import run_page_here

    root = Path(__file__).parents[3]
    run_page_here(root / "docs" / "howto" / "other-runtimes.md", tmp_path)
    cells = json.loads((tmp_path / "runs" / "openvino" / "matrix.json").read_text())["cells"]
    status = {(cell["scheme"], cell["target"]): cell["status"] for cell in cells}
    assert status["w8a8", "openvino:cpu"] == "ok"
    assert status["w8a16", "openvino:cpu"] == "unsupported"

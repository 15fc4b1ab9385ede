"""Nodes that a target computes with their neighbours."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from exams import Exams, looked
from float_models import image_net, images, serialized
from qdq_models import Qdq

CHECK = "computed-together"


def _stepwise() -> Qdq:
    """A convolution on a coarse grid, and a Relu behind it on a finer one."""
    b = Qdq(2)
    y = b.conv(b.input("x", (1, 6, 7, 10)), 0.0123, (12, 6, 3, 3), "y")
    b.output(b.add("Relu", [b.rounded(y, 1.1, 130)], "relu"), 0.4, 20)
    return b


def _clipped() -> bytes:
    """A convolution and a depthwise one behind it, each with its ReLU6: x (1, 3, 6, 8)."""
    rng = np.random.default_rng(1)
    make = onnx.helper.make_node
    nodes = [
        make("Conv", ["x", "w0"], ["c0"], "first", pads=[1, 1, 1, 1]),
        make("Clip", ["c0", "low", "high"], ["r0"], "clip"),
        make("Conv", ["r0", "w1"], ["c1"], "second", pads=[1] * 4, group=24),
        make("Clip", ["c1", "low", "high"], ["y"], "last"),
    ]
    constants = {
        "w0": rng.normal(0, 0.5, (24, 3, 3, 3)).astype(np.float32),
        "w1": rng.normal(0, 0.5, (24, 1, 3, 3)).astype(np.float32),
        "low": np.float32(0),
        "high": np.float32(6),
    }
    return serialized(nodes, (1, 3, 6, 8), constants)


def test_a_relu_fused_across_its_quantizer(exam_of: Exams, tmp_path: Path) -> None:
    path = tmp_path / "fused.toml"
    path.write_text('evidence = "hypothesis"\n[fusion]\nactivation = "fused"\n')
    net = _stepwise()
    feeds = [net.feed(seed) for seed in range(4)]
    exam = exam_of(net.model().SerializeToString(), feeds, "sim:ort-mlas", f"sim:{path}")
    (found,) = looked(exam, CHECK)
    assert found.targets == (f"sim:{path}",) and found.nodes == ("n_relu",)
    assert "together with n_y answers as in the model" in found.words


@pytest.mark.htp
def test_a_convolution_with_its_clip_in_float16(exam_of: Exams) -> None:
    pytest.importorskip("onnxruntime_qnn")
    exam = exam_of(_clipped(), images(), "ort:cpu", "htp:sm8450", scheme="fp16", samples=2)
    nodes = {node for f in looked(exam, CHECK) for node in f.nodes if "htp:sm8450" in f.targets}
    assert "second" in nodes


def test_a_target_that_keeps_to_the_letter_is_no_finding(exam_of: Exams) -> None:
    net = _stepwise()
    feeds = [net.feed(seed) for seed in range(4)]
    assert not looked(exam_of(net.model().SerializeToString(), feeds), CHECK)
    assert not looked(exam_of(image_net(), images(), scheme="w8a8"), CHECK)


def test_rounding_by_chance_is_no_fusion(exam_of: Exams, tmp_path: Path) -> None:
    """The noise of a rule that rounds by chance is another where a node stands alone."""
    path = tmp_path / "chance.toml"
    path.write_text('evidence = "hypothesis"\n[requantize]\nrounding = "STOCHASTIC"\n')
    net = _stepwise()
    feeds = [net.feed(seed) for seed in range(4)]
    exam = exam_of(net.model().SerializeToString(), feeds, "sim:ort-mlas", f"sim:{path}")
    assert any(o.in_place_b is False for o in exam.diagnosis.own)
    assert not looked(exam, CHECK) and not looked(exam, "batch-dependent")

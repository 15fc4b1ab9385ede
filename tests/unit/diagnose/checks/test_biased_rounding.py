"""Cutting off instead of rounding, in all nodes and in one."""

from __future__ import annotations

import pytest
from exams import Exams, at, engine, looked

from chipdrift.demo import DemoPaths

NODE = "block2/pointwise"
# Only FLOOR parts it from onnxruntime.
ONE = (
    f"[[rule]]\nnodes = {at(NODE)}\n"
    'requantize = { scale = "float32", multiplier = "float32", rounding = "FLOOR" }\n'
)


def test_planted_in_one_node(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = engine(tmp_path_factory.mktemp("p"), ONE)
    exam = exam_of(
        demo.model, demo.data, "ort:cpu", target, scheme="w8a8", calibration=demo.calibration
    )
    (finding,) = looked(exam, "biased-rounding")
    assert finding.nodes == (NODE,) and finding.targets == ("ort:cpu", target)
    assert finding.title.startswith(f"{target} rounds lower than ort:cpu")
    own = exam.own(NODE)
    assert own is not None and own.distance is not None and own.distance.bias_lsb is not None
    assert finding.weight == pytest.approx(-own.distance.bias_lsb)
    # The engine's exact sum says which of the two leans.
    assert f"ort:cpu by +0.00, {target} by -" in finding.words


def test_planted_everywhere_grows(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(
        demo.model,
        demo.data,
        "ort:cpu",
        "sim:hypothesis-floor",
        scheme="w8a8",
        calibration=demo.calibration,
    )
    (finding,) = looked(exam, "biased-rounding")
    assert finding.severity == "warning" and "grows from" in finding.words
    assert len(finding.nodes) >= 8


@pytest.mark.parametrize(
    ("scheme", "a", "b"),
    [
        ("w8a8", "sim:ort-mlas", "ort:cpu"),
        # Halves up, and other dropped bits.
        ("w8a8", "sim:hexagon-v69", "sim:hexagon-v73"),
        # One-sided, and no rounding.
        ("w8a8", "sim:avx2-saturating", "ort:cpu"),
        # Half a step and more, of 65536.
        ("w8a16_pc", "sim:hexagon-v69", "sim:hexagon-v73"),
    ],
)
def test_healthy(exam_of: Exams, demo: DemoPaths, scheme: str, a: str, b: str) -> None:
    exam = exam_of(demo.model, demo.data, a, b, scheme=scheme, calibration=demo.calibration)
    assert looked(exam, "biased-rounding") == []

"""Nodes that a profile sends to the CPU are named, with their borders and their work."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exams import Exams, engine, looked

from chipdrift.demo import DemoPaths

PLANTED = ("block3/depthwise", "block3/pointwise")
# Multiply-accumulates of the demo's layers, by hand: output values times filter size.
WORK = {
    "stem": 16 * 64 * 9,
    "block1": 16 * 64 * 9 + 16 * 64 * 16,
    "block2": 16 * 16 * 9 + 24 * 16 * 16,
    "block3": 24 * 16 * 9 + 24 * 16 * 24,
    "block4": 24 * 4 * 9 + 32 * 4 * 24,
    "block5": 32 * 4 * 9 + 32 * 4 * 32,
    "head": 10 * 32,
}


def test_planted_fallback(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    nodes = ", ".join(f'"{name}"' for name in PLANTED)
    target = engine(tmp_path_factory.mktemp("p"), f"[fallback]\nnodes = [{nodes}]\n")
    exam = exam_of(
        demo.model, demo.data, target, "ort:cpu", scheme="w8a8", calibration=demo.calibration
    )
    (finding,) = looked(exam, "silent-fallback")
    assert finding.nodes == PLANTED and finding.targets == (target,)
    # In float and in integers they give the same bits: no accuracy is lost.
    assert finding.severity == "note" and "none is needed for accuracy" in finding.fix
    assert finding.words.startswith("the profile sends Conv to the CPU.")
    share = 100 * WORK["block3"] / sum(WORK.values())
    assert f" {share:.1f} % of the model's multiply-accumulates" in finding.words
    # Both nodes left together: one border in, one out, none between them.
    assert "crosses between NPU and CPU 2 times" in finding.words
    assert "block2/pointwise -> block3/depthwise, block3/pointwise -> block4/depthwise." in (
        finding.words
    )


def test_answers_that_part_are_a_warning(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = engine(tmp_path_factory.mktemp("p"), f'[fallback]\nnodes = ["{PLANTED[1]}"]\n')
    exam = exam_of(
        demo.model, demo.data, target, "sim:hexagon-v69", scheme="w8a8",
        calibration=demo.calibration,
    )  # fmt: skip
    own = exam.own(PLANTED[1])
    assert own is not None and own.distance is not None and own.distance.differing > 0
    (finding,) = looked(exam, "silent-fallback")
    assert finding.severity == "warning" and "bit-identical" not in finding.words


def test_healthy(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(demo.model, demo.data, scheme="w8a8", calibration=demo.calibration)
    assert looked(exam, "silent-fallback") == []


def test_float16_model_on_the_processor_it_was_made_for(exam_of: Exams, demo: DemoPaths) -> None:
    """A target without an NPU has nothing to fall back from."""
    exam = exam_of(demo.model, demo.data, "ort:cpu", "float", scheme="fp16")
    assert looked(exam, "silent-fallback") == []


@pytest.mark.parametrize("scheme", ["fp32", "fp16"])
def test_a_float_model_in_the_engine_was_never_meant_for_integers(
    exam_of: Exams, demo: DemoPaths, scheme: str
) -> None:
    exam = exam_of(demo.model, demo.data, "sim:ort-mlas", "ort:cpu", scheme=scheme, samples=2)
    place = exam.diagnosis.a.placement
    assert place is not None and len(place.fallback) > 20
    assert looked(exam, "silent-fallback") == []
    # On a target that computes floats the same placement is one to look at.
    side = exam.diagnosis.a.model_copy(update={"target": "htp:sm8450"})
    chip = replace(exam, diagnosis=exam.diagnosis.model_copy(update={"a": side}))
    assert looked(chip, "silent-fallback")

"""A node whose answers have nothing to do with the other target's."""

from __future__ import annotations

from dataclasses import replace

import odd_runtime
import pytest
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.run import examine
from chipdrift.probe.ask import Asker

CHECK = "wrong-answers"


def _against(exam: Exam, oddity: str) -> Exam:
    case = replace(exam.case, b=odd_runtime.target(oddity))
    assert case.b is not None
    with Asker(case.a) as a, Asker(case.b) as b:
        return examine(case, exam.anatomy, range(3), a, b)


@pytest.mark.slow
def test_feature_maps_that_come_back_to_front(exam_of: Exams) -> None:
    exam = _against(exam_of(image_net(), images(), scheme="w8a8"), "mirrored")
    found = looked(exam, CHECK)
    wrong = {node for finding in found for node in finding.nodes}
    assert {"first", "second"} <= wrong and "last" not in wrong
    assert all(f.severity == "error" for f in found)
    assert not looked(exam, "layout"), "it is no order of the axes"


def test_another_rounding_is_not_wrong(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), "sim:hexagon-v69", "sim:hexagon-v73", scheme="w8a8")
    assert any(own.distance and own.distance.differing for own in exam.diagnosis.own)
    assert not looked(exam, CHECK)


def test_neither_is_quantization(exam_of: Exams) -> None:
    assert not looked(exam_of(image_net(), images(), b="float", scheme="w8a8"), CHECK)

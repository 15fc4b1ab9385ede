"""SM7550 has no float16 where SM8550, of the same Hexagon generation, has it."""

from __future__ import annotations

import pytest
from exams import Exams, looked

from chipdrift.chips import get_chip
from chipdrift.demo import DemoPaths

pytestmark = pytest.mark.htp


def test_float16_model(exam_of: Exams, demo: DemoPaths) -> None:
    assert get_chip("sm7550").fp16 is False and get_chip("sm8550").fp16 is True
    exam = exam_of(demo.model, demo.data, "htp:sm7550", "htp:sm8550", scheme="fp16", samples=2)
    (finding,) = looked(exam, "fp16-not-on-chip")
    assert finding.targets == ("htp:sm7550",)
    assert {"stem/conv", "block5/pointwise", "head/linear"} <= set(finding.nodes)
    assert "100.0 % of the multiply-accumulates" in finding.words
    assert finding.command is not None and "htp:sm7550" in finding.command
    # The same nodes are a fallback that nobody announced.
    left = [f for f in looked(exam, "silent-fallback") if f.targets == ("htp:sm7550",)]
    assert any("stem/conv" in f.nodes for f in left)


def test_integers_on_the_same_chip(exam_of: Exams, demo: DemoPaths) -> None:
    exam = exam_of(
        demo.model,
        demo.data,
        "htp:sm7550",
        "ort:cpu",
        scheme="w8a8",
        calibration=demo.calibration,
        samples=2,
    )
    assert looked(exam, "fp16-not-on-chip") == []
    assert looked(exam, "silent-fallback") == []

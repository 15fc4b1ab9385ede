"""SM7550 has no float16 where SM8550, of the same Hexagon generation, has it."""

from __future__ import annotations

import numpy as np
import pytest
from exams import Exams, chain, looked, rows

from chipdrift.chips import get_chip
from chipdrift.demo import DemoPaths

pytestmark = pytest.mark.htp


def test_float16_model(exam_of: Exams) -> None:
    """Without convolutions: those the simulator of SM7550 refuses as a whole."""
    assert get_chip("sm7550").fp16 is False and get_chip("sm8550").fp16 is True
    rng = np.random.default_rng(1)
    model = chain(rng.normal(size=(16, 24)), rng.normal(size=(24, 4)))
    exam = exam_of(model, rows(16), "htp:sm7550", "htp:sm8550", scheme="fp16", samples=2)
    (finding,) = looked(exam, "fp16-not-on-chip")
    assert finding.targets == ("htp:sm7550",)
    assert {"m0", "m1"} <= set(finding.nodes)
    assert "100.0 % of the multiply-accumulates" in finding.words
    assert finding.command is not None and "htp:sm7550" in finding.command
    # The same nodes are a fallback that nobody announced.
    left = [f for f in looked(exam, "silent-fallback") if f.targets == ("htp:sm7550",)]
    assert any("m0" in f.nodes for f in left)


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

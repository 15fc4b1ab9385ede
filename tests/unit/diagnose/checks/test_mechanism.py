"""Mechanisms as findings: planted in the engine, told as rules."""

from __future__ import annotations

from pathlib import Path

import pytest
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.findings import WORDS

CHECK = "mechanism"
PLANTED = {
    "rounding": '[requantize]\nrounding = "FLOOR"\n',
    "scale_precision": '[requantize]\nmultiplier = "significand"\nbits = 5\n',
    "accumulator_overflow": '[accumulator]\nwidth = 16\noverflow = "saturate"\n',
}


@pytest.mark.parametrize("mechanism", PLANTED)
def test_what_was_planted_comes_first(exam_of: Exams, tmp_path: Path, mechanism: str) -> None:
    path = tmp_path / "planted.toml"
    path.write_text('evidence = "hypothesis"\n' + PLANTED[mechanism])
    b = f"sim:{path}"
    plain = tmp_path / "plain.toml"
    plain.write_text('evidence = "hypothesis"\ndescription = "exact"\n')
    exam = exam_of(
        image_net(), images(), f"sim:{plain}", b, scheme="w8a8", profiles={b: ""}
    )  # nothing is known of B
    found = sorted(looked(exam, CHECK), key=lambda finding: -finding.weight)
    words = WORDS[mechanism]
    assert found and found[0].title.startswith(words[0].upper() + words[1:])
    assert set(found[0].nodes) <= {own.node for own in exam.diagnosis.own}


def test_targets_that_agree_are_no_finding(exam_of: Exams) -> None:
    assert not looked(exam_of(image_net(), images(), scheme="w8a8"), CHECK)
    assert not looked(exam_of(image_net(), images(), b="float", scheme="w8a8"), CHECK)

"""Ranges made for other data."""

from __future__ import annotations

import pytest
from exams import Exams, looked
from float_models import image_net, images

CHECK = "calibration-unlike-evaluation"


def _calibrated(exam_of: Exams, scale: float, scheme: str = "w8a8") -> list[str]:
    others = [{"x": feed["x"] * scale} for feed in images(16, seed=9)]
    others = [{"x": feed["x"].astype("float32")} for feed in others]
    exam = exam_of(image_net(), images(), scheme=scheme, calibration=others)
    return [finding.title for finding in looked(exam, CHECK)]


@pytest.mark.parametrize("scheme", ["w8a8", "w8a16_pc"])
def test_calibrated_on_255_times_as_much(exam_of: Exams, scheme: str) -> None:
    (title,) = _calibrated(exam_of, 255.0, scheme)
    assert "far inside" in title


def test_calibrated_on_half_of_the_range(exam_of: Exams) -> None:
    (title,) = _calibrated(exam_of, 0.5)
    assert "beyond" in title


@pytest.mark.parametrize("scale", [1.0, 1.3, 0.98])
def test_like_data_are_no_finding(exam_of: Exams, scale: float) -> None:
    """Other samples of the same kind, and a little more or less than those."""
    assert not _calibrated(exam_of, scale)


def test_the_demo_is_no_finding(exam_of: Exams) -> None:
    from chipdrift.demo import paths

    files = paths()
    exam = exam_of(files.model, files.data, scheme="w8a8", calibration=files.calibration)
    assert not looked(exam, CHECK)


def test_the_share_beyond_is_that_of_the_inputs(exam_of: Exams) -> None:
    """Uniform from -1 to 1 against a range of about -0.5 to 0.5: 45 % are beyond 0.55."""
    others = [{"x": feed["x"] / 2} for feed in images(16, seed=9)]
    exam = exam_of(image_net(), images(), scheme="w8a8", calibration=others)
    (found,) = looked(exam, CHECK)
    share = float(found.words.split(" %")[0])
    assert 42 <= share <= 48

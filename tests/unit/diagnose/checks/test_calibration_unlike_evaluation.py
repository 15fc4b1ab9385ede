"""Ranges made for other data."""

from __future__ import annotations

import numpy as np
import pytest
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.checks.calibration_unlike_evaluation import p_beyond, p_inside

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


@pytest.mark.parametrize("factor", [0.05, 2.0])
def test_one_sample_is_no_evidence(exam_of: Exams, factor: float) -> None:
    """A picture that is dark, or brighter than all that the calibration saw, is one picture."""
    odd = [{"x": (feed["x"] * factor).astype("float32")} for feed in images(3)]
    for count in (1, 3):
        exam = exam_of(
            image_net(), odd[:count], scheme="w8a8", calibration=images(16, seed=9), samples=count
        )
        assert not looked(exam, CHECK)


def test_evaluation_data_that_scatter_as_widely_as_the_ranges(exam_of: Exams) -> None:
    """Four weak samples of a kind that is at times strong: the range was set by a strong one."""
    weak = [
        {"x": (feed["x"] * size).astype("float32")}
        for feed, size in zip(images(4), (0.02, 0.3, 0.05, 0.01), strict=True)
    ]
    exam = exam_of(image_net(), weak, scheme="w8a8", calibration=images(16, seed=9))
    assert not looked(exam, CHECK)
    alike = [{"x": (feed["x"] * 0.02).astype("float32")} for feed in images(4)]
    exam = exam_of(image_net(), alike, scheme="w8a8", calibration=images(16, seed=9))
    (found,) = looked(exam, CHECK)
    assert "far inside" in found.title and "would be chance with p " in found.experiment


@pytest.mark.parametrize(("calibrated", "samples", "count"), [(10, 4, 1), (10, 4, 2), (30, 16, 2)])
def test_the_chance_to_pass_the_extremes(calibrated: int, samples: int, count: int) -> None:
    """Against drawn numbers: how often the count-th largest new one passes all the old ones."""
    rng = np.random.default_rng(11)
    old, new = rng.normal(size=(40000, calibrated)), rng.normal(size=(40000, samples))
    passes = (new > old.max(axis=1, keepdims=True)).sum(axis=1) >= count
    other = (new < old.min(axis=1, keepdims=True)).sum(axis=1) >= count
    seen = float((passes | other).mean())
    bound = p_beyond(count, samples, calibrated)
    # Both ends at once are rare, so that the bound is near.
    assert seen <= bound + 0.01 and bound <= 1.25 * seen + 0.01


def test_the_chance_to_stay_inside() -> None:
    """Drawn as assumed, no more often below a level than the level says."""
    rng = np.random.default_rng(12)
    for samples in (4, 16):
        drawn = np.exp(rng.normal(1.0, 0.7, size=(4000, samples)))
        spans = np.exp(rng.normal(1.0, 0.7, size=(4000, 100)).max(axis=1))
        chances = [p_inside(one, far, 100) for one, far in zip(drawn, spans, strict=True)]
        assert float((np.array(chances) < 0.05).mean()) <= 0.05 + 0.01
        assert p_inside(drawn[0], 1e9, 100) < 0.01


def test_too_few_or_all_alike_tell_nothing() -> None:
    assert p_beyond(3, 3, 100) == 1.0 and p_beyond(4, 4, 100) < 1e-5
    assert p_beyond(0, 16, 100) == 1.0
    assert p_inside([1.0, 1.1, 0.9], 1e6, 10) == 1.0
    assert p_inside([1.0, 1.0, 1.0, 1.0], 1e6, 10) == 1.0
    assert p_inside([1.0, 0.0, 1.1, 0.9], 1e6, 10) == 1.0

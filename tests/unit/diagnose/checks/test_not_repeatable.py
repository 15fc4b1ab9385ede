"""The same question, twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import faulty_runtime
import pytest
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.exam import Exam
from chipdrift.probe.ask import Asker

CHECK = "not-repeatable"


@pytest.fixture
def exam(exam_of: Exams) -> Exam:
    return exam_of(image_net(), images(), scheme="w8a8")


@pytest.fixture
def drifting() -> Iterator[Asker]:
    """A worker whose answers are off by a quarter from the third run of a session on."""
    with Asker(faulty_runtime.target("none", bump="0.25", bump_after="2")) as asker:
        yield asker


def test_steady_targets_are_no_finding(exam: Exam) -> None:
    assert exam.asker_a is not None and exam.asker_b is not None
    assert not looked(exam, CHECK)


def test_a_session_that_remembers(exam: Exam, drifting: Asker) -> None:
    for side in ("asker_a", "asker_b"):
        (found,) = looked(replace(exam, **{side: drifting}), CHECK)
        assert found.targets == ("faulty:1",) and found.severity == "error"
        assert "twice in one session" in found.words


def test_the_node_is_named(exam: Exam) -> None:
    """From the second run of a session on all outputs are one more: the input's is the first."""
    with Asker(faulty_runtime.target("none", bump="1", bump_after="1")) as asker:
        (found,) = looked(replace(exam, asker_b=asker), CHECK)
    assert found.nodes == ("x_QuantizeLinear",)


def test_a_target_that_dies_is_no_finding(exam: Exam) -> None:
    with Asker(faulty_runtime.target("segfault", after="0")) as dying:
        assert not looked(replace(exam, asker_b=dying), CHECK)


@pytest.mark.slow
def test_rounding_by_chance_repeats(exam_of: Exams) -> None:
    """The engine's chance is drawn from the sample: the same sample, the same bits."""
    exam = exam_of(image_net(), images(), b="sim:hypothesis-stochastic", scheme="w8a8")
    assert not looked(exam, CHECK)

"""Losses that the samples do not carry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.checks.too_few_samples import _Loss
from chipdrift.diagnose.exam import Exam
from chipdrift.metrics.intervals import samples_for_paired_halfwidth, tango
from chipdrift.records import Delta

CHECK = "too-few-samples"


def _losing(exam: Exam, gained: int, lost: int, samples: int) -> Exam:
    """The exam with a loss of A against the float model, with the interval it really has."""
    low, high = tango(gained, lost, samples)
    delta = Delta(
        value=(gained - lost) / samples, low=low, high=high, p_value=0.5, p_holm=0.5,
        significant=False,
    )  # fmt: skip
    matrix = exam.case.run.matrix
    cells: list[Any] = [
        cell.model_copy(update={"delta": delta, "samples": samples})
        if (cell.scheme, cell.target) == (exam.case.scheme, exam.case.a.name)
        else cell
        for cell in matrix.cells
    ]
    run = replace(exam.case.run, matrix=matrix.model_copy(update={"cells": tuple(cells)}))
    return replace(exam, case=replace(exam.case, run=run))


@pytest.fixture
def exam(exam_of: Exams) -> Exam:
    """Both targets answer alike."""
    labels = [0, 1, 2, 3] * 2
    return exam_of(image_net(), images(), scheme="w8a8", labels=labels, samples=8)


def test_a_loss_within_chance(exam: Exam) -> None:
    (found,) = looked(_losing(exam, 3, 7, 200), CHECK)
    assert "loses 2 points" in found.title and found.targets == (exam.case.a.name,)
    needed = int(found.words.split("some ")[1].split(" ")[0].replace(",", ""))
    # What the planner's formula asks for, of as many samples that differ as here.
    planned = samples_for_paired_halfwidth(0.02, 10 / 200)
    assert abs(needed - planned) < 0.2 * planned
    # And it is enough: ten times the samples of the same kind leave 0 out, as many as here do not.
    times = needed / 200
    assert tango(3 * times, 7 * times, needed)[1] < 0 < tango(3, 7, 200)[1]


@pytest.mark.parametrize(
    ("gained", "lost", "samples"),
    [(0, 0, 60), (7, 3, 200), (1, 40, 400), (4, 5, 1000)],
    ids=["no loss", "a gain", "a loss that is shown", "a tenth of a point"],
)
def test_nothing_to_ask(exam: Exam, gained: int, lost: int, samples: int) -> None:
    assert not looked(_losing(exam, gained, lost, samples), CHECK)


def test_two_targets_against_each_other(exam_of: Exams, exam: Exam) -> None:
    """Half of the labels are B's own answers, where A's may differ; nothing is made up."""
    assert not looked(exam, CHECK)
    coarse = exam_of(
        image_net(), images(24), b="sim:hexagon-v69", scheme="w8a8", labels=[0] * 24, samples=24
    )
    found = looked(coarse, CHECK)
    deltas = {c.delta.value for c in coarse.case.run.matrix.cells if c.delta is not None}
    assert bool(found) == any(value <= -0.01 for value in deltas)


def test_closeness_to_the_float_model_is_no_loss(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), scheme="w8a8", metric="cosine")
    assert exam.case.run.matrix.metric.against_baseline and not looked(exam, CHECK)


def test_the_estimate_holds_where_the_interval_is_lopsided() -> None:
    loss = _Loss("a", "b", size=0.03, low=-0.01, high=0.09, samples=100)
    assert loss.needed == pytest.approx(100 * (0.04 / 0.03) ** 2, abs=2)

"""Losses that the samples do not carry."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.exam import Exam
from chipdrift.metrics.intervals import mcnemar_exact, tango
from chipdrift.records import Delta

CHECK = "too-few-samples"


def _losing(exam: Exam, gained: int, lost: int, samples: int) -> Exam:
    """The exam with a loss of A against the float model, with the interval it really has."""
    low, high = tango(gained, lost, samples)
    p = mcnemar_exact(gained, lost)
    delta = Delta(
        value=(gained - lost) / samples, low=low, high=high, p_value=p, p_holm=1.0,
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


def _needed(words: str) -> int:
    return int(words.split("some ")[1].split(" ")[0].replace(",", ""))


def test_a_loss_within_chance(exam: Exam) -> None:
    (found,) = looked(_losing(exam, 3, 7, 200), CHECK)
    assert "loses 2 points" in found.title and found.targets == (exam.case.a.name,)
    assert found.severity == "note" and "it may be nothing" in found.words
    assert f"{exam.case.a.name} minus the float model: -2.00 points, 95 % interval " in found.words
    low, high = (100 * limit for limit in tango(3, 7, 200))  # directed as the difference
    assert f"{low:.2f} to +{high:.2f} points, p = 0.69" in found.words
    assert _needed(found.words) > 1_000  # what seven against three of 200 takes, not 500
    # Which file holds more samples is not known: no command that could not be pasted.
    assert found.command is None and "chipdrift matrix command with a --data" in found.fix


def test_a_likely_loss_asks_for_more(exam: Exam) -> None:
    """The interval leaves 0 out; the exact test, for two sides, has p = 2 * 2 / 2^6."""
    (found,) = looked(_losing(exam, 0, 6, 120), CHECK)
    assert found.severity == "warning"
    assert "likely loses 5 points: 120 samples do not prove it" in found.title
    assert "p = 0.062 corrected for 2 tests: likely a loss, not proven" in found.words
    small = looked(_losing(exam, 0, 6, 6000), CHECK)  # a tenth of a point, all the same
    assert len(small) == 1 and small[0].severity == "warning"


@pytest.mark.parametrize(("gained", "lost", "samples"), [(0, 3, 120), (0, 6, 120), (3, 9, 200)])
def test_with_the_samples_named_the_exact_test_shows_it(
    exam: Exam, gained: int, lost: int, samples: int
) -> None:
    """Four runs of five with so many new samples of the same kind; far fewer with half of them."""
    (found,) = looked(_losing(exam, gained, lost, samples), CHECK)
    needed = _needed(found.words)

    def shown(count: int) -> float:
        chances = [gained / samples, lost / samples, 1 - (gained + lost) / samples]
        draws = np.random.default_rng(7).multinomial(count, chances, 500)
        tests = [(int(g), int(n)) for g, n, _ in draws]
        return float(
            np.mean(
                [2 * mcnemar_exact(g, n) < 0.05 and tango(g, n, count)[1] < 0 for g, n in tests]
            )
        )

    assert 0.75 < shown(needed) < 0.87
    assert shown(needed // 2) < 0.6


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

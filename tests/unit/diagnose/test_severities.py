"""What a finding weighs by the verdict it stands under."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from exams import Exams
from float_models import image_net, images

from chipdrift.diagnose import run
from chipdrift.diagnose.checks import Check
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import NONE_NEEDED
from chipdrift.findings import Cause, Finding, Verdict
from chipdrift.metrics.intervals import mcnemar_exact, tango
from chipdrift.records import Delta

A, B = "sim:hexagon-v69", "sim:hexagon-v73"


@pytest.fixture
def exam(exam_of: Exams) -> Exam:
    return exam_of(image_net(), images(), A, B, scheme="w8a8", labels=[0, 1, 2, 3] * 2, samples=8)


def judged(exam: Exam, cause: Cause, loss: float | None = None) -> Exam:
    verdict = Verdict(cause=cause, words="made up by a test.", quantization=loss, samples=200)
    return replace(exam, diagnosis=exam.diagnosis.model_copy(update={"verdict": verdict}))


def losing(exam: Exam, lost: int, samples: int = 200) -> Exam:
    """Both targets answer ``lost`` of ``samples`` wrong that the float model has right."""
    low, high = tango(0, lost, samples)
    p = mcnemar_exact(0, lost)
    delta = Delta(
        value=-lost / samples, low=low, high=high, p_value=p, p_holm=1.0, significant=False
    )
    matrix = exam.case.run.matrix
    cells: list[Any] = [
        cell.model_copy(update={"delta": delta, "samples": samples}) for cell in matrix.cells
    ]
    reopened = replace(exam.case.run, matrix=matrix.model_copy(update={"cells": tuple(cells)}))
    return replace(exam, case=replace(exam.case, run=reopened))


def drifts(exam: Exam) -> list[Finding]:
    return [found for found in run.look(exam) if found.check in run._OF_A_DIFFERENCE]


@pytest.mark.parametrize(
    ("cause", "worst"),
    [("neither", "note"), ("quantization", "note"), ("unknown", "warning"), ("chip", "error")],
)
def test_what_parts_two_weighs_by_what_it_costs(exam: Exam, cause: Cause, worst: str) -> None:
    found = drifts(judged(exam, cause))
    assert found and found[0].severity == worst
    said = [finding.fix for finding in found]
    assert any(NONE_NEEDED in fix for fix in said) == (cause == "neither")
    if cause == "quantization":
        assert any("what both lose is the quantization's" in fix for fix in said)
        assert not any("on the CPU" in f.fix for f in found if f.check == "mechanism")


@pytest.mark.parametrize("cause", ["neither", "quantization", "both", "chip", "unknown"])
def test_that_nothing_is_needed_is_said_where_nothing_is_lost(
    exam: Exam, cause: Cause, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A check that finds something too small to matter says so whatever the verdict."""
    small = Finding(check="dropped-bits", severity="note", title="t", words="w", fix=NONE_NEEDED)
    check = Check("dropped-bits", "t", {}, lambda exam: iter([small]))
    monkeypatch.setattr(run, "all_checks", lambda: {"dropped-bits": check})
    (found,) = run.look(judged(exam, cause))
    assert (found.fix == NONE_NEEDED) == (cause == "neither")
    assert "accuracy" not in found.fix or cause == "neither"


def test_a_loss_on_both_leads_to_the_float_model(exam: Exam) -> None:
    lost = losing(judged(exam, "quantization", 0.1), 20)
    (found,) = [f for f in run.look(lost) if f.check == "quantization"]
    assert found.severity == "warning"
    assert found.title.startswith(f"What {A} and {B} both lose shows against the float model")
    assert found.words.startswith(f"Quantization costs 10.00 points on both: {A} minus the float")
    folder = str(exam.case.run.folder)
    assert found.command == (
        f"chipdrift diagnose {folder} --scheme w8a8 --target {A} --against float"
    )
    assert f"{B} minus the float model: -10.00 points, 95 % interval" in found.words


@pytest.mark.parametrize("lost", [0, 5])
def test_a_loss_that_is_not_shown_on_both_does_not(exam: Exam, lost: int) -> None:
    found = run.look(losing(judged(exam, "unknown", lost / 200), lost))
    assert not [f for f in found if f.check == "quantization"]


@pytest.mark.parametrize(("lost", "seen"), [(0, False), (3, False), (6, True), (20, True)])
def test_a_likely_loss_against_the_float_model_is_looked_into(
    exam_of: Exams, lost: int, seen: bool
) -> None:
    """Its interval decides, and not how many cells the run has besides (Holm's p is 1 here)."""
    exam = exam_of(image_net(), images(), A, "float", scheme="w8a8", labels=[0] * 8, samples=8)
    cause: Cause = "unknown" if seen else "neither"
    found = run.look(losing(judged(exam, cause, lost / 200), lost))
    named = [f for f in found if f.check == "quantization"]
    noisy = min(o.distance.sqnr_db or 99 for o in exam.diagnosis.outputs) < 20
    assert bool(named) == (seen or noisy)

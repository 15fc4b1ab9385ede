"""One chip under two versions; a run of another time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import faulty_runtime
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.checks.sdk_changed import changed
from chipdrift.diagnose.exam import Exam
from chipdrift.probe.ask import Asker

CHECK = "sdk-changed"
OLD, NEW = {"qnn": "2.38.0"}, {"qnn": "2.51.0"}


def _renamed(exam: Exam, names: Mapping[str, str], versions: Mapping[str, Any]) -> Exam:
    """The exam with its targets called otherwise, and versions of our choice in the cells."""
    case = exam.case
    cells = [
        cell.model_copy(
            update={
                "target": names.get(cell.target, cell.target),
                "versions": versions.get(cell.target, cell.versions),
            }
        )
        for cell in case.run.matrix.cells
    ]
    matrix = case.run.matrix.model_copy(update={"cells": tuple(cells)})
    assert case.b is not None
    a, b = (replace(t, name=names.get(t.name, t.name)) for t in (case.a, case.b))
    run = replace(case.run, matrix=matrix)
    return replace(exam, case=replace(case, run=run, a=a, b=b), asker_a=None, asker_b=None)


def test_one_chip_under_two_versions(exam_of: Exams) -> None:
    a, b = "sim:hexagon-v69", "sim:hexagon-v73"
    exam = exam_of(image_net(), images(), a, b, scheme="w8a8")
    same_chip = {a: "htp:sm8550@2.38", b: "htp:sm8550@2.51"}
    (found,) = looked(_renamed(exam, same_chip, {a: OLD, b: NEW}), CHECK)
    assert found.targets == ("htp:sm8550@2.38", "htp:sm8550@2.51")
    assert "qnn 2.38.0 to 2.51.0" in found.words
    # Two chips, or one version: not the SDK's doing.
    two_chips = {a: "htp:sm8450", b: "htp:sm8550"}
    assert not looked(_renamed(exam, two_chips, {a: OLD, b: NEW}), CHECK)
    assert not looked(_renamed(exam, same_chip, {a: NEW, b: NEW}), CHECK)


def test_versions_that_answer_alike_are_no_finding(exam_of: Exams) -> None:
    a, b = "sim:ort-mlas", "ort:cpu"
    exam = exam_of(image_net(), images(), a, b, scheme="w8a8")
    same_chip = {a: "htp:sm8550@2.38", b: "htp:sm8550@2.51"}
    assert not looked(_renamed(exam, same_chip, {a: OLD, b: NEW}), CHECK)


def test_a_run_of_another_time(exam_of: Exams) -> None:
    """The run's cell is said to be of version 1; the target is now version 2 and off by 1."""
    exam = exam_of(image_net(), images(), scheme="w8a8")
    then = {"faulty": "1"}
    renamed = _renamed(exam, {}, {exam.case.a.name: then})
    for bump, expected in (("1", 1), ("0", 0)):
        now = replace(
            faulty_runtime.target("none", name=exam.case.a.name, bump=bump),
            versions={"faulty": "2"},
        )
        with Asker(now) as asker:
            found = looked(replace(renamed, asker_a=asker), CHECK)
        assert len(found) == expected
        assert all("faulty 1 to 2" in f.words and "100 %" in f.words for f in found)


def test_what_is_installed_is_what_was_measured(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), scheme="w8a8")
    assert exam.asker_a is not None and not looked(exam, CHECK)


def test_a_hosts_processor_is_no_version() -> None:
    a = {"qnn": "2.51", "isa": "avx2", "machine": "x86_64"}
    assert not changed(a, {"qnn": "2.51", "isa": "avx512f", "machine": "x86_64"})
    assert changed(a, {"qnn": "2.52"}) == {"qnn": ("2.51", "2.52")}

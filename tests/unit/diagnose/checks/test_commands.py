"""What a finding says to do can be done: its command names the run's own scheme and targets."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exams import Exams, chain, rows
from float_models import image_net, images

from chipdrift.diagnose.checks import all_checks
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import NONE_NEEDED, matrix_command, more_bits, remedy
from chipdrift.findings import WORDS, Cause, Verdict
from chipdrift.schemes import get_scheme

A, B = "sim:hexagon-v69", "sim:hexagon-v73"


def judged(exam: Exam, cause: Cause) -> Exam:
    verdict = Verdict(cause=cause, words="made up by a test.")
    return replace(exam, diagnosis=exam.diagnosis.model_copy(update={"verdict": verdict}))


def words_of(command: str) -> dict[str, str]:
    words = command.split()
    return {w: words[i + 1] for i, w in enumerate(words[:-1]) if w.startswith("-")}


@pytest.mark.parametrize("scheme", ["w8a8", "w8a8_pc"])
def test_more_bits_is_the_runs_scheme_beside_sixteen(exam_of: Exams, scheme: str) -> None:
    command = more_bits(exam_of(image_net(), images(), A, B, scheme=scheme))
    assert command is not None
    found = words_of(command)
    assert found["--scheme"] == f"{scheme},w8a16_pc" and found["--target"] == f"{A},{B}"
    assert found["-o"] == f"runs/{scheme}-w8a16_pc"
    assert {"MODEL", "DATA", "CAL"} <= set(command.split())


@pytest.mark.parametrize("scheme", ["w8a16_pc", "w4a16_pc", "fp16"])
def test_no_more_bits_than_sixteen(exam_of: Exams, scheme: str) -> None:
    if scheme != "fp16":
        assert get_scheme(scheme).activations == "uint16"
    targets = ("ort:cpu", "float") if scheme == "fp16" else (A, B)
    exam = judged(exam_of(chain_net(), rows(16), *targets, scheme=scheme), "chip")
    assert more_bits(exam) is None
    assert all(remedy(exam, name, ["m0"])[1] is None for name in WORDS)


def chain_net() -> bytes:
    import numpy as np

    return chain(np.random.default_rng(2).normal(size=(16, 8)))


def test_the_float_model_is_no_target(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), "ort:cpu", "float", scheme="w8a8")
    assert words_of(matrix_command(exam, "w8a16_pc") or "")["--target"] == "ort:cpu"


def test_a_model_that_came_quantized_is_not_quantized_again(exam_of: Exams) -> None:
    plain = exam_of(image_net(), images(), A, B, scheme="w8a8")
    exam = exam_of(plain.case.model, images(), A, B)
    assert exam.case.scheme == "asis" and more_bits(exam) is None
    assert "--scheme asis" in (matrix_command(exam) or "")


def test_nothing_is_advised_that_cannot_be_done(exam_of: Exams) -> None:
    exam = judged(exam_of(image_net(), images(), A, B, scheme="w8a8_pc"), "chip")
    found = [f for check in all_checks().values() for f in check.look(exam)]
    assert found
    for finding in found:
        assert "numerics" not in finding.fix
        if (finding.command or "").startswith("chipdrift matrix"):
            assert "w8a8_pc" in words_of(finding.command or "")["--scheme"].split(",")
            assert words_of(finding.command or "")["--target"] == f"{A},{B}"


def test_an_option_of_x86_is_named_for_a_host_alone(exam_of: Exams) -> None:
    chips = judged(exam_of(image_net(), images(), A, B, scheme="w8a8"), "chip")
    fix, command = remedy(chips, "accumulator_overflow", ["first"])
    assert fix.startswith("16-bit activations (w8a16_pc), or keep first on the CPU")
    assert "x64" not in fix and command is not None
    host = judged(exam_of(image_net(), images(), A, "ort:cpu", scheme="w8a8"), "chip")
    assert (
        "session.x64quantprecision=1 on ort:cpu" in remedy(host, "accumulator_overflow", ["f"])[0]
    )


def test_where_nothing_is_lost_nothing_is_advised(exam_of: Exams) -> None:
    exam = judged(exam_of(image_net(), images(), A, B, scheme="w8a8"), "neither")
    for name in WORDS:
        fix, command = remedy(exam, name, ["first"])
        assert command is None
        assert fix.startswith(NONE_NEEDED)
        # Other samples may overflow further: that cure is named all the same.
        assert (fix == NONE_NEEDED) == (name != "accumulator_overflow")

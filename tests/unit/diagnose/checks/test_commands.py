"""What a finding says to do can be done: its command names the run's own scheme and targets."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from exams import Exams, chain, engine, rows
from float_models import image_net, images

from chipdrift.diagnose.checks import all_checks
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import (
    NONE_NEEDED,
    matrix_command,
    more_bits,
    overflow_remedy,
    per_channel,
    remedy,
)
from chipdrift.diagnose.sums import overflowing
from chipdrift.findings import WORDS, Cause, Verdict
from chipdrift.schemes import get_scheme
from chipdrift.tflite.convert import to_tflite
from chipdrift.tflite.errors import UnwritableError

A, B = "sim:hexagon-v69", "sim:hexagon-v73"


def judged(exam: Exam, cause: Cause) -> Exam:
    verdict = Verdict(cause=cause, words="made up by a test.")
    return replace(exam, diagnosis=exam.diagnosis.model_copy(update={"verdict": verdict}))


def words_of(command: str) -> dict[str, str]:
    words = command.split()
    return {w: words[i + 1] for i, w in enumerate(words[:-1]) if w.startswith("-")}


@pytest.mark.parametrize("scheme", ["w8a8", "w8a8_pc"])
def test_more_bits_is_the_runs_scheme_beside_sixteen(exam_of: Exams, scheme: str) -> None:
    exam = exam_of(image_net(), images(), A, B, scheme=scheme)
    command = more_bits(exam)
    assert command is not None
    found = words_of(command)
    assert found["--scheme"] == f"{scheme},w8a16_pc" and found["--target"] == f"{A},{B}"
    assert found["-o"] == f"runs/{Path(exam.case.run.matrix.model.name).stem}-{scheme}-w8a16_pc"
    assert {"MODEL", "DATA", "CAL"} <= set(command.split())


def test_the_limit_of_the_run_is_that_of_the_command(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), A, B, scheme="w8a8", samples=3)
    assert words_of(more_bits(exam) or "")["--limit"] == "3"


def test_two_models_have_two_folders(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), A, B, scheme="w8a8")
    told = []
    for name in ("cnn.onnx", "tf.onnx", "a/my model (2).onnx"):
        model = exam.case.run.matrix.model.model_copy(update={"name": name})
        matrix = exam.case.run.matrix.model_copy(update={"model": model})
        run = replace(exam.case.run, matrix=matrix)
        command = more_bits(replace(exam, case=replace(exam.case, run=run)))
        told.append(words_of(command or "")["-o"])
    names = ("cnn", "tf", "my_model_2_")
    assert told == [f"runs/{name}-w8a8-w8a16_pc" for name in names]


def test_no_scheme_that_a_target_cannot_take(exam_of: Exams) -> None:
    """LiteRT's files have 8-bit activations: the writer refuses others, as a run of them says."""
    exam = judged(
        exam_of(image_net(), images(), "ort:cpu", "litert:reference", scheme="w8a8"), "chip"
    )
    assert more_bits(exam) is None
    fix, command = remedy(exam, "rounding", ["first"])
    assert "16-bit" not in fix and command is None
    assert more_bits(exam, targets=["ort:cpu"]) is not None
    assert per_channel(exam) is not None
    wide = exam_of(image_net(), images(), "ort:cpu", "float", scheme="w8a16_pc")
    with pytest.raises(UnwritableError, match="16-bit activations"):
        to_tflite(onnx.load_from_string(wide.case.model))


@pytest.mark.parametrize("scheme", ["w8a16_pc", "w4a16_pc", "fp16"])
def test_no_more_bits_than_sixteen(exam_of: Exams, scheme: str) -> None:
    if scheme != "fp16":
        assert get_scheme(scheme).activations == "uint16"
    targets = ("ort:cpu", "float") if scheme == "fp16" else (A, B)
    exam = judged(exam_of(chain_net(), rows(16), *targets, scheme=scheme), "chip")
    assert more_bits(exam) is None
    assert all(remedy(exam, name, ["m0"])[1] is None for name in WORDS)


def chain_net() -> bytes:
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


def test_the_cpu_is_a_way_out_of_an_npu(exam_of: Exams) -> None:
    chips = judged(exam_of(image_net(), images(), A, B, scheme="w8a8"), "chip")
    fix, command = overflow_remedy(chips, ["first"], [A])
    assert fix.startswith("16-bit activations (w8a16_pc), or keep first on the CPU")
    assert "x64" not in fix and command is not None


def test_an_option_of_x86_is_named_where_that_side_overflows(
    exam_of: Exams, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Pairs of stored products against sums of 16 bits: which of both passes the end decides."""
    pairs = "sim:avx2-saturating"
    # Large weights beside small ones: a pair passes 16 bits, a sum of them the plain 32 never.
    net = chain(np.full((16, 8), 1.0))
    feeds = [{"x": np.full((1, 8, 16), 3.0, np.float32)}]
    host = judged(exam_of(net, feeds, "ort:cpu", pairs, scheme="w8a8", samples=1), "chip")
    assert overflowing(host, ["m0"]) == (pairs,)
    fix = remedy(host, "accumulator_overflow", ["m0"])[0]
    assert fix.startswith("session.x64quantprecision=1 in onnxruntime on sim:avx2-saturating, or ")
    assert "CPU" not in fix  # that is where it runs
    # The same where it is the runtime itself, beside whatever does not overflow.
    assert host.case.b is not None
    named = replace(host, case=replace(host.case, b=replace(host.case.b, name="ort:avx2")))
    fix = overflow_remedy(named, ["m0"], ["ort:avx2"])[0]
    assert fix.startswith("session.x64quantprecision=1 in onnxruntime on ort:avx2, or ")
    assert "x64" not in overflow_remedy(named, ["m0"], ["ort:cpu"])[0]  # has it set
    narrow = engine(tmp_path_factory.mktemp("p"), '[accumulator]\nwidth = 16\noverflow = "wrap"\n')
    other = judged(exam_of(net, feeds, narrow, "ort:cpu", scheme="w8a8", samples=1), "chip")
    assert overflowing(other, ["m0"]) == (narrow,)
    fix = remedy(other, "accumulator_overflow", ["m0"])[0]
    assert "x64" not in fix and "keep m0 on the CPU" in fix


def test_an_unknown_side_overflows_where_the_known_one_does_not(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), A, B, scheme="w8a8", profiles={B: ""})
    assert overflowing(exam, ["first"]) == (B,)


def test_where_nothing_is_lost_nothing_is_advised(exam_of: Exams) -> None:
    exam = judged(exam_of(image_net(), images(), A, B, scheme="w8a8"), "neither")
    for name in WORDS:
        fix, command = remedy(exam, name, ["first"])
        assert command is None
        assert fix.startswith(NONE_NEEDED)
        # Other samples may overflow further: that cure is named all the same.
        assert (fix == NONE_NEEDED) == (name != "accumulator_overflow")

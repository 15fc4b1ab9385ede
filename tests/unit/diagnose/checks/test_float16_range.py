"""Sums beyond 65504 and products below 2^-14, planted in a chain of products."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from exams import Exams, chain, looked, rows

from chipdrift.demo import DemoPaths


def matrix(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(size=shape)


def test_planted_overflow(exam_of: Exams) -> None:
    """The second product reaches 16 * 300 * 300 and more; the third brings it back."""
    model = chain(300 * matrix(16, 16), 300 * matrix(16, 16), 1e-5 * matrix(16, 4))
    exam = exam_of(model, rows(16), "ort:cpu", "float", scheme="fp16")
    passed = [f for f in looked(exam, "float16-range") if "passes the end" in f.title]
    assert [f.nodes[0] for f in passed] == ["m1"]
    assert "m0" not in passed[0].nodes
    assert passed[0].command is not None and "w8a16_pc" in passed[0].command


def test_a_chip_that_saturates_instead(exam_of: Exams) -> None:
    """The same overflow on a target that answers 65504 where others have infinity."""
    model = chain(300 * matrix(16, 16), 300 * matrix(16, 16), 1e-5 * matrix(16, 4))
    exam = exam_of(model, rows(16), "ort:cpu", "float", scheme="fp16")
    held = [
        {name: np.nan_to_num(v, posinf=65504, neginf=-65504) for name, v in entry.items()}
        for entry in exam.tensors_a
    ]
    (finding,) = looked(dataclasses.replace(exam, tensors_a=held), "float16-range")
    assert finding.nodes == ("m1",) and finding.severity == "warning"


def test_overflow_that_reaches_the_answer(exam_of: Exams) -> None:
    model = chain(300 * matrix(16, 16), 300 * matrix(16, 4))
    exam = exam_of(model, rows(16), "ort:cpu", "float", scheme="fp16")
    found = looked(exam, "float16-range")
    assert {f.severity for f in found} == {"error"}
    apart = [f for f in found if "is not finite on ort:cpu, and finite on float" in f.title]
    assert len(apart) == 1 and apart[0].nodes == ("m1",)


def test_planted_underflow(exam_of: Exams) -> None:
    """1e-4 times 1e-3 of a normal value is 1e-7: three of float16's subnormal steps."""
    model = chain(matrix(16, 16), np.array(1e-4), np.array(1e-3), matrix(16, 4))
    exam = exam_of(model, rows(16), "ort:cpu", "float", scheme="fp16")
    (finding,) = looked(exam, "float16-range")
    assert "lies below float16's normal numbers" in finding.title
    assert finding.nodes[0] == "m2" and finding.severity == "warning"


@pytest.mark.parametrize("targets", [("ort:cpu", "float"), ("ort:cpu", "sim:hexagon-v73")])
def test_healthy(exam_of: Exams, demo: DemoPaths, targets: tuple[str, str]) -> None:
    exam = exam_of(demo.model, demo.data, *targets, scheme="fp16")
    assert looked(exam, "float16-range") == []


def test_a_mask_is_as_negative_as_can_be(exam_of: Exams) -> None:
    """Scores with -1e9 where nothing may be attended to: infinite in float16, on purpose."""
    mask = np.triu(np.full((8, 16), -1e9), 1).astype(np.float32)
    helper = onnx.helper
    graph = helper.make_graph(
        [
            helper.make_node("Add", ["x", "mask"], ["masked"], "mask_added"),
            helper.make_node("Softmax", ["masked"], ["y"], "softmax", axis=-1),
        ],
        "scores",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 8, 16])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 8, 16])],
        [onnx.numpy_helper.from_array(mask, "mask")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    exam = exam_of(model.SerializeToString(), rows(16), "ort:cpu", "float", scheme="fp16")
    assert looked(exam, "float16-range") == []


def test_integers_have_no_such_range(exam_of: Exams) -> None:
    model = chain(300 * matrix(16, 16), 300 * matrix(16, 4))
    exam = exam_of(model, rows(16), "ort:cpu", "float", scheme="w8a8")
    assert looked(exam, "float16-range") == []


def test_weights_that_are_broken_in_the_file(exam_of: Exams) -> None:
    broken = matrix(16, 16)
    broken[0, 0], broken[1, 1], broken[2, 2] = np.nan, np.inf, -np.inf
    exam = exam_of(chain(broken, matrix(16, 4)), rows(16), "ort:cpu", "sim:ort-mlas", scheme="fp32")
    (finding,) = looked(exam, "float16-range")
    assert finding.title == "The weights of m0 hold 1 NaN and 2 infinite values"
    assert finding.fix.startswith("mend the model") and finding.command is None

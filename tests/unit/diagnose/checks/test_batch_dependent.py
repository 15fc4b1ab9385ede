"""A sample alone and in company."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import odd_runtime
from exams import Exams, looked
from float_models import image_net, images, serialized
from onnx import helper

from chipdrift.graph.batch import batched
from chipdrift.probe.ask import Asker

CHECK = "batch-dependent"


def _rows_net(mixing: bool) -> bytes:
    """x (3, 8) to y (3, 4), row by row; with ``mixing`` the mean row is taken off first."""
    make, rng = helper.make_node, np.random.default_rng(5)
    nodes = [make("MatMul", ["h" if mixing else "x", "w"], ["y"], "product")]
    if mixing:
        nodes.insert(0, make("ReduceMean", ["x"], ["m"], "mean", axes=[0], keepdims=1))
        nodes.insert(1, make("Sub", ["x", "m"], ["h"], "centre"))
    return serialized(nodes, (3, 8), {"w": rng.normal(0, 1, (8, 4)).astype(np.float32)})


def _rows(count: int = 4) -> list[dict[str, np.ndarray]]:
    rng = np.random.default_rng(6)
    return [{"x": rng.normal(0, 1, (1, 3, 8)).astype(np.float32)} for _ in range(count)]


def test_steady_targets_are_no_finding(exam_of: Exams) -> None:
    for b in ("ort:cpu", "sim:hexagon-v69"):
        exam = exam_of(image_net(), images(), b=b, scheme="w8a8")
        assert batched(exam.case.model, 4) is not None, "the batch can be had"
        assert not looked(exam, CHECK)


def test_a_runtime_that_quantizes_over_the_batch(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), scheme="w8a8")
    with Asker(odd_runtime.target("mixing")) as asker:
        (found,) = looked(replace(exam, asker_a=asker), CHECK)
    assert found.targets == ("odd:mixing",)


def test_a_batch_that_the_model_has(exam_of: Exams) -> None:
    exam = exam_of(_rows_net(False), _rows(), scheme="w8a8")
    assert exam.feeds[0]["x"].shape == (3, 8)
    assert not looked(exam, CHECK)
    # One row ten times as large as the rest: in other company the rounding is another one.
    feeds = [dict(feed) for feed in exam.feeds]
    feeds[1]["x"] = feeds[1]["x"] * np.array([[1], [10], [1]], np.float32)
    with Asker(odd_runtime.target("mixing")) as asker:
        (found,) = looked(replace(exam, asker_a=asker, feeds=feeds), CHECK)
    assert found.targets == ("odd:mixing",)


def test_a_model_that_mixes_its_rows_is_no_finding(exam_of: Exams) -> None:
    exam = exam_of(_rows_net(True), _rows(), scheme="w8a8")
    one, other = exam.feeds[0]["x"], exam.feeds[1]["x"].copy()
    other[0] = one[0]
    assert exam.asker_a is not None
    a, b = exam.asker_a.ask(exam.case.model, [{"x": one}, {"x": other}])
    assert not np.array_equal(a[0], b[0]), "the model does mix"
    assert not looked(exam, CHECK)


def test_a_fixed_batch_is_left_alone(exam_of: Exams) -> None:
    """A Reshape to [1, 15] holds the batch fast."""
    make, rng = helper.make_node, np.random.default_rng(5)
    nodes = [
        make("Reshape", ["x", "shape"], ["h"], "flat"),
        make("MatMul", ["h", "w"], ["y"], "product"),
    ]
    constants = {
        "shape": np.array([1, 15], np.int64),
        "w": rng.normal(0, 1, (15, 4)).astype(np.float32),
    }
    model = serialized(nodes, (1, 3, 5), constants)
    assert batched(model, 4) is None
    feeds = [{"x": rng.normal(0, 1, (1, 3, 5)).astype(np.float32)} for _ in range(4)]
    exam = exam_of(model, feeds, scheme="w8a8")
    with Asker(odd_runtime.target("mixing")) as asker:
        assert not looked(replace(exam, asker_a=asker), CHECK)


def test_batched_models_answer_as_single_ones(exam_of: Exams) -> None:
    """By onnxruntime, which we did not write."""
    import onnxruntime

    model = image_net()
    whole = batched(model, 3)
    assert whole is not None
    feeds = images(3)
    single, many = (
        onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
        for data in (model, whole)
    )
    (together,) = many.run(None, {"x": np.concatenate([f["x"] for f in feeds])})
    assert together.shape == (3, 10)
    for row, feed in zip(together, feeds, strict=True):
        assert np.allclose(row, single.run(None, feed)[0][0], rtol=1e-4, atol=1e-5)

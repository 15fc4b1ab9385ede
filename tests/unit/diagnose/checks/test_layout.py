"""Axes in another order, told from errors of arithmetic."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import odd_runtime
import pytest
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.checks.layout import permuted
from chipdrift.diagnose.run import examine
from chipdrift.probe.ask import Asker

CHECK = "layout"
Array = np.ndarray[Any, Any]
TENSOR = "r0_QuantizeLinear_Output"


def _nhwc(array: Array) -> Array:
    return np.ascontiguousarray(array.transpose(0, 2, 3, 1))


@pytest.fixture
def exam(exam_of: Exams) -> Any:
    return exam_of(image_net(), images(), "sim:hexagon-v69", "sim:hexagon-v73", scheme="w8a8")


def test_two_chips_that_round_differently_are_no_finding(exam: Any) -> None:
    assert any(a.distance.differing for a in exam.diagnosis.activations), "the two do part"
    assert not looked(exam, CHECK)


def test_a_runtime_that_hands_out_nhwc(exam: Any) -> None:
    """From end to end: the model's answer is right, all its feature maps are turned."""
    case = replace(exam.case, b=odd_runtime.target("nhwc"))
    assert case.b is not None
    with Asker(case.a) as a, Asker(case.b) as b:
        turned = examine(case, exam.anatomy, range(3), a, b)
        found = looked(turned, CHECK)
    assert len(found) == 1 and {"first", "second"} <= set(found[0].nodes)
    assert "last" not in found[0].nodes and "no error of arithmetic" in found[0].title


@pytest.mark.parametrize("reshaped", [False, True])
def test_a_node_that_hands_out_nhwc(exam: Any, reshaped: bool) -> None:
    """As the chip's answer alone; in the model's shape (memory mistaken), or in its own."""

    def turned(entry: Any) -> Any:
        array = _nhwc(entry[TENSOR])
        return {**entry, TENSOR: array if reshaped else array.reshape(entry[TENSOR].shape)}

    planted = replace(exam, alone_b=[turned(entry) for entry in exam.alone_b])
    (found,) = looked(planted, CHECK)
    assert found.nodes == ("first",) and "NHWC against NCHW" in found.title


def test_the_finding_tells_how_to_turn_it_back(exam: Any) -> None:
    planted = replace(
        exam,
        alone_b=[{**e, TENSOR: _nhwc(e[TENSOR]).reshape(e[TENSOR].shape)} for e in exam.alone_b],
    )
    (found,) = looked(planted, CHECK)
    back = tuple(int(c) for c in found.fix.split("transpose by (")[1].split(")")[0].split(","))
    held = planted.alone_b[0][TENSOR]
    restored = held.reshape(_nhwc(exam.alone_b[0][TENSOR]).shape).transpose(back)
    assert np.array_equal(restored, exam.alone_b[0][TENSOR])


def test_tensors_in_place(exam: Any) -> None:
    """A runtime that keeps NHWC inside: its taps differ, its nodes and its answer do not."""
    planted = replace(
        exam,
        tensors_b=[
            {k: _nhwc(v).reshape(v.shape) if v.ndim == 4 else v for k, v in entry.items()}
            for entry in exam.tensors_b
        ],
    )
    (found,) = looked(planted, CHECK)
    assert "first" in found.nodes and "second" in found.nodes


def test_wrong_values_are_no_layout() -> None:
    rng = np.random.default_rng(0)
    a = [{"t": rng.integers(0, 256, (1, 6, 5, 7)).astype(np.uint8)} for _ in range(2)]
    shuffled = [{"t": rng.permutation(e["t"].reshape(-1)).reshape(e["t"].shape)} for e in a]
    wrong = [{"t": (255 - e["t"]).astype(np.uint8)} for e in a]
    assert not permuted(a, shuffled) and not permuted(a, wrong) and not permuted(a, a)


@pytest.mark.parametrize("order", [(0, 2, 3, 1), (0, 3, 1, 2), (0, 1, 3, 2), (0, 2, 1, 3)])
def test_every_order_of_axes_is_known(order: tuple[int, ...]) -> None:
    rng = np.random.default_rng(1)
    a = [{"t": rng.normal(size=(1, 6, 5, 7)).astype(np.float32)} for _ in range(2)]
    b = [{"t": e["t"].transpose(order).reshape(e["t"].shape)} for e in a]
    assert permuted(a, b) == {"t": order}


def test_samples_that_do_not_agree_on_the_order() -> None:
    rng = np.random.default_rng(2)
    a = [{"t": rng.normal(size=(1, 6, 5, 7)).astype(np.float32)} for _ in range(2)]
    orders = [(0, 2, 3, 1), (0, 3, 1, 2)]
    b = [{"t": e["t"].transpose(o).reshape(e["t"].shape)} for e, o in zip(a, orders, strict=True)]
    assert not permuted(a, b)

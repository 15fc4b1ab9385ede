"""A batch of no samples: every op answers an empty array of the shape that onnxruntime gives it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from onnx.reference import ReferenceEvaluator
from op_cases import GROUPS
from single_op import Case, Q, by_onnxruntime, feed_of, model_of, profile, session_of

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.profiles import get_profile
from chipdrift.targets.sim.session import SimSession

# What onnxruntime will not run with an empty batch, or (Reduce*) answers in the input's own shape,
# where ONNX's definition reduces as ever.
_NOT_ASKED = (
    "nearest", "linear-", "Resize", "GatherElements", "Reshape", "MatMul-vector", "Reduce",
    "GroupNorm",
)  # fmt: skip
RULES: dict[str, Any] = {
    "onnxruntime's": profile(),
    "exact": Profile(
        name="p", elementwise={"arithmetic": "exact"}, function={"arithmetic": "exact"}
    ),
    "table": Profile(name="p", function={"arithmetic": "table"}, elementwise={"rounding": "FLOOR"}),
    "by chance": Profile(
        name="p", elementwise={"rounding": "STOCHASTIC"}, requantize={"rounding": "STOCHASTIC"}
    ),
    "saturating": Profile(name="p", accumulator={"width": 16, "overflow": "saturate"}),
    "v69": get_profile("hexagon-v69"),
    "v73": get_profile("hexagon-v73"),
}


def _emptied(case: Case) -> Case:
    """The first dimension of the inputs that have the most is made 0."""
    live = [one for one in case.inputs if isinstance(one, Q) and not one.constant]
    most = max((np.ndim(one.values) for one in live), default=0)
    inputs = [
        replace(one, values=np.asarray(one.values)[:0])
        if isinstance(one, Q) and not one.constant and 0 < np.ndim(one.values) == most
        else one
        for one in case.inputs
    ]
    return replace(case, inputs=inputs)


def _cases(dtype: str) -> list[Any]:
    named = [one for group in GROUPS.values() for one in group(dtype)]
    return [one for one in named if not one.name.startswith(_NOT_ASKED)]


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@pytest.mark.parametrize("name", [one.name for one in _cases("uint8")])
def test_an_empty_batch_is_answered_with_an_empty_array(name: str, dtype: str) -> None:
    found = [one.case for one in _cases(dtype) if one.name == name]
    for case in map(_emptied, found):
        expected = by_onnxruntime(case, optimized=False)
        for rules in RULES.values():
            for fast in (False, True):
                session = SimSession(program_of(model_of(case)), rules, fast=fast)
                made = session.run(feed_of(case))[0]
                assert (made.shape, made.dtype) == (expected.shape, expected.dtype)


X = Q("uint8", 0.05, 131, np.zeros((0, 4, 3), np.int64))


def _by_reference(case: Case) -> np.ndarray[Any, Any]:
    return np.asarray(ReferenceEvaluator(model_of(case)).run(None, feed_of(case))[0])


@pytest.mark.parametrize("op", ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"])
def test_reducing_an_empty_batch_is_as_onnx_defines_it(op: str) -> None:
    for axes, keep in (([-1], 1), ([1, 2], 0)):
        case = Case(op, [X, np.array(axes)], Q("uint8", 0.1, 120), {"keepdims": keep})
        expected = _by_reference(case)
        for rules in RULES.values():
            assert session_of(case, rules).run(feed_of(case))[0].shape == expected.shape


@pytest.mark.parametrize(
    ("op", "integer"),
    [("ReduceMean", 120), ("ReduceSum", 120), ("ReduceMax", 0), ("ReduceMin", 255)],
)
def test_reducing_the_batch_itself_has_nothing_to_reduce(op: str, integer: int) -> None:
    """A sum of nothing is 0, a mean NaN; the greatest is the least number there is."""
    case = Case(op, [X, np.array([0])], Q("uint8", 0.1, 120))
    for rules in RULES.values():
        made = session_of(case, rules).run(feed_of(case))[0]
        np.testing.assert_array_equal(made, np.full((1, 4, 3), integer))


def test_resizing_an_empty_batch() -> None:
    x = Q("uint8", 0.05, 131, np.zeros((0, 2, 3, 4), np.int64))
    for mode in ("nearest", "linear"):
        scales = np.array([1, 1, 2, 1.5], np.float32)
        case = Case("Resize", [x, None, scales], Q("uint8", 0.1, 120), {"mode": mode})
        assert session_of(case).run(feed_of(case))[0].shape == (0, 2, 6, 6)


def test_normalizing_groups_of_an_empty_batch() -> None:
    (case,) = (one.case for one in GROUPS["norms"]("uint8") if one.name == "GroupNorm")
    for rules in RULES.values():
        made = session_of(_emptied(case), rules).run(feed_of(_emptied(case)))[0]
        assert made.shape == (0, *np.shape(case.inputs[0].values)[1:])  # type: ignore[union-attr]

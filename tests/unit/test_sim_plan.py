"""What the planner makes of a graph: integer units, float nodes and why, and what nobody knows."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from single_op import Case, Live, Q, by_onnxruntime, feed_of, model_of, profile, session_of

from chipdrift.errors import ModelError
from chipdrift.graph.program import program_of
from chipdrift.targets.base import RefusedError
from chipdrift.targets.sim.plan import FloatUnit, IntegerUnit, make_plan

RNG = np.random.default_rng(4)
X = Q("uint8", 0.05, 131, RNG.integers(0, 256, (2, 6)))
OUT = Q("uint8", 0.1, 120)


@pytest.mark.parametrize(
    ("op", "domain"), [("Foo", ""), ("Add", "my.custom"), ("Foo", "my.custom")]
)
def test_an_op_nobody_knows_ends_in_an_error_that_names_the_node(op: str, domain: str) -> None:
    """Also one whose name is known, in a domain that is not."""
    case = Case(op, [X, X], OUT, domain=domain)
    session = session_of(case)
    assert ("cpu", "the_node", op) in session.opened().nodes
    with pytest.raises(RefusedError, match=rf"node the_node \({op}\) runs neither in integers"):
        session.run(feed_of(case))


def test_the_profile_sends_ops_to_the_cpu() -> None:
    case = Case("Sigmoid", [X], Q("uint8", 1 / 256, 0))
    session = session_of(case, profile(fallback={"ops": ["Sigmoid"]}))
    assert session.opened().reasons == {"the_node": "the profile sends Sigmoid to the CPU"}
    gap = session.run(feed_of(case))[0].astype(int) - by_onnxruntime(case)
    assert np.abs(gap).max() <= 1


def units(model: onnx.ModelProto) -> tuple[Any, ...]:
    return make_plan(program_of(model), profile()).units


def test_indices_come_at_run_time_without_a_quantizer() -> None:
    case = Case("Gather", [X, Live(np.array([1, 0, 1]))], OUT)
    (unit,) = units(model_of(case))
    assert isinstance(unit, IntegerUnit)
    assert unit.inputs == ("x0", "x1")
    assert [operand.live for operand in unit.spec.operands] == [False, True]


def test_real_numbers_without_a_quantizer_are_not_indices() -> None:
    model = model_of(Case("Add", [X, X], OUT))
    model.graph.input.append(helper.make_tensor_value_info("real", TensorProto.FLOAT, [2, 6]))
    node = next(n for n in model.graph.node if n.name == "the_node")
    node.input[1] = "real"
    unit = next(u for u in units(model) if isinstance(u, FloatUnit))
    assert unit.reason == "one of its inputs comes as real numbers, without a quantizer"


def test_an_op_knows_its_opset_and_its_outputs() -> None:
    case = Case("Split", [X], OUT, {"axis": 1, "num_outputs": 3}, outputs=3, index=2)
    (unit,) = units(model_of(case))
    told = unit.spec.attributes
    assert (told["opset"], told["output_count"], told["output_index"]) == (21, 3, 2)


def test_both_operands_may_be_the_models_own() -> None:
    a = Q("uint8", 0.05, 131, X.values, constant=True)
    case = Case("Add", [a, a], OUT)
    (unit,) = units(model_of(case))
    assert unit.inputs == ()
    np.testing.assert_array_equal(session_of(case).run({})[0], by_onnxruntime(case))


def test_a_bias_meets_blocks_as_real_numbers() -> None:
    w = Q("int4", np.full((2, 5), 0.02), 0, RNG.integers(-8, 8, (6, 5)), True, 0, 3)
    bias = Q("int32", 0.001, 0, np.array([1000, -1000, 0, 5, 7]), True)
    case = Case("Gemm", [X, w, bias], OUT)
    (unit,) = units(model_of(case))
    np.testing.assert_allclose(unit.spec.operands[2].constant, bias.values * 0.001, rtol=1e-6)
    np.testing.assert_array_equal(session_of(case).run(feed_of(case))[0], by_onnxruntime(case))


def test_a_bias_beside_scales_of_other_channels_runs_in_float() -> None:
    """ConvTranspose with groups: scales along axis 1 are one group's channels, the bias all."""
    x = Q("uint8", 0.05, 131, RNG.integers(0, 256, (1, 4, 5, 5)))
    w = Q("int8", np.array([0.01, 0.02]), 0, RNG.integers(-9, 9, (4, 2, 3, 3)), True, 1)
    bias = Q("int32", 0.001, 0, np.arange(4), True)
    case = Case("ConvTranspose", [x, w, bias], Q("uint8", 0.1, 120), {"group": 2})
    assert "different axes" in session_of(case).opened().reasons["the_node"]


def test_a_scale_made_at_run_time_is_refused() -> None:
    model = model_of(Case("Identity", [X], OUT))
    del model.graph.initializer[:]
    model.graph.initializer.append(numpy_helper.from_array(np.uint8(0), "x0_z"))
    model.graph.input.append(helper.make_tensor_value_info("x0_s", TensorProto.FLOAT, []))
    with pytest.raises(ModelError, match="scale is computed at run time"):
        units(model)


def test_a_scalar_keeps_its_rank() -> None:
    case = Case("ReduceSum", [X], OUT, {"keepdims": 0})
    assert session_of(case).run(feed_of(case))[0].shape == ()

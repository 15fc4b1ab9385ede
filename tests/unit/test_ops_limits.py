"""What has no integer form runs in float, says why, and still answers as onnxruntime."""

from __future__ import annotations

import numpy as np
import pytest
from single_op import Case, Live, Q, by_onnxruntime, feed_of, profile, session_of

from chipdrift.numerics.ops import reference_ops, resize
from chipdrift.numerics.tensors import Operand, OpSpec, Quant

RNG = np.random.default_rng(2)
F = np.float32


def q(*shape: int, scale: float = 0.05, fixed: bool = False) -> Q:
    return Q("uint8", scale, 131, RNG.integers(0, 256, shape), fixed)


def positive(*shape: int) -> Q:
    return Q("uint8", 0.01, 0, RNG.integers(1, 256, shape))


def weights(*shape: int, axis: int, count: int) -> Q:
    scales = RNG.uniform(0.01, 0.02, count)
    return Q("int8", scales, 0, RNG.integers(-9, 9, shape), True, axis)


OUT = Q("uint8", 0.1, 120)
BLOCKS = Q("int8", np.full((2, 5), 0.01), 0, RNG.integers(-9, 9, (8, 5)), True, 0, 4)
CUBIC = {"mode": "cubic"}
REFUSED = {
    "alpha": (Case("Gemm", [q(3, 8), q(8, 5)], OUT, {"alpha": 0.5}), "alpha and beta"),
    "live bias": (Case("Gemm", [q(3, 8), q(8, 5), q(5)], OUT), "bias comes at run time"),
    "bias of rows": (
        Case("Gemm", [q(3, 8), q(8, 5, fixed=True), RNG.standard_normal((3, 5)).astype(F)], OUT),
        "its bias has 15 values",
    ),
    "inner scales": (
        Case("MatMul", [q(3, 8), weights(8, 5, axis=0, count=8)], OUT),
        "scales along axis 0",
    ),
    "channels of the input": (
        Case("ConvTranspose", [q(1, 4, 5, 5), weights(4, 2, 3, 3, axis=0, count=4)], OUT),
        "scales along axis 0",
    ),
    "plain factor": (Case("Mul", [q(3, 4), F(2.0)], OUT), "input 1 has no quantizer"),
    "many scales": (
        Case("Add", [q(3, 4), weights(3, 4, axis=1, count=4)], OUT),
        "input 1 has more than one scale",
    ),
    "live exponent": (Case("Pow", [positive(3), q(3)], OUT), "input 1 comes at run time"),
    "exponents": (Case("Pow", [q(2), np.array([2, 3], F)], OUT), "exponent is not one number"),
    "gelu bias": (
        Case("FastGelu", [q(3), q(3, fixed=True)], OUT, domain="com.microsoft"),
        "adds a bias",
    ),
    "indices": (
        Case("MaxPool", [q(1, 1, 4, 4)], Q("uint8", 1.0, 0), {"kernel_shape": [2, 2]}),
        None,
    ),
    "cubic": (
        Case("Resize", [q(1, 1, 4, 4), None, np.array([1, 1, 2, 2], F)], OUT, CUBIC),
        "cubic has no integer form",
    ),
    "crop": (
        Case(
            "Resize",
            [q(1, 1, 4, 4), np.array([0] * 4 + [1] * 4, F), np.array([1, 1, 2, 2], F)],
            OUT,
            {"coordinate_transformation_mode": "tf_crop_and_resize"},
        ),
        "tf_crop_and_resize",
    ),
    "unknown here": (Case("CumSum", [q(3, 4), np.array(1)], OUT), "CumSum has no integer form"),
    "live pads": (
        Case("Pad", [q(4), Live(np.array([1, 1]))], OUT),
        "input 1 comes at run time",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_nodes_run_in_float_and_say_why(name: str) -> None:
    case, reason = REFUSED[name]
    session = session_of(case)
    reasons = session.opened().reasons
    if reason is None:
        assert not reasons
    else:
        assert reason in reasons["the_node"]
        assert ("cpu", "the_node", case.op) in session.opened().nodes
    gap = session.run(feed_of(case))[0].astype(int) - by_onnxruntime(case, optimized=False).astype(
        int
    )
    assert np.abs(gap).max() <= 1


@pytest.mark.parametrize(
    ("rules", "reason"),
    [
        ({"drop": 2}, "drops accumulator bits"),
        ({"multiplier": "significand", "bits": 12, "keep": 3}, "drops accumulator bits"),
        ({"zero_point": "accumulator"}, "zero point to the accumulator"),
    ],
)
def test_blocks_refuse_rules_that_need_one_accumulator(
    rules: dict[str, object], reason: str
) -> None:
    session = session_of(Case("MatMul", [q(3, 8), BLOCKS], OUT), profile(requantize=rules))
    assert reason in session.opened().reasons["the_node"]


def test_blocks_in_a_large_kernel_run_in_float() -> None:
    w = Q("int8", np.full((2, 2, 3, 3), 0.01), 0, RNG.integers(-9, 9, (2, 4, 3, 3)), True, 1, 2)
    session = session_of(Case("Conv", [q(1, 4, 5, 5), w], OUT))
    assert "1x1 convolutions" in session.opened().reasons["the_node"]


def test_every_module_keeps_its_promise() -> None:
    """Each op has one home, and is callable."""
    assert {"Conv", "MatMul", "Softmax", "Resize", "Upsample", "Pow"} <= set(reference_ops())
    assert all(callable(function) for function in reference_ops().values())


def test_upsample_of_old_opsets_takes_the_floor() -> None:
    """No QDQ model has an opset that old, so the function is asked directly."""
    quant = Quant(np.float32(0.1), np.asarray(0), "uint8")
    scales = np.array([1, 1, 1, 2.5], F)
    spec = OpSpec(
        "Upsample",
        "up",
        (Operand(quant), Operand(None, scales)),
        {"mode": "nearest", "opset": 9},
        quant,
    )
    x = np.array([[[[10, 20, 30]]]], np.uint8)
    got = resize.resize(spec, [x, scales])
    assert got.reshape(-1).tolist() == [10, 10, 10, 20, 20, 30, 30]

"""Float16 models in the engine: products under a profile's rules, the rest by onnxruntime."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

from chipdrift.graph.program import program_of
from chipdrift.graph.single import OneOp, Side, one_op_model
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.smallfloat import SmallFloat, dot
from chipdrift.targets.registry import get_target
from chipdrift.targets.sim import open_session
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]

NARROW = SmallFloat(products="float16", accumulate=16)


def half(rng: np.random.Generator, *shape: int) -> Array:
    return (rng.standard_normal(shape) * 4).astype(np.float16)


def run(one: OneOp, feed: dict[str, Array], rules: SmallFloat | None) -> tuple[Array, SimSession]:
    program = program_of(onnx.load_from_string(one_op_model(one)))
    session = SimSession(program, Profile(name="t", floats=rules))
    return session.run(feed)[0], session


@pytest.mark.parametrize("rules", [NARROW, SmallFloat(), SmallFloat(accumulate="exact")])
def test_matmul_is_the_dot_product_of_the_rules(rules: SmallFloat) -> None:
    rng = np.random.default_rng(0)
    a, b = half(rng, 3, 5, 40), half(rng, 40, 7)
    one = OneOp(
        "MatMul", [Side("float16", shape=a.shape), Side("float16", integers=b)],
        Side("float16", shape=(3, 5, 7)),
    )  # fmt: skip
    made, session = run(one, {"x0": a}, rules)
    assert made.dtype == np.float16
    for i in range(3):
        np.testing.assert_array_equal(made[i], dot(a[i], b, rules))
    assert session.opened().nodes == (("npu", "op", "MatMul"),)


def test_a_batched_matmul_of_two_activations_and_a_vector() -> None:
    rng = np.random.default_rng(1)
    a, b = half(rng, 2, 1, 4, 30), half(rng, 3, 30, 5)
    sides = [Side("float16", shape=a.shape), Side("float16", shape=b.shape)]
    made, _ = run(
        OneOp("MatMul", sides, Side("float16", shape=(2, 3, 4, 5))), {"x0": a, "x1": b}, NARROW
    )
    for i in range(2):
        for j in range(3):
            np.testing.assert_array_equal(made[i, j], dot(a[i, 0], b[j], NARROW))
    vector = [Side("float16", shape=(30,)), Side("float16", shape=(30, 5))]
    made, _ = run(
        OneOp("MatMul", vector, Side("float16", shape=(5,))), {"x0": a[0, 0, 0], "x1": b[0]}, NARROW
    )
    np.testing.assert_array_equal(made, dot(a[0, 0, :1], b[0], NARROW)[0])


@pytest.mark.parametrize("turned", [0, 1])
def test_gemm_adds_its_bias_to_the_accumulator(turned: int) -> None:
    rng = np.random.default_rng(2)
    a, b, bias = half(rng, 6, 20), half(rng, 20, 4), half(rng, 4)
    held = np.ascontiguousarray(b.T) if turned else b
    inputs = [Side("float16", shape=a.shape), Side("float16", integers=held),
              Side("float16", integers=bias)]  # fmt: skip
    one = OneOp("Gemm", inputs, Side("float16", shape=(6, 4)), {"transB": turned})
    for rules in (NARROW, SmallFloat()):
        made, _ = run(one, {"x0": a}, rules)
        np.testing.assert_array_equal(made, dot(a, b, rules, bias))
    # In float32, once rounded: not what adding to the rounded product gives.
    exact = a.astype(np.float64) @ b.astype(np.float64) + bias
    np.testing.assert_array_equal(made, exact.astype(np.float16))
    assert (made != (exact - bias).astype(np.float16) + bias).any()


@pytest.mark.parametrize("group", [1, 2, 6])
def test_a_convolution_sums_channels_then_places(group: int) -> None:
    rng = np.random.default_rng(3)
    x, w, bias = half(rng, 2, 6, 7, 5), half(rng, 12, 6 // group, 3, 2), half(rng, 12)
    attributes = {
        "kernel_shape": [3, 2], "pads": [1, 0, 1, 1], "strides": [2, 1], "group": group,
    }  # fmt: skip
    inputs = [Side("float16", shape=x.shape), Side("float16", integers=w),
              Side("float16", integers=bias)]  # fmt: skip
    one = OneOp("Conv", inputs, Side("float16", shape=(2, 12, 4, 5)), attributes)
    made, _ = run(one, {"x0": x}, NARROW)
    padded = np.pad(x, [(0, 0), (0, 0), (1, 1), (0, 1)])
    each, outputs = 6 // group, 12 // group
    for m in (0, 5, 11):
        channels = slice(m // outputs * each, m // outputs * each + each)
        for i, j in ((0, 0), (1, 4), (3, 2)):
            patch = padded[:, channels, 2 * i : 2 * i + 3, j : j + 2].reshape(2, -1)
            expected = dot(patch, w[m].reshape(-1, 1), NARROW, bias[m : m + 1])
            np.testing.assert_array_equal(made[:, m, i, j], expected[:, 0])


def test_many_rows_are_computed_in_tiles() -> None:
    rng = np.random.default_rng(4)
    a, b = half(rng, 70, 3), half(rng, 3, 1000)
    sides = [Side("float16", shape=a.shape), Side("float16", integers=b)]
    made, _ = run(OneOp("MatMul", sides, Side("float16", shape=(70, 1000))), {"x0": a}, NARROW)
    np.testing.assert_array_equal(made, dot(a, b, NARROW))


def test_what_has_no_rules_is_computed_by_onnxruntime_and_says_so() -> None:
    x = np.array([[-1.5, 2.0]], np.float16)
    one = OneOp("Relu", [Side("float16", shape=(1, 2))], Side("float16", shape=(1, 2)))
    made, session = run(one, {"x0": x}, NARROW)
    np.testing.assert_array_equal(made, np.maximum(x, 0))
    assert made.dtype == np.float16
    opened = session.opened()
    assert opened.nodes == (("cpu", "op", "Relu"),)
    assert opened.reasons["op"].startswith("Relu has no rules for small floats")
    sides = [Side("float16", shape=(1, 2)), Side("float16", integers=np.ones((2, 2), np.float16))]
    made, session = run(OneOp("MatMul", sides, Side("float16", shape=(1, 2))), {"x0": x}, None)
    assert session.opened().nodes == (("cpu", "op", "MatMul"),)
    np.testing.assert_array_equal(made, [[0.5, 0.5]])


def test_bfloat16_rules_are_for_float32_tensors() -> None:
    rules = SmallFloat(format="bfloat16")
    rng = np.random.default_rng(5)
    a, b = rng.standard_normal((4, 9)).astype(np.float32), rng.standard_normal((9, 3))
    sides = [Side("float32", shape=a.shape), Side("float32", integers=b.astype(np.float32))]
    made, session = run(OneOp("MatMul", sides, Side("float32", shape=(4, 3))), {"x0": a}, rules)
    np.testing.assert_array_equal(made, dot(a, b.astype(np.float32), rules))
    assert session.opened().nodes == (("npu", "op", "MatMul"),)
    halves = [Side("float16", shape=(1, 2)), Side("float16", integers=np.ones((2, 2), np.float16))]
    one = OneOp("MatMul", halves, Side("float16", shape=(1, 2)))
    _, session = run(one, {"x0": np.ones((1, 2), np.float16)}, rules)
    assert "not all of its inputs are float32" in session.opened().reasons["op"]


def test_a_profile_file_with_floats_is_a_target(tmp_path: Path) -> None:
    toml = tmp_path / "narrow.toml"
    toml.write_text('[floats]\nproducts = "float16"\naccumulate = 16\n')
    target = get_target(f"sim:{toml}")
    rng = np.random.default_rng(6)
    a, b = half(rng, 4, 64), half(rng, 64, 4)
    sides = [Side("float16", shape=a.shape), Side("float16", integers=b)]
    (tmp_path / "m.onnx").write_bytes(
        one_op_model(OneOp("MatMul", sides, Side("float16", shape=(4, 4))))
    )
    made = open_session(str(tmp_path / "m.onnx"), target.options).run({"x0": a})[0]
    np.testing.assert_array_equal(made, dot(a, b, NARROW))
    assert (made != dot(a, b, SmallFloat())).any()

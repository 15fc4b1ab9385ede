"""Weights in other formats and with collapsed scales, alone and in whole models."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import onnx
import pytest

from chipdrift.graph.program import program_of
from chipdrift.graph.single import OneOp, Side, integers, one_op_model, real
from chipdrift.numerics.blocks import dequantize_lpbq, lpbq
from chipdrift.numerics.formats import MX_FORMATS, mx_dequantize, mx_quantize
from chipdrift.numerics.profile import Profile, Weights
from chipdrift.numerics.quantize import dequantize
from chipdrift.numerics.tensors import Quant
from chipdrift.targets.sim.session import SimSession
from chipdrift.targets.sim.weights import real_weights, transformed, weight_axes

Array = np.ndarray[Any, Any]

LAYOUTS = [
    ("MatMul", {}, (70, 5), 0),
    ("Gemm", {}, (70, 5), 0),
    ("Gemm", {"transB": 1}, (5, 70), 1),
    ("Conv", {}, (5, 70, 1, 1), 1),
    ("Conv", {}, (4, 35, 3, 2), 1),
    ("ConvTranspose", {}, (70, 5, 2, 2), 0),
]
INTEGER_MX = ["mxint8", "mxfp4", "mxfp6_e2m3"]
REAL_MX = ["mxfp6_e3m2", "mxfp8_e4m3", "mxfp8_e5m2"]


def weight(shape: tuple[int, ...], axis: int, seed: int = 0) -> tuple[Array, Quant]:
    rng = np.random.default_rng(seed)
    values = rng.integers(-127, 128, shape).astype(np.int8)
    scale = rng.uniform(0.001, 0.1, shape[axis]).astype(np.float32)
    return values, Quant(scale, np.zeros(shape[axis], np.int64), "int8", axis)


@pytest.mark.parametrize(("op", "attributes", "shape", "summed"), LAYOUTS)
@pytest.mark.parametrize("name", INTEGER_MX)
def test_small_mx_elements_become_int8_with_a_scale_per_block(
    op: str, attributes: dict[str, Any], shape: tuple[int, ...], summed: int, name: str
) -> None:
    assert weight_axes(op, attributes, len(shape)) == (summed, 1 - summed)
    values, quant = weight(shape, 1 - summed)
    fmt = MX_FORMATS[name]
    codes, scales = mx_quantize(dequantize(values, quant), fmt, 32, summed)
    expected = mx_dequantize(codes, scales, fmt, 32, summed)
    made = transformed(values, quant, Weights(format=name), op, attributes)
    assert not isinstance(made, str)
    held, blocks = made
    assert (held.dtype, blocks.dtype) == (np.int8, "int8")
    assert (blocks.block_size, blocks.axis) == (32, summed)
    assert blocks.scale.shape == scales.shape
    np.testing.assert_array_equal(dequantize(held, blocks), expected)
    again = real_weights(values, quant, Weights(format=name), op, attributes)
    np.testing.assert_array_equal(again, expected)


@pytest.mark.parametrize("name", REAL_MX)
def test_wide_mx_elements_stay_real_numbers(name: str) -> None:
    values, quant = weight((70, 5), 1)
    fmt, rules = MX_FORMATS[name], Weights(format=name, block=16)
    reason = transformed(values, quant, rules, "MatMul", {})
    assert isinstance(reason, str)
    assert name in reason
    codes, scales = mx_quantize(dequantize(values, quant), fmt, 16, 0)
    np.testing.assert_array_equal(
        real_weights(values, quant, rules, "MatMul", {}), mx_dequantize(codes, scales, fmt, 16, 0)
    )
    with pytest.raises(ValueError, match=r"collapse contradicts format"):
        Weights(format=name, collapse="per_channel")


def test_a_block_of_zeros_stays_zero() -> None:
    values, quant = weight((64, 3), 1)
    values[:32] = 0
    held, blocks = transformed(values, quant, Weights(format="mxint8"), "MatMul", {})
    assert not held[:32].any()
    assert (blocks.scale > 0).all()
    assert not dequantize(held, blocks)[:32].any()


@pytest.mark.parametrize(("op", "attributes", "shape", "summed"), LAYOUTS)
def test_lpbq_becomes_int8_with_a_scale_per_channel(
    op: str, attributes: dict[str, Any], shape: tuple[int, ...], summed: int
) -> None:
    values, quant = weight(shape, 1 - summed)
    made = lpbq(dequantize(values, quant), 16, axis=summed, channel_axis=1 - summed)
    held, channels = transformed(values, quant, Weights(format="lpbq", block=16), op, attributes)
    assert held.dtype == np.int8
    assert (channels.block_size, channels.axis) == (0, 1 - summed)
    assert channels.scale.shape == (shape[1 - summed],)
    np.testing.assert_array_equal(dequantize(held, channels), dequantize_lpbq(made, 16, summed))


@pytest.mark.parametrize(("op", "attributes", "shape", "summed"), LAYOUTS)
@pytest.mark.parametrize("to", ["per_channel", "per_tensor"])
def test_blocks_collapse_onto_the_largest_scale(
    op: str, attributes: dict[str, Any], shape: tuple[int, ...], summed: int, to: Any
) -> None:
    rng = np.random.default_rng(1)
    values = rng.integers(-8, 8, shape).astype(np.int8)
    counted = tuple(-(-n // 8) if i == summed else n for i, n in enumerate(shape))
    scale = rng.uniform(0.5, 2, counted).astype(np.float32)
    # 4-bit integers with zero point -1 reach -7..8, which 4 signed bits do not hold.
    zero = np.full(counted, -1 if to == "per_tensor" else 0)
    quant = Quant(scale, zero, "int4", summed, 8)
    held, made = transformed(values, quant, Weights(collapse=to), op, attributes)
    assert made.block_size == 0
    assert made.dtype == ("int8" if to == "per_tensor" else "int4")
    assert not made.zero_point.any()
    others = tuple(i for i in range(len(shape)) if i != 1 - summed)
    top = scale.max(axis=others if to == "per_channel" else None)
    assert made.scale.shape == top.shape
    np.testing.assert_array_equal(made.scale, top)
    assert made.axis == (None if to == "per_tensor" else 1 - summed)
    error = np.abs(dequantize(held, made).astype(np.float64) - dequantize(values, quant))
    spread = top.reshape([-1 if i == 1 - summed else 1 for i in range(len(shape))])
    assert (error <= (spread if to == "per_channel" else top) / 2 * (1 + 1e-6)).all()


def test_channels_collapse_per_tensor_only_and_other_ops_keep_their_constants() -> None:
    values, quant = weight((70, 5), 1)
    assert transformed(values, quant, Weights(collapse="per_channel"), "MatMul", {})[1] is quant
    held, made = transformed(values, quant, Weights(collapse="per_tensor"), "MatMul", {})
    assert made.scale == quant.scale.max()
    expected = np.rint(values * quant.scale.astype(np.float64) / float(made.scale))
    np.testing.assert_array_equal(held, expected)
    for rules in (Weights(format="mxfp4"), Weights(collapse="per_tensor")):
        assert transformed(values, quant, rules, "Add", {}) == (values, quant)
    mx = Weights(format="mxfp4", collapse="per_channel")
    held, made = transformed(values, quant, mx, "MatMul", {})
    assert (made.block_size, made.axis, made.scale.shape) == (0, 1, (5,))


def product(op: str, weights: Array, scale: Any, shape: tuple[int, ...]) -> tuple[OneOp, Side]:
    x = Side("uint8", np.float32(0.02), 120, shape=shape)
    w = Side("int8", scale, np.zeros(np.shape(scale), np.int64), 0, integers=weights)
    out = (*shape[:-1], weights.shape[0])
    attributes: dict[str, Any] = {"transB": 1}
    if op == "Conv":
        out, attributes = (shape[0], weights.shape[0], *shape[2:]), {"kernel_shape": [1, 1]}
        if weights.shape[2] == 3:
            attributes = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    return OneOp(op, [x, w], Side("uint8", np.float32(0.5), 128, shape=out), attributes), x


def run(one: OneOp, x: Array, rules: Weights, fast: bool) -> tuple[Array, SimSession]:
    program = program_of(onnx.load_from_string(one_op_model(one)))
    profile = Profile(name="t", weights=rules)
    session = SimSession(program, profile, fast=fast)
    return integers(session.run({"x0": real(x, one.inputs[0])})[0], one.output), session


@pytest.mark.parametrize("name", [*INTEGER_MX, *REAL_MX, "lpbq"])
@pytest.mark.parametrize("fast", [True, False])
def test_a_gemm_answers_with_the_weights_of_the_format(name: str, fast: bool) -> None:
    values, quant = weight((6, 50), 0)
    one, side = product("Gemm", values, quant.scale, (4, 50))
    x = np.random.default_rng(2).integers(0, 256, (4, 50))
    rules = Weights(format=name, block=16)
    made, session = run(one, x, rules, fast)
    real_w = real_weights(values, quant, rules, "Gemm", {"transB": 1})
    exact = [
        [
            sum(int(p - 120) * Fraction(float(q)) for p, q in zip(row, column, strict=True))
            * Fraction(float(np.float32(0.02))) / Fraction(1, 2)
            for column in real_w
        ]
        for row in x
    ]  # fmt: skip
    expected = np.clip(np.array([[round(v) + 128 for v in row] for row in exact]), 0, 255)
    opened = session.opened()
    if name in REAL_MX:
        # float32 sums of 50 products: no output here lies that near a half.
        assert name in opened.reasons["op"]
    else:
        assert ("npu", "op", "Gemm") in opened.nodes
    np.testing.assert_array_equal(made, expected)
    plain, _ = run(one, x, Weights(), fast)
    assert (made != plain).any()
    assert side.zero_point == 120


def test_a_3x3_convolution_in_mx_runs_in_float_with_the_same_weights() -> None:
    values, quant = weight((4, 40, 3, 3), 0)
    one, _ = product("Conv", values, quant.scale, (1, 40, 5, 5))
    x = np.random.default_rng(3).integers(0, 256, (1, 40, 5, 5))
    rules = Weights(format="mxfp4")
    made, session = run(one, x, rules, True)
    assert "1x1" in session.opened().reasons["op"]
    w = real_weights(values, quant, rules, "Conv", {}).astype(np.float64)
    centre = ((x[0, :, 1:4, 1:4] - 120) * w).sum(axis=(1, 2, 3)) * 0.02 / 0.5 + 128
    np.testing.assert_array_equal(made[0, :, 2, 2], np.clip(np.rint(centre), 0, 255))


def test_a_1x1_convolution_in_mx_runs_in_integers() -> None:
    values, quant = weight((4, 40, 1, 1), 0)
    one, _ = product("Conv", values, quant.scale, (1, 40, 5, 5))
    x = np.random.default_rng(4).integers(0, 256, (1, 40, 5, 5))
    made, session = run(one, x, Weights(format="mxint8"), True)
    assert ("npu", "op", "Conv") in session.opened().nodes
    w = real_weights(values, quant, Weights(format="mxint8"), "Conv", {}).astype(np.float64)
    total = np.einsum("chw,mc->mhw", x[0] - 120, w[:, :, 0, 0]) * float(np.float32(0.02)) / 0.5
    np.testing.assert_array_equal(made[0], np.clip(np.rint(total) + 128, 0, 255))


def test_a_bias_is_brought_to_the_new_scales() -> None:
    values, quant = weight((3, 32), 0)
    one, x_side = product("Gemm", values, quant.scale, (2, 32))
    steps = np.array([5000, -3000, 40])
    scale = (np.float32(0.02) * quant.scale).astype(np.float32)
    bias = Side("int32", scale, np.zeros(3, np.int64), 0, integers=steps)
    one = OneOp(one.op, [*one.inputs, bias], one.output, one.attributes)
    x = np.full((2, 32), x_side.zero_point)  # the products are 0: what is left is the bias
    made, _ = run(one, x, Weights(format="lpbq", block=16), True)
    expected = np.clip(np.rint(steps * scale.astype(np.float64) / 0.5) + 128, 0, 255)
    np.testing.assert_array_equal(made, np.broadcast_to(expected, (2, 3)))

"""The engine's QuantizeLinear and DequantizeLinear against ONNX's own reference evaluator."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from chipdrift.numerics.fast import compile_quantize
from chipdrift.numerics.profile import Input
from chipdrift.numerics.quantize import dequantize, quantize
from chipdrift.numerics.rounding import Rounding, noise_of
from chipdrift.numerics.tensors import Quant

Array = np.ndarray[Any, Any]
DTYPES = ["int8", "uint8", "int16", "uint16"]


def onnx_op(op: str, x: Array, quant: Quant) -> Array:
    """The reference evaluator's answer; int4 is not asked of it."""
    attributes: dict[str, Any] = {} if quant.axis is None else {"axis": quant.axis}
    if quant.block_size:
        attributes["block_size"] = quant.block_size
    node = helper.make_node(op, ["x", "s", "z"], ["y"], **attributes)
    info = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        for name in ("x", "s", "z", "y")
    ]
    graph = helper.make_graph([node], "g", info[:3], info[3:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    zero = quant.zero_point.astype(quant.storage)
    with np.errstate(invalid="ignore"):
        feeds = {"x": x, "s": quant.scale, "z": zero}
        return np.asarray(ReferenceEvaluator(model).run(None, feeds)[0])


def quantizer(dtype: str, axis: int | None = None, seed: int = 0, shape: Any = ()) -> Quant:
    """Random scales and zero points of ``shape``."""
    rng = np.random.default_rng(seed)
    whole = Quant(np.float32(1), np.int64(0), dtype)
    scale = np.asarray(rng.uniform(0.01, 0.3, shape), np.float32)
    zero = np.asarray(rng.integers(whole.low // 2, whole.high // 2, shape), np.int64)
    return Quant(scale, zero, dtype, axis)


def values(quant: Quant, shape: tuple[int, ...], seed: int) -> Array:
    """Random numbers over the range and beyond, half of them as near ties as float32 has them."""
    rng = np.random.default_rng(seed)
    scale, zero = np.asarray(quant.scale), np.asarray(quant.zero_point)
    if quant.axis is not None:
        grown = [1] * len(shape)
        grown[quant.axis] = -1
        scale, zero = scale.reshape(grown), zero.reshape(grown)
    beyond = 0.1 * (quant.high - quant.low)
    steps = rng.uniform(quant.low - beyond, quant.high + beyond, shape)
    steps = np.where(rng.random(shape) < 0.5, np.floor(steps * 2) / 2, steps)
    return np.asarray((steps - zero) * scale, np.float32)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
def test_quantize_is_onnx_s(dtype: str, axis: int | None) -> None:
    shape = (5, 7, 40)
    quant = quantizer(dtype, axis, 3, () if axis is None else (shape[axis],))
    x = values(quant, shape, 4)
    found = quantize(x, quant, Input())
    wanted = onnx_op("QuantizeLinear", x, quant)
    assert found.dtype == wanted.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(found, wanted)
    assert {int(found.min()), int(found.max())} == {quant.low, quant.high}


@pytest.mark.parametrize("dtype", DTYPES)
def test_infinite_and_huge_numbers_are_clamped(dtype: str) -> None:
    quant = quantizer(dtype)
    x = np.array([np.inf, -np.inf, 3e38, -3e38, 1e10, -1e10, 0.0, -0.0, 1e-45], np.float32)
    zero, high, low = int(quant.zero_point), quant.high, quant.low
    wanted = [high, low, high, low, high, low, zero, zero, zero]
    assert quantize(x, quant, Input()).tolist() == wanted
    tiny = Quant(np.float32(1e-40), quant.zero_point, dtype)  # the quotient overflows
    assert quantize(np.float32([1, -1]), tiny, Input()).tolist() == [high, low]
    assert quantize(np.float32([np.nan]), quant, Input()).tolist() == [zero]


def test_four_bits_lie_in_eight() -> None:
    x = np.arange(-12, 20, 0.25, np.float32)
    for dtype, low, high in [("int4", -8, 7), ("uint4", 0, 15)]:
        quant = Quant(np.float32(1), np.int64(0), dtype)
        found = quantize(x, quant, Input())
        assert found.dtype == np.dtype(dtype.replace("4", "8"))
        np.testing.assert_array_equal(found, np.rint(x).clip(low, high))


def ratio(x: np.float32, scale: np.float32, arithmetic: str) -> Fraction:
    if arithmetic == "float32":
        return Fraction(float(x / scale))
    return Fraction(float(x)) / Fraction(float(scale))


def rounded(value: Fraction, rounding: Rounding) -> int:
    low, half = value.__floor__(), Fraction(1, 2)
    rest = value - low
    return {
        Rounding.HALF_EVEN: round(value),
        Rounding.HALF_UP: low + (rest >= half),
        Rounding.HALF_AWAY: low + (rest > half or (rest == half and value > 0)),
        Rounding.FLOOR: low,
        Rounding.TOWARD_ZERO: low + (value < 0 and rest > 0),
    }[rounding]


@pytest.mark.parametrize("arithmetic", ["float32", "exact"])
@pytest.mark.parametrize("rounding", [r for r in Rounding if r is not Rounding.STOCHASTIC])
def test_every_rounding_of_the_input(rounding: Rounding, arithmetic: Any) -> None:
    rules = Input(rounding=rounding, arithmetic=arithmetic)
    told = 0
    for seed, dtype in enumerate(DTYPES):
        quant = quantizer(dtype, seed=seed)
        x = values(quant, (700,), seed)
        steps = [rounded(ratio(v, quant.scale, arithmetic), rounding) for v in x]
        wanted = (np.array(steps) + int(quant.zero_point)).clip(quant.low, quant.high)
        found = quantize(x, quant, rules)
        np.testing.assert_array_equal(found, wanted)
        np.testing.assert_array_equal(compile_quantize(quant, rules, 0)(x), wanted)
        other = Input(
            rounding=rounding, arithmetic="exact" if arithmetic == "float32" else "float32"
        )
        told += int((quantize(x, quant, other) != wanted).sum())
    assert told > 0, "the two divisions part on these"


def test_stochastic_input_is_seeded_and_right_on_average() -> None:
    quant = Quant(np.float32(0.1), np.int64(3), "uint8")
    x = np.full((100, 1000), 1.03, np.float32)
    rules = Input(rounding=Rounding.STOCHASTIC)
    first, again, other = (quantize(x, quant, rules, seed) for seed in (5, 5, 6))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.3
    value = float(x[0, 0] / np.float32(0.1))
    assert abs(first.mean() - 3 - value) < 5 * 0.5 / np.sqrt(x.size)
    noise = noise_of(5, 0, np.arange(x.size)).reshape(x.shape)
    up = noise / 2**32 < value - np.floor(value)
    np.testing.assert_array_equal(first, 3 + np.floor(value) + up)


@pytest.mark.parametrize("dtype", [*DTYPES, "int32"])
@pytest.mark.parametrize("axis", [None, 0, 2])
def test_dequantize_is_onnx_s(dtype: str, axis: int | None) -> None:
    rng = np.random.default_rng(9)
    shape = (4, 3, 17)
    quant = quantizer(dtype, axis, 1, () if axis is None else (shape[axis],))
    if dtype == "int32":  # its zero point must be 0; beyond 2**24 float32 rounds the integers
        quant = Quant(quant.scale, np.zeros_like(quant.zero_point), dtype, axis)
    q = rng.integers(quant.low, quant.high + 1, shape).astype(dtype)
    found = dequantize(q, quant)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, onnx_op("DequantizeLinear", q, quant))


@pytest.mark.parametrize("axis", [0, 1])
def test_dequantize_in_blocks_is_onnx_s(axis: int) -> None:
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.1, 1, (2, 8) if axis == 0 else (6, 2)).astype(np.float32)
    zero = rng.integers(-9, 9, scale.shape)
    block = 3 if axis == 0 else 4
    quant = Quant(scale, zero, "int8", axis, block)
    q = rng.integers(-128, 128, (6, 8)).astype(np.int8)
    np.testing.assert_array_equal(dequantize(q, quant), onnx_op("DequantizeLinear", q, quant))
    # A last block may be shorter.
    short = np.delete(q, -1, axis)
    wanted = np.delete(dequantize(q, quant), -1, axis)
    np.testing.assert_array_equal(dequantize(short, quant), wanted)


@pytest.mark.parametrize("dtype", ["int8", "uint16"])
def test_every_integer_comes_back(dtype: str) -> None:
    quant = quantizer(dtype, seed=8)
    every = np.arange(quant.low, quant.high + 1).astype(dtype)
    for arithmetic in ("float32", "exact"):
        for rounding in (Rounding.HALF_EVEN, Rounding.HALF_UP, Rounding.HALF_AWAY):
            rules = Input(rounding=rounding, arithmetic=arithmetic)  # type: ignore[arg-type]
            np.testing.assert_array_equal(quantize(dequantize(every, quant), quant, rules), every)

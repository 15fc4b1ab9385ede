"""The fast engine answers as the reference functions do, bit for bit, for every op and rule."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipdrift.numerics.fast import compile_op, compile_quantize
from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.profile import (
    Accumulator,
    Elementwise,
    Input,
    Narrow,
    Requantize,
    Rules,
)
from chipdrift.numerics.quantize import quantize
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.tensors import Operand, OpSpec, Quant

FUZZ = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
ROUNDINGS = st.sampled_from(list(Rounding))


def check(spec: OpSpec, runtime: list[np.ndarray], must_compile: bool = True) -> None:
    kernel = compile_op(spec)
    if kernel is None:
        assert not must_compile, "no kernel"
        return
    given_arrays = iter(runtime)
    arrays = [o.constant if o.constant is not None else next(given_arrays) for o in spec.operands]
    expected = reference_ops()[spec.op](spec, arrays)
    for turn in range(2):  # a kernel may learn from its first call
        answer = kernel(runtime)
        assert answer.dtype == expected.dtype
        assert answer.shape == expected.shape
        wrong = np.argwhere(answer != expected)
        assert wrong.size == 0, f"turn {turn}: {len(wrong)} differ, the first at {wrong[0]}"


@st.composite
def accumulators(draw: Any) -> Accumulator:
    fields: dict[str, Any] = {
        "width": draw(st.sampled_from([16, 24, 32, 32, 64])),
        "overflow": draw(st.sampled_from(["wrap", "saturate"])),
        "operands": draw(st.sampled_from(["centred", "stored"])),
        "stored": draw(st.sampled_from(["both", "input", "signed"])),
        "order": draw(st.sampled_from(["channels_first", "channels_last"])),
    }
    if draw(st.booleans()):
        widths = [w for w in (16, 24, 32, 64) if w <= fields["width"]]
        fields |= {
            "block": draw(st.integers(1, 9)),
            "block_width": draw(st.sampled_from(widths)),
            "block_overflow": draw(st.sampled_from(["wrap", "saturate"])),
        }
    return Accumulator(**fields)


@st.composite
def requantizations(draw: Any, stored: bool = False) -> Requantize:
    fields: dict[str, Any] = {
        "scale": draw(st.sampled_from(["exact", "float32", "float32_max", "float64"])),
        "multiplier": draw(
            st.sampled_from(["exact", "float32", "fixed_point", "significand", "power_of_two"])
        ),
        "zero_point": draw(st.sampled_from(["output", "accumulator"])),
        "bias": draw(st.sampled_from(["exact", "float32"])),
        "bias_rounding": draw(st.sampled_from(["HALF_AWAY", "HALF_EVEN", "TOWARD_ZERO"])),
        "drop": draw(st.sampled_from([0, 0, 1, 3, 8])),
        "keep": draw(st.sampled_from([None, None, 0, 3, 7, 12])),
    }
    drops = ["FLOOR", "HALF_UP", "MIDPOINT", "MIDPOINT_NONZERO"]
    if fields["multiplier"] in ("fixed_point", "significand"):
        fields["bits"] = draw(st.sampled_from([4, 11, 12, 15, 22, 31]))
    if fields["multiplier"] == "significand" and draw(st.booleans()):
        fields["steps"] = "double"
        drops = drops[:2]
    else:
        fields["rounding"] = draw(ROUNDINGS)
    fields["drop_rounding"] = draw(st.sampled_from(drops))
    if stored and fields["drop"] and draw(st.booleans()):
        fields["parts"] = "apart"
        fields["correction_drop"] = draw(st.sampled_from(["FLOOR", "HALF_UP", "TOWARD_ZERO"]))
        fields["bias_drop"] = draw(st.sampled_from(["FLOOR", "HALF_UP", "TOWARD_ZERO"]))
    return Requantize(**fields)


@st.composite
def rules(draw: Any) -> Rules:
    accumulator = draw(accumulators())
    requantize = draw(requantizations(accumulator.operands == "stored"))
    return Rules(accumulator=accumulator, requantize=requantize)


def plain_rules(draw: Any) -> Rules:
    """Rules under which sums do not overflow: most requantizations are drawn with these."""
    operands = draw(st.sampled_from(["centred", "stored"]))
    requantize = draw(requantizations(operands == "stored"))
    stored = draw(st.sampled_from(["both", "input", "signed"]))
    accumulator = Accumulator(width=64, operands=operands, stored=stored)
    return Rules(accumulator=accumulator, requantize=requantize)


def integers_of(rng: np.random.Generator, dtype: str, shape: tuple[int, ...]) -> np.ndarray:
    quant = Quant(np.float32(1), np.int64(0), dtype)
    if rng.random() < 0.3:  # the ends, where sums overflow
        values = rng.choice([quant.low, quant.high, 0], shape)
    else:
        values = rng.integers(quant.low, quant.high + 1, shape)
    return values.astype(quant.storage)


def scale_of(rng: np.random.Generator, shape: tuple[int, ...] = ()) -> np.ndarray:
    """Random, or powers of two and small fractions, under which ties are common."""
    kind = rng.integers(3)
    if kind == 0:
        return np.asarray(2.0 ** rng.integers(-6, 1, shape), np.float32)
    if kind == 1:
        return np.asarray(rng.integers(1, 7, shape) / 8, np.float32)
    return np.asarray(np.exp(rng.uniform(-5, 0, shape)), np.float32)


def quant_of(
    rng: np.random.Generator, dtype: str, count: int | None = None, axis: int = 0, zero: bool = True
) -> Quant:
    shape = () if count is None else (count,)
    ends = Quant(np.float32(1), np.int64(0), dtype)
    zeros = rng.integers(ends.low, ends.high + 1, shape) if zero else np.zeros(shape)
    return Quant(
        scale_of(rng, shape), np.asarray(zeros, np.int64), dtype, None if count is None else axis
    )


def output_of(rng: np.random.Generator, dtype: str, reach: float) -> Quant:
    """An output quantizer under which ``reach`` fills about its range."""
    ends = Quant(np.float32(1), np.int64(0), dtype)
    steps = ends.high - ends.low
    step = max(reach, 1e-3) / steps * float(np.exp(rng.uniform(-1, 1)))
    if rng.random() < 0.5:
        step = 2.0 ** np.round(np.log2(step))
    zero = rng.integers(ends.low, ends.high + 1)
    return Quant(np.asarray(step, np.float32), np.asarray(zero, np.int64), dtype)


DTYPES = st.sampled_from(["uint8", "uint8", "int8", "uint16", "int16"])
WEIGHTS = st.sampled_from(["int8", "int8", "uint8", "int4", "uint4", "int16"])
CLAMPS = st.sampled_from([(None, None), (0.0, None), (0.0, 6.0), (None, 1.0)])


def convolution(
    draw: Any, chosen: Rules, bytes_only: bool = False
) -> tuple[OpSpec, list[np.ndarray]]:
    """A random convolution; ``bytes_only``: 8-bit inputs and symmetric weights of full range."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    spatial = draw(st.sampled_from([1, 2, 2, 2]))
    group, per_group, share = draw(
        st.sampled_from(
            [(1, 1, 3), (1, 5, 4), (1, 17, 40), (4, 1, 1), (33, 1, 1), (3, 1, 2), (2, 3, 2)]
        )
    )
    x_type, w_type, y_type = draw(DTYPES), draw(WEIGHTS), draw(DTYPES)
    if bytes_only:
        x_type, w_type = draw(st.sampled_from(["uint8", "int8"])), "int8"
    kernel = draw(st.lists(st.sampled_from([1, 2, 3]), min_size=spatial, max_size=spatial))
    if draw(st.booleans()):
        kernel = [kernel[0]] * spatial
    attributes: dict[str, Any] = {"group": group, "kernel_shape": kernel}
    if draw(st.booleans()):
        attributes["strides"] = draw(
            st.lists(st.integers(1, 3), min_size=spatial, max_size=spatial)
        )
    if draw(st.booleans()):
        attributes["dilations"] = draw(
            st.lists(st.integers(1, 2), min_size=spatial, max_size=spatial)
        )
    mode = draw(st.sampled_from(["pads", "SAME_UPPER", "SAME_LOWER", "VALID", ""]))
    if mode == "pads":
        attributes["pads"] = draw(
            st.lists(st.integers(0, 2), min_size=2 * spatial, max_size=2 * spatial)
        )
    elif mode:
        attributes["auto_pad"] = mode
    outputs = group * share
    size = tuple(int(v) for v in rng.integers(5, 9, spatial))
    x = integers_of(rng, x_type, (int(rng.integers(1, 3)), group * per_group, *size))
    w = integers_of(rng, w_type, (outputs, per_group, *kernel))
    if rng.random() < 0.5 and not bytes_only:
        w = (w // 8).astype(w.dtype)
    per_channel = outputs if draw(st.booleans()) else None
    symmetric = bytes_only or draw(st.sampled_from([True, True, False]))
    xq = quant_of(rng, x_type)
    wq = quant_of(rng, w_type, per_channel, zero=not symmetric)
    reach = float(w[0].size ** 0.5 * xq.high * wq.high / 4 * xq.scale * np.mean(wq.scale))
    bias = rng.integers(-20000, 20000, outputs).astype(np.int64) if draw(st.booleans()) else None
    return OpSpec(
        op="Conv",
        node="node",
        operands=(
            Operand(xq),
            Operand(wq, w),
            *([] if bias is None else [Operand(None, bias)]),
        ),
        attributes=attributes,
        output=output_of(rng, y_type, reach),
        rules=chosen,
        clamp=draw(CLAMPS),
        seed=3,
        stream=5,
    ), [x]


@FUZZ
@given(st.data())
def test_convolutions(data: Any) -> None:
    spec, arrays = convolution(data.draw, data.draw(rules()))
    check(spec, arrays, must_compile=False)


@FUZZ
@given(st.data())
def test_convolutions_whose_sums_stay_inside(data: Any) -> None:
    spec, arrays = convolution(data.draw, plain_rules(data.draw))
    check(spec, arrays, must_compile=False)


@FUZZ
@given(st.data())
def test_channels_last_memory(data: Any) -> None:
    """A convolution reads what another one wrote."""
    spec, arrays = convolution(data.draw, plain_rules(data.draw))
    x = arrays[0]
    check(spec, [np.moveaxis(np.ascontiguousarray(np.moveaxis(x, 1, -1)), -1, 1)], False)


def product(draw: Any, chosen: Rules, op: str, live: bool) -> tuple[OpSpec, list[np.ndarray]]:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    depth, width = draw(st.sampled_from([(1, 1), (3, 5), (40, 33), (130, 20)]))
    a_type = draw(DTYPES)
    b_type = draw(DTYPES if live else WEIGHTS)
    lead = () if op == "Gemm" else draw(st.sampled_from([(), (3,), (2, 2)]))
    a = integers_of(rng, a_type, (*lead, draw(st.sampled_from([1, 7])), depth))
    b_lead = lead if live and draw(st.booleans()) else ()
    b = integers_of(rng, b_type, (*b_lead, depth, width))
    aq = quant_of(rng, a_type)
    attributes: dict[str, Any] = {}
    axis = b.ndim - 1
    if op == "Gemm" and draw(st.booleans()):
        b, axis, attributes["transB"] = np.ascontiguousarray(b.T), 0, 1
    if op == "Gemm" and draw(st.booleans()):
        a, attributes["transA"] = np.ascontiguousarray(a.T), 1
    per_channel = None if live or draw(st.booleans()) else width
    bq = quant_of(rng, b_type, per_channel, axis, zero=draw(st.booleans()))
    reach = float(depth**0.5 * aq.high * bq.high / 4 * aq.scale * np.mean(bq.scale))
    operands = [Operand(aq), Operand(bq, None if live else b)]
    if op == "Gemm" and draw(st.booleans()):
        operands.append(Operand(None, rng.integers(-9000, 9000, width).astype(np.int64)))
    spec = OpSpec(
        op, "node", tuple(operands), attributes, output_of(rng, draw(DTYPES), reach), chosen,
        draw(CLAMPS),
    )  # fmt: skip
    return spec, [a, b] if live else [a]


@FUZZ
@given(st.data())
def test_matrix_products(data: Any) -> None:
    op = data.draw(st.sampled_from(["MatMul", "Gemm"]))
    chosen = data.draw(rules()) if data.draw(st.booleans()) else plain_rules(data.draw)
    check(*product(data.draw, chosen, op, live=False), must_compile=False)


@FUZZ
@given(st.data())
def test_products_of_activations(data: Any) -> None:
    chosen = data.draw(rules()) if data.draw(st.booleans()) else plain_rules(data.draw)
    ways = st.sampled_from([None, Narrow(), Narrow(arithmetic="fixed_point", fraction=7)])
    chosen = chosen.model_copy(update={"narrow": data.draw(ways)})
    check(*product(data.draw, chosen, "MatMul", live=True))


@FUZZ
@given(st.data())
def test_sixteen_bit_accumulators_that_saturate(data: Any) -> None:
    """The sums of bytes that leave 16 bits on the way, and are walked in narrow lanes."""
    operands = data.draw(st.sampled_from(["centred", "stored"]))
    order = data.draw(st.sampled_from(["channels_first", "channels_last"]))
    width = data.draw(st.sampled_from([16, 16, 24]))
    accumulator = Accumulator(width=width, overflow="saturate", operands=operands, order=order)
    requantize = Requantize(scale="float32", multiplier="float32")
    chosen = Rules(accumulator=accumulator, requantize=requantize)
    if data.draw(st.booleans()):
        check(*convolution(data.draw, chosen, bytes_only=True))
    else:
        check(*product(data.draw, chosen, "MatMul", live=False))


@FUZZ
@given(st.data())
def test_pairs_that_saturate(data: Any) -> None:
    """AVX2's vpmaddubsw: two products at a time saturate in 16 bits, the sum wraps in 32."""
    accumulator = Accumulator(operands="stored", block=2, block_width=16, block_overflow="saturate")
    chosen = Rules(accumulator=accumulator, requantize=Requantize(multiplier="float32"))
    check(*convolution(data.draw, chosen, bytes_only=True))


def windows_of_rules() -> list[Requantize]:
    """Every multiplier, rounding, way to drop bits and place of the zero point, combined."""
    multipliers: list[dict[str, Any]] = [
        {"multiplier": "exact"},
        {"multiplier": "float32"},
        {"multiplier": "power_of_two"},
        *({"multiplier": "fixed_point", "bits": bits} for bits in (8, 31)),
        *({"multiplier": "significand", "bits": bits} for bits in (11, 31)),
        {"multiplier": "significand", "bits": 31, "steps": "double"},
    ]
    found = []
    for multiplier in multipliers:
        double = "steps" in multiplier
        for rounding in [None] if double else [r for r in Rounding if r is not Rounding.STOCHASTIC]:
            for drop, keep in ((0, None), (2, None), (0, 3), (1, 1), (0, 12)):
                ways = ["FLOOR", "HALF_UP"] if drop or keep else ["FLOOR"]
                ways += ["MIDPOINT", "MIDPOINT_NONZERO"] if (drop or keep) and not double else []
                for way in ways:
                    for zero_point in ("output", "accumulator"):
                        fields = {**multiplier, "drop": drop, "keep": keep, "drop_rounding": way}
                        if rounding:
                            fields["rounding"] = rounding
                        found.append(Requantize(**fields, zero_point=zero_point))
    return found


def test_all_accumulators_under_all_rules() -> None:
    """Every accumulator of a window that reaches past both ends of a 4-bit output."""
    sums = np.arange(-150, 150)
    x = sums.astype(np.int16)[:, None]
    scales = np.array([0.125, 0.09375, 0.0837, 1.5], np.float32)
    rows = windows_of_rules()
    assert len(rows) > 1000
    for number, requantize in enumerate(rows):
        spec = OpSpec(
            "MatMul",
            "node",
            (
                Operand(Quant(np.float32(1), np.int64(0), "int16")),
                Operand(
                    Quant(scales, np.zeros(4, np.int64), "int8", axis=1), np.ones((1, 4), np.int8)
                ),
            ),
            {},
            Quant(np.float32(1), np.int64(6), "uint4" if number % 2 else "int4"),
            Rules(requantize=requantize),
        )
        kernel = compile_op(spec)
        assert kernel is not None
        expected = reference_ops()["MatMul"](spec, [x, spec.operands[1].constant])
        assert np.array_equal(kernel([x]), expected), requantize


UNARY = ["Relu", "Clip", "Requantize", "Sigmoid", "Tanh", "HardSwish", "Gelu", "Neg", "Sqrt"]
BINARY = ["Add", "Sub", "Mul", "Div", "PRelu", "Min", "Max"]


@settings(FUZZ, max_examples=60)
@given(st.data())
def test_elementwise(data: Any) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    op = data.draw(st.sampled_from(UNARY + BINARY))
    rounding = data.draw(st.sampled_from([Rounding.HALF_EVEN, Rounding.FLOOR, Rounding.STOCHASTIC]))
    arithmetic = data.draw(st.sampled_from(["float32", "exact"]))
    chosen = Rules(elementwise=Elementwise(arithmetic=arithmetic, rounding=rounding))
    kinds = [data.draw(st.sampled_from(["uint8", "int8"])) for _ in range(1 + (op in BINARY))]
    shape = data.draw(st.sampled_from([(1, 5, 4, 3), (2, 300), (2, 3, 150, 100)]))
    if rounding is Rounding.STOCHASTIC or arithmetic == "exact":
        shape = (*shape[:1], 5, 4, 3)
    arrays = []
    for kind in kinds:
        own = shape
        if arrays and data.draw(st.booleans()):
            own = (shape[1], *[1] * (len(shape) - 2)) if len(shape) > 2 else (1,)
        array = integers_of(rng, kind, own)
        if array.ndim == 4 and data.draw(st.booleans()):
            array = np.moveaxis(np.ascontiguousarray(np.moveaxis(array, 1, -1)), -1, 1)
        arrays.append(array)
    operands = tuple(Operand(quant_of(rng, kind)) for kind in kinds)
    spec = OpSpec(
        op, "node", operands, {}, output_of(rng, data.draw(st.sampled_from(["uint8", "int8"])), 40),
        chosen, data.draw(CLAMPS),
    )  # fmt: skip
    check(spec, arrays, must_compile=False)


def test_sixteen_bit_functions_are_looked_up() -> None:
    rng = np.random.default_rng(1)
    x = integers_of(rng, "int16", (1, 70, 1000))
    operand = Operand(quant_of(rng, "int16"))
    spec = OpSpec("Sigmoid", "node", (operand,), {}, output_of(rng, "uint16", 1), Rules())
    check(spec, [x])


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16"])
@pytest.mark.parametrize("rounding", list(Rounding))
def test_inputs_are_quantized_alike(dtype: str, rounding: Rounding) -> None:
    quant = Quant(np.asarray(0.25, np.float32), np.asarray(7, np.int64), dtype)
    steps = np.arange(-700, 700, dtype=np.float32) / 8
    near = [np.nextafter(steps, np.float32(s)) for s in (-np.inf, np.inf)]
    odd = np.array([np.nan, np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0], np.float32)
    values = np.concatenate([steps, *near, odd]).reshape(1, -1)
    rules = Input(rounding=rounding)
    answer = compile_quantize(quant, rules, 3)(values)
    expected = quantize(values, quant, rules, 3)
    assert answer.dtype == expected.dtype
    assert np.array_equal(answer, expected)


@settings(FUZZ, max_examples=60)
@given(st.data())
def test_max_pools(data: Any) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    kind = data.draw(st.sampled_from(["uint8", "int8", "uint16"]))
    spatial = data.draw(st.integers(1, 2))
    few = st.lists(st.integers(1, 3), min_size=spatial, max_size=spatial)
    attributes: dict[str, Any] = {"kernel_shape": data.draw(few)}
    if data.draw(st.booleans()):
        attributes |= {"strides": data.draw(few), "dilations": data.draw(few)}
    if data.draw(st.booleans()):
        attributes["pads"] = data.draw(
            st.lists(st.integers(0, 1), min_size=2 * spatial, max_size=2 * spatial)
        )
    else:
        attributes["auto_pad"] = data.draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    attributes["ceil_mode"] = data.draw(st.sampled_from([0, 0, 1]))
    x = integers_of(rng, kind, (2, 3, *[9] * spatial))
    quant = quant_of(rng, kind)
    output = quant if data.draw(st.booleans()) else output_of(rng, kind, 30)
    spec = OpSpec("MaxPool", "node", (Operand(quant),), attributes, output, Rules())
    check(spec, [x], must_compile=not attributes["ceil_mode"])


@pytest.mark.parametrize("rounding", [r for r in Rounding if r is not Rounding.STOCHASTIC])
def test_ties_that_float64_misses(rounding: Rounding) -> None:
    """147 * (1 / 98) is 1.5, but not in float64: what is too near to a tie is decided exactly."""
    x = np.arange(-400, 401).astype(np.int16)[:, None]
    scales = np.array([0.5, 1.5, 2.5, 3.5], np.float32)
    for step in (11, 29, 43, 49, 103, 107, 343):
        spec = OpSpec(
            "MatMul",
            "node",
            (
                Operand(Quant(np.float32(1), np.int64(0), "int16")),
                Operand(
                    Quant(scales, np.zeros(4, np.int64), "int8", axis=1), np.ones((1, 4), np.int8)
                ),
            ),
            {},
            Quant(np.float32(step), np.int64(0), "int8"),
            Rules(requantize=Requantize(rounding=rounding)),
        )
        check(spec, [x])

"""Exact rules against fractions and against formulas written a second time."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from single_op import Array, Case, Q, by_engine

from chipdrift.numerics import functions

ROUND: dict[str, Callable[[Fraction], int]] = {
    "HALF_EVEN": round,
    "HALF_UP": lambda v: math.floor(v + Fraction(1, 2)),
    "HALF_AWAY": lambda v: int(math.copysign(math.floor(abs(v) + Fraction(1, 2)), v)),
    "FLOOR": math.floor,
    "TOWARD_ZERO": math.trunc,
}
PAIRS = np.meshgrid(np.arange(256), np.arange(256), indexing="ij")


def expected(values: list[Fraction], out: Q, rounding: str) -> Array:
    low, high = np.iinfo(out.dtype).min, np.iinfo(out.dtype).max
    whole = [min(max(ROUND[rounding](v) + int(out.zero_point), low), high) for v in values]
    return np.array(whole)


def scale(q: Q) -> Fraction:
    return Fraction(float(np.float32(q.scale)))


@pytest.mark.parametrize("rounding", ROUND)
@pytest.mark.parametrize("op", ["Add", "Mul"])
def test_all_pairs_of_bytes(op: str, rounding: str) -> None:
    a, b = Q("uint8", 0.05, 131, PAIRS[0]), Q("uint8", 0.1, 120, PAIRS[1])
    out = Q("uint8", 0.1 if op == "Add" else 0.01, 7)
    x, y, z = scale(a), scale(b), scale(out)
    pairs = zip((PAIRS[0] - 131).flat, (PAIRS[1] - 120).flat, strict=True)
    if op == "Add":
        real = [(int(p) * x + int(q) * y) / z for p, q in pairs]
    else:
        real = [int(p) * int(q) * (x * y / z) for p, q in pairs]
    rules = {"arithmetic": "exact", "rounding": rounding}
    got = by_engine(Case(op, [a, b], out), elementwise=rules)
    np.testing.assert_array_equal(got.reshape(-1), expected(real, out, rounding))


@pytest.mark.parametrize("rounding", ["HALF_EVEN", "HALF_UP", "FLOOR"])
@pytest.mark.parametrize("op", ["Sub", "Div", "Neg", "Abs", "PRelu"])
def test_other_arithmetic(op: str, rounding: str) -> None:
    values = PAIRS[0][::5, ::3], PAIRS[1][::5, ::3]
    a, b = Q("uint8", 0.05, 131, values[0]), Q("uint8", 0.1, 120, values[1])
    out = Q("uint8", 0.1, 7)
    x, y, z = scale(a), scale(b), scale(out)

    def real(p: int, q: int) -> Fraction:
        match op:
            case "Sub":
                return p * x - q * y
            case "Div" if q == 0:
                return Fraction(int(np.sign(p)) * 10**9)
            case "Div":
                return p * x / (q * y)
            case "PRelu":
                return p * x if p >= 0 else p * x * q * y
        return -p * x if op == "Neg" else abs(p) * x

    flat = zip((values[0] - 131).flat, (values[1] - 120).flat, strict=True)
    want = expected([real(int(p), int(q)) / z for p, q in flat], out, rounding)
    inputs = [a] if op in ("Neg", "Abs") else [a, b]
    rules = {"arithmetic": "exact", "rounding": rounding}
    got = by_engine(Case(op, inputs, out), elementwise=rules)
    np.testing.assert_array_equal(got.reshape(-1), want)


def test_fixed_point_factors_have_the_bits_asked_for() -> None:
    """N32, worked by hand: 0.05/0.1 and 0.03/0.1 in units of 2**-3 are 4 and 2 (2.4)."""
    a, b = Q("int8", 0.05, 0, np.array([8, 9, -9])), Q("int8", 0.03, 0, np.array([4, 5, 5]))
    rules = {"arithmetic": "fixed_point", "bits": 3, "rounding": "HALF_UP"}
    got = by_engine(Case("Add", [a, b], Q("int8", 0.1, 0)), elementwise=rules)
    assert got.tolist() == [5, 6, -3]  # 40/8, 46/8, -26/8


FORMULAS: dict[str, Callable[[float], float]] = {
    "Sigmoid": lambda x: 1 / (1 + math.exp(-x)),
    "Tanh": math.tanh,
    "HardSigmoid": lambda x: max(0.0, min(1.0, float(np.float32(0.2)) * x + 0.5)),
    "HardSwish": lambda x: x * max(0.0, min(1.0, x / 6 + 0.5)),
    "LeakyRelu": lambda x: x if x >= 0 else float(np.float32(0.01)) * x,
    "ThresholdedRelu": lambda x: x if x > 1 else 0.0,
    "Elu": lambda x: x if x >= 0 else math.expm1(x),
    "Celu": lambda x: x if x >= 0 else math.expm1(x),
    "Selu": lambda x: 1.0507010221481323 * (x if x > 0 else 1.6732631921768188 * math.expm1(x)),
    "Gelu": lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    "QuickGelu": lambda x: x / (1 + math.exp(-float(np.float32(1.702)) * x)),
    "FastGelu": lambda x: x * 0.5 * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    "Erf": math.erf,
    "Softplus": lambda x: math.log1p(math.exp(x)),
    "Softsign": lambda x: x / (1 + abs(x)),
    "Mish": lambda x: x * math.tanh(math.log1p(math.exp(x))),
    "Exp": math.exp,
    "Sqrt": lambda x: math.sqrt(x) if x >= 0 else 0.0,
    "Log": lambda x: math.log(x) if x > 0 else (-1e9 if x == 0 else 0.0),
    "Reciprocal": lambda x: 1 / x if x else 1e9,
}
MICROSOFT = ("QuickGelu", "FastGelu")


def function_case(op: str, dtype: str) -> Case:
    low, high = int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)
    unit = 1.0 if "8" in dtype else 1 / 256
    x = Q(dtype, 0.043 * unit, (low + high) // 2 - 5, np.arange(low, high + 1))
    domain = "com.microsoft" if op in MICROSOFT else ""
    return Case(op, [x], Q(dtype, 0.031 * unit, (low + high) // 2 + 9), domain=domain)


@pytest.mark.parametrize("dtype", ["uint8", "int16"])
@pytest.mark.parametrize("op", FORMULAS)
def test_functions_are_rounded_once(op: str, dtype: str) -> None:
    """Every integer: no answer is further than half a step from Python's own functions."""
    case = function_case(op, dtype)
    x, out = case.inputs[0], case.output
    assert isinstance(x, Q)
    got = by_engine(case, function={"arithmetic": "exact"}).astype(np.int64)
    low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
    real = [FORMULAS[op](float(scale(x)) * int(v - x.zero_point)) for v in x.values]
    steps = np.array(real) / float(scale(out)) + out.zero_point
    off = np.abs(got - np.clip(steps, low, high))
    assert off.max() <= 0.5 + 1e-9


@pytest.mark.parametrize("op", [*FORMULAS, "Gelu-tanh", "Pow"])
def test_sixty_digits_say_the_same(op: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every answer decided by decimals: as float64 decides where it may."""
    case = function_case(op.split("-")[0], "uint8")
    if op == "Gelu-tanh":
        case = Case("Gelu", case.inputs, case.output, {"approximate": "tanh"})
    if op == "Pow":
        case = Case("Pow", [*case.inputs, np.float32(2.5)], case.output)
    rules = {"arithmetic": "exact"}
    fast = by_engine(case, function=rules)
    seen = 0

    def counted(*args: object) -> Array:
        nonlocal seen
        seen += np.size(args[0])
        return careful(*args)

    careful = functions._careful
    monkeypatch.setattr(functions, "_careful", counted)
    monkeypatch.setattr(functions, "_MARGIN", 1.0)
    np.testing.assert_array_equal(by_engine(case, function=rules), fast)
    assert seen > 100


@pytest.mark.parametrize(
    ("rounding", "want"),
    [
        ("HALF_EVEN", [-2, -2, -1, 0, 0, 0, 1, 2, 2]),
        ("HALF_UP", [-2, -1, -1, 0, 0, 1, 1, 2, 2]),
        ("HALF_AWAY", [-2, -2, -1, -1, 0, 1, 1, 2, 2]),
        ("FLOOR", [-2, -2, -1, -1, 0, 0, 1, 1, 2]),
        ("TOWARD_ZERO", [-2, -1, -1, 0, 0, 0, 1, 1, 2]),
    ],
)
def test_ties_of_a_function_go_by_the_rule(rounding: str, want: list[int]) -> None:
    """LeakyRelu of slope 1 halves every step: float64 cannot decide these, decimals do."""
    x = Q("int8", 0.05, 0, np.arange(-4, 5))
    case = Case("LeakyRelu", [x], Q("int8", 0.1, 0), {"alpha": 1.0})
    rules = {"arithmetic": "exact", "rounding": rounding}
    assert by_engine(case, elementwise=rules, function={"arithmetic": "exact"}).tolist() == want


def test_stochastic_noise_is_by_place_in_the_output() -> None:
    """Joined parts and the whole draw the same noise; on average the fraction is kept."""
    values = np.full(4000, 10)
    rules = {"arithmetic": "exact", "rounding": "STOCHASTIC"}
    x, out = Q("int8", 0.033, 0, values), Q("int8", 0.1, 0)
    whole = by_engine(Case("Identity", [x], out), elementwise=rules)
    half = Q("int8", 0.033, 0, values[:2000])
    parts = by_engine(Case("Concat", [half, half], out, {"axis": 0}), elementwise=rules)
    np.testing.assert_array_equal(whole, parts)
    assert set(whole.tolist()) == {3, 4}
    assert abs(whole.mean() - 3.3) < 0.04


def test_averages_are_rounded_once() -> None:
    rng = np.random.default_rng(3)
    x, out = Q("uint8", 0.05, 131, rng.integers(0, 256, (1, 2, 7, 5))), Q("uint8", 0.04, 9)
    way = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    steps, factor = x.values - 131, scale(x) / scale(out)
    for counted in (0, 1):
        want = []
        for c, i, j in np.ndindex(2, 4, 3):
            window = steps[0, c, max(2 * i - 1, 0) : 2 * i + 2, max(2 * j - 1, 0) : 2 * j + 2]
            count = 9 if counted else window.size
            want.append(int(window.sum()) * factor / count)
        case = Case("AveragePool", [x], out, {**way, "count_include_pad": counted})
        got = by_engine(case, elementwise={"arithmetic": "exact"})
        np.testing.assert_array_equal(got.reshape(-1), expected(want, out, "HALF_EVEN"))


def test_blocks_are_summed_as_fractions_and_rounded_once() -> None:
    rng = np.random.default_rng(8)
    x = Q("uint8", 0.05, 131, rng.integers(0, 256, (9, 12)))
    scales = rng.uniform(0.01, 0.03, (3, 5))
    w = Q("int4", scales, 0, rng.integers(-8, 8, (12, 5)), True, 0, 4)
    out, bias = Q("uint8", 0.1, 120), rng.standard_normal(5).astype(np.float32)
    exact = [[Fraction(float(np.float32(s))) for s in row] for row in scales]
    want = []
    for i, n in np.ndindex(9, 5):
        total = Fraction(float(bias[n]))
        for j in range(3):
            inner = slice(4 * j, 4 * j + 4)
            total += int((x.values[i, inner] - 131) @ w.values[inner, n]) * exact[j][n] * scale(x)
        want.append(total / scale(out))
    rules = {"multiplier": "exact"}
    got = by_engine(Case("Gemm", [x, w, bias], out), requantize=rules)
    np.testing.assert_array_equal(got.reshape(-1), expected(want, out, "HALF_EVEN"))

"""A second activation that comes from 16 bits to 8 (N16); rules that hold from some S on (N20)."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor
from typing import Any

import numpy as np
import pytest
from single_op import Case, Q, by_engine, feed_of, model_of, profile, session_of

from chipdrift.graph.program import program_of
from chipdrift.numerics.narrow import narrow
from chipdrift.numerics.profile import Accumulator, Narrow, Profile, Requantize
from chipdrift.numerics.profiles import get_profile
from chipdrift.numerics.tensors import Quant
from chipdrift.targets.sim.plan import IntegerUnit, make_plan
from chipdrift.targets.sim.session import SimSession

HEXAGON = Narrow(arithmetic="fixed_point", fraction=7, rounding="UP")


def bytes_of(zero: int, rules: Narrow, dtype: str = "uint16") -> np.ndarray:  # type: ignore[type-arg]
    """What all 65,536 integers become, the least first."""
    wide = Quant(np.asarray(np.float32(1)), np.asarray(zero), dtype)
    middle = (zero - wide.low + 128) // 257
    small = Quant(np.asarray(np.float32(257)), np.asarray(middle), "uint8")
    return narrow(np.arange(wide.low, wide.high + 1), wide, small, rules).astype(int)


@pytest.mark.parametrize("zero", [0, 1000, 32768, 65535])
def test_exactly_is_the_nearest_step(zero: int) -> None:
    middle = floor(Fraction(zero, 257) + Fraction(1, 2))
    want = [floor(Fraction(q - zero, 257) + Fraction(1, 2)) + middle for q in range(0, 65536, 31)]
    np.testing.assert_array_equal(bytes_of(zero, Narrow())[::31], np.clip(want, 0, 255))


@pytest.mark.parametrize("rounding", ["UP", "HALF_UP", "FLOOR"])
@pytest.mark.parametrize("fraction", [4, 7, 16])
def test_in_units_of_a_fraction(fraction: int, rounding: Any) -> None:
    zero, unit = 12345, Fraction(255, 2 ** (16 - fraction))
    into = {"UP": ceil, "FLOOR": floor, "HALF_UP": lambda v: floor(v + Fraction(1, 2))}[rounding]
    half = 2 ** (fraction - 1)
    want = [
        floor(Fraction(into(q * unit) - into(zero * unit) + half, 2 * half)) + 48
        for q in range(0, 65536, 31)
    ]
    rules = Narrow(arithmetic="fixed_point", fraction=fraction, rounding=rounding)
    np.testing.assert_array_equal(bytes_of(zero, rules)[::31], np.clip(want, 0, 255))


# How many levels begin, and with which integers the first three, the 128th and the last do, as
# Qualcomm's simulator has it (htp:sm8450 and htp:sm8550, onnxruntime-qnn 2.7.0).
SEEN = {
    0: (255, 127, 384, 641, 32766, 65406),
    12345: (255, 137, 394, 651, 32777, 65416),
    23387: (255, 127, 384, 641, 32766, 65406),
    32768: (254, 255, 513, 770, 32895, 65277),
}


def levels(zero: int, rules: Narrow) -> tuple[int, ...]:
    begins = np.flatnonzero(np.diff(bytes_of(zero, rules))) + 1
    return len(begins), *(int(n) for n in begins[[0, 1, 2, 127, -1]])


@pytest.mark.parametrize("zero", SEEN)
def test_levels_begin_where_the_simulator_has_them(zero: int) -> None:
    assert levels(zero, HEXAGON) == SEEN[zero]


def test_other_units_begin_elsewhere() -> None:
    """So the levels above tell the simulator's rule from its neighbours."""
    for other in (
        Narrow(),
        Narrow(arithmetic="fixed_point", fraction=7, rounding="HALF_UP"),
        Narrow(arithmetic="fixed_point", fraction=7, rounding="FLOOR"),
        Narrow(arithmetic="fixed_point", fraction=6, rounding="UP"),
        Narrow(arithmetic="fixed_point", fraction=8, rounding="UP"),
    ):
        assert {zero: levels(zero, other) for zero in SEEN} != SEEN


def test_signed_integers_count_from_their_least() -> None:
    np.testing.assert_array_equal(
        bytes_of(12345 - 32768, HEXAGON, "int16"), bytes_of(12345, HEXAGON)
    )


def attention(zero: int = 40000) -> Case:
    rng = np.random.default_rng(1)
    a, b = (rng.integers(0, 65536, shape) for shape in ((2, 5, 8), (2, 8, 6)))
    sides = [Q("uint16", 1e-4, 31000, a), Q("uint16", 2e-4, zero, b)]
    return Case("MatMul", sides, Q("uint16", 4e-3, 33000))


def test_the_product_is_that_of_the_bytes() -> None:
    """As a model has it that narrows the second operand itself."""
    case = attention()
    narrowing = [{"ops": ["MatMul"], "kernel": "dynamic", "narrow": {}}]
    second = case.inputs[1]
    assert isinstance(second, Q)
    small = Q(
        "uint8", np.float32(257) * np.float32(2e-4), 156, bytes_of(40000, Narrow())[second.values]
    )
    by_hand = Case("MatMul", [case.inputs[0], small], case.output)
    found = by_engine(case, rule=narrowing)
    np.testing.assert_array_equal(found, by_engine(by_hand))
    assert (found != by_engine(case)).mean() > 0.9


@pytest.mark.parametrize("name", ["hexagon-v69", "hexagon-v73"])
def test_fast_is_the_reference(name: str) -> None:
    """Under the rules that drop products and correction apart."""
    for zero in (0, 32768, 40000, 65535):
        case = attention(zero)
        program = program_of(model_of(case))
        answers = [SimSession(program, get_profile(name), fast).run(feed_of(case))[0]
                   for fast in (True, False)]  # fmt: skip
        np.testing.assert_array_equal(*answers)
        assert len(np.unique(answers[0])) > 40


def test_constant_weights_of_16_bits_stay() -> None:
    case = attention()
    second = case.inputs[1]
    assert isinstance(second, Q)
    held = Q("uint16", second.scale, second.zero_point, second.values[0], constant=True)
    fixed = Case("MatMul", [case.inputs[0], held], case.output)
    np.testing.assert_array_equal(by_engine(fixed, narrow={}), by_engine(fixed))


def test_a_stored_input_meets_centred_weights() -> None:
    """``(sum(x * (w - zw)) >> 8) - ((zx * sum(w - zw) + 128) >> 8)``, each channel by itself."""
    rng = np.random.default_rng(2)
    x, w = rng.integers(0, 65536, (7, 40)), rng.integers(0, 256, (40, 5))
    rules = {
        "accumulator": {"width": 64, "operands": "stored", "stored": "input"},
        "requantize": {"drop": 8, "parts": "apart", "multiplier": "exact", "rounding": "FLOOR"},
    }
    sides = [Q("uint16", 1.0, 30000, x), Q("uint8", 1.0, 77, w, constant=True)]
    case = Case("MatMul", sides, Q("uint16", 4096.0, 32768))
    products = (x @ (w - 77)) >> 8
    taken = (30000 * (w - 77).sum(axis=0) + 128) >> 8
    want = np.clip(((products - taken) >> 4) + 32768, 0, 65535)
    np.testing.assert_array_equal(by_engine(case, **rules), want)
    fast = SimSession(program_of(model_of(case)), profile(**rules))
    np.testing.assert_array_equal(fast.run(feed_of(case))[0], want)
    both = {**rules, "accumulator": {"width": 64, "operands": "stored"}}
    assert (by_engine(case, **both) != want).any()


def depthwise(least: float) -> Case:
    """Stride 2, output scale 1: the last channel's S is ``least``."""
    rng = np.random.default_rng(3)
    x, w = rng.integers(0, 256, (1, 4, 9, 9)), rng.integers(-9, 10, (4, 1, 3, 3))
    scales = np.array([0.75, 0.5, 0.625, 1.0], np.float32) * np.float32(min(1, 64 * least))
    scales[3] = least
    sides = [Q("uint8", 1.0, 100, x), Q("int8", scales, 0, w, constant=True, axis=0)]
    attributes = {"group": 4, "strides": [2, 2]}
    return Case("Conv", sides, Q("uint8", 1.0, 120), attributes)


def rules_at(case: Case, rules: Profile) -> Requantize:
    (unit,) = make_plan(program_of(model_of(case)), rules).units
    assert isinstance(unit, IntegerUnit)
    return unit.spec.rules.requantize


def test_rules_hold_from_their_least_scale_on() -> None:
    """In every channel, and from the very number on."""
    fine, floor_ = {"rounding": "HALF_UP"}, {"rounding": "FLOOR"}
    rules = profile(
        rule=[
            {"kernel": "depthwise_stride2", "least_scale": 2.0**-16, "requantize": fine},
            {"kernel": "depthwise_stride2", "least_scale": 0.5, "requantize": floor_},
        ]
    )
    below = float(np.nextafter(np.float32(2.0**-16), np.float32(0)))
    assert rules_at(depthwise(below), rules) == rules.requantize
    assert rules_at(depthwise(2.0**-16), rules).rounding == "HALF_UP"
    assert rules_at(depthwise(0.4999), rules).rounding == "HALF_UP"
    assert rules_at(depthwise(0.5), rules).rounding == "FLOOR"


def test_the_least_scale_counts_the_output_s() -> None:
    rules = profile(rule=[{"ops": ["MatMul"], "least_scale": 0.5, "requantize": {"drop": 1}}])
    x, w = Q("uint8", 0.5, 0, np.ones((2, 3), int)), np.ones((3, 2), int)
    for out, drop in ((0.25, 1), (0.5, 0)):
        weights = Q("int8", 0.25, 0, w, constant=True)
        assert rules_at(Case("MatMul", [x, weights], Q("uint8", out, 0)), rules).drop == drop


def test_an_accumulator_says_what_is_stored() -> None:
    assert Accumulator(operands="stored").stored == "both"
    assert session_of(attention()).opened().reasons == {}

"""A profile that has rules for some ops only: which nodes rest on none, as a session tells."""

from __future__ import annotations

import numpy as np
import pytest
from single_op import Case, Q, session_of

from chipdrift.numerics.profile import (
    PLAIN,
    Elementwise,
    Function,
    Narrow,
    Override,
    Profile,
    Requantize,
)
from chipdrift.numerics.profiles import builtin_profiles

RNG = np.random.default_rng(4)
X = Q("uint8", 0.05, 131, RNG.integers(0, 256, (2, 6)))
WIDE = Q("uint16", 0.001, 30000, RNG.integers(0, 65536, (2, 6)))
W = Q("int8", 0.02, 0, RNG.integers(-128, 128, (6, 5)), True)
OUT, WIDE_OUT = Q("uint8", 0.1, 120), Q("uint16", 0.002, 30000)

# As `chipdrift probe --width 8` writes them: every rule names its ops, the rest is not there.
PROBED = Profile(
    name="probed",
    evidence="prediction",
    rule=(
        Override(ops=("MatMul",), activation=8, accumulator=PLAIN, requantize=Requantize()),
        Override(ops=("Add",), activation=8, elementwise=Elementwise()),
        Override(ops=("Sigmoid",), activation=8, elementwise=Elementwise(), function=Function()),
    ),
)


def unknown(case: Case, rules: Profile = PROBED) -> dict[str, str]:
    opened = session_of(case, rules).opened()
    assert "cpu" not in {processor for processor, _, _ in opened.nodes}
    return dict(opened.reasons)


@pytest.mark.parametrize(
    "case",
    [
        Case("MatMul", [X, W], OUT),
        Case("Add", [X, X], OUT),
        Case("Sigmoid", [X], Q("uint8", 1 / 256, 0)),
    ],
    ids=lambda case: case.op,
)
def test_a_rule_that_names_the_op_is_known_though_it_is_the_default(case: Case) -> None:
    assert unknown(case) == {}


@pytest.mark.parametrize(
    ("case", "bits"),
    [
        (Case("Mul", [X, X], OUT), 8),
        (Case("Tanh", [X], OUT), 8),
        (Case("MatMul", [WIDE, W], WIDE_OUT), 16),
        (Case("Add", [WIDE, WIDE], WIDE_OUT), 16),
        (Case("Flatten", [X], OUT), 8),
    ],
    ids=lambda case: getattr(case, "op", str(case)),
)
def test_an_op_or_width_that_no_rule_names_is_told(case: Case, bits: int) -> None:
    assert unknown(case) == {"the_node": f"no rule for {case.op} at {bits} bits"}


def test_integers_that_only_move_need_no_rule() -> None:
    """Between equal quantizers no rule is asked (N31); with a new scale one is."""
    same = Q(X.dtype, X.scale, X.zero_point)
    assert unknown(Case("Flatten", [X], same)) == {}
    assert unknown(Case("Flatten", [X], OUT)) == {"the_node": "no rule for Flatten at 8 bits"}
    assert unknown(Case("Neg", [X], same)) == {"the_node": "no rule for Neg at 8 bits"}


def test_a_table_of_the_profile_is_for_the_ops_that_obey_it() -> None:
    rules = Profile(name="x", elementwise=Elementwise(arithmetic="exact"))
    assert unknown(Case("Mul", [X, X], OUT), rules) == {}
    for name, built_in in builtin_profiles().items():
        assert unknown(Case("Mul", [X, X], OUT), built_in) == {}, name
        assert unknown(Case("Tanh", [X], OUT), built_in) == {}, name


def test_a_table_that_an_op_does_not_obey_tells_nothing_of_it() -> None:
    """What a profile knows of other ops is no reason to take these for known."""
    guess = {"the_node": "no rule for Mul at 8 bits"}
    tables = {"narrow": Narrow(), "accumulator": PLAIN, "requantize": Requantize()}
    for name, table in {**tables, "function": Function()}.items():
        assert unknown(Case("Mul", [X, X], OUT), Profile(name="x", **{name: table})) == guess
    ops = Override(ops=("Add",), accumulator=PLAIN)
    assert unknown(Case("Add", [X, X], OUT), Profile(name="x", rule=(ops,))) != {}


def test_a_narrowed_operand_is_a_rule_of_products_that_have_one() -> None:
    rules = Profile(name="narrow", narrow=Narrow(arithmetic="exact"))
    assert unknown(Case("MatMul", [X, W], OUT), rules) == {
        "the_node": "no rule for MatMul at 8 bits"
    }
    other = Q("uint16", 0.001, 30000, RNG.integers(0, 65536, (6, 5)))
    assert unknown(Case("MatMul", [WIDE, other], WIDE_OUT), rules) == {}

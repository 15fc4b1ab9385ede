"""The probe recovers what an engine does with constants, second operands and small factors."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Override, Profile
from chipdrift.probe.ask import NoAnswerError
from chipdrift.probe.constants import QUESTIONS, probe_constants
from chipdrift.probe.finding import Finding
from chipdrift.probe.leastscale import probe_least_scale
from chipdrift.probe.second import probe_second
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]


class Engine:
    """The engine under rules, asked in this process; ``deaf`` gets no answer."""

    def __init__(self, *rules: dict[str, Any], deaf: bool = False) -> None:
        self.profile, self.deaf, self.opened = Profile(name="t", rule=rules), deaf, None  # type: ignore[arg-type]
        self.target = SimpleNamespace(has_npu=False)

    def ask(self, model: bytes, feeds: list[Mapping[str, Array]]) -> list[Array]:
        if self.deaf:
            raise NoAnswerError("not for me")
        session = SimSession(program_of(onnx.load_from_string(model)), self.profile)
        assert not session.opened().reasons
        return [session.run(feed)[0] for feed in feeds]


def overrides(*rules: dict[str, Any]) -> list[Override]:
    return [Override.model_validate(rule) for rule in rules]


def counted(findings: list[Finding]) -> None:
    assert findings
    for finding in findings:
        assert finding.asked > 0, finding
        assert finding.explained == finding.asked, finding


GENERAL: list[dict[str, Any]] = [
    {
        "ops": ["Add", "Sub", "Mul", "Div", "Min", "Max"],
        "elementwise": {"arithmetic": "exact", "rounding": "FLOOR"},
    },
    {
        "ops": ["Neg"],
        "elementwise": {
            "arithmetic": "fixed_point", "bits": 13, "guard": 4, "rounding": "HALF_UP",
        },
    },
]  # fmt: skip
OWN: list[dict[str, Any]] = [
    {
        "ops": ["Add", "Max"],
        "activation": 8,
        "kernel": "constant",
        "elementwise": {"zero_point": "inside", "reciprocal": True},
    },
    {"ops": ["Sub", "Div"], "activation": 8, "kernel": "constant_first", "elementwise": {}},
    {
        "ops": ["Mul", "Div"],
        "activation": 8,
        "kernel": "constant",
        "elementwise": GENERAL[1]["elementwise"],
    },
]


def test_constants_with_rules_of_their_own() -> None:
    """They are found, and no others: what goes by its op's rules needs none."""
    known = overrides(*GENERAL)
    findings, found = probe_constants(
        Engine(*GENERAL, *OWN),
        np.random.default_rng(1),
        known,
        widths=[8],  # type: ignore[arg-type]
    )
    counted(findings)
    assert len(findings) == len(QUESTIONS)
    truth, answer = (
        Profile(name="t", rule=tuple(r)) for r in (known + overrides(*OWN), known + found)
    )
    for question in QUESTIONS:
        case = (question.op, 8, question.kernel)
        assert answer.rules_for(*case).elementwise == truth.rules_for(*case).elementwise, case
    assert {op for rule in found for op in rule.ops or ()} == {"Add", "Max", "Sub", "Mul", "Div"}
    assert all(rule.activation == 8 for rule in found)


def test_constants_without_rules_of_their_own() -> None:
    known = overrides(*GENERAL)
    engine: Any = Engine(*GENERAL)
    findings, found = probe_constants(engine, np.random.default_rng(2), known)
    counted(findings)
    assert len(findings) == 2 * len(QUESTIONS)
    assert found == []


def test_questions_on_constants_that_are_refused() -> None:
    engine: Any = Engine(deaf=True)
    findings, found = probe_constants(engine, np.random.default_rng(3), [], widths=[16])
    assert found == []
    assert {f.words for f in findings} == {"no answer: not for me"}


PRODUCTS: dict[str, Any] = {
    "ops": ["MatMul", "Gemm", "Conv"],
    "activation": 16,
    "accumulator": {"operands": "stored", "width": 64},
    "requantize": {"drop": 8, "parts": "apart", "rounding": "HALF_UP"},
}
NARROW = {"arithmetic": "fixed_point", "fraction": 5, "rounding": "FLOOR"}
NEAR = {"arithmetic": "fixed_point", "fraction": 6, "rounding": "HALF_UP"}
HEXAGON = {"arithmetic": "fixed_point", "fraction": 7, "rounding": "UP"}  # parts rarely from NEAR


@pytest.mark.parametrize("stored", ["both", "input", "signed"])
@pytest.mark.parametrize("narrow", [None, {}, NARROW, NEAR, HEXAGON], ids=str)
def test_a_second_operand(stored: str, narrow: dict[str, Any] | None) -> None:
    held = {**PRODUCTS, "accumulator": {**PRODUCTS["accumulator"], "stored": stored}}
    true = [
        held,
        *(
            [{"ops": ["MatMul"], "kernel": "dynamic", "narrow": narrow}]
            if narrow is not None
            else []
        ),
    ]
    engine: Any = Engine(*true)
    findings, found = probe_second(engine, np.random.default_rng(4), overrides(PRODUCTS))
    counted(findings)
    truth, answer = (
        Profile(name="t", rule=tuple(overrides(*true))),
        Profile(name="a", rule=tuple(found)),
    )
    for kernel in (None, "dynamic"):
        ours, theirs = (p.rules_for("MatMul", 16, kernel) for p in (answer, truth))
        assert ours == theirs, kernel
    assert answer.rules_for("Conv", 16).accumulator == truth.rules_for("Conv", 16).accumulator


def test_a_second_operand_that_is_not_asked_about() -> None:
    engine: Any = Engine()
    assert probe_second(engine, np.random.default_rng(5), []) == ([], [])


def test_exact_sums_where_a_second_activation_is_refused() -> None:
    """As everywhere where nothing is known."""
    engine: Any = Engine(deaf=True)
    findings, found = probe_second(engine, np.random.default_rng(6), overrides(PRODUCTS))
    assert [f.value for f in findings] == [None, None]
    rules = Profile(name="a", rule=tuple(found)).rules_for("MatMul", 16, "dynamic")
    assert rules.accumulator.width == 64
    assert rules.requantize.parts == "together"


CONV: dict[str, Any] = {
    "ops": ["Conv"],
    "activation": 8,
    "requantize": {"multiplier": "significand", "bits": 7, "rounding": "HALF_UP"},
}
STRIDED: dict[str, Any] = {
    "ops": ["Conv"],
    "activation": 8,
    "kernel": "depthwise_stride2",
    "requantize": {"multiplier": "significand", "bits": 15, "rounding": "HALF_UP"},
}


@pytest.mark.parametrize("least", [2.0**-16, 2.0**-13, 0.0003], ids=str)
@pytest.mark.parametrize("most", [0.5, 0.25])
def test_from_which_factor_on_rules_hold(least: float, most: float) -> None:
    large = {**STRIDED, "requantize": {**STRIDED["requantize"], "rounding": "FLOOR"}}
    true = [CONV, {**STRIDED, "least_scale": least}, {**large, "least_scale": most}]
    engine: Any = Engine(*true)
    known = overrides(CONV, STRIDED)
    findings, found = probe_least_scale(engine, np.random.default_rng(7), known)
    assert found[0].least_scale is None
    assert found[1].least_scale == pytest.approx(least, rel=1e-3)
    assert found[2].least_scale == most
    assert found[2].requantize == overrides(large)[0].requantize
    if least != 0.0003:
        assert found[1].least_scale == least
        counted(findings)


def test_rules_that_hold_for_every_factor() -> None:
    engine: Any = Engine(CONV, STRIDED)
    known = overrides(CONV, STRIDED)
    findings, found = probe_least_scale(engine, np.random.default_rng(8), known)
    counted(findings)
    assert found == known
    assert [f.value for f in findings] == [None]


def test_factors_that_are_not_asked_about() -> None:
    engine: Any = Engine(deaf=True)
    findings, found = probe_least_scale(engine, np.random.default_rng(9), overrides(CONV, STRIDED))
    assert found == overrides(CONV, STRIDED)
    assert [f.words for f in findings] == ["no answer: not for me"]

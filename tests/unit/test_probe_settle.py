"""Rivals are told apart: wherever the search stopped, what is left answers as the target does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import pytest

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import PLAIN, Accumulator, Override, Profile, Requantize
from chipdrift.probe.ask import NoAnswerError
from chipdrift.probe.search import Found
from chipdrift.probe.settings import Kind, Wish, answers, evidence_of, random_setting
from chipdrift.probe.settle import Rivals, settle
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]


class Engine:
    """The reference engine under rules, asked in this process; after ``patience`` it refuses."""

    def __init__(self, rules: Requantize, patience: int = 10**6) -> None:
        operands = "stored" if rules.parts == "apart" else "centred"
        sums = Accumulator.model_validate({"operands": operands})
        override = Override(accumulator=sums, requantize=rules)
        self.profile = Profile(name="t", rule=(override,))
        self.patience, self.asked = patience, 0

    def ask(self, model: bytes, feeds: list[Mapping[str, Array]]) -> list[Array]:
        self.asked += 1
        if self.asked > self.patience:
            raise NoAnswerError("enough")
        session = SimSession(program_of(onnx.load_from_string(model)), self.profile, fast=False)
        return [session.run(feed)[0] for feed in feeds]


def settled(
    true: Requantize, start: Requantize, bits: int = 8, patience: int = 10**6
) -> tuple[Found, tuple[Kind, str] | None, Engine]:
    """What is left of ``start``, which one question of ordinary sums cannot tell from ``true``."""
    engine, rng = Engine(true, patience), np.random.default_rng(4)
    wish = Wish(kind="gemm", bits=bits, bias=True, x_zero=True, y_zero=True, rows=4)  # type: ignore[arg-type]
    setting = random_setting(rng, wish)
    evidence = [evidence_of(setting, answers(engine, setting))]  # type: ignore[arg-type]
    asked = evidence[0].answer.size
    assert evidence[0].confirmed(start) == evidence[0].confirmed(true) == asked
    found, refused = settle(
        engine, rng, ["gemm"], bits, PLAIN, evidence, Found(start, asked, asked, (), ())
    )  # type: ignore[arg-type]
    assert found.asked == sum(entry.answer.size for entry in evidence)
    return found, refused, engine


# True rules that differ in several things from those from which they are found.
FAR: dict[str, dict[str, Any]] = {
    "two small things": {
        "scale": "float32", "multiplier": "fixed_point", "bits": 26,
        "bias": "float32", "bias_rounding": "HALF_EVEN",
    },
    "another scale, another bias": {
        "scale": "float32_max", "bias": "float32_reciprocal", "bias_rounding": "HALF_EVEN",
    },
    "ties and bits": {"scale": "float32", "multiplier": "significand", "bits": 23,
                      "rounding": "HALF_AWAY"},
    "double rounding": {"scale": "float64", "multiplier": "significand", "bits": 29,
                        "steps": "double"},
    "kept bits": {"scale": "float32", "keep": 12, "rounding": "HALF_UP"},
}  # fmt: skip


@pytest.mark.parametrize("name", FAR)
def test_what_ordinary_questions_leave_open_is_settled(name: str) -> None:
    true = Requantize(**FAR[name])
    twice = {"multiplier": "significand", "bits": 25, "steps": "double"} if true.bits == 29 else {}
    found, refused, _ = settled(true, Requantize.model_validate({"scale": "float32", **twice}))
    assert refused is None
    assert found.explained == found.asked
    assert true in (found.rules, *found.equal)


def test_rules_that_hold_are_left_alone() -> None:
    # Three questions confirm what no neighbour contests, and the probe goes on.
    true = Requantize(multiplier="power_of_two", rounding="FLOOR", scale="float32")
    found, _, engine = settled(true, true)
    assert found.rules == true
    assert engine.asked <= 12


def test_a_refusal_keeps_what_was_learnt() -> None:
    true = Requantize(scale="float32_max")
    found, refused, _ = settled(true, Requantize(scale="float32"), patience=1)
    assert refused == ("gemm", "enough")
    assert found.explained == found.asked == 4 * 32
    assert {true, Requantize(scale="float32")} <= {found.rules, *found.equal}


def test_rivals_grow_through_rules_that_explain_as_much() -> None:
    # Twice one thing away: the neighbours do not hold it, the neighbours' neighbours do.
    start = Requantize(scale="float32")
    far = Requantize(scale="float32", multiplier="significand", bits=30, bias="float32")
    engine, rng = Engine(start), np.random.default_rng(4)
    setting = random_setting(rng, Wish(kind="gemm", bias=True, rows=4))
    rivals = Rivals([evidence_of(setting, answers(engine, setting))], [start])  # type: ignore[arg-type]
    assert rivals.grow(1) == 1
    assert len(rivals.rules) > 1
    assert far not in rivals.rules
    rivals.grow(8)
    assert far in rivals.rules

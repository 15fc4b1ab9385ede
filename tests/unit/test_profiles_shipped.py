"""Profiles that come with chipdrift: what they rest on, and what they do."""

from __future__ import annotations

from dataclasses import replace
from importlib import resources
from typing import Any

import numpy as np
import pytest
from op_cases import GROUPS
from single_op import Case, Q, feed_of, model_of, profile, session_of

from chipdrift.graph.program import program_of
from chipdrift.numerics.ops import reference_ops, tables_of
from chipdrift.numerics.profile import Rules
from chipdrift.numerics.profiles import builtin_profiles, get_profile, parse_profile
from chipdrift.targets.sim.plan import IntegerUnit, make_plan

RNG = np.random.default_rng(6)
X = Q("uint8", 0.05, 131, RNG.integers(0, 256, (4, 8)))


def _files() -> list[str]:
    folder = resources.files("chipdrift.numerics.profiles")
    return sorted(
        e.name.removesuffix(".toml") for e in folder.iterdir() if e.name.endswith(".toml")
    )


@pytest.mark.parametrize("name", _files())
def test_every_built_in_profile_says_what_it_rests_on(name: str) -> None:
    text = (resources.files("chipdrift.numerics.profiles") / f"{name}.toml").read_text("utf-8")
    found = parse_profile(text, name, f"profile {name}")  # ops are checked here alone
    assert found == builtin_profiles()[name]
    assert found.description.endswith(".")
    assert "\nevidence = " in text, "said, not left to the default"
    if found.evidence == "hypothesis":
        assert name.startswith("hypothesis-")
        assert found.claim is not None
        assert found.claim.status.startswith("Unverified")
        assert found.claim.text and found.claim.source
        assert "tied to no chip" in found.description
    else:
        assert found.claim is None


def test_the_hypotheses_are_those_that_articles_make() -> None:
    assert [name for name in _files() if name.startswith("hypothesis-")] == [
        "hypothesis-floor",
        "hypothesis-fused-softmax",
        "hypothesis-int16-accumulator",
        "hypothesis-norms-on-cpu",
        "hypothesis-stochastic",
    ]


def test_but_for_the_claim_hypotheses_are_onnxruntimes_rules() -> None:
    """So what parts from ort:cpu is the claim alone."""
    plain = get_profile("ort-mlas")
    for name in (n for n in _files() if n.startswith("hypothesis-")):
        found = get_profile(name)
        rules, base = found.rules_for("Conv", 16), plain.rules_for("Conv", 16)
        for part in ("requantize", "elementwise"):
            mine, theirs = getattr(rules, part).model_dump(), getattr(base, part).model_dump()
            if name in ("hypothesis-floor", "hypothesis-stochastic"):
                assert mine.pop("rounding") != theirs.pop("rounding")
            assert mine == theirs, (name, part)
        assert rules.accumulator == base.accumulator
        assert rules.function == base.function
        assert found.input == plain.input


def _run(case: Case, name: str) -> tuple[np.ndarray, dict[str, str]]:  # type: ignore[type-arg]
    session = session_of(case, get_profile(name))
    return session.run(feed_of(case))[0].astype(np.int64), dict(session.opened().reasons)


def test_int16_accumulators_saturate_on_the_way() -> None:
    """A running sum of 200 * 100 that comes back to 0: clamped at 32,767, it does not come back."""
    x = Q("uint8", 1.0, 0, np.array([[200, 200, 200, 200]]))
    w = Q("int8", 1.0, 0, np.array([[100], [100], [-100], [-100]]), constant=True)
    case = Case("MatMul", [x, w], Q("uint8", 1000.0, 128))
    assert _run(case, "ort-mlas")[0].item() == 128
    # 20000, 32767 (not 40000), 12767, -7233: -7.233 steps.
    assert _run(case, "hypothesis-int16-accumulator")[0].item() == 128 - 7


def test_floor_and_stochastic_rounding_go_down_as_often_as_they_say() -> None:
    x = Q("uint8", 1.0, 0, RNG.integers(0, 256, (2000, 1)))
    w = Q("int8", 1.0, 0, np.array([[1]]), constant=True)
    case = Case("MatMul", [x, w], Q("uint8", 4.0, 0))
    real = np.asarray(x.values) / 4
    np.testing.assert_array_equal(_run(case, "hypothesis-floor")[0], np.floor(real))
    found, _ = _run(case, "hypothesis-stochastic")
    assert ((found == np.floor(real)) | (found == np.ceil(real))).all()
    # Of 2,000 fractions 0, 1/4, 1/2, 3/4 the mean error has a deviation of 0.008.
    assert abs((found - real).mean()) < 0.04
    again, _ = _run(case, "hypothesis-stochastic")
    np.testing.assert_array_equal(found, again)  # the seed is in the file


def test_the_fused_softmax_is_30_percent_off() -> None:
    case = Case("Softmax", [X], Q("uint16", 2 / 65535, 0), {"axis": -1})
    right, wrong = _run(case, "ort-mlas")[0], _run(case, "hypothesis-fused-softmax")[0]
    assert np.abs(wrong - 1.3 * right).max() <= 1
    assert right.max() > 10_000


def test_norms_leave_the_npu_and_nothing_else_does() -> None:
    scale, bias = np.linspace(0.5, 1.5, 8, dtype=np.float32), np.zeros(8, np.float32)
    norm = Case("LayerNormalization", [X, scale, bias], Q("uint8", 0.04, 128))
    found, reasons = _run(norm, "hypothesis-norms-on-cpu")
    assert reasons == {"the_node": "the profile sends LayerNormalization to the CPU"}
    plain, none = _run(norm, "ort-mlas")
    assert none == {}
    assert np.abs(found - plain).max() <= 1  # float32 there as here
    assert _run(Case("Sigmoid", [X], Q("uint8", 1 / 256, 0)), "hypothesis-norms-on-cpu")[1] == {}


@pytest.mark.parametrize(("name", "same"), [("hexagon-v68", "v69"), ("hexagon-v81", "v73")])
def test_a_generation_with_anothers_rules_gets_them(name: str, same: str) -> None:
    assert get_profile(name) == get_profile(f"hexagon-{same}")


class _Seen:
    """Rules that note which of their tables are asked for."""

    def __init__(self, rules: Rules) -> None:
        self._rules, self.seen = rules, set[str]()

    def __getattr__(self, name: str) -> Any:
        self.seen.add(name)
        return getattr(self._rules, name)


@pytest.mark.parametrize("group", GROUPS)
def test_an_op_obeys_the_tables_that_it_is_said_to(group: str) -> None:
    """What each reference function asks its rules for, in all cases of its op."""
    asked: dict[str, set[str]] = {}
    for named in [*GROUPS[group]("uint8"), *GROUPS[group]("int16")]:
        plan = make_plan(program_of(model_of(named.case)), profile())
        (unit,) = (unit for unit in plan.units if isinstance(unit, IntegerUnit))
        feed = feed_of(named.case)
        names = iter(unit.inputs)
        arrays = [
            o.constant if o.constant is not None or not (o.quant or o.live) else feed[next(names)]
            for o in unit.spec.operands
        ]
        rules = _Seen(unit.spec.rules)
        reference_ops()[unit.spec.op](replace(unit.spec, rules=rules), arrays)  # type: ignore[arg-type]
        asked.setdefault(unit.spec.op, set()).update(rules.seen)
    assert asked
    for op, tables in asked.items():
        assert tables <= tables_of(op), op
        assert tables_of(op) - tables <= {"elementwise"}, op  # equal quantizers ask for none

"""The float16 probe recovers the rules of our own engine, and says what a target refuses."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.smallfloat import SmallFloat, dot
from chipdrift.probe import floats
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.finding import Finding
from chipdrift.probe.floats import probe_floats
from chipdrift.targets.registry import get_target
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]


class Engine:
    """The engine under rules, asked in this process; ``change`` spoils an answer."""

    def __init__(self, rules: SmallFloat | None, has_npu: bool = True) -> None:
        self.rules, self.opened = rules, None
        self.target = SimpleNamespace(has_npu=has_npu)

    def ask(self, model: bytes, feeds: list[Mapping[str, Array]]) -> list[Array]:
        program = program_of(onnx.load_from_string(model))
        session = SimSession(program, Profile(name="t", floats=self.rules))
        self.opened = session.opened()
        return [self.change(session.run(feed)[0]) for feed in feeds]

    def change(self, answer: Array) -> Array:
        return answer


def by_rule(found: list[Finding]) -> dict[str, Finding]:
    return {f.rule: f for f in found if f.place}


def as_found(found: list[Finding]) -> SmallFloat:
    """The rules as a profile takes them from the findings."""
    return SmallFloat(**{f.place[1]: f.value for f in found if f.place and f.value is not None})


def random_rules(rng: np.random.Generator) -> SmallFloat:
    fields: dict[str, Any] = {
        "products": rng.choice(["exact", "float16"]),
        "accumulate": [16, 32, 64, "exact"][rng.integers(4)],
        "subnormals": rng.choice(["keep", "flush"]),
        "overflow": rng.choice(["infinity", "clamp"]),
        "output": [r for r in Rounding if r is not Rounding.STOCHASTIC][rng.integers(5)],
    }
    if fields["accumulate"] != "exact":
        fields["order"] = str(rng.choice(["sequential", "pairwise", "blocks"]))
    if fields["accumulate"] in (64, "exact"):
        fields["steps"] = rng.choice(["single", "double"])
    if fields.get("order") == "blocks":
        fields["block"] = int(rng.choice([2, 4, 8, 16, 32, 64, 128, 256]))
        fields["within"] = rng.choice(["sequential", "pairwise"])
    return SmallFloat(**fields)


@pytest.mark.parametrize("seed", range(3))
def test_it_recovers_random_rules_of_the_engine(seed: int) -> None:
    rng = np.random.default_rng([seed, 7])
    rules = random_rules(rng)
    found = probe_floats(Engine(rules), np.random.default_rng(seed))  # type: ignore[arg-type]
    told = by_rule(found)
    assert told["products"].explained == told["products"].asked
    guess = as_found(found)
    # Fresh numbers, among them infinities' neighbours and subnormals: the same answers.
    for words, a, b in floats._numbers(np.random.default_rng(1000 + seed)):
        np.testing.assert_array_equal(dot(a, b, guess), dot(a, b, rules), err_msg=words)
    for name, finding in told.items():
        meant = str(getattr(rules, name))
        if rules.order == guess.order:
            assert meant in (str(finding.value), *finding.undecided), name
    conv = next(f for f in found if f.subject == "float16 Conv")
    assert conv.value is True


def test_rules_that_decide_every_output_are_told_apart() -> None:
    """Each of these changes what the probe asks: none may be left undecided."""
    cases = [
        {"accumulate": "exact", "overflow": "clamp"},
        {"accumulate": 32, "order": "pairwise", "subnormals": "flush"},
        {"accumulate": 64, "order": "blocks", "block": 2, "steps": "double"},
        {"accumulate": 16, "order": "blocks", "block": 256, "within": "pairwise"},
        {"output": "HALF_AWAY"},
    ]  # fmt: skip
    for fields in cases:
        rules = SmallFloat(**fields)
        found = probe_floats(Engine(rules), np.random.default_rng(3))  # type: ignore[arg-type]
        told = by_rule(found)
        for name in fields:
            if (name, fields.get("block")) != ("within", 2):
                assert (told[name].value, told[name].undecided) == (fields[name], ()), fields
        assert dict(told["products"].ruled_out), "the other kind of product explains less"


def test_what_no_rule_explains_is_unknown() -> None:
    class Spoilt(Engine):
        def change(self, answer: Array) -> Array:
            return np.nextafter(answer, np.float16(np.inf), where=answer > 0.5, out=answer.copy())

    found = probe_floats(Spoilt(SmallFloat()), np.random.default_rng(0))  # type: ignore[arg-type]
    told = by_rule(found)
    assert all(f.value is None for f in told.values())
    assert "best so far" in told["order"].words
    assert told["order"].explained < 0.9 * told["order"].asked


def test_a_target_that_refuses_or_computes_elsewhere_says_so() -> None:
    class Refusing(Engine):
        def ask(self, model: bytes, feeds: list[Mapping[str, Array]]) -> list[Array]:
            raise NoAnswerError("no float16 here")

    (found,) = probe_floats(Refusing(None), np.random.default_rng(0))  # type: ignore[arg-type]
    assert (found.rule, found.value) == ("taken", False)
    assert "no float16 here" in found.words
    (found,) = probe_floats(Engine(None), np.random.default_rng(0))  # type: ignore[arg-type]
    assert found.value is False
    assert "runs on the cpu" in found.words


def test_onnxruntime_adds_in_float32() -> None:
    with Asker(get_target("ort:cpu")) as asker:
        found = probe_floats(asker, np.random.default_rng(0))
    told = by_rule(found)
    assert told["accumulate"].value == 32
    assert told["subnormals"].value == "keep"


def test_every_order_of_blocks_is_a_candidate_once() -> None:
    cores = [SmallFloat(**core) for core in floats._cores()]
    assert len(set(cores)) == len(cores)
    assert {c.block for c in cores} == {None, *floats._BLOCKS}
    pairs = itertools.product([16, 32, 64, "exact"], ["exact", "float16"])
    assert {(c.accumulate, c.products) for c in cores} == set(pairs)

"""The probe of element-wise ops recovers the rules of our own engine."""

from __future__ import annotations

from collections.abc import Mapping
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Elementwise, Function, Override, Profile, Rules
from chipdrift.numerics.rounding import Rounding
from chipdrift.probe import elementwise
from chipdrift.probe.ask import NoAnswerError
from chipdrift.probe.elementwise import FUNCTIONS, SEARCHED, probe_elementwise
from chipdrift.probe.finding import Finding
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]
PLAIN = [r for r in Rounding if r is not Rounding.STOCHASTIC]


class Engine:
    """The engine under rules, asked in this process; ``refused`` ops get no answer."""

    def __init__(self, profile: Profile, refused: tuple[str, ...] = ()) -> None:
        self.profile, self.refused, self.opened = profile, refused, None
        self.target = SimpleNamespace(has_npu=False)

    def ask(self, model: bytes, feeds: list[Mapping[str, Array]]) -> list[Array]:
        graph = onnx.load_from_string(model)
        op = next(node.op_type for node in graph.graph.node if node.name == "op")
        if op in self.refused:
            raise NoAnswerError(f"{op} is not for me")
        session = SimSession(program_of(self.change(graph, op)), self.profile)
        self.opened = session.opened()
        return [session.run(feed)[0] for feed in feeds]

    def change(self, model: onnx.ModelProto, op: str) -> onnx.ModelProto:
        return model


class Deaf(Engine):
    """Computes a 16-bit Sigmoid for the scale 1/65536 and calls the integers what was asked for."""

    def ask(self, model: bytes, feeds: list[Mapping[str, Array]]) -> list[Array]:
        graph = onnx.load_from_string(model)
        held = {t.name: onnx.numpy_helper.to_array(t) for t in graph.graph.initializer}
        node = next(n for n in graph.graph.node if n.name == "op")
        if node.op_type != "Sigmoid" or held["y_zero"].dtype != np.uint16:
            return super().ask(model, feeds)
        true = 1 / (1 + np.exp(-feeds[0]["x0"].astype(np.float64)))
        steps = np.rint(true * 65535) - float(held["y_zero"])
        return [(steps * held["y_scale"]).astype(np.float32)]


def random_elementwise(rng: np.random.Generator) -> Elementwise:
    arithmetic = ["exact", "float32", "fixed_point", "fixed_point", "fixed_point"][rng.integers(5)]
    fields: dict[str, Any] = {
        "arithmetic": arithmetic, "rounding": PLAIN[rng.integers(len(PLAIN))],
    }  # fmt: skip
    if arithmetic == "fixed_point":
        fields["bits"] = int(rng.integers(8, 20))
        fields["leading"] = str(rng.choice(["largest", "sum", "one"]))
        if rng.random() < 0.4:
            fields["zero_step"] = 1 << int(rng.integers(1, 10))
            fields["zero_rounding"] = str(rng.choice(["HALF_UP", "FLOOR"]))
        elif rng.random() < 0.5:
            fields["guard"] = int(rng.integers(2, 8))
            fields["parts"] = str(rng.choice(["together", "apart"]))
    elif fields["rounding"] is Rounding.HALF_EVEN and arithmetic == "exact":
        fields["zero_point"] = str(rng.choice(["output", "inside"]))
    return Elementwise(**fields)


def random_function(rng: np.random.Generator) -> Function:
    return Function(arithmetic=str(rng.choice(["exact", "float32", "float16"])))  # type: ignore[arg-type]


def only(monkeypatch: pytest.MonkeyPatch, searched: tuple[str, ...], **others: Any) -> None:
    monkeypatch.setattr(elementwise, "SEARCHED", searched)
    for name in ("FOLLOWERS", "MEANS", "FUNCTIONS"):
        monkeypatch.setattr(elementwise, name, others.get(name, ()))


def rules_of(overrides: list[Override], op: str, bits: int) -> Rules:
    return Profile(name="t", rule=tuple(overrides)).rules_for(op, bits)


@pytest.mark.parametrize("seed", range(5))
def test_it_recovers_random_rules(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng([seed, 3])
    op = SEARCHED[seed % 4]
    only(monkeypatch, (op,))
    true = [
        Override(ops=(op,), activation=bits, elementwise=random_elementwise(rng))
        for bits in (8, 16)
    ]
    found, overrides = probe_elementwise(
        Engine(Profile(name="t", rule=tuple(true))),  # type: ignore[arg-type]
        np.random.default_rng(seed),
    )
    assert {f.subject for f in found} == {f"{op}, 8 bit", f"{op}, 16 bit"}
    for bits, told in zip((8, 16), found, strict=True):
        assert told.explained == told.asked, (true, told)
        # Fresh numbers get the same answers.
        for kind in ("plain", "dyadic", "plain"):
            entry = elementwise._setting(np.random.default_rng([seed, bits]), op, bits, kind)
            got = entry.predict(rules_of(overrides, op, bits))
            want = entry.predict(rules_of(true, op, bits))
            assert (got != want).mean() < 2e-4


@pytest.mark.parametrize("seed", range(3))
def test_it_recovers_functions(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng([seed, 4])
    only(monkeypatch, (), FUNCTIONS=("Sigmoid", "HardSwish", "Softmax"))
    rounding = PLAIN[rng.integers(len(PLAIN))]
    true = [
        Override(
            ops=FUNCTIONS, elementwise=Elementwise(rounding=rounding), function=random_function(rng)
        )
    ]
    found, overrides = probe_elementwise(
        Engine(Profile(name="t", rule=tuple(true))),  # type: ignore[arg-type]
        np.random.default_rng(seed),
    )
    assert all(f.explained == f.asked for f in found if f.rule == "function")
    for bits, op in ((8, "Sigmoid"), (16, "HardSwish"), (16, "Softmax")):
        for entry in elementwise._function(np.random.default_rng(seed + 50), op, bits):
            got = entry.predict(rules_of(overrides, op, bits))
            np.testing.assert_array_equal(got, entry.predict(rules_of(true, op, bits)))


def test_moves_and_means_follow(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = Elementwise(arithmetic="fixed_point", bits=15, guard=6, rounding=Rounding.HALF_UP)
    only(monkeypatch, ("Neg",), FOLLOWERS=("Concat", "MaxPool"), MEANS=("ReduceMean",))
    profile = Profile(name="t", elementwise=rules)
    found, overrides = probe_elementwise(Engine(profile), np.random.default_rng(1))  # type: ignore[arg-type]
    assert all(f.explained == f.asked for f in found)
    ops = {op for o in overrides for op in o.ops or () if o.elementwise == rules}
    assert {"Neg", "Concat", "Requantize", "Identity", "MaxPool"} <= ops


def test_a_refused_op_is_a_finding_and_gives_no_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, ("Neg",), FOLLOWERS=("Concat",), FUNCTIONS=("Tanh",))
    engine = Engine(Profile(name="t"), refused=("Neg", "Tanh"))
    found, overrides = probe_elementwise(engine, np.random.default_rng(1))  # type: ignore[arg-type]
    told = {f.subject: f for f in found}
    assert told["Neg, 8 bit"].words == "no answer: Neg is not for me"
    assert told["Tanh, 16 bit"].words == "no answer: Tanh is not for me"
    assert {op for o in overrides for op in o.ops or ()} == {"Concat", "Requantize", "Identity"}


def test_rules_that_nothing_explains_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, ("Add",))
    profile = Profile(name="t", elementwise=Elementwise(rounding=Rounding.STOCHASTIC))
    found, overrides = probe_elementwise(Engine(profile), np.random.default_rng(1))  # type: ignore[arg-type]
    assert [f.value for f in found] == [None, None]
    assert "best so far" in found[0].words
    assert overrides == []


def test_an_output_scale_that_is_ignored_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    only(monkeypatch, (), FUNCTIONS=("Sigmoid",))

    def ignored(engine: Engine) -> list[Finding]:
        found, _ = probe_elementwise(engine, np.random.default_rng(2))  # type: ignore[arg-type]
        return [f for f in found if f.rule == "output scale"]

    assert ignored(Engine(Profile(name="t"))) == []
    (told,) = ignored(Deaf(Profile(name="t")))
    assert told.subject == "Sigmoid, 16 bit"
    assert "the model's scale is ignored" in told.words

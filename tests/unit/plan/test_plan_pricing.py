"""What a candidate costs: by the model, by what a phone or somebody else measured, or in bytes."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from quantize_models import feeds, loaded

from chipdrift.chips import get_chip
from chipdrift.graph.units import find_units
from chipdrift.plan.judge import Figures
from chipdrift.plan.pricing import Pricer
from chipdrift.plan.recipes import Raise, Recipes
from chipdrift.plan.records import Cost
from chipdrift.plan.sides import Side
from chipdrift.quantize import apply_scheme
from chipdrift.records import NodePlace, PhoneRun, Placement
from chipdrift.schemes import Scheme, get_scheme

SCHEMES = {name: get_scheme(name) for name in ("w8a8", "w8a16", "fp16")}


class Made:
    """A judge as far as prices need one: every scheme's model, as a file."""

    def __init__(self, folder: Path) -> None:
        self.model = loaded("cnn")
        self.request = SimpleNamespace(model=self.model)
        self.folder = folder
        self.variants: dict[str, Any] = {}

    def variant(self, scheme: Scheme) -> Any:
        if scheme.name not in self.variants:
            made = apply_scheme(self.model, scheme, feeds(self.model, 2))
            self.file(scheme).write_bytes(made.data)
            self.variants[scheme.name] = SimpleNamespace(
                scheme=scheme,
                kind=made.kind,
                mixed=made.mixed,
                file=f"{scheme.name}.onnx",
                size=len(made.data),
                trace=made.trace,
            )
        return self.variants[scheme.name]

    def file(self, scheme: Scheme) -> Path:
        return self.folder / f"{scheme.name}.onnx"


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def pricer(made: Made, objective: Any = "latency") -> Pricer:
    return Pricer(cast(Any, made), objective, SCHEMES)


def side(evidence: str = "device", name: str = "sm8550") -> Side:
    chip = SimpleNamespace(name=name, evidence=evidence)
    target = SimpleNamespace(name="adb:1")
    engine = evidence in ("prediction", "hypothesis")
    found = SimpleNamespace(chip=chip, target=target, silicon=get_chip("sm8550"), engine=engine)
    return cast(Any, found)


def timed(seconds: float | None) -> Figures:
    return Figures(phone=PhoneRun(samples=40, median_seconds=seconds))


def price(pricer: Pricer, scheme: str, where: Side) -> Cost:
    found = pricer(SCHEMES[scheme], where)
    assert found is not None
    return found


def test_without_a_time_it_is_the_models_figure_against_w8a8(made: Made) -> None:
    costs = [price(pricer(made), name, side("vendor-simulator")) for name in SCHEMES]
    assert {(cost.unit, cost.basis) for cost in costs} == {("x w8a8", "model")}
    assert costs[0].value == 1 < costs[1].value < costs[2].value


def test_a_phones_own_time_replaces_it_and_gives_the_others_its_unit(made: Made) -> None:
    own, where = pricer(made), side()
    ratio = price(own, "w8a16", where).value / price(own, "w8a8", where).value
    own.saw(SCHEMES["w8a8"], where, timed(0.0031))
    found, other = price(own, "w8a8", where), price(own, "w8a16", where)
    assert (found.value, found.unit, found.basis) == (pytest.approx(3.1), "ms", "measured")
    assert found.low is None and "40 samples" in found.words
    assert (other.value, other.unit, other.basis) == (pytest.approx(3.1 * ratio), "ms", "model")
    assert other.low is not None and other.high is not None
    assert other.low <= other.value <= other.high
    assert "scaled to the time of w8a8" in other.words
    # Another chip's time is its own.
    assert price(own, "w8a8", side(name="sm8450")).unit == "x w8a8"


@pytest.mark.parametrize(
    ("evidence", "figures"),
    [
        ("emulated-runtime", timed(0.0031)),
        ("vendor-simulator", timed(0.0031)),
        ("device", timed(None)),
        ("device", Figures()),
    ],
)
def test_no_other_time_counts(made: Made, evidence: str, figures: Figures) -> None:
    own, where = pricer(made), side(evidence)
    own.saw(SCHEMES["w8a8"], where, figures)
    assert price(own, "w8a8", where).basis == "model"


def test_a_node_that_left_the_npu_costs_what_it_does_there(made: Made) -> None:
    own, where = pricer(made), side("vendor-simulator")
    before = price(own, "w8a8", where).value
    node = next(node.name for node in made.model.proto.graph.node if node.op_type == "Conv")
    gone = NodePlace(node=f"{node}_q", op="Conv", reason="refused", source=(node,))
    placement = Placement(npu=3, cpu=1, fallback=(gone,))
    own.saw(SCHEMES["w8a8"], where, Figures(placement=placement))
    assert price(own, "w8a8", where).value > before
    # What our engine leaves to onnxruntime left no NPU.
    own, where = pricer(made), side("prediction")
    own.saw(SCHEMES["w8a8"], where, Figures(placement=placement))
    assert price(own, "w8a8", where).value == before
    assert price(own, "w8a16", where).value == pytest.approx(
        price(pricer(made), "w8a16", where).value
    )


def test_a_size_is_the_files_bytes(made: Made) -> None:
    found = price(pricer(made, "size"), "w8a8", side())
    size = made.file(SCHEMES["w8a8"]).stat().st_size
    assert (found.value, found.unit, found.basis) == (size, "bytes", "exact")


def test_what_makes_no_model_has_no_price(made: Made) -> None:
    made.variants["w8a8"] = SimpleNamespace(file=None)
    assert pricer(made)(SCHEMES["w8a8"], side()) is None


@pytest.mark.parametrize(
    ("base", "to"),
    [
        *[("w8a8", "uint16"), ("w8a8", "float16"), ("w8a8", "float32")],
        *[("w8a16", "float16"), ("w8a16", "float32")],
    ],
)
def test_what_is_foreseen_of_a_raise_is_what_it_costs_when_it_is_made(
    made: Made, tmp_path: Path, base: str, to: str
) -> None:
    own, where = pricer(made), side("vendor-simulator")
    recipes = Recipes(tmp_path / "schemes")
    variant = made.variant(SCHEMES[base])
    units, _ = find_units(made.file(SCHEMES[base]).read_bytes(), variant.trace)
    layers = [frozenset(unit.nodes) for unit in units]
    exact = 0
    for nodes in (*layers, layers[0] | layers[2], frozenset().union(*layers)):
        raised = recipes.raised(SCHEMES[base], [Raise(nodes, to)], "a raise")
        about = own.foreseen(SCHEMES[base], where, nodes, to)
        found = own(raised, where)
        assert found is not None and about is not None
        mixed = made.variant(raised).mixed
        # A Flatten between two layers goes along with the one before it: then it is dearer.
        if {node for node, _ in mixed.layers} == nodes:
            assert about == pytest.approx(found.value, rel=1e-9), nodes
            exact += 1
    assert exact >= len(layers) - 1


def test_what_is_foreseen_has_the_unit_of_a_measured_time(made: Made) -> None:
    own, where = pricer(made), side()
    node = frozenset([made.model.proto.graph.node[0].name])
    before = own.foreseen(SCHEMES["w8a8"], where, node, "uint16")
    own.saw(SCHEMES["w8a8"], where, timed(0.0031))
    after = own.foreseen(SCHEMES["w8a8"], where, node, "uint16")
    assert before is not None and after == pytest.approx(3.1 * before)


def test_a_size_is_not_foreseen(made: Made) -> None:
    assert pricer(made, "size").foreseen(SCHEMES["w8a8"], side(), frozenset(), "uint16") is None
    made.variants["w8a8"] = SimpleNamespace(file=None)
    assert pricer(made).foreseen(SCHEMES["w8a8"], side(), frozenset(), "uint16") is None

"""Which layers are raised, where it is planted how much noise each tensor's 8 bits make."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipdrift.plan.budget import parse_budget
from chipdrift.plan.desk import Desk
from chipdrift.plan.judge import Figures
from chipdrift.plan.mixed import MixedSearch
from chipdrift.plan.recipes import Recipes
from chipdrift.records import Interval, MetricResult
from chipdrift.schemes import Scheme, get_scheme

LAYERS = 12


def chain(path: Path) -> Path:
    """Twelve layers in a row: n0 writes t1, n1 reads it, and so on."""
    tensors = ["x", *(f"t{i}" for i in range(1, LAYERS)), "y"]
    nodes = [
        helper.make_node("MatMul", [tensors[i], "w"], [tensors[i + 1]], f"n{i}")
        for i in range(LAYERS)
    ]
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1, 4]) for n in ("x", "y")]
    weight = numpy_helper.from_array(np.eye(4, dtype=np.float32), "w")
    onnx.save(helper.make_model(helper.make_graph(nodes, "g", ends[:1], ends[1:], [weight])), path)
    return path


class PlantedJudge:
    """Noise adds up: 1e-6 for each tensor in 8 bits unless planted; 0 where both its ends are 16.

    ``weights`` is noise that goes only where the node itself is in float; ``few`` is what the few
    samples show that is not so on all; ``engine`` answers where it is asked and not the chip.
    """

    def __init__(
        self,
        model: Path,
        tensors: dict[int, float],
        weights: dict[int, float] | None = None,
        few: dict[int, float] | None = None,
        engine: PlantedJudge | None = None,
    ) -> None:
        self.engine = engine
        self.model, self.tensors, self.weights = model, tensors, weights or {}
        self.metric = parse_budget("sqnr >= 1", "sqnr")[1]
        self.few = few or {}
        self.whole: list[frozenset[str]] = []

    def variant(self, scheme: Scheme) -> Any:
        trace = {f"n{i}": (f"n{i}",) for i in range(LAYERS)}
        return SimpleNamespace(trace=trace, mixed=None)

    def file(self, scheme: Scheme) -> Path:
        return self.model

    def measure(
        self,
        pairs: Iterable[tuple[Scheme, Any]],
        indices: Sequence[int] | None = None,
        level: float = 0.95,
    ) -> list[Figures]:
        judges = {"the chip": self, "the engine": self.engine or self}
        return [judges[target.name]._figures(scheme, indices) for scheme, target in pairs]

    def _figures(self, scheme: Scheme, indices: Sequence[int] | None) -> Figures:
        raised = {name: layer.kind for layer in scheme.layer for name in layer.nodes}
        if indices is None:
            self.whole.append(frozenset(raised))
        noise = 0.0
        for i in range(LAYERS + 1):
            ends = {f"n{j}" for j in (i - 1, i) if 0 <= j < LAYERS}
            made = self.tensors.get(i, 1e-6)
            if indices is not None:
                made = self.few.get(i, made)
            noise += 0.0 if ends <= raised.keys() else made
        for i in range(LAYERS):
            in_float = raised.get(f"n{i}") in ("float16", "float32")
            noise += 0.0 if in_float else self.weights.get(i, 0.0)
        db = -10 * math.log10(noise + 1e-9)
        return Figures(
            metric=MetricResult(name="sqnr", value=db), loss=Interval(value=200 - db), sqnr_db=db
        )


def search(tmp_path: Path, judge: PlantedJudge, least: float, border: float = 0.1) -> MixedSearch:
    budget, _ = parse_budget(f"sqnr >= {least}", "sqnr")

    def price(scheme: Scheme, side: Any) -> Any:
        """Each raised layer costs 1, each end of a raised stretch ``border``."""
        raised = {int(name[1:]) for layer in scheme.layer for name in layer.nodes}
        borders = sum((i in raised) != (i + 1 in raised) for i in range(-1, LAYERS))
        return SimpleNamespace(value=10 + len(raised) + border * borders)

    desk = Desk(cast(Any, judge), Recipes(tmp_path), budget, price, lambda _: None)
    target = SimpleNamespace(name="the chip")
    ranker = SimpleNamespace(name="the engine") if judge.engine is not None else target
    side = SimpleNamespace(
        judge_of=lambda scheme: target, ranker=ranker, target=target, chip=SimpleNamespace(name="c")
    )
    return MixedSearch(desk, cast(Any, side), get_scheme("w8a8"), (0, 1))


def chosen(tmp_path: Path, judge: PlantedJudge, least: float, to: str = "uint16") -> set[str]:
    found = search(tmp_path, judge, least).climb(to)
    assert found is not None
    return set().union(*(handle.nodes for handle in found))


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return chain(tmp_path / "chain.onnx")


@pytest.mark.parametrize("bad", [1, 5, LAYERS - 1])
def test_one_bad_tensor_raises_its_writer_and_its_reader_and_nothing_else(
    tmp_path: Path, model: Path, bad: int
) -> None:
    judge = PlantedJudge(model, {bad: 1e-2})
    assert chosen(tmp_path, judge, 40) == {f"n{bad - 1}", f"n{bad}"}


@pytest.mark.parametrize(("bad", "node"), [(0, "n0"), (LAYERS, f"n{LAYERS - 1}")])
def test_the_graphs_own_ends_have_one_node(
    tmp_path: Path, model: Path, bad: int, node: str
) -> None:
    assert chosen(tmp_path, PlantedJudge(model, {bad: 1e-2}), 40) == {node}


def test_two_bad_tensors_far_apart(tmp_path: Path, model: Path) -> None:
    judge = PlantedJudge(model, {2: 1e-2, 9: 1e-3})
    assert chosen(tmp_path, judge, 40) == {"n1", "n2", "n8", "n9"}


def test_only_as_much_as_the_budget_needs(tmp_path: Path, model: Path) -> None:
    judge = PlantedJudge(model, {2: 1e-2, 9: 1e-3})
    assert chosen(tmp_path, judge, 29) == {"n1", "n2"}


def test_what_another_needed_edge_does_already_is_dropped(tmp_path: Path, model: Path) -> None:
    """Three in a row of which the middle one's ends are raised with the others."""
    judge = PlantedJudge(model, {4: 1e-2, 5: 1e-2, 6: 1e-2})
    found = search(tmp_path, judge, 40).climb("uint16")
    assert found is not None
    assert {name for h in found for name in h.nodes} == {"n3", "n4", "n5", "n6"}
    assert len(found) <= 3


def test_what_only_the_few_samples_showed_is_dropped(tmp_path: Path, model: Path) -> None:
    """Ranked first by the few, and not needed on all."""
    judge = PlantedJudge(model, {2: 1e-2}, few={9: 1e-1})
    assert chosen(tmp_path, judge, 40) == {"n1", "n2"}


@pytest.mark.parametrize(
    ("border", "nodes"), [(0.1, {"n3", "n4", "n6", "n7"}), (3.0, {"n3", "n4", "n5", "n6", "n7"})]
)
def test_a_hole_is_filled_where_that_is_cheaper(
    tmp_path: Path, model: Path, border: float, nodes: set[str]
) -> None:
    """A layer more costs 1, and spares two borders."""
    judge = PlantedJudge(model, {4: 1e-2, 7: 1e-2})
    found = search(tmp_path, judge, 40, border).climb("uint16")
    assert found is not None
    assert {name for handle in found for name in handle.nodes} == nodes


def test_bad_weights_are_mended_by_float_alone(tmp_path: Path, model: Path) -> None:
    judge = PlantedJudge(model, {}, weights={6: 1e-2})
    assert search(tmp_path, judge, 40).climb("uint16") is None
    assert chosen(tmp_path, judge, 40, "float32") == {"n6"}
    assert chosen(tmp_path, judge, 40, "float16") == {"n6"}


def test_where_nothing_helps_nothing_is_raised_whole(tmp_path: Path, model: Path) -> None:
    judge = PlantedJudge(model, dict.fromkeys(range(LAYERS + 1), 0.0), weights={3: 1e-2})
    assert search(tmp_path, judge, 40).climb("uint16") is None
    # What brings nothing alone may do together: it is tried to the end, and no further.
    assert judge.whole[-1] == frozenset(f"n{i}" for i in range(LAYERS))


def test_where_all_of_it_does_not_do_none_is_told_and_the_trail_has_what_was_tried(
    tmp_path: Path, model: Path
) -> None:
    judge = PlantedJudge(model, dict.fromkeys(range(LAYERS + 1), 0.001), weights={3: 1e-2})
    looking = search(tmp_path, judge, 40)
    assert looking.climb("uint16") is None
    assert max(len(entry.raised) for entry, _ in looking.trail) == LAYERS
    assert all(figures.metric is not None for _, figures in looking.trail)


def test_layers_are_ranked_by_what_each_alone_brings(tmp_path: Path, model: Path) -> None:
    judge = PlantedJudge(model, {3: 4e-3, 8: 2e-3, 5: 1e-3})
    looking = search(tmp_path, judge, 40)
    ranked = looking.ranked("uint16")
    assert [handle.key for handle, _ in ranked[:3]] == ["t3", "t8", "t5"]
    total = 7e-3 + (LAYERS + 1 - 3) * 1e-6
    assert ranked[0][1] == pytest.approx(10 * math.log10(total / (total - 4e-3)), abs=1e-3)
    told = {one.nodes: one for one in looking.desk.sensitivity}
    assert told["n2", "n3"].gain_db == pytest.approx(ranked[0][1], abs=1e-3)
    assert {one.samples for one in told.values()} == {2}
    assert judge.whole == []  # the few samples alone


def test_few_sets_are_asked_whole(tmp_path: Path, model: Path) -> None:
    judge = PlantedJudge(model, {i: 1e-3 * 1.3**i for i in range(LAYERS + 1)})
    search(tmp_path, judge, 32).climb("uint16")
    assert len(judge.whole) <= 30


def test_what_was_tried_says_what_it_is(tmp_path: Path, model: Path) -> None:
    looking = search(tmp_path, PlantedJudge(model, {5: 1e-2}), 40)
    looking.climb("uint16")
    entry, figures = looking.trail[0]
    assert (entry.how, entry.base, entry.raised) == ("mixed", "w8a8", ("n4", "n5"))
    assert entry.words == "w8a8 with 2 layers in 16-bit activations: n4, n5"
    assert looking.desk.holds(figures)
    looking = search(tmp_path, PlantedJudge(model, {}, {5: 1e-2}), 40)
    looking.climb("float32")
    assert (looking.trail[0][0].how, looking.trail[0][0].raised) == ("hybrid", ("n5",))


def led(
    tmp_path: Path, judge: PlantedJudge, least: float, to: str = "uint16"
) -> tuple[set[str] | None, MixedSearch]:
    looking = search(tmp_path, judge, least)
    found = looking.climb(to)
    return (None if found is None else set().union(*(h.nodes for h in found))), looking


def test_where_the_engine_leads_and_is_right_the_chip_is_asked_once(
    tmp_path: Path, model: Path
) -> None:
    tensors = {2: 1e-2, 9: 1e-3}
    judge = PlantedJudge(model, tensors, engine=PlantedJudge(model, tensors))
    found, looking = led(tmp_path, judge, 40)
    assert found == {"n1", "n2", "n8", "n9"}
    assert judge.whole == [frozenset(found)]
    assert [figures for _, figures in looking.trail] == looking.desk.ask(
        [looking.trail[0][0].scheme], looking.side.target
    )


def test_what_the_engine_promised_too_much_is_asked_of_it_on_top(
    tmp_path: Path, model: Path
) -> None:
    """The chip has noise everywhere that the engine does not: by the engine alone t2 would do."""
    engine = PlantedJudge(model, {2: 1e-2, 9: 1e-5, 6: 3e-6})
    judge = PlantedJudge(model, {2: 1e-2, 9: 2e-4, 6: 3e-6}, engine=engine)
    assert led(tmp_path, engine, 40)[0] == {"n1", "n2"}
    found, looking = led(tmp_path, judge, 40)
    assert found is not None and found >= {"n1", "n2", "n8", "n9"}
    assert looking.desk.holds(looking.trail[-1][1])
    assert 2 <= len(judge.whole) <= 4


def test_an_engine_that_never_says_yes_does_not_end_the_search(tmp_path: Path, model: Path) -> None:
    """It has noise that no 16 bits take away; the chip does not, and less than all is raised."""
    tensors = {2: 1e-2, 9: 1e-2, 4: 2e-6}
    engine = PlantedJudge(model, tensors, {5: 1e-3})
    judge = PlantedJudge(model, tensors, engine=engine)
    assert led(tmp_path, engine, 40)[0] is None
    found, looking = led(tmp_path, judge, 40)
    assert found is not None
    assert {"n1", "n2", "n8", "n9"} <= found
    assert any(looking.desk.holds(f) and found == set(e.raised) for e, f in looking.trail)
    assert len(judge.whole) <= 4


def test_where_the_chip_never_holds_it_is_asked_about_all_of_it_and_no_more(
    tmp_path: Path, model: Path
) -> None:
    engine = PlantedJudge(model, {2: 1e-2})
    judge = PlantedJudge(model, {2: 1e-2}, {5: 1e-2}, engine=engine)
    found, looking = led(tmp_path, judge, 40)
    assert found is None
    assert looking.trail and not any(looking.desk.holds(f) for _, f in looking.trail)
    assert len(judge.whole) <= 4


def test_an_engine_that_does_not_run_the_model_breaks_nothing(tmp_path: Path, model: Path) -> None:
    class Broken(PlantedJudge):
        def _figures(self, scheme: Scheme, indices: Sequence[int] | None) -> Figures:
            return Figures(error="it does not run")

    judge = PlantedJudge(model, {2: 1e-2}, engine=Broken(model, {}))
    assert led(tmp_path, judge, 40)[0] is None


def test_what_costs_as_much_as_one_that_holds_is_not_tried(tmp_path: Path, model: Path) -> None:
    """One layer costs 11.2 (10 and a border at each end), two 12.2: three or more, 13.2."""
    judge = PlantedJudge(model, {2: 1e-2, 9: 1e-3})
    looking = search(tmp_path, judge, 40)
    looking.ceiling = 13.2
    assert looking.climb("uint16") is None  # both edges are needed: four layers
    assert {len(entry.raised) for entry, _ in looking.trail} == {2}
    looking = search(tmp_path, judge, 40)
    looking.ceiling = 14.5
    found = looking.climb("uint16")
    assert found is not None
    assert set().union(*(handle.nodes for handle in found)) == {"n1", "n2", "n8", "n9"}
    looking = search(tmp_path, judge, 40)
    looking.ceiling = 11.2
    before = list(judge.whole)
    assert looking.climb("float32") is None
    assert (looking.desk.sensitivity, judge.whole) == ([], before)


def test_notes_are_told_where_a_search_takes_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[str] = []
    now = [0.0]
    monkeypatch.setattr("chipdrift.plan.desk.time", SimpleNamespace(monotonic=lambda: now[0]))
    desk = Desk(*(cast(Any, None),) * 4, tell=told.append, _noted=0.0)
    for number, seconds in enumerate((1.0, 9.0, 10.0, 12.0, 19.9, 20.0, 45.0)):
        now[0] = seconds
        desk.note(str(number))
    assert told == ["2", "5", "6"]

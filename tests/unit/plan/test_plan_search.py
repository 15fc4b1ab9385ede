"""Which samples rank, which schemes a group may run, and when a search goes on by a margin."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper

from chipdrift.data import Samples
from chipdrift.errors import ModelError
from chipdrift.plan import run_plan
from chipdrift.plan.budget import parse_budget
from chipdrift.plan.desk import Desk, Entry
from chipdrift.plan.judge import Figures
from chipdrift.plan.search import FEW, GroupSearch, few_of, held_of
from chipdrift.records import Interval, MetricResult, TensorSpec
from chipdrift.schemes import Layer, get_scheme


def samples(values: list[float]) -> Samples:
    spec = TensorSpec(name="x", dtype="float32", shape=(1,))
    return Samples("x", [spec], len(values), lambda i: {"x": np.float32([values[i]])})


@pytest.mark.parametrize("copies", [1, 2, 5])
def test_copies_of_a_sample_never_both_tune_and_hold(copies: int) -> None:
    found = samples([float(i // copies) for i in range(60 * copies)])
    few, held = few_of(found), held_of(found)
    keys = [{found.keys[i] for i in part} for part in (few, held)]
    assert not keys[0] & keys[1]
    assert len(keys[0]) == len(few) == 30
    assert len(keys[1]) == len(held) == 30


def test_the_few_are_no_more_than_they_are_called() -> None:
    found = samples([float(i) for i in range(500)])
    assert len(few_of(found)) == len(held_of(found)) == FEW


@pytest.mark.parametrize(("fp16", "runs"), [(True, True), (False, False), (None, False)])
def test_layers_in_float16_go_to_chips_that_have_it(fp16: bool | None, runs: bool) -> None:
    side = SimpleNamespace(chip=SimpleNamespace(fp16=fp16))
    group = GroupSearch(cast(Any, None), cast(Any, side), [get_scheme("w8a8")])
    halves = get_scheme("w8a8").model_copy(
        update={"layer": (Layer.model_validate({"nodes": ["a"], "kind": "float16"}),)}
    )
    assert group.may_run(halves) is runs
    assert group.may_run(get_scheme("w8a16"))
    assert not group.may_run(get_scheme("fp16"))


def test_a_margin_asks_for_more_than_the_budget() -> None:
    budget, metric = parse_budget("top1 drop <= 2%", "top1")
    desk = Desk(
        cast(Any, SimpleNamespace(metric=metric)), cast(Any, None), budget, cast(Any, None), print
    )
    figures = Figures(
        metric=MetricResult(name="top1", value=0.95), loss=Interval(value=0.015), samples=100
    )
    assert desk.holds(figures)
    assert desk.holds(figures, 0.005)
    assert not desk.holds(figures, 0.006)


def dear(whole: bool, margin: float) -> list[str]:
    """Which schemes are asked on all samples; by name (drop on all, SQNR, cost)."""
    planted = {
        "w8a16": (0.0, 30.0, 2.0),
        "w8a16_pc": (0.015, 40.0, 2.0),
        "w4a16_pc": (0.0, 20.0, 1.5),
        "fp16": (0.0, 60.0, 4.0),
    }
    budget, metric = parse_budget("top1 drop <= 2%", "top1")
    asked: list[str] = []

    def figures(name: str) -> Figures:
        drop, noise, _ = planted[name]
        drop = 0.5 if name == "w4a16_pc" else drop
        value = MetricResult(name="top1", value=0.95 - drop)
        return Figures(metric=value, loss=Interval(value=drop), sqnr_db=noise)

    def measure(pairs: Any, indices: Any = None, judged: bool = False) -> list[Figures]:
        names = [scheme.name for scheme, _ in pairs]
        if indices is None:
            asked.extend(names)
        return [figures(name) for name in names]

    judge = SimpleNamespace(
        metric=metric, measure=measure, request=SimpleNamespace(samples=samples([1.0, 2.0]))
    )

    def price(scheme: Any, side: Any) -> Any:
        return SimpleNamespace(value=planted[scheme.name][2])

    desk = Desk(cast(Any, judge), cast(Any, None), budget, price, lambda _: None)
    side = SimpleNamespace(judge_of=lambda scheme: "chip", target="chip")
    schemes = [get_scheme(name) for name in planted]
    group = GroupSearch(desk, cast(Any, side), schemes, margin=margin, whole=whole)
    for scheme in schemes:
        desk.add(Entry(scheme, "scheme", scheme.name))
    group._dear()
    assert "w4a16_pc" in group.scores  # ruled out by the few, whose figures it keeps
    return asked


def test_dear_schemes_are_asked_in_the_order_of_cost_until_one_holds() -> None:
    assert dear(whole=False, margin=0.0) == ["w8a16_pc"]
    assert dear(whole=False, margin=0.01) == ["w8a16_pc", "w8a16"]
    assert dear(whole=True, margin=0.0) == ["w8a16_pc", "w8a16", "fp16"]


def test_a_float_model_that_answers_nan_is_refused(tmp_path: Path) -> None:
    nodes = [helper.make_node("Sqrt", ["x"], ["y"], "root")]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
    )
    model = tmp_path / "nan.onnx"
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), model)
    x = np.random.default_rng(0).standard_normal((32, 4)).astype(np.float32)
    np.savez(tmp_path / "d.npz", x=x, labels=np.zeros(32, np.int64))
    np.savez(tmp_path / "c.npz", x=np.abs(x))
    with pytest.raises(ModelError, match=r"output y holds NaN or infinity on \d+ of 16 samples"):
        run_plan(
            model,
            tmp_path / "d.npz",
            chips=["ort:cpu"],
            budget="top1 drop <= 1%",
            out=tmp_path / "plan",
            calibration=tmp_path / "c.npz",
            schemes=["w8a8"],
        )

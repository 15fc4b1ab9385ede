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
from chipdrift.plan.desk import Desk
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

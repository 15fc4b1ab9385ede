"""The cost model: its figures are the table's, and what must never get cheaper does not."""

from __future__ import annotations

import importlib.util
import json
import math
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipdrift.chips import Chip, all_chips
from chipdrift.errors import ChipdriftError
from chipdrift.plan.cost import CostModel, shipped_model
from chipdrift.plan.work import NodeWork, Runs, VariantWork

ROOT = Path(__file__).parents[3]
PLAN = ROOT / "src" / "chipdrift" / "plan"
CHIPS = {chip.soc: chip for chip in all_chips()}
WIDTHS: tuple[Runs, ...] = ("w8a8", "w8a16", "fp16", "cpu")


def script(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


FIT = script("fit_costs")


def chain(*runs: Runs, work: int = 1_000_000) -> VariantWork:
    """Convolutions one behind the other."""
    nodes = tuple(
        NodeWork(
            name=f"n{index}",
            op="Conv",
            macs=(index + 1) * work,
            weights=(index + 2) * 1000,
            inputs=((f"t{index}", 5000),),
            outputs=((f"t{index + 1}", 5000),),
            reads=5000,
            writes=5000,
        )
        for index in range(len(runs))
    )
    return VariantWork(nodes, runs)


def chip(soc: str) -> Chip:
    return CHIPS[soc]


@pytest.fixture(scope="module")
def model() -> CostModel:
    return shipped_model()


@pytest.fixture(scope="module")
def fitted() -> Any:
    rows = FIT.read_rows(PLAN / "latency.csv")
    return FIT.fit(rows, FIT.read_work(PLAN / "published_work.csv"), FIT.generations())


# The shipped figures.


def test_the_shipped_figures_are_what_the_table_gives(fitted: Any) -> None:
    shipped = json.loads((PLAN / "cost.json").read_text(encoding="utf-8"))
    shipped.pop("source")
    assert close(json.loads(json.dumps(fitted)), shipped)


def close(a: Any, b: Any) -> bool:
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(close(a[key], b[key]) for key in a)
    if isinstance(a, list):
        return len(a) == len(b) and all(map(close, a, b))
    if isinstance(a, float):
        return math.isclose(a, b, rel_tol=5e-3, abs_tol=1e-6)
    return bool(a == b)


def test_the_table_says_where_it_is_from() -> None:
    lines = (PLAN / "latency.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].endswith(",at")
    assert {line.rsplit(",", 1)[1] for line in lines[1:]} == {"52c080d2"}
    work = (PLAN / "published_work.csv").read_text(encoding="utf-8").splitlines()
    assert all("pytorch-image-models@" in line for line in work[1:])


def test_every_device_is_a_chip_of_the_catalogue() -> None:
    assert set(FIT.DEVICES.values()) <= set(CHIPS)
    assert set(FIT.DEVICES) >= {row.place[0] for row in FIT.read_rows(PLAN / "latency.csv")}


# The fit, on tables whose figures are known.


def table(ratio: dict[str, float], spread: float = 0.0, seed: int = 0) -> list[Any]:
    """Models on devices; what a model's float takes beyond its device's figure is ``spread``."""
    rng = np.random.default_rng(seed)
    rows = []
    for index in range(40):
        own = float(np.exp(rng.normal(0, spread)))
        for device, value in ratio.items():
            if rng.random() < 0.3:  # not every model ran everywhere
                continue
            place, ms = (device, "onnx"), float(rng.uniform(0.2, 9))
            part = (f"m{index}", "c")
            rows.append(FIT.Row(part, "w8a8", place, ms, 50, 0, 0))
            rows.append(FIT.Row(part, "float", place, ms * value * own, 50, 0, 0))
    return rows


def test_known_ratios_are_recovered() -> None:
    ratio = {"a": 2.0, "b": 3.0, "c": 5.0}
    found = FIT.fit_kind(FIT.ratios(table(ratio), "float"), dict.fromkeys("abc", "v1"))
    assert found["devices"] == pytest.approx(ratio, rel=1e-3)
    assert found["pooled"] == pytest.approx(3.0, rel=1e-3)
    assert found["log_error"]["device"] == pytest.approx([0, 0, 0], abs=1e-3)
    # A device that is not in the table: the others' median is all there is to go by.
    assert found["log_error"]["pooled"][2] > math.log(5 / 3) - 0.3


def test_the_error_is_that_of_models_left_out() -> None:
    ratio = {"a": 2.0, "b": 3.0, "c": 5.0}
    found = FIT.fit_kind(FIT.ratios(table(ratio, spread=0.4), "float"), dict.fromkeys("abc", "v1"))
    low, _, high = found["log_error"]["device"]
    # 80 % of a normal distribution lie within 1.28 of its deviations; 40 models tell it roughly.
    assert low == pytest.approx(-1.28 * 0.4, abs=0.2)
    assert high == pytest.approx(1.28 * 0.4, abs=0.2)
    for device, value in ratio.items():
        assert found["devices"][device] == pytest.approx(value, rel=0.25)


def test_known_terms_are_recovered() -> None:
    rng = np.random.default_rng(1)
    truth = np.array([0.1, 0.002, 0.05, 0.02, 0.03])
    speeds = {"slow": 2.0, "even": 1.0, "fast": 0.5}
    work = {f"m{i}": tuple(rng.uniform(0.1, 20, 3)) for i in range(12)}
    rows = []
    for name, own in work.items():
        layers = int(rng.integers(20, 300))
        for device, speed in speeds.items():
            ms = float(np.array([1, layers, *own]) @ truth) * speed
            rows.append(FIT.Row((name, "c"), "w8a8", (device, "onnx"), ms, layers, 0, 0))
    found = FIT.fit_times(rows, work)
    terms = [found["terms"][name] for name in FIT.TERMS]
    assert terms == pytest.approx(truth, rel=0.02)
    assert found["speeds"] == pytest.approx(speeds, rel=0.01)
    assert found["median_abs_log_error"] < 0.01


def test_a_known_way_to_the_cpu_is_recovered() -> None:
    rows = []
    for index in range(12):
        for device in ("a", "b"):
            part, base = (f"m{index}", "c"), 1.0 + index
            rows.append(FIT.Row(part, "w8a8", (device, "qnn_dlc"), base, 50, 0, 0))
            if index < 8:
                rows.append(FIT.Row(part, "w8a8", (device, "onnx"), base * 1.2, 50, 0, 0))
            else:
                count = 1 + index % 2
                ms = base * 1.2 + 0.7 * count
                rows.append(FIT.Row(part, "w8a8", (device, "onnx"), ms, 50, 0, count))
    assert FIT.fit_visits(rows)["ms"] == pytest.approx(0.7, rel=1e-3)


def test_mixtures_are_never_fitted_to(fitted: Any) -> None:
    rows = FIT.read_rows(PLAN / "latency.csv")
    mixed = [row for row in rows if "mixed" in row.precision]
    assert len(mixed) > 50
    work = FIT.read_work(PLAN / "published_work.csv")
    slow = [replace(r, ms=r.ms * 100) if "mixed" in r.precision else r for r in rows]
    assert FIT.fit(slow, work, FIT.generations()) == fitted


# The model.


@pytest.mark.parametrize("soc", ["SM8650", "SM8550", "SM7750", "SM4450"])
def test_a_pure_model_costs_what_the_table_says(model: CostModel, soc: str) -> None:
    same = model.cost(chain("w8a8", "w8a8"), chip(soc))
    assert (same.value, same.low, same.high) == (1, 1, 1)
    assert (same.unit, same.basis) == ("x w8a8", "model")
    wide = model.cost(chain(*["w8a16"] * 5), chip(soc))
    figure = model.figure("w8a16", chip(soc))
    assert (wide.value, wide.low, wide.high) == pytest.approx(
        (figure.value, figure.low, figure.high)
    )
    assert figure.low < figure.value < figure.high


def test_a_phones_own_figure_is_its_devices() -> None:
    shipped = json.loads((PLAN / "cost.json").read_text(encoding="utf-8"))
    own = shipped_model().figure("fp16", chip("SM8650"))
    assert own.value == shipped["kinds"]["float"]["devices"]["Samsung Galaxy S24"]
    assert own.where == "Samsung Galaxy S24"


def test_a_chip_that_is_not_in_the_table_has_a_wider_range(model: CostModel) -> None:
    known = model.figure("fp16", chip("SM8550"))
    assert chip("SM8635").hexagon == "v73"
    akin = model.figure("fp16", chip("SM8635"))
    nobody = model.figure("fp16", None)
    assert akin.where == "devices of v73" and nobody.where == "all devices"
    for other in (akin, nobody):
        assert other.high / other.low > known.high / known.low


def test_float_runs_on_the_cpu_where_the_npu_has_none(model: CostModel) -> None:
    without = next(c for c in all_chips() if c.fp16 is False)
    cost = model.cost(chain("w8a8", "fp16", "w8a8"), without)
    assert cost.value == model.cost(chain("w8a8", "cpu", "w8a8"), without).value
    assert "hypothesis" in cost.words and "CPU" in cost.words


def test_4_bit_weights_are_called_a_hypothesis(model: CostModel) -> None:
    cost = model.cost(chain("w4a16", "w8a8"), chip("SM8650"))
    assert "hypothesis: as w8a16" in cost.words


@settings(max_examples=80, deadline=None)
@given(
    runs=st.lists(st.sampled_from(WIDTHS[:3]), min_size=1, max_size=8),
    index=st.integers(0, 7),
    soc=st.sampled_from([*sorted(set(FIT.DEVICES.values())), "SM8635", "SM4450"]),
    work=st.integers(0, 10**10),
)
def test_raising_a_whole_model_or_its_end_never_gets_cheaper(
    runs: list[Runs], index: int, soc: str, work: int
) -> None:
    """Raising one layer in the middle may save borders; the layers' own time never falls."""
    model = shipped_model()
    index %= len(runs)
    order = {how: rank for rank, how in enumerate(WIDTHS)}
    raised = list(runs)
    raised[index] = WIDTHS[order[runs[index]] + 1]
    before, after = chain(*runs, work=work), chain(*raised, work=work)
    if len(after.crossings) >= len(before.crossings) and not _leaves_cpu(before, after):
        assert _at_most(model.cost(before, chip(soc)), model.cost(after, chip(soc)))


def _leaves_cpu(before: VariantWork, after: VariantWork) -> bool:
    ways = [sum(c.to_cpu for c in v.crossings) for v in (before, after)]
    return ways[1] < ways[0]


def _at_most(a: Any, b: Any) -> bool:
    return a.value <= b.value * (1 + 1e-9)


def test_in_no_device_is_a_wider_type_faster_than_w8a8() -> None:
    """What the order of a search rests on: true of every device's median model."""
    shipped = json.loads((PLAN / "cost.json").read_text(encoding="utf-8"))
    for kind in ("w8a16", "float"):
        assert min(shipped["kinds"][kind]["devices"].values()) > 1.5


@settings(max_examples=60, deadline=None)
@given(
    count=st.integers(3, 9),
    ends=st.tuples(st.integers(0, 8), st.integers(0, 8)),
    soc=st.sampled_from(["SM8650", "SM7750", "SM8635", "SM4450"]),
    how=st.sampled_from(["w8a8", "w8a16"]),
)
def test_one_more_border_of_the_cpu_never_gets_cheaper(
    count: int, ends: tuple[int, int], soc: str, how: Runs
) -> None:
    """The same nodes on the CPU, with one more island between them."""
    model = shipped_model()
    first, second = sorted(min(end, count - 1) for end in ends)
    alike = replace(
        chain(*[how] * count),
        nodes=tuple(
            replace(node, macs=10**6, weights=1000) for node in chain(*[how] * count).nodes
        ),
    )
    together = model.cost(alike, chip(soc), ["n0", "n1"])
    apart = model.cost(alike, chip(soc), [f"n{first}", f"n{second}"])
    ways = [
        sum(c.to_cpu for c in alike.falling_back(nodes).crossings)
        for nodes in (["n0", "n1"], [f"n{first}", f"n{second}"])
    ]
    if first != second and ways[1] > ways[0]:
        assert apart.value > together.value
        assert apart.low is not None and together.low is not None
        assert apart.low >= together.low


def test_a_fallback_is_dearer_by_its_work_and_by_its_borders(model: CostModel) -> None:
    plain = chain("w8a8", "w8a8", "w8a8")
    target = chip("SM7750")
    costs = [model.cost(plain, target, nodes) for nodes in ([], ["n2"], ["n1"], ["n1", "n2"])]
    assert costs[0].value == 1
    assert [c.value for c in costs] == sorted(c.value for c in costs)
    assert "2 of them to or from the CPU" in costs[2].words
    with pytest.raises(ChipdriftError, match="no node 'other'"):
        model.cost(plain, target, ["other"])


def test_a_small_model_pays_more_for_a_way_to_the_cpu(model: CostModel) -> None:
    """A way takes milliseconds, whatever the model."""
    small, large = (
        model.cost(chain("w8a8", "cpu", *["w8a8"] * 6, work=work), chip("SM8650"))
        for work in (10**3, 10**10)
    )
    share = model.figure("cpu", chip("SM8650")).value
    assert small.value > large.value > 1
    assert share > 1


def test_a_model_without_layers_has_no_cost(model: CostModel) -> None:
    nothing = VariantWork((NodeWork("n", "Constant", constant=True),), ("w8a8",))
    with pytest.raises(ChipdriftError, match="no layer that computes"):
        model.cost(nothing, None)

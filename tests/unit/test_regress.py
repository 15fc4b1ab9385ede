"""What changed between two runs, against NumPy, SciPy and the matrix's own pairs."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.stats import binomtest

from chipdrift.demo import DemoPaths
from chipdrift.errors import ChipdriftError
from chipdrift.matrix import cell_outputs, read_matrix, run_matrix
from chipdrift.regress import run_regress
from chipdrift.regress.limits import parse_limits
from chipdrift.regress.pairing import pair_cells

COARSE = "sim:hypothesis-int16-accumulator"
COUNT = 60


def measure(demo: DemoPaths, out: Path, **asked: Any) -> Path:
    options = {
        "schemes": ["w8a8"],
        "targets": ["ort:cpu", COARSE],
        "limit": COUNT,
        "calibration": demo.calibration,
        "jobs": 1,
        "exhaustive": True,
        **asked,
    }
    run_matrix(options.pop("model", demo.model), options.pop("data", demo.data), out=out, **options)
    return out


@pytest.fixture(scope="module")
def run(demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return measure(demo, tmp_path_factory.mktemp("runs") / "a")


@pytest.fixture
def edited(run: Path, tmp_path: Path) -> Callable[[Callable[[Any], None]], Path]:
    """A copy of the run with its matrix changed."""

    def make(edit: Callable[[Any], None]) -> Path:
        copy = tmp_path / "edited"
        shutil.copytree(run, copy)
        matrix = json.loads((copy / "matrix.json").read_text())
        edit(matrix)
        (copy / "matrix.json").write_text(json.dumps(matrix))
        return copy

    return make


def test_the_figures_of_two_targets(run: Path, demo: DemoPaths) -> None:
    found = run_regress(run, target="ort:cpu", against=COARSE, limits=["changed=1"])
    (change,) = found.changes
    a, b = (
        cell_outputs(run, "w8a8", t)[0]["logits"].reshape(COUNT, -1) for t in (change.a, COARSE)
    )
    labels = np.load(demo.data)["labels"][:COUNT]
    tops = a.argmax(1), b.argmax(1)
    parted = np.flatnonzero(tops[0] != tops[1])
    # The case must be one: the two part, and not on everything.
    assert 0 < len(parted) < COUNT
    assert change.changed == len(parted)
    assert change.agreement == 1 - len(parted) / COUNT
    assert [one.sample for one in change.parted] == parted[:20].tolist()
    assert change.identical == (a == b).all(1).mean()
    assert change.max_abs == np.abs(a - b).max()
    right = [top == labels for top in tops]
    lost, gained = (right[0] & ~right[1]).sum(), (right[1] & ~right[0]).sum()
    assert change.delta is not None
    assert change.delta.value == pytest.approx((gained - lost) / COUNT, abs=1e-12)
    assert change.delta.p_value == pytest.approx(binomtest(gained, gained + lost).pvalue)
    # The matrix has the same pair, by its own code.
    (pair,) = read_matrix(run).pairs
    assert (pair.agreement, pair.agreement_low) == (change.agreement, change.agreement_low)
    assert (pair.identical, pair.lsb, pair.max_abs) == (
        change.identical,
        change.lsb,
        change.max_abs,
    )
    assert (change.exceeds, found.failed) == (("changed",), True)
    assert change.measured == COUNT


def test_the_other_way_round_is_the_other_sign(run: Path) -> None:
    (there,) = run_regress(run, target="ort:cpu", against=COARSE).changes
    (back,) = run_regress(run, target=COARSE, against="ort:cpu").changes
    assert there.delta is not None
    assert back.delta is not None
    assert there.delta.value == -back.delta.value != 0
    lost = there.delta.value < 0
    limits = ["loss=0.5"]  # one sample of sixty is 1.7 points
    assert run_regress(run, target="ort:cpu", against=COARSE, limits=limits).failed is lost
    assert run_regress(run, target=COARSE, against="ort:cpu", limits=limits).failed is not lost


def test_samples_in_another_order(run: Path, demo: DemoPaths, tmp_path: Path) -> None:
    held = dict(np.load(demo.data))
    order = np.random.default_rng(5).permutation(COUNT)
    count = len(held["labels"])
    np.savez(
        tmp_path / "other.npz",
        **{
            name: array[:COUNT][order] if array.shape[:1] == (count,) else array
            for name, array in held.items()
        },
    )
    other = measure(demo, tmp_path / "b", data=tmp_path / "other.npz")
    found = run_regress(run, other, limits=[f"{name}=0" for name in ("changed", "bits", "lsb")])
    assert [c.identical for c in found.changes] == [1, 1]
    assert [c.delta.value for c in found.changes if c.delta] == [0, 0]
    assert not found.failed
    assert any("same versions" in words for words in found.warnings)


def test_closeness_to_the_float_model(demo: DemoPaths, tmp_path: Path) -> None:
    """A metric that needs the float model's outputs, which is no cell of the run."""
    one = measure(demo, tmp_path / "cos", metric="cosine")
    (change,) = run_regress(one, target="ort:cpu", against=COARSE).changes
    cells = {cell.target: cell for cell in read_matrix(one).cells}
    values = [cells[t].metric for t in ("ort:cpu", COARSE)]
    assert values[0] is not None
    assert values[1] is not None
    assert change.delta is not None
    assert change.delta.value == pytest.approx(values[1].value - values[0].value, abs=1e-12)


def test_a_node_that_left_the_npu(edited: Any, run: Path) -> None:
    place = {"node": "stem/conv", "op": "Conv", "reason": "too wide", "source": []}

    def edit(matrix: Any) -> None:
        matrix["cells"][0]["placement"]["fallback"] = [place]

    later = edited(edit)
    there = run_regress(run, later, limits=["moved=0"])
    assert [p.node for p in there.changes[0].left_npu] == ["stem/conv"]
    assert there.changes[0].exceeds == ("moved",)
    assert there.changes[1].exceeds == ()
    back = run_regress(later, run, limits=["moved=0"])
    assert [p.node for p in back.changes[0].joined_npu] == ["stem/conv"]
    assert not back.failed


def test_a_cell_that_lost_its_answers(edited: Any, run: Path, cli: Any) -> None:
    def edit(matrix: Any) -> None:
        matrix["cells"][0].update(status="failed", reason="the session was killed")

    later = edited(edit)
    code, out, err = cli("regress", run, later, "--fail-above", "slower=1e9")
    assert code == 1
    assert "ok to failed" in out
    assert "it had answers and is failed now: the session was killed" in err
    assert cli("regress", run, later)[0] == 0
    assert cli("regress", later, run, "--fail-above", "changed=0")[0] == 0


def test_times_of_two_machines_are_not_compared(edited: Any, run: Path) -> None:
    assert all(
        change.timing
        for change in run_regress(
            run, run.parent / "a" / ".", target="ort:cpu", against=COARSE
        ).changes
    )
    later = edited(lambda matrix: matrix["host"].update(cpu="another"))
    found = run_regress(run, later, limits=["slower=1"])
    assert [change.timing for change in found.changes] == [None, None]
    assert any("two machines" in words for words in found.warnings)
    assert any("slower was not checked" in words for words in found.warnings)


def test_what_only_one_run_has_is_named(edited: Any, run: Path) -> None:
    def edit(matrix: Any) -> None:
        matrix["targets"] = matrix["targets"][:1]
        matrix["cells"] = matrix["cells"][:1]

    found = run_regress(run, edited(edit))
    assert len(found.changes) == 1
    assert any(f"w8a8 on {COARSE}" in words for words in found.warnings)


def test_releases_in_their_order(run: Path) -> None:
    """2.9 is older than 2.10, and what is installed stands among them by its version."""
    matrix = read_matrix(run)
    sdks = {
        "htp:sm8550@2.10": "2.10.0",
        "htp:sm8550": "2.51.0",
        "htp:sm8550@2.9": "2.9.40",
        "htp:sm8550@2.51": "2.51.0",
        "htp:sm8650@2.9": "2.9.40",
    }
    cells = [
        matrix.cells[0].model_copy(update={"target": name, "versions": {"qnn": qnn, "isa": "avx2"}})
        for name, qnn in sdks.items()
    ]
    many = matrix.model_copy(update={"targets": tuple(sdks), "cells": tuple(cells)})
    pairs = [(a.target, b.target) for a, b in pair_cells(many, many, same_run=True)]
    assert pairs == [("htp:sm8550@2.9", "htp:sm8550@2.10"), ("htp:sm8550@2.10", "htp:sm8550")]
    older = many.model_copy(update={"targets": tuple(sdks)[2:3], "cells": tuple(cells[2:3])})
    newer = many.model_copy(update={"targets": tuple(sdks)[3:4], "cells": tuple(cells[3:4])})
    across = [(a.target, b.target) for a, b in pair_cells(older, newer, same_run=False)]
    assert across == [("htp:sm8550@2.9", "htp:sm8550@2.51")]


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "no chip under two releases"),
        ({"target": "ort:cpu"}, "--against is needed"),
        ({"against": "ort:cpu"}, "--target is needed"),
        ({"target": "ort:cpu", "against": "ort:cpu"}, "name two targets"),
        ({"target": "ort:gpu", "against": "ort:cpu"}, "Unknown target 'ort:gpu'"),
        ({"target": "ort:cpu", "against": COARSE, "schemes": ["w4"]}, "Unknown scheme"),
        ({"target": "ort:cpu", "against": COARSE, "limits": ["chnged=1"]}, "Near names: changed"),
        ({"target": "ort:cpu", "against": COARSE, "limits": ["changed"]}, "0 or more"),
        ({"target": "ort:cpu", "against": COARSE, "limits": ["lsb=-1"]}, "0 or more"),
        ({"target": "ort:cpu", "against": COARSE, "limits": ["lsb=nan"]}, "0 or more"),
        ({"run_b": "nowhere"}, "no such run"),
    ],
)
def test_what_cannot_be_compared(run: Path, asked: dict[str, Any], words: str) -> None:
    with pytest.raises(ChipdriftError, match=words) as caught:
        run_regress(run, **asked)
    assert "\n" not in str(caught.value)


def test_runs_of_other_things(
    run: Path, demo: DemoPaths, tmp_path: Path, small_model: Path, small_data: Path
) -> None:
    fewer = measure(demo, tmp_path / "fewer", limit=COUNT // 2, targets=["ort:cpu"])
    with pytest.raises(ChipdriftError, match=f"30, of which 30 are among the other run's {COUNT}"):
        run_regress(run, fewer)
    cosine = measure(demo, tmp_path / "cosine", metric="cosine", targets=["ort:cpu"])
    with pytest.raises(ChipdriftError, match="two metrics"):
        run_regress(run, cosine)
    small = measure(
        demo,
        tmp_path / "small",
        model=small_model,
        data=small_data,
        calibration=small_data.with_name("cal.npz"),
        targets=["ort:cpu"],
    )
    with pytest.raises(ChipdriftError, match="two models"):
        run_regress(run, small)


def test_limits_are_numbers_by_name() -> None:
    assert parse_limits(["changed=0.5", " loss = 1"]) == {"changed": 0.5, "loss": 1.0}


def test_the_command(run: Path, cli: Any) -> None:
    words = ["regress", run, "--target", "ort:cpu", "--against", COARSE]
    code, out, err = cli(*words, "--json", "--fail-above", "lsb=1,changed=100")
    found = json.loads(out)
    assert code == 1
    assert found["changes"][0]["exceeds"] == ["lsb"]
    assert "LSB is the largest distance of an output, limit 1" in err
    code, out, _ = cli(*words)
    assert code == 0
    assert f"ort:cpu to {COARSE}" in " ".join(out.split())
    assert f"{found['changes'][0]['changed']} of {COUNT}" in out

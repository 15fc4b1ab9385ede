"""What widens a self-check's limit, what it lets pass, and how a figure is told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import bundle_fixtures
import pytest
from bundles import change_plan

from chipdrift.bundle import make_bundle
from chipdrift.bundle.tolerance import Distance, distance_of
from chipdrift.matrix import read_matrix
from chipdrift.records import Cell, Lsb, Matrix, Pair

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
own_plan = bundle_fixtures.own_plan


def beside(run: Matrix, target: str, evidence: str, steps: int) -> Distance:
    """SM8450's distance where ``target`` was in the run, this far off under the same scheme."""
    cell = next(c for c in run.cells if (c.scheme, c.target) == ("w8a8", "htp:sm8450"))
    other = Cell(**{**dict(cell), "target": target, "evidence": evidence})
    apart = Lsb(max=steps, mean=1.0)
    pairs = [
        Pair(scheme="w8a8", a=a, b=b, samples=60, agreement=1.0, identical=0.1, lsb=apart)
        for a, b in (("htp:sm8450", target), ("ort:cpu", target), (target, "htp:sm8550"))
    ]
    changed = {"cells": (*run.cells, other), "pairs": (*run.pairs, *pairs)}
    return distance_of(run.model_copy(update=changed), cell)


@pytest.mark.parametrize(
    ("target", "evidence"),
    [
        ("sim:hypothesis-int16-accumulator", "hypothesis"),
        ("ort:avx2", "emulated-runtime"),
        ("ort:arm64", "emulated-runtime"),
        ("litert:cpu", "host-runtime"),
        ("openvino:cpu", "host-runtime"),
    ],
)
def test_what_is_no_chip_widens_no_limit(plan: Path, target: str, evidence: str) -> None:
    run = read_matrix(plan / "confirm")
    without = max(p.lsb.max for p in run.pairs if p.scheme == "w8a8" and p.lsb is not None)
    found = beside(run, target, evidence, 105)
    assert (found.steps, target in found.words) == (without, False)


@pytest.mark.parametrize("evidence", ["device", "reported", "vendor-simulator", "prediction"])
def test_what_stands_for_a_chip_does_and_is_named(plan: Path, evidence: str) -> None:
    found = beside(read_matrix(plan / "confirm"), "other:chip", evidence, 105)
    assert found.steps == 105
    assert "other:chip" in found.words.rpartition(": ")[2]


@pytest.mark.parametrize("steps", [3, 120])
def test_a_limit_that_lets_half_pass_is_told_everywhere(
    cli: Any, own_plan: Path, tmp_path: Path, steps: int
) -> None:
    """The check is the selector's own, on answers of half the size."""
    file = own_plan / "confirm" / "matrix.json"
    matrix = json.loads(file.read_text())
    for pair in matrix["pairs"]:
        pair["lsb"] = {"max": steps, "mean": 1.0}
    for cell in matrix["cells"]:
        cell["lsb"] = None
    file.write_text(json.dumps(matrix))
    code, _, said = cli("bundle", own_plan, "-o", tmp_path / "b")
    assert code == 0
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    told = [w for w in manifest["warnings"] if "half of what is right in logits pass" in w]
    assert [w.partition(":")[0] for w in told] == (["sm8450", "sm8550"] if steps == 120 else [])
    for warning in told:
        assert f"Warning: {warning}" in said
        assert "may be 120 steps off" in warning
        assert "The limit rests on: htp:" in warning
        assert "stand for a chip" in warning
    # It was signed anew.
    code, _, _ = cli("bundle-check", tmp_path / "b", "--public-key", tmp_path / "b" / "key.pub")
    assert code == 0


def test_a_metric_against_the_float_model_has_no_loss(
    cli: Any, own_plan: Path, tmp_path: Path
) -> None:
    """SQNR is set against float already: "worse than float by 113" would be no figure."""
    told = json.loads((own_plan / "plan.json").read_text())
    told["metric"] |= {"name": "sqnr", "against_baseline": True}
    for choice in told["choices"]:
        choice["metric"] |= {"name": "sqnr", "value": 36.6791, "low": 35.668, "high": 37.611}
        choice["loss"] = {"value": 113.3, "low": 112.4, "high": 114.3}
    change_plan(own_plan, metric=told["metric"], choices=told["choices"])
    code, printed, _ = cli("bundle", own_plan, "-o", tmp_path / "b", "--golden", "0")
    assert code == 0
    manifest = json.loads((tmp_path / "b" / "manifest.json").read_text())
    public = tmp_path / "b" / "key.pub"
    _, checked, _ = cli(
        *("bundle-check", tmp_path / "b", "--public-key", public, "--chip", "SM8550")
    )
    for text in (printed, manifest["chips"][1]["why"], checked):
        assert "60 samples: sqnr 36.68 dB (35.67 to 37.61)" in text
        assert "worse than float" not in text
        assert "113" not in text


def test_what_no_phone_gets_does_not_choose_the_samples(own_plan: Path, tmp_path: Path) -> None:
    """A profile among the chips has no ro.soc.model, and may be far off."""
    told = json.loads((own_plan / "plan.json").read_text())
    told["chips"][1].update(ro_soc_models=[], soc=None)
    change_plan(own_plan, chips=told["chips"])
    made = make_bundle(own_plan, tmp_path / "b")
    assert [chip.golden is None for chip in made.manifest.chips] == [False, True, True]

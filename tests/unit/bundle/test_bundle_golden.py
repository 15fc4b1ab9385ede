"""How far a phone may be off, and which samples it is asked."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import bundle_fixtures
import numpy as np
import pytest
from bundles import change_plan

from chipdrift.bundle import Made, make_bundle
from chipdrift.bundle.tolerance import distance_of, limit_of
from chipdrift.bundle.tried import _blind
from chipdrift.matrix import read_matrix
from chipdrift.records import Cell, Lsb, Matrix, Quantizer, SiliconCheck

pytestmark = pytest.mark.htp
plan = bundle_fixtures.plan
own_plan = bundle_fixtures.own_plan
made = bundle_fixtures.made
BYTE = Quantizer(scale=(0.25,), zero_point=(3,), dtype="uint8")
SHORT = Quantizer(scale=(0.25,), zero_point=(3,), dtype="uint16")
EXPECTED = np.array([[1.0, -4.0]], np.float32)


@pytest.fixture
def run(plan: Path) -> Matrix:
    return read_matrix(plan / "confirm")


def cell_of(run: Matrix, scheme: str, target: str) -> Cell:
    return next(c for c in run.cells if (c.scheme, c.target) == (scheme, target))


def check(run: Matrix, **changes: Any) -> SiliconCheck:
    content: dict[str, Any] = {
        "scheme": "w8a8",
        "simulator": "htp:sm8450",
        "silicon": "adb:1",
        "simulator_evidence": "vendor-simulator",
        "silicon_evidence": "device",
        "relation": "same-chip",
        "samples": 60,
        "measured": 60,
        "agreement": 1.0,
        "identical": 0.5,
        "lsb": Lsb(max=1, mean=0.1),
        "max_abs": 0.5,
        "predicted": run.cells[0].metric,
        "observed": run.cells[0].metric,
        "difference": {
            "value": 0,
            "low": 0,
            "high": 0,
            "p_value": 1,
            "p_holm": 1,
            "significant": False,
        },
    }
    return SiliconCheck(**{**content, **changes})


def test_without_silicon_the_targets_that_confirmed_tell(run: Matrix) -> None:
    cell = cell_of(run, "w8a8", "htp:sm8450")
    found = distance_of(run, cell)
    largest = max(p.lsb.max for p in run.pairs if p.scheme == "w8a8" and p.lsb is not None)
    assert (found.steps, found.silicon) == (largest, False)
    assert "no silicon" in found.words
    alone = run.model_copy(update={"pairs": ()})
    lonely = distance_of(alone, cell.model_copy(update={"lsb": None}))
    assert (lonely.steps, lonely.absolute) == (None, None)
    # Nothing was measured: two roundings.
    assert limit_of("y", EXPECTED, BYTE, lonely).steps == 2
    assert limit_of("y", EXPECTED, SHORT, lonely).steps == 16
    assert limit_of("y", EXPECTED, None, lonely).most == 4.0 / 512


def test_what_was_measured_between_simulator_and_silicon_goes_before(run: Matrix) -> None:
    cell = cell_of(run, "w8a8", "htp:sm8450")
    with_phone = run.model_copy(
        update={
            "silicon": (
                check(run, lsb=Lsb(max=9, mean=1.0)),
                check(run, relation="other-generation", lsb=Lsb(max=99, mean=1.0)),
                check(run, simulator="htp:sm8550", lsb=Lsb(max=98, mean=1.0)),
                check(run, scheme="w8a8_pc", lsb=Lsb(max=97, mean=1.0)),
            )
        }
    )
    found = distance_of(with_phone, cell)
    assert (found.steps, found.absolute, found.silicon) == (9, 0.5, False)
    assert "from silicon (adb:1)" in found.words


@pytest.mark.parametrize("evidence", ["device", "reported"])
def test_silicon_itself_is_to_the_bit(run: Matrix, evidence: str) -> None:
    cell = cell_of(run, "w8a8", "htp:sm8450").model_copy(update={"evidence": evidence})
    found = distance_of(run, cell)
    assert (found.steps, found.silicon) == (0, True)
    limit = limit_of("y", EXPECTED, BYTE, found)
    assert (limit.step, limit.steps, limit.most) == (0.25, 0, 0.125)
    # A float output: one step of half precision at its largest value.
    assert limit_of("y", EXPECTED, None, found).most == 4.0 / 2048


def test_integers_without_a_quantizer_have_steps_of_one(run: Matrix) -> None:
    found = distance_of(run, cell_of(run, "w8a8", "htp:sm8450"))
    limit = limit_of("y", np.array([[7]], np.int32), None, found)
    assert (limit.step, limit.steps) == (1.0, found.steps)
    assert limit_of("y", np.array([[True]]), None, found).most == 0.0


def test_the_samples_lead_clearly_and_differ(made: Made) -> None:
    for chip in made.manifest.chips[:2]:
        golden = chip.golden
        assert golden is not None
        assert golden.top == 0
        leading = []
        for (name,) in golden.expected:
            logits = np.fromfile(made.folder / name, np.float32)
            first, second = np.sort(logits)[::-1][:2]
            assert first - second > 2 * golden.limits[0].most
            leading.append(int(logits.argmax()))
        assert len(set(leading)) == 4


@pytest.mark.parametrize("count", [1, 9, 60])
def test_how_many(own_plan: Path, tmp_path: Path, count: int) -> None:
    made = make_bundle(own_plan, tmp_path / "b", golden=count)
    assert len(made.manifest.golden.samples) == count
    assert len(set(made.manifest.golden.samples)) == count


def far_apart(plan: Path, metric: str) -> None:
    """The targets that confirmed were 400 steps apart, under this metric."""
    file = plan / "confirm" / "matrix.json"
    matrix = json.loads(file.read_text())
    for pair in matrix["pairs"]:
        pair["lsb"] = {"max": 400, "mean": 9.0}
    matrix["metric"]["name"] = metric
    file.write_text(json.dumps(matrix))


def test_samples_that_do_not_lead_are_told(own_plan: Path, tmp_path: Path) -> None:
    far_apart(own_plan, "top1")
    made = make_bundle(own_plan, tmp_path / "b")
    assert any(w.startswith("4 of 4 golden samples lead by less") for w in made.warnings)
    # The same answer must still lead, so that zeros are found out.
    told = [w for w in made.warnings if "lets a phone that" in w]
    assert len(told) == 2
    assert all("answers half of what is right in logits pass" in w for w in told)


def test_a_check_that_cannot_fail_is_told(own_plan: Path, tmp_path: Path) -> None:
    far_apart(own_plan, "cosine")
    made = make_bundle(own_plan, tmp_path / "b")
    told = [w for w in made.warnings if "lets a phone that answers zeros pass" in w]
    assert [w.partition(":")[0] for w in told] == ["sm8450", "sm8550"]
    assert all("since answers may be 400 steps off" in w for w in told)


def test_a_chip_that_was_not_confirmed_has_no_self_check(own_plan: Path, tmp_path: Path) -> None:
    plan = json.loads((own_plan / "plan.json").read_text())
    plan["chips"][1]["target"] = "htp:sm8650"
    change_plan(own_plan, chips=plan["chips"])
    made = make_bundle(own_plan, tmp_path / "b")
    chips = {chip.name: chip for chip in made.manifest.chips}
    assert chips["sm8550"].golden is None
    assert chips["sm8450"].golden is not None
    assert any(w.startswith("sm8550: not measured under what it gets") for w in made.warnings)


def test_a_check_that_a_flat_answer_passes_is_told() -> None:
    """A limit below the largest answer and above half of the answers' range: zeros are refused."""
    choice = SimpleNamespace(check=lambda answers: SimpleNamespace(ok=near(answers)))
    right = [[np.array(row, np.float32).tobytes()] for row in ([5.0, 6.0, 7.0], [6.0, 8.0, 7.5])]

    def near(answers: list[list[bytes]]) -> bool:
        rows = [np.frombuffer(row[0], np.float32) for row in answers]
        wanted = [np.frombuffer(row[0], np.float32) for row in right]
        return all(np.abs(a - b).max() <= 1.0 for a, b in zip(rows, wanted, strict=True))

    golden = SimpleNamespace(limits=[SimpleNamespace(dtype="float32", name="logits")])
    found = _blind(cast(Any, choice), right, cast(Any, golden))
    assert found == "a phone that gives every value of an answer the same number"
    right[1] = [np.array([6.0, 8.5, 7.5], np.float32).tobytes()]  # flat is 1.25 off
    assert _blind(cast(Any, choice), right, cast(Any, golden)) == ""

"""What changed since a baseline, on real runs: the model, the scheme, the outputs, the cells."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from chipdrift.demo import DemoPaths
from chipdrift.errors import ChipdriftError
from chipdrift.gate import Gate, read_baseline, run_gate, write_baseline
from chipdrift.gate.baseline import make_baseline
from chipdrift.gate.records import Check
from chipdrift.matrix import cell_outputs, read_matrix, run_matrix

CPU, COARSE = "ort:cpu", "sim:hypothesis-int16-accumulator"
COUNT = 120
DROP = "[default]\ndrop = 40\n"


@pytest.fixture(scope="module")
def run(demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "a"
    run_matrix(
        demo.model,
        demo.data,
        schemes=["w8a8"],
        targets=[CPU, COARSE],
        limit=COUNT,
        calibration=demo.calibration,
        jobs=1,
        out=out,
    )
    return out


@pytest.fixture
def baseline(run: Path, tmp_path: Path) -> Path:
    file = tmp_path / "baseline.json"
    write_baseline(file, make_baseline(run, read_matrix(run)))
    return file


@pytest.fixture
def gated(run: Path, tmp_path: Path) -> Callable[..., Gate]:
    """The verdict on the run, or on a copy of it with its matrix changed."""

    def gate(baseline: Path, policy: str = DROP, edit: Callable[[Any], None] | None = None) -> Gate:
        place = run
        if edit is not None:
            place = tmp_path / "edited"
            shutil.rmtree(place, ignore_errors=True)
            shutil.copytree(run, place)
            matrix = json.loads((place / "matrix.json").read_text())
            edit(matrix)
            (place / "matrix.json").write_text(json.dumps(matrix))
        (tmp_path / "policy.toml").write_text(policy)
        return run_gate(place, tmp_path / "policy.toml", baseline)

    return gate


def since(gate: Gate, limit: str) -> list[Check]:
    return [c for c in gate.checks if c.limit == f"since.{limit}"]


def test_the_loss_by_numpy(run: Path, demo: DemoPaths, tmp_path: Path) -> None:
    """The gate's figures are those of the outputs and labels."""
    labels = np.load(demo.data)["labels"][:COUNT]
    outputs = {
        t: cell_outputs(run, "w8a8", t)[0]["logits"].reshape(COUNT, -1) for t in (CPU, COARSE)
    }
    tops = {target: array.argmax(1) for target, array in outputs.items()}
    shares = {target: (top == labels).mean() for target, top in tops.items()}
    base = read_matrix(run).baseline.metric
    assert base is not None
    assert shares[COARSE] < shares[CPU], "the case must be one"
    policy = tmp_path / "p.toml"
    limit = 100 * (base.value - shares[COARSE])
    other = f'agree_with = {{ "{CPU}" = 50 }}\n'
    policy.write_text(f'[default]\ndrop = {limit - 0.01}\njudge = "value"\n{other}')
    gate = run_gate(run, policy)
    found = {(c.limit, c.target): c for c in gate.checks}
    assert found["drop", COARSE].found == pytest.approx(limit, abs=1e-9)
    assert found["drop", COARSE].breaks
    assert not found["drop", CPU].breaks
    alike = 100 * (tops[CPU] == tops[COARSE]).mean()
    assert found["agree_with", COARSE].found == pytest.approx(alike, abs=1e-9)
    policy.write_text(f'[default]\ndrop = {limit + 0.01}\njudge = "value"\n')
    assert not run_gate(run, policy).failed


def test_nothing_changed(run: Path, baseline: Path, gated: Callable[..., Gate]) -> None:
    gate = gated(baseline, DROP + '[since]\ndrop = 0\nnew_fallback = 0\nbits = "fail"\n')
    assert not gate.failed
    assert [c.kind for c in gate.since] == ["same", "same"]
    assert [c.same_bits for c in gate.since] == [True, True]
    assert len(since(gate, "drop")) == len(since(gate, "bits")) == len(gate.since)
    assert gate.warnings == ()


def test_a_baseline_is_stable_and_says_no_time_or_place(
    run: Path, baseline: Path, tmp_path: Path
) -> None:
    text = baseline.read_text()
    copy = tmp_path / "other" / "b"
    shutil.copytree(run, copy)
    matrix = json.loads((copy / "matrix.json").read_text())
    matrix["created"] = "2031-01-01T00:00:00+00:00"
    matrix["cells"].reverse()
    (copy / "matrix.json").write_text(json.dumps(matrix))
    again = tmp_path / "again.json"
    write_baseline(again, make_baseline(copy, read_matrix(copy)))
    assert again.read_text() == text
    for words in (str(tmp_path), str(run), "created", "2026", "seconds"):
        assert words not in text
    assert json.dumps(json.loads(text), indent=1, sort_keys=True, ensure_ascii=False) + "\n" == text
    cells = json.loads(text)["cells"]
    assert [(c["scheme"], c["target"]) for c in cells] == sorted(
        (c["scheme"], c["target"]) for c in cells
    )
    assert len(text) < 4000


def test_a_baseline_of_what_an_import_does_not_know(run: Path, tmp_path: Path) -> None:
    """No calibration, no model: it is read back, and the second is said."""
    matrix = read_matrix(run)
    unknown = matrix.model_copy(
        update={"calibration": None, "model": matrix.model.model_copy(update={"sha256": ""})}
    )
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "matrix.json").write_text(unknown.model_dump_json())
    write_baseline(tmp_path / "b.json", make_baseline(tmp_path / "run", unknown))
    (tmp_path / "p.toml").write_text(DROP)
    gate = run_gate(tmp_path / "run", tmp_path / "p.toml", tmp_path / "b.json")
    assert [c.kind for c in gate.since] == ["same", "same"]
    assert any("do not say of which model they are" in words for words in gate.warnings)


def test_versions_that_are_paths_lose_their_folders(run: Path, tmp_path: Path) -> None:
    matrix = read_matrix(run)
    cells = tuple(
        c.model_copy(update={"versions": {"sdk": str(tmp_path / "2.51"), "qnn": "2.51"}})
        for c in matrix.cells
    )
    made = make_baseline(run, matrix.model_copy(update={"cells": cells}))
    assert made.cells[0].versions == {"sdk": "2.51", "qnn": "2.51"}


def lower(matrix: Any) -> None:
    for cell in matrix["cells"]:
        if cell["target"] == COARSE:
            cell["metric"]["value"] -= 3 / COUNT
            cell["agreement"] -= 6 / COUNT


def test_a_metric_that_fell(baseline: Path, gated: Callable[..., Gate]) -> None:
    gate = gated(baseline, DROP + "[since]\ndrop = 2.5\n", lower)
    assert not gate.failed
    (changed,) = [c for c in gate.since if c.kind == "changed"]
    assert changed.target == COARSE
    assert changed.drop == pytest.approx(2.5)
    assert "top1" in changed.words
    assert "agreement" in changed.words
    gate = gated(baseline, DROP + "[since]\ndrop = 2.4\n", lower)
    (broken,) = gate.broken
    assert (broken.limit, broken.target, broken.line) == ("since.drop", COARSE, 4)
    assert "2.5 points of top1 lost since, as seen" in broken.words


def test_a_metric_that_rose_is_no_loss(baseline: Path, gated: Callable[..., Gate]) -> None:
    def rise(matrix: Any) -> None:
        for cell in matrix["cells"]:
            cell["metric"]["value"] += (cell["target"] == COARSE) / COUNT

    gate = gated(baseline, DROP + "[since]\ndrop = 0\n", rise)
    assert not gate.failed
    (check,) = [c for c in since(gate, "drop") if c.target == COARSE]
    assert check.found == pytest.approx(-100 / COUNT, abs=1e-5)
    assert "gained since" in check.words


def test_other_bits(run: Path, baseline: Path, gated: Callable[..., Gate]) -> None:
    """One bit of one output of one sample."""
    held = json.loads(baseline.read_text())
    coarse = next(c for c in held["cells"] if c["target"] == COARSE)
    arrays, cell = cell_outputs(run, "w8a8", COARSE)
    from chipdrift.store import digest_arrays

    assert coarse["bits"] == digest_arrays(arrays.values())
    changed = {name: array.copy() for name, array in arrays.items()}
    changed["logits"].reshape(-1)[-1] = np.nextafter(changed["logits"].reshape(-1)[-1], np.inf)
    coarse["bits"] = digest_arrays(changed.values())
    baseline.write_text(json.dumps(held))
    gate = gated(baseline)
    assert not gate.failed
    assert any("other bits" in words and COARSE in words for words in gate.warnings)
    assert {c.target: c.same_bits for c in gate.since} == {CPU: True, COARSE: False}
    gate = gated(baseline, DROP + '[since]\nbits = "fail"\n')
    assert [(c.limit, c.target) for c in gate.broken] == [("since.bits", COARSE)]
    assert gated(baseline, DROP + '[since]\nbits = "off"\n').warnings == ()
    assert cell.target == COARSE


def test_nodes_that_left_the_npu(baseline: Path, gated: Callable[..., Gate]) -> None:
    place = {"node": "stem/conv", "op": "Conv", "reason": "too wide", "source": []}

    def fall(matrix: Any) -> None:
        matrix["cells"][1]["placement"]["fallback"] = [place]

    policy = DROP + "[since]\nnew_fallback = {}\n"
    assert not gated(baseline, policy.format(1), fall).failed
    (broken,) = gated(baseline, policy.format(0), fall).broken
    assert (broken.limit, broken.nodes, broken.found) == ("since.new_fallback", ("stem/conv",), 1)
    held = json.loads(baseline.read_text())
    for cell in held["cells"]:
        cell["fallback"] = [place]
    baseline.write_text(json.dumps(held))
    gate = gated(baseline, policy.format(0))
    assert not gate.failed
    assert "came back to the NPU (Conv stem/conv)" in gate.since[0].words


@pytest.mark.parametrize("how", ["gone", "failed"])
def test_a_cell_that_lost_its_answers(how: str, baseline: Path, gated: Callable[..., Gate]) -> None:
    def lose(matrix: Any) -> None:
        cell = next(c for c in matrix["cells"] if c["target"] == COARSE)
        if how == "gone":
            matrix["cells"].remove(cell)
            matrix["targets"].remove(COARSE)
        else:
            cell.update(status="failed", reason="died of signal 11")
            for key in ("metric", "delta", "agreement"):
                cell[key] = None

    allowed = '[default]\ndrop = 40\nstatus = ["ok", "failed"]\n'
    (broken,) = gated(baseline, allowed, lose).broken
    assert (broken.limit, broken.target) == ("since.missing", COARSE)
    assert ("is not in the run" if how == "gone" else "died of signal 11") in broken.words
    gate = gated(baseline, allowed + '[since]\nmissing = "warn"\n', lose)
    assert not gate.failed
    if how == "gone":
        assert any("are not in the run" in words for words in gate.warnings)


def test_a_new_cell_is_told(baseline: Path, gated: Callable[..., Gate]) -> None:
    held = json.loads(baseline.read_text())
    held["cells"] = [c for c in held["cells"] if c["target"] == CPU]
    baseline.write_text(json.dumps(held))
    gate = gated(baseline)
    assert not gate.failed
    assert {c.target: c.kind for c in gate.since} == {CPU: "same", COARSE: "new"}
    assert any("are not in the baseline" in words for words in gate.warnings)


def test_versions_and_the_quantized_file(baseline: Path, gated: Callable[..., Gate]) -> None:
    def update(matrix: Any) -> None:
        matrix["cells"][0]["versions"]["onnxruntime"] = "9.9.9"
        matrix["cells"][0]["model_sha256"] = "0" * 64

    gate = gated(baseline, DROP, update)
    (changed,) = [c for c in gate.since if c.kind == "changed"]
    assert changed.versions["onnxruntime"][1] == "9.9.9"
    assert changed.same_file is False
    assert "to 9.9.9" in changed.words
    assert "another quantized model file" in changed.words


@pytest.mark.parametrize("what", ["model", "data"])
def test_another_model_or_other_data(what: str, baseline: Path, gated: Callable[..., Gate]) -> None:
    def other(matrix: Any) -> None:
        matrix[what]["sha256"] = "0" * 64

    with pytest.raises(ChipdriftError, match=rf"of another {what} than its baseline.*000000000000"):
        gated(baseline, DROP, other)
    gate = gated(baseline, DROP + f'[since]\nother_{what} = "warn"\n', other)
    assert any(f"of another {what} than its baseline" in words for words in gate.warnings)
    # Bits of other samples are no comparison.
    assert {c.same_bits for c in gate.since} == ({None} if what == "data" else {True})


def test_another_metric_is_never_compared(baseline: Path, gated: Callable[..., Gate]) -> None:
    held = json.loads(baseline.read_text())
    held["metric"] = "top5"
    baseline.write_text(json.dumps(held))
    with pytest.raises(ChipdriftError, match="--metric top5"):
        gated(baseline)


def test_other_calibration_is_told(baseline: Path, gated: Callable[..., Gate]) -> None:
    held = json.loads(baseline.read_text())
    held["calibration_sha256"] = "0" * 64
    baseline.write_text(json.dumps(held))
    assert any("calibrated on other samples" in words for words in gated(baseline).warnings)


def test_a_policy_of_changes_needs_a_baseline(run: Path, tmp_path: Path) -> None:
    policy = tmp_path / "p.toml"
    policy.write_text("[since]\ndrop = 1\n")
    with pytest.raises(ChipdriftError, match="needs a baseline"):
        run_gate(run, policy)
    assert not run_gate(run, policy, since=False).failed


@pytest.mark.parametrize("text", ["", "{", "[]", '{"kind": "x"}', "\x00", "[" * 100_000])
def test_what_is_no_baseline(text: str, tmp_path: Path) -> None:
    file = tmp_path / "b.json"
    file.write_text(text)
    with pytest.raises(ChipdriftError, match="no baseline that this chipdrift can read"):
        read_baseline(file)
    with pytest.raises(ChipdriftError, match="--write-baseline"):
        write_baseline(file, None)  # type: ignore[arg-type]
    assert file.read_text() == text
    with pytest.raises(ChipdriftError, match="cannot be read"):
        read_baseline(tmp_path / "nowhere.json")
    with pytest.raises(ChipdriftError, match="no regular file"):
        read_baseline(tmp_path)

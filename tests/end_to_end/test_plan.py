"""``chipdrift plan`` from the command line to what it leaves, on the engine and the simulator."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import onnx
import pytest
from plan_runs import ENGINE, command, lasting, plan

from chipdrift import read_matrix
from chipdrift.demo import paths
from chipdrift.plan import Plan, read_plan
from chipdrift.schemes import get_scheme

if TYPE_CHECKING:
    from conftest import Cli

# Two bases, no calibration on the target: what is searched is mixed precision.
SHORT = ("--scheme", "w8a8_pc,w8a16_pc", "--no-calibrate", "--limit", "48")


@pytest.fixture(scope="module", autouse=True)
def _lent_workers(worker_pool: Any) -> Iterator[None]:
    """What is asked here is what is made of answers: the workers of the test before will do."""
    with worker_pool.lending():
        yield


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Plan]:
    """A plan that needs mixed precision, or 16 bits throughout."""
    out = tmp_path_factory.mktemp("plans") / "mixed"
    code, shown, told = plan(out, "--chips", ENGINE, "--budget", "sqnr >= 36", *SHORT, "--json")
    assert code == 0, told
    found = Plan.model_validate_json(shown)  # one document, nothing beside it
    assert found == read_plan(out)
    return out, found


def test_the_document_says_what_was_asked_and_on_what_it_rests(mixed: tuple[Path, Plan]) -> None:
    out, found = mixed
    assert (found.budget.metric, found.budget.kind, found.budget.limit) == ("sqnr", "least", 36.0)
    assert (found.choosing, found.confirming) == (24, 24)
    parts = [json.loads((out / f"{n}.part.json").read_text()) for n in ("choose", "confirm")]
    assert sorted(parts[0]["samples"] + parts[1]["samples"]) == list(range(48))
    (chip,) = found.chips
    assert (chip.target, chip.searcher, chip.evidence) == (ENGINE, ENGINE, "prediction")
    (choice,) = found.choices
    assert choice.samples == 24
    assert 1 <= choice.looks <= 3
    assert choice.standing in ("confirmed", "within")
    assert choice.loss is not None and choice.metric is not None
    names = {candidate.scheme for candidate in found.candidates}
    assert {score.scheme for score in found.scores} == names
    assert choice.variant in names
    assert found.words[0].startswith("1 of 1 chip") or found.words[0].startswith("0 of 1 chip")


def test_layers_are_raised_and_no_more_than_the_whole(mixed: tuple[Path, Plan]) -> None:
    """8 bits everywhere miss 36 dB here (docs/decisions/012: 32 to 33), 16 everywhere hold it."""
    _, found = mixed
    scores = {score.scheme: score for score in found.scores}
    assert not scores["w8a8_pc"].within
    assert scores["w8a16_pc"].within
    tried = [c for c in found.candidates if c.how == "mixed"]
    held = [c for c in tried if scores[c.scheme].within]
    assert held
    costs = {name: score.cost.value for name, score in scores.items() if score.cost}
    assert min(costs[c.scheme] for c in held) < costs["w8a16_pc"]
    floats = {node.name for node in onnx.load(paths().model).graph.node}
    for candidate in tried:
        assert 0 < len(candidate.raised) <= len(floats)
        assert set(candidate.raised) <= floats
        assert get_scheme_of(mixed[0], candidate.scheme).sha256 == candidate.sha256
    # Every edge of the chain was asked: the input, twelve between layers, the output.
    assert len({one.nodes for one in found.sensitivity if one.to == "uint16"}) == 14


def get_scheme_of(out: Path, name: str) -> Any:
    file = out / "schemes" / f"{name}.toml"
    return get_scheme(str(file) if file.exists() else name)


def test_the_confirmed_figure_is_what_a_matrix_measures_anew(
    mixed: tuple[Path, Plan], tmp_path: Path
) -> None:
    out, found = mixed
    (choice,) = found.choices
    assert choice.variant is not None and choice.metric is not None
    file = out / "schemes" / f"{choice.variant}.toml"
    scheme = str(file) if file.exists() else choice.variant
    demo = paths()
    code, _, told = command(
        *("matrix", str(demo.model), "--data", str(out / "confirm.part.json")),
        *("--calibration", str(demo.calibration), "--scheme", scheme, "--target", ENGINE),
        *("--metric", "sqnr", "-o", str(tmp_path / "anew"), "--jobs", "1"),
    )
    assert code == 0, told
    anew = read_matrix(tmp_path / "anew")
    (cell,) = [c for c in anew.cells if c.target == ENGINE]
    assert cell.metric is not None
    assert cell.metric.value == choice.metric.value
    assert (anew.data.samples, anew.data.sha256) == (24, found.data.sha256)
    # And a matrix of the choosing samples says what the search saw.
    score = next(s for s in found.scores if s.scheme == choice.variant)
    code, _, told = command(
        *("matrix", str(demo.model), "--data", str(out / "choose.part.json")),
        *("--calibration", str(demo.calibration), "--scheme", scheme, "--target", ENGINE),
        *("--metric", "sqnr", "-o", str(tmp_path / "choose"), "--jobs", "1"),
    )
    assert code == 0, told
    (cell,) = [c for c in read_matrix(tmp_path / "choose").cells if c.target == ENGINE]
    assert cell.metric is not None and score.metric is not None
    assert cell.metric.value == score.metric.value


def test_the_variant_that_is_shipped_is_the_one_that_was_measured(
    mixed: tuple[Path, Plan],
) -> None:
    import hashlib

    out, found = mixed
    assert {v.name for v in found.variants} == {found.choices[0].variant, found.safe}
    for variant in found.variants:
        data = (out / variant.file).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (variant.sha256, variant.size)
    shipped = next(v for v in found.variants if v.name == found.choices[0].variant)
    assert shipped.chips == (ENGINE,)
    candidate = next(c for c in found.candidates if c.scheme == shipped.scheme)
    assert (candidate.model_sha256, candidate.size) == (shipped.sha256, shipped.size)
    safe = next(v for v in found.variants if v.name == found.safe)
    assert (safe.scheme, safe.chips) == ("fp32", ())


def test_the_confirming_run_is_opened_again_by_diagnose(mixed: tuple[Path, Plan]) -> None:
    out, _ = mixed
    code, shown, told = command("diagnose", str(out / "confirm"), "--json")
    assert code in (0, 1), told
    assert json.loads(shown)
    assert "Traceback" not in told


def test_the_same_command_again_starts_no_worker_and_says_the_same(
    mixed: tuple[Path, Plan], monkeypatch: pytest.MonkeyPatch
) -> None:
    out, found = mixed

    def start(*_: object) -> None:
        raise AssertionError("a worker was started: something is measured again")

    for module in ("chipdrift.matrix.schedule", "chipdrift.probe.ask"):
        monkeypatch.setattr(f"{module}.WorkerProcess", start)
    code, _, told = plan(out, "--chips", ENGINE, "--budget", "sqnr >= 36", *SHORT)
    assert code == 0, told
    assert lasting(read_plan(out)) == lasting(found)


def test_a_budget_that_nobody_meets_is_told_with_the_nearest(mixed: tuple[Path, Plan]) -> None:
    """In the same folder: what was measured is there."""
    out, before = mixed
    code, shown, told = plan(out, "--chips", ENGINE, "--budget", "sqnr >= 200", *SHORT, "--json")
    assert code == 1, told
    found = Plan.model_validate_json(shown)
    (choice,) = found.choices
    assert (choice.standing, found.saved, found.single) == ("missed", None, None)
    assert choice.variant is not None and choice.metric is not None
    assert choice.metric.value < 200
    ran = [s.metric.value for s in found.scores if s.metric is not None]
    nearest = [s.scheme for s in found.scores if s.metric and s.metric.value == max(ran)]
    assert choice.variant in nearest
    assert "nearest" in choice.why
    assert "do not" in found.words[0]
    assert found.choosing == before.choosing


def test_a_budget_that_8_bits_meet_raises_nothing(mixed: tuple[Path, Plan]) -> None:
    out, _ = mixed
    code, shown, told = plan(out, "--chips", ENGINE, "--budget", "sqnr >= 20", *SHORT, "--json")
    assert code == 0, told
    found = Plan.model_validate_json(shown)
    assert [c.how for c in found.candidates] == ["scheme", "scheme"]
    assert (found.choices[0].variant, found.choices[0].standing) == ("w8a8_pc", "confirmed")
    assert (found.sensitivity, found.single) == ((), "w8a8_pc")
    assert found.saved == pytest.approx(0)


def test_one_variant_for_a_profile_a_hypothesis_and_this_host(
    mixed: tuple[Path, Plan],
) -> None:
    out, _ = mixed
    chips = f"{ENGINE},sim:hypothesis-int16-accumulator,ort:cpu"
    words = ("--chips", chips, "--budget", "sqnr >= 36", *SHORT, "--max-variants", "1")
    code, shown, told = plan(out, *words, "--json")
    found = Plan.model_validate_json(shown)
    assert code == (1 if any(c.standing == "missed" for c in found.choices) else 0), told
    evidence = {chip.name: chip.evidence for chip in found.chips}
    assert evidence == {
        ENGINE: "prediction",
        "sim:hypothesis-int16-accumulator": "hypothesis",
        "ort:cpu": "host-runtime",
    }
    assert len({choice.variant for choice in found.choices} - {None}) == 1
    assert {choice.standing for choice in found.choices} <= {"confirmed", "within", "missed"}
    assert found.max_variants == 1
    assert found.cap_words is not None and found.cap_words.startswith("At most 1 variant")
    assert (len(found.variants), found.variants[0].chips) == (2, tuple(chips.split(",")))


def test_what_is_kept_low_may_be_the_size(mixed: tuple[Path, Plan]) -> None:
    out, _ = mixed
    words = ("--chips", ENGINE, "--budget", "sqnr >= 36", *SHORT, "--objective", "size")
    code, shown, told = plan(out, *words, "--json")
    assert code == 0, told
    found = Plan.model_validate_json(shown)
    sizes = {c.scheme: c.size for c in found.candidates}
    for score in found.scores:
        assert score.cost is not None
        assert (score.cost.unit, score.cost.basis) == ("bytes", "exact")
        assert score.cost.value == sizes[score.scheme]
    (choice,) = found.choices
    held = [sizes[s.scheme] for s in found.scores if s.within]
    assert choice.cost is not None
    if choice.looks == 1:
        assert choice.cost.value == min(held)
    shipped = next(v for v in found.variants if v.name == choice.variant)
    assert (out / shipped.file).stat().st_size == choice.cost.value


def test_a_plan_is_shown_as_a_table_with_its_reasons(mixed: tuple[Path, Plan]) -> None:
    out, _ = mixed
    code, shown, told = plan(out, "--chips", ENGINE, "--budget", "sqnr >= 20", *SHORT)
    assert code == 0, told
    lines = shown.splitlines()
    assert lines[0].startswith("1 of 1 chip")
    assert "sqnr >= 20 with the whole interval (24 samples" in lines[0]
    assert any(line.startswith(f"{ENGINE}: ") and "the cheapest" in line for line in lines)
    assert f"Plan: {out / 'plan.json'}" in told


# On the simulator, and killed.


@pytest.mark.htp
def test_a_simulated_chip_is_planned_for_by_its_engine_and_confirmed_on_itself(
    tmp_path: Path,
) -> None:
    pytest.importorskip("onnxruntime_qnn")
    out = tmp_path / "plan"
    code, shown, told = plan(
        *(out, "--chips", "sm8550", "--budget", "agreement >= 80%", "--json"),
        *("--scheme", "w8a8_pc", "--limit", "32"),
    )
    assert code == 0, told
    found = Plan.model_validate_json(shown)
    (chip,), (choice,) = found.chips, found.choices
    assert (chip.target, chip.searcher) == ("htp:sm8550", ENGINE)
    assert {score.target for score in found.scores} == {ENGINE}
    assert {score.evidence for score in found.scores} == {"prediction"}
    assert (choice.variant, choice.evidence) == ("w8a8_pc", "vendor-simulator")
    # The runtime's options were tried on the chip itself and are told with what they did.
    tried = {one.technique: one.words for one in found.tried}
    assert tried["offload_graph_io_quantization=0"].startswith("changes the answers")
    assert tried["offload_graph_io_quantization=1"] == "changes nothing"
    matrix = read_matrix(out / "confirm")
    (cell,) = [c for c in matrix.cells if c.target == "htp:sm8550"]
    assert cell.metric == choice.metric
    assert cell.evidence == "vendor-simulator"


@pytest.mark.slow
def test_killed_in_the_middle_and_started_again_it_ends_at_the_same_plan(
    mixed: tuple[Path, Plan], tmp_path: Path
) -> None:
    """SIGKILL while layers are ranked: what is there is used, and nothing else comes of it."""
    _, expected = mixed
    demo, out = paths(), tmp_path / "killed"
    words = [
        *(sys.executable, "-m", "chipdrift.cli.main", "plan", str(demo.model)),
        *("--data", str(demo.data), "--calibration", str(demo.calibration), "-o", str(out)),
        *("--chips", ENGINE, "--budget", "sqnr >= 36", *SHORT, "--jobs", "1"),
    ]
    for until in ("trying the runtimes", "which layers of"):
        with subprocess.Popen(words, stderr=subprocess.PIPE, start_new_session=True) as process:
            assert process.stderr is not None
            seen = b""
            while until.encode() not in seen:
                line = process.stderr.readline()
                assert line, seen
                seen += line
            time.sleep(0.5)
            os.killpg(process.pid, signal.SIGKILL)
        assert process.returncode == -signal.SIGKILL
        assert not (out / "plan.json").exists()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert lasting(read_plan(out)) == lasting(expected)


@pytest.mark.slow
@pytest.mark.htp
def test_six_chips_as_the_command_line_has_it(tmp_path: Path, cli: Cli) -> None:
    """All defaults but the number of samples: every chip's figure is a matrix's own."""
    pytest.importorskip("onnxruntime_qnn")
    demo, out = paths(), tmp_path / "plan"
    code, shown, told = cli(
        *("plan", demo.model, "--data", demo.data, "--calibration", demo.calibration, "-o", out),
        *("--chips", "sm8350,sm8450,sm8475,sm8550,sm7550,ort:cpu", "--limit", "160", "--json"),
        *("--budget", "top1 drop <= 2%", "--max-variants", "2"),
    )
    found = Plan.model_validate_json(shown)
    assert code == (1 if any(c.standing in ("missed", "none") for c in found.choices) else 0), told
    assert len({c.variant for c in found.choices} - {None}) <= 2
    cells = {(c.scheme, c.target): c for c in read_matrix(out / "confirm").cells}
    targets = {chip.name: chip.target for chip in found.chips}
    for choice in found.choices:
        assert choice.variant is not None
        cell = cells[choice.variant, targets[choice.chip]]
        assert cell.metric is not None and choice.metric is not None
        assert cell.metric.value == choice.metric.value
        assert cell.delta is not None and choice.loss is not None
        assert cell.delta.value == pytest.approx(-choice.loss.value, abs=1e-12)
    groups = {chip.name: chip.group for chip in found.chips}
    assert groups["sm8450"] == groups["sm8475"] != groups["sm8550"]


def test_a_scheme_of_the_users_own_file_is_planned_with_and_confirmed(tmp_path: Path) -> None:
    mine = tmp_path / "mine.toml"
    mine.write_text('kind = "qdq"\ngranularity = "channel"\nactivations = "uint16"\n')
    asked = ("--scheme", f"w8a8,{mine}", "--no-calibrate", "--limit", "48")
    code, _, told = plan(
        tmp_path / "own", "--chips", ENGINE, "--budget", "sqnr >= 36", *asked, "--json"
    )
    assert code == 0, told
    found = read_plan(tmp_path / "own")
    assert "mine" in {score.scheme for score in found.scores if score.within}
    (confirmed,) = {cell.scheme for cell in read_matrix(tmp_path / "own" / "confirm").cells}
    assert confirmed == found.choices[0].variant


def test_models_of_an_earlier_plan_are_no_variants(
    mixed: tuple[Path, Plan], tmp_path: Path
) -> None:
    """What somebody else put there stays."""
    out = tmp_path / "again"
    shutil.copytree(mixed[0], out)
    (out / "models" / "mine.onnx").write_bytes(b"mine")
    code, _, told = plan(out, "--chips", ENGINE, "--budget", "sqnr >= 20", *SHORT, "--json")
    assert code == 0, told
    variants = {variant.file for variant in read_plan(out).variants}
    assert variants != {variant.file for variant in mixed[1].variants}
    there = {f"models/{file.name}" for file in (out / "models").iterdir()}
    assert there == variants | {"models/mine.onnx"}

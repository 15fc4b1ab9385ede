"""Simulator against silicon, from ``chipdrift import`` to what ``chipdrift matrix`` prints."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import run_page_here
from statsmodels.stats.proportion import proportion_confint

from chipdrift import cell_outputs, read_matrix
from chipdrift.demo import DemoPaths

ROOT = Path(__file__).parents[2]
CliCall = Callable[..., tuple[int, str, str]]
N, WRONG = 60, 4


def manifest(folder: Path, name: str, logits: np.ndarray[Any, Any], **fields: str) -> str:
    """One target of an import, and its file."""
    np.save(folder / f"{name}.npy", logits)
    told = "".join(f'{key} = "{value}"\n' for key, value in fields.items())
    return f'[[targets]]\nname = "{name}"\n{told}[targets.outputs.logits]\nfile = "{name}.npy"\n'


@pytest.mark.htp
def test_a_phone_that_differs_on_four_samples(
    cli: CliCall, tmp_path: Path, demo: DemoPaths
) -> None:
    """A made-up phone answers as the simulator does, but for the first four samples."""
    pytest.importorskip("onnxruntime_qnn")
    data = tmp_path / "eval.npz"
    samples = np.load(demo.data)
    labels = samples["labels"][:N]
    np.savez(data, image=samples["image"][:N], labels=labels)
    asked = ["matrix", demo.model, "--data", data, "--calibration", demo.calibration]
    asked += ["--scheme", "w8a8"]
    code, text, told = cli(*asked, "--target", "htp:sm8550", "-o", tmp_path / "alone")
    assert code == 0, told
    words = " ".join(text.split())
    assert "Nothing here was checked against silicon: no phone" in words

    simulated = cell_outputs(tmp_path / "alone", "w8a8", "htp:sm8550")[0]["logits"]
    answered = simulated.copy()
    for i in range(WRONG):
        answered[i] = np.roll(answered[i], 1, axis=-1)
    folder = tmp_path / "measured"
    folder.mkdir()
    npu = {"runtime": "QNN on the NPU", "sdk": "QNN 2.31"}
    (folder / "import.toml").write_text(
        'scheme = "w8a8"\n'
        + manifest(folder, "differs", answered, chip="Snapdragon 8 Gen 2", **npu)
        + manifest(folder, "agrees", simulated, chip="SM8550", **npu)
        + manifest(folder, "other", simulated, chip="SM8650", **npu)
        + manifest(folder, "mute", simulated)
    )
    run = tmp_path / "phones"
    code, _, told = cli("import", folder, "--model", demo.model, "--data", data, "-o", run)
    assert code == 0, told
    names = {name: f"import:{run}#{name}" for name in ("differs", "agrees", "other", "mute")}
    out = tmp_path / "beside"
    code, text, told = cli(*asked, "--target", ",".join(["htp:sm8550", *names.values()]), "-o", out)
    assert code == 0, told

    # What is known without chipdrift: classes, labels, and statsmodels' interval.
    classes = simulated.reshape(N, -1).argmax(1)
    predicted = (classes == labels).mean()
    observed = (answered.reshape(N, -1).argmax(1) == labels).mean()
    same = int((answered.reshape(N, -1).argmax(1) == classes).sum())
    assert same == N - WRONG
    low, high = proportion_confint(same, N, method="wilson")
    found = {check.silicon: check for check in read_matrix(out).silicon}
    check = found[names["differs"]]
    assert (check.relation, check.simulator_chip, check.silicon_chip) == (
        "same-chip", "SM8550", "SM8550"
    )  # fmt: skip
    assert (check.predicted.value, check.observed.value) == (predicted, observed)
    assert check.agreement == same / N == check.identical
    assert (check.agreement_low, check.agreement_high) == pytest.approx((low, high), abs=1e-12)
    assert (check.same_sdk, check.silicon_sdk) == (False, "QNN 2.31")
    assert check.lsb is not None and check.lsb.max > 0
    exact = found[names["agrees"]]
    assert (exact.relation, exact.identical, exact.difference.value) == ("same-chip", 1.0, 0.0)
    assert found[names["other"]].relation == "other-generation"
    assert found[names["mute"]].relation == "unknown"
    assert "nothing says that the silicon's NPU ran the model" in found[names["mute"]].cautions

    words = "".join(text.split())  # a long path is broken anywhere
    for sentence in (
        f"The simulator of SM8550 (htp:sm8550) gave the answer reported of {names['differs']} "
        f"under w8a8 on {same} of {N} samples (95 % interval {100 * low:.1f} to "
        f"{100 * high:.1f} %)",
        f"top1 {100 * predicted:.1f} % predicted, {100 * observed:.1f} % reported",
        f"the answer reported of {names['agrees']} under w8a8 on all {N} samples",
        f"No simulator here is of {names['other']}'s chip (SM8650)",
        f"{names['mute']} does not say which chip it is",
        "The SDKs differ: ",
    ):
        assert sentence.replace(" ", "") in words, sentence
    again = cli("report", out)[1]
    assert "".join(again.split()) == words
    assert "Simulator against silicon" in (out / "report.html").read_text()


def test_an_import_of_both_holds_the_one_to_the_other(
    cli: CliCall, tmp_path: Path, demo: DemoPaths
) -> None:
    """What someone else simulated is held to what someone else measured, without any runtime."""
    data = tmp_path / "eval.npz"
    samples = np.load(demo.data)
    np.savez(data, image=samples["image"][:N], labels=samples["labels"][:N])
    logits = np.random.default_rng(0).normal(size=(N, 1, 10)).astype(np.float32)
    other = logits.copy()
    other[:WRONG] = np.roll(other[:WRONG], 1, axis=-1)
    folder = tmp_path / "both"
    folder.mkdir()
    (folder / "import.toml").write_text(
        'who = "a lab"\nwhen = "2025-03-01"\n'
        + manifest(folder, "sim", logits, chip="SM8550", evidence="vendor-simulator")
        + manifest(folder, "phone", other, chip="SM8550", evidence="device", device="Phone 1")
    )
    asked = ["import", folder, "--model", demo.model, "--data", data, "-o", tmp_path / "run"]
    code, text, told = cli(*asked, "--json")
    assert code == 0, told
    (check,) = json.loads(text)["silicon"]
    assert (check["simulator"], check["silicon"]) == ("sim", "phone")
    assert (check["relation"], check["agreement"]) == ("same-chip", (N - WRONG) / N)
    # The import prints it, as the report does.
    for asking in (asked, ["report", tmp_path / "run"]):
        said = " ".join(cli(*asking)[1].split())
        assert f"gave the phone's answer (phone) under asis on {N - WRONG} of {N} samples" in said
        assert "Simulator against silicon" in said and f"{N - WRONG} of {N}" in said


def test_a_target_of_two_kinds_of_evidence_is_refused(
    cli: CliCall, tmp_path: Path, demo: DemoPaths
) -> None:
    """A target has one kind of evidence and one chip; where schemes differ, it says so."""
    data = tmp_path / "eval.npz"
    samples = np.load(demo.data)
    np.savez(data, image=samples["image"][:N], labels=samples["labels"][:N])
    logits = np.zeros((N, 1, 10), np.float32)
    folder = tmp_path / "both"
    folder.mkdir()
    measured = ["matrix", demo.model, "--data", data, "--scheme", "fp32", "-o", tmp_path / "out"]
    run = tmp_path / "run"
    asked = ["import", folder, "--model", demo.model, "--data", data, "-o", run]
    one = manifest(folder, "x", logits, scheme="fp32", chip="SM8550")
    two = manifest(folder, "x", logits, scheme="w8a8", chip="SM8650")
    (folder / "import.toml").write_text(one + two)
    assert cli(*asked)[0] == 0
    code, text, told = cli(*measured, "--target", f"ort:cpu,import:{run}", "--json")
    assert code == 0, told
    assert json.loads(text)["cells"][1]["versions"]["chip"] == "SM8550 or SM8650"
    simulated = manifest(
        folder, "x", logits, scheme="w8a8", chip="SM8550", evidence="vendor-simulator"
    )
    (folder / "import.toml").write_text(one + simulated)
    assert cli(*asked)[0] == 0
    code, _, told = cli(*measured, "--target", f"ort:cpu,import:{run}")
    assert code == 2
    words = "its outputs under fp32 are reported, under w8a8 vendor-simulator, and a target's are"
    assert words in " ".join(told.split())


@pytest.mark.htp
def test_the_how_to(tmp_path: Path) -> None:
    """What the page shows is what its commands print."""
    pytest.importorskip("onnxruntime_qnn")
    page = ROOT / "docs" / "howto" / "silicon.md"
    printed = run_page_here(page, tmp_path)
    shown = [
        part.split("```")[0] for part in page.read_text(encoding="utf-8").split("```text\n")[1:]
    ]
    words = [" ".join(out.split()) for out in printed]
    sentence, phones, generations = (" ".join(text.split()) for text in shown)
    assert "Nothing here was checked against silicon" in words[0]
    assert sentence.removeprefix("- ") in words[2]
    assert phones in words[4]
    assert generations == words[6]
    relations = {
        check.simulator: (check.relation, check.agreement, check.cautions)
        for check in read_matrix(tmp_path / "runs" / "beside").silicon
    }
    assert relations == {
        "htp:sm8550": ("same-chip", 0.97, ()),
        "htp:sm8450": ("other-generation", 0.97, ()),
    }

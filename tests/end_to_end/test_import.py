"""``chipdrift import`` as a person runs it: tables, folders, qnn-net-run, and the target."""

from __future__ import annotations

import csv
import errno
import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import run_page_here
from phones import MANIFEST, phones_in, write_phones

import chipdrift
from chipdrift.imports import write
from chipdrift.imports.manifest import Manifest, OutputEntry, TargetEntry
from chipdrift.matrix import cell_outputs, read_matrix

TABLE = Path(__file__).parents[1] / "data" / "imports" / "mlperf_top1_400.csv.gz"
CliCall = Callable[..., tuple[int, str, str]]


def counted() -> dict[tuple[str, str], int]:
    """By hand: on how many samples every two columns of the table are the same."""
    with gzip.open(TABLE, "rt", newline="") as file:
        rows = list(csv.DictReader(file))
    names = [name for name in rows[0] if name != "qsl_idx"]
    return {
        (a, b): sum(row[a] == row[b] for row in rows)
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    }


def test_real_devices_all_pairs(cli: CliCall, tmp_path: Path) -> None:
    out = tmp_path / "runs" / "phones"
    code, text, told = cli("import", TABLE, "--index", "qsl_idx", "-o", out, "--json")
    assert code == 0, told
    found = json.loads(text)
    expected = counted()
    assert len(found["pairs"]) == len(expected) == 45
    for pair in found["pairs"]:
        same = expected[pair["a"], pair["b"]]
        assert (pair["samples"], pair["agreement"]) == (400, same / 400)
        assert pair["agreement_low"] < pair["agreement"] or same == 0
        assert pair["agreement"] <= pair["agreement_high"] <= 1
    laptops = {name for name in found["targets"] if "SDX_Elite" in name}
    groups = {frozenset(group["targets"]) for group in found["groups"]}
    assert groups == {frozenset(laptops), frozenset(found["targets"]) - laptops}
    assert {cell["evidence"] for cell in found["cells"]} == {"reported"}
    assert found["parted"] == 13
    assert found["imported"] == str(TABLE)
    assert json.loads((out / "matrix.json").read_text()) == found


def test_the_terminal_names_the_groups_and_the_pair(cli: CliCall, tmp_path: Path) -> None:
    code, text, _ = cli(
        "import", TABLE, "--index", "qsl_idx", "-o", tmp_path / "run", "--source", "MLPerf Mobile"
    )
    assert code == 0
    words = " ".join(text.split())
    assert "outputs of 10 targets, 400 samples" in words
    assert "every target: reported: source MLPerf Mobile; file mlperf_top1_400.csv.gz" in words
    assert "Identical on every sample: v4.0/SDX_Elite, v4.1/SDX_Elite" in words
    assert "400 96.75 % 94.52 % to 98.09 % 13" in words


def test_the_run_is_read_like_any_other(cli: CliCall, tmp_path: Path) -> None:
    out = tmp_path / "run"
    assert cli("import", TABLE, "--index", "qsl_idx", "-o", out)[0] == 0
    assert read_matrix(out).data.samples == 400
    arrays, cell = cell_outputs(out, "asis", "v4.1/SDX_Elite")
    with gzip.open(TABLE, "rt", newline="") as file:
        truth = [int(row["v4.1/SDX_Elite"]) for row in csv.DictReader(file)]
    assert arrays["prediction"].tolist() == truth
    assert (cell.measured, cell.copied_from) == (400, None)
    code, text, _ = cli("report", out)
    assert code == 0
    assert "Measured on silicon by someone else" in " ".join(text.split())
    page = (out / "report.html").read_text()
    assert "reported" in page
    assert "give the same answers" in page and "give the same bits" not in page
    assert "chipdrift diagnose" not in page, "there is no model to diagnose"
    assert "mlperf_top1_400.csv.gz" in page, "where it comes from is shown"
    code, _, _ = cli(
        "outputs", out, "--scheme", "asis", "--target", "v4.0/SD7G3", "-o", tmp_path / "o"
    )
    assert code == 0
    assert {p.name for p in out.iterdir()} >= {"answers.parquet", "cells.csv", "pairs.parquet"}
    # What needs more than outputs says so in one sentence.
    code, _, told = cli("diagnose", out)
    assert code == 2
    assert "Traceback" not in told
    assert "holds outputs imported from" in told


def test_labels_give_accuracy_with_a_paired_test(cli: CliCall, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    right = rng.integers(0, 10, 300)
    good = np.where(rng.random(300) < 0.95, right, (right + 1) % 10)
    poor = np.where(rng.random(300) < 0.5, good, (right + 2) % 10)
    lines = [
        "i,good,poor,right",
        *(f"s{i},{a},{b},{c}" for i, (a, b, c) in enumerate(zip(good, poor, right, strict=True))),
    ]
    path = tmp_path / "t.csv"
    path.write_text("\n".join(lines) + "\n")
    code, text, _ = cli(
        "import", path, "--index", "i", "--label", "right", "-o", tmp_path / "run", "--json"
    )
    assert code == 0
    found = json.loads(text)
    cells = {cell["target"]: cell for cell in found["cells"]}
    assert found["metric"]["name"] == "top1"
    assert cells["good"]["metric"]["value"] == pytest.approx((good == right).mean())
    assert cells["poor"]["metric"]["value"] == pytest.approx((poor == right).mean())
    lost = cells["poor"]["delta"]
    assert lost["value"] == pytest.approx((poor == right).mean() - (good == right).mean())
    assert lost["significant"]
    assert found["compared"] == 1


BAD = {
    "no such column": ("id,a\n1,2\n", ["--index", "idx"], "Near names: id"),
    "index twice": ("id,a\n1,2\n1,3\n", ["--index", "id"], "twice"),
    "no numbers": ("id,a\n1,x\n", ["--index", "id"], "expected the number of a class"),
    "gap": ("id,a,b\n1,2,2\n2,,3\n", ["--index", "id"], "has no answer for 1 of 2"),
    "unknown --against": ("id,a\n1,2\n", ["--index", "id", "--against", "z"], "Unknown target"),
    "a scheme that is no name": ("id,a\n1,2\n", ["--scheme", "a|b"], "expected a name of letters"),
    "data without a model": ("id,a\n1,2\n", ["--data", "x.npz"], "Give --model, too"),
    "a model for a table": ("id,a\n1,2\n", ["--index", "id", "--model", "m"], "--model is for out"),
}


@pytest.mark.parametrize("case", list(BAD))
def test_misuse_is_one_sentence_and_leaves_no_run(cli: CliCall, tmp_path: Path, case: str) -> None:
    text, words, said = BAD[case]
    (tmp_path / "t.csv").write_text(text)
    code, out, told = cli("import", tmp_path / "t.csv", *words, "-o", tmp_path / "run")
    assert (code, out) == (2, "")
    assert said in told
    assert told.startswith("Error: ")
    assert told.count("\n") == 1
    assert {p.name for p in tmp_path.iterdir()} == {"t.csv"}, "nothing is left"


def test_an_import_replaces_an_import_and_nothing_else(cli: CliCall, tmp_path: Path) -> None:
    path, out = tmp_path / "t.csv", tmp_path / "run"
    path.write_text("id,a,b\n1,2,2\n2,3,4\n")
    assert cli("import", path, "--index", "id", "-o", out)[0] == 0
    path.write_text("id,a,b\n1,2,2\n2,3,3\n")
    assert cli("import", path, "--index", "id", "-o", out)[0] == 0
    assert read_matrix(out).pairs[0].agreement == 1
    # One that fails leaves the earlier one as it was.
    path.write_text("id,a,b\n1,2,2\n1,3,3\n")
    assert cli("import", path, "--index", "id", "-o", out)[0] == 2
    assert read_matrix(out).pairs[0].agreement == 1
    assert {p.name for p in tmp_path.iterdir()} == {"t.csv", "run"}
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("mine")
    path.write_text("id,a,b\n1,2,2\n")
    code, _, told = cli("import", path, "--index", "id", "-o", other)
    assert code == 2
    assert "holds other files" in told
    assert [p.name for p in other.iterdir()] == ["thesis.txt"]


def test_a_disk_that_fills_up_leaves_no_run_and_the_earlier_one(
    cli: CliCall, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "t.csv", tmp_path / "run"
    path.write_text("id,a,b\n1,2,2\n2,3,4\n")
    assert cli("import", path, "--index", "id", "-o", out)[0] == 0
    before = (out / "matrix.json").read_bytes()

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(write, "_write_files", full)
    for place in (out, tmp_path / "new"):
        code, _, told = cli("import", path, "--index", "id", "-o", place)
        assert code == 2
        assert "cannot be written (No space left on device)" in told
    assert {p.name for p in tmp_path.iterdir()} == {"t.csv", "run"}
    assert (out / "matrix.json").read_bytes() == before


@pytest.fixture
def phone(tmp_path: Path, small_model: Path, small_data: Path) -> dict[str, Any]:
    return phones_in(tmp_path / "phones", small_model, small_data)


def test_a_folder_with_a_manifest(
    cli: CliCall, tmp_path: Path, small_model: Path, small_data: Path, phone: dict[str, Any]
) -> None:
    write_phones(phone)
    out = tmp_path / "run"
    asked = ["import", phone["folder"], "--model", small_model, "--data", small_data, "-o", out]
    code, text, told = cli(*asked, "--json")
    assert code == 0, told
    found = json.loads(text)
    cells = {cell["target"]: cell for cell in found["cells"]}
    assert {t: c["evidence"] for t, c in cells.items()} == {
        "same": "device",
        "shuffled": "reported",
        "each": "reported",
    }
    assert cells["same"]["versions"] == {
        "device": "Phone 1",
        "who": "a lab",
        "when": "2025-03-01",
    }
    for target in ("same", "shuffled"):
        arrays, _ = cell_outputs(out, "fp32", target)
        np.testing.assert_array_equal(arrays["y"], phone["y"])
    pairs = {(p["a"], p["b"]): p for p in found["pairs"]}
    assert pairs["same", "shuffled"]["identical"] == 1
    assert pairs["same", "each"]["identical"] == 39 / 40
    assert [p["sample"] for p in found["partings"]] == [7]
    assert found["metric"]["name"] == "top1", "the data has labels"
    labels = np.load(small_data)["labels"]
    right = (phone["y"][:, 0].argmax(axis=1) == labels).mean()
    assert cells["same"]["metric"]["value"] == pytest.approx(right)
    page = (out / "report.html").read_text()
    assert "Phone 1" in page
    assert "Measured on the silicon itself." in page


def test_fewer_samples_in_a_folder(
    cli: CliCall, tmp_path: Path, small_model: Path, small_data: Path, phone: dict[str, Any]
) -> None:
    order = write_phones(phone)[:30]
    folder = phone["folder"]
    (folder / "shuffled.txt").write_text("\n".join(phone["hashes"][i] for i in order))
    phone["y"][order].astype("<f4").tofile(folder / "shuffled.raw")
    out = tmp_path / "run"
    asked = ["import", folder, "--model", small_model, "--data", small_data, "-o", out]
    code, _, told = cli(*asked)
    assert code == 2
    assert "'shuffled' under fp32 has no answer for 10 of 40 samples" in told
    assert not out.exists()
    assert cli(*asked, "--common")[0] == 0
    arrays, _ = cell_outputs(out, "fp32", "shuffled")
    np.testing.assert_array_equal(arrays["y"], phone["y"][sorted(order)])
    found = read_matrix(out)
    assert found.data.samples == 30
    parted = {sorted(order).index(7)} if 7 in order else set()
    assert {p.sample for p in found.partings} == parted
    labels = np.load(small_data)["labels"][sorted(order)]
    right = (phone["y"][sorted(order)][:, 0].argmax(axis=1) == labels).mean()
    assert found.cells[0].metric is not None
    assert found.cells[0].metric.value == pytest.approx(right), "labels go with their samples"


def test_qnn_net_run_results(
    cli: CliCall, tmp_path: Path, small_model: Path, small_data: Path, phone: dict[str, Any]
) -> None:
    for device in ("sm8450", "sm8550"):
        for i, row in enumerate(phone["y"]):
            place = phone["folder"] / device / f"Result_{i}"
            place.mkdir(parents=True)
            row.tofile(place / "y.raw")
    out = tmp_path / "run"
    code, text, told = cli(
        "import", phone["folder"], "--scheme", "fp32", "--model", small_model,
        "--data", small_data, "-o", out, "--json",
    )  # fmt: skip
    assert code == 0, told
    found = json.loads(text)
    assert found["targets"] == ["sm8450", "sm8550"]
    assert found["model"]["outputs"] == [{"name": "y", "dtype": "float32", "shape": [1, 4]}]
    np.testing.assert_array_equal(cell_outputs(out, "fp32", "sm8550")[0]["y"], phone["y"])
    # One device's folder by itself, without a model: flat outputs, samples by number.
    one = tmp_path / "one"
    code, text, _ = cli(
        "import", phone["folder"] / "sm8450", "--target", "Phone", "-o", one, "--json"
    )
    assert code == 0
    assert json.loads(text)["targets"] == ["Phone"]
    assert cell_outputs(one, "asis", "Phone")[0]["y"].shape == (40, 4)


def test_integers_of_a_quantizer_are_compared_in_steps(
    cli: CliCall, tmp_path: Path, phone: dict[str, Any]
) -> None:
    folder = phone["folder"]
    steps = np.array([[10, 20], [30, 40]], np.uint8)
    np.save(folder / "a.npy", steps)
    np.save(folder / "b.npy", steps + np.array([[0, 3], [0, 0]], np.uint8))
    entry = '[[targets]]\nname = "{0}"\n[targets.outputs.y]\nfile = "{0}.npy"\n'
    entry += "scale = 0.1\nzero_point = 10\n"
    (folder / "import.toml").write_text(entry.format("a") + entry.format("b"))
    code, text, told = cli("import", folder, "-o", tmp_path / "run", "--json")
    assert code == 0, told
    pair = json.loads(text)["pairs"][0]
    assert pair["lsb"] == {"max": 3, "mean": 0.75}
    arrays, _ = cell_outputs(tmp_path / "run", "asis", "a")
    want = (steps.astype(np.float32) - 10) * np.float32(0.1)
    np.testing.assert_array_equal(arrays["y"], want)


def test_classes_in_a_folder_with_labels(
    cli: CliCall, tmp_path: Path, phone: dict[str, Any]
) -> None:
    folder = phone["folder"]
    np.save(folder / "a.npy", np.array([3, 1, 2, 2]))
    np.save(folder / "b.npy", np.array([2, 2, 1, 3], np.int16))
    np.save(folder / "right.npy", np.array([1, 2, 2, 3]))
    (folder / "import.toml").write_text(
        'labels = "right.npy"\nsamples = ["p", "q", "r", "s"]\n'
        '[[targets]]\nname = "a"\nsamples = ["s", "p", "q", "r"]\n'
        '[targets.outputs.class]\nfile = "a.npy"\n'
        '[[targets]]\nname = "b"\nsamples = ["r", "q", "p", "s"]\n'
        '[targets.outputs.class]\nfile = "b.npy"\n'
    )
    code, text, told = cli("import", folder, "-o", tmp_path / "run", "--json")
    assert code == 0, told
    found = json.loads(text)
    # In the order p, q, r, s: a answers 1, 2, 2, 3 and b 1, 2, 2, 3.
    assert [c["metric"]["value"] for c in found["cells"]] == [1, 1]
    assert (found["metric"]["name"], found["pairs"][0]["agreement"]) == ("top1", 1)


BAD_FOLDER = {
    "line": (MANIFEST.replace("device =", "devise ="), "line 8: Unknown key 'devise'"),
    "missing file": (MANIFEST.replace('"same.npy"', '"gone.npy"'), "gone.npy is not there"),
    "unknown dtype": (
        MANIFEST.replace('"float32"', '"flaot32"'),
        "line 17: target 2, outputs.y.dtype: Unknown dtype 'flaot32'",
    ),
    "wrong dtype": (MANIFEST.replace('"float32"', '"float64"'), "expected 40 samples of 4 each"),
    "wrong shape": (MANIFEST.replace("[4]", "[3]"), "expected 40 samples of 3 each"),
    "other output": (MANIFEST.replace("outputs.y", "outputs.z"), "lacks output 'y' of model"),
    "claims too much": (MANIFEST.replace('when = "2025-03-01"\n', ""), "does not say when"),
    "no inputs": (MANIFEST.replace("each.npz", "none.npz"), "none.npz: no such file"),
    "no files": (MANIFEST.replace("each/{index}", "no/{index}"), "no file fits no/{index}.npy"),
}


@pytest.mark.parametrize("case", list(BAD_FOLDER))
def test_bad_folders_leave_no_run(
    cli: CliCall,
    tmp_path: Path,
    small_model: Path,
    small_data: Path,
    phone: dict[str, Any],
    case: str,
) -> None:
    text, words = BAD_FOLDER[case]
    write_phones(phone)
    (phone["folder"] / "import.toml").write_text(text)
    out = tmp_path / "run"
    code, _, told = cli(
        "import", phone["folder"], "--model", small_model, "--data", small_data, "-o", out
    )
    assert code == 2
    assert words in told, told
    assert told.count("\n") == 1
    assert not out.exists()


def test_from_python(tmp_path: Path) -> None:
    found = chipdrift.run_import(TABLE, index="qsl_idx", out=tmp_path / "run")
    assert len(found.pairs) == 45
    assert found == chipdrift.read_matrix(tmp_path / "run")


def test_the_how_to(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "import.md"
    printed = run_page_here(page, tmp_path)
    table = page.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0]
    shown = [line.split() for line in printed[1].splitlines()]
    for line in table.splitlines():
        assert line.split() in shown, line
    beside = read_matrix(tmp_path / "runs" / "beside")
    assert {c.target: (c.status, c.evidence) for c in beside.cells} == {
        "ort:cpu": ("ok", "host-runtime"),
        "import:runs/measured#pixel": ("ok", "device"),
        "import:runs/measured#tablet": ("ok", "reported"),
    }
    pairs = {(p.a, p.b): p for p in beside.pairs}
    assert pairs["ort:cpu", "import:runs/measured#pixel"].identical == 1
    assert pairs["ort:cpu", "import:runs/measured#tablet"].identical == 0
    first = read_matrix(tmp_path / "runs" / "measured")
    assert {(p.a, p.b): p.identical for p in first.pairs}["pixel", "galaxy"] == 1


def test_the_how_to_names_every_key_of_a_manifest() -> None:
    page = Path(__file__).parents[2] / "docs" / "howto" / "import.md"
    text = page.read_text(encoding="utf-8").split("may say:")[1].split("Paths lie")[0]
    keys = {*Manifest.model_fields, *TargetEntry.model_fields} - {"targets", "outputs"}
    for key in keys:
        assert f"`{key}`" in text, key
    for key in OutputEntry.model_fields:
        assert f".{key}`" in text, key

"""Imported outputs as a target beside measured ones: ``import:RUN#TARGET``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from phones import phones_in, write_phones

TABLE = Path(__file__).parents[1] / "data" / "imports" / "mlperf_top1_400.csv.gz"
CliCall = Callable[..., tuple[int, str, str]]


@pytest.fixture
def phone(tmp_path: Path, small_model: Path, small_data: Path) -> dict[str, Any]:
    return phones_in(tmp_path / "phones", small_model, small_data)


def test_imported_outputs_stand_beside_measured_ones(
    cli: CliCall, tmp_path: Path, small_model: Path, small_data: Path, phone: dict[str, Any]
) -> None:
    write_phones(phone)
    run, out = tmp_path / "imported", tmp_path / "run"
    asked = ["import", phone["folder"], "--model", small_model, "--data", small_data, "-o", run]
    assert cli(*asked)[0] == 0
    code, text, told = cli(
        "matrix", small_model, "--data", small_data, "--calibration", small_data.parent / "cal.npz",
        "--scheme", "fp32,w8a8", "--target", f"ort:cpu,import:{run}#each,import:{run}#same",
        "-o", out, "--json",
    )  # fmt: skip
    assert code == 0, told
    found = json.loads(text)
    cells = {(c["scheme"], c["target"]): c for c in found["cells"]}
    each, same = f"import:{run}#each", f"import:{run}#same"
    assert cells["fp32", same]["evidence"] == "device"
    assert cells["fp32", each]["evidence"] == "reported"
    assert cells["fp32", same]["versions"]["device"] == "Phone 1"
    assert cells["w8a8", same]["status"] == "unsupported"
    assert "holds outputs under fp32, not of this model under w8a8" in cells["w8a8", same]["reason"]
    pairs = {(p["a"], p["b"]): p for p in found["pairs"] if p["scheme"] == "fp32"}
    assert pairs["ort:cpu", each]["identical"] == 39 / 40
    assert pairs["ort:cpu", same]["identical"] == 1
    assert (out / "report.html").exists()
    # Their outputs can be diagnosed against, though nothing more can be asked of them.
    asked = ["diagnose", out, "--scheme", "fp32", "--samples", "40", "--json"]
    for a, b in (("ort:cpu", each), (each, "ort:cpu")):
        code, text, told = cli(*asked, "--target", a, "--against", b)
        assert code == 0, told
        seen = json.loads(text)
        assert (seen["a"]["target"], seen["b"]["target"]) == ("ort:cpu", each)
        assert seen["watched"] == "outputs" and not seen["activations"] and not seen["own"]
        assert 0 < seen["outputs"][0]["distance"]["differing"] <= 1 / 40
        assert {f["check"] for f in seen["findings"]} <= {"too-few-samples"}
    named = ("--scheme", "fp32", "--target", "ort:cpu", "--against", same)
    code, said, _ = cli("diagnose", out, *named)
    said = " ".join(said.split())
    assert code == 0 and "identical in every output of 16 samples" in said
    assert "holds outputs alone" in said
    code, _, told = cli("diagnose", out, "--scheme", "fp32", "--target", each, "--against", same)
    assert code == 2 and "nothing can be asked of it" in told


def test_a_sample_that_was_not_imported_is_refused(
    cli: CliCall, tmp_path: Path, small_model: Path, small_data: Path, phone: dict[str, Any]
) -> None:
    write_phones(phone)
    run = tmp_path / "imported"
    asked = ["import", phone["folder"], "--model", small_model, "--data", small_data, "-o", run]
    assert cli(*asked)[0] == 0
    more = np.concatenate([phone["x"], phone["x"][:1] + 1])
    np.savez(tmp_path / "more.npz", x=more, labels=np.zeros(41, np.int64))
    code, text, told = cli(
        "matrix", small_model, "--data", tmp_path / "more.npz", "--scheme", "fp32",
        "--target", f"ort:cpu,import:{run}#same", "-o", tmp_path / "run", "--json",
    )  # fmt: skip
    assert code == 0, told
    cell = json.loads(text)["cells"][1]
    assert cell["status"] == "unsupported"
    assert "holds no answer for a sample of this data" in cell["reason"]


def test_the_hash_of_the_model_file_decides_where_it_is_known(
    cli: CliCall, tmp_path: Path, small_model: Path, small_data: Path, phone: dict[str, Any]
) -> None:
    folder = phone["folder"]
    np.save(folder / "y.npy", phone["y"])
    measured = ["matrix", small_model, "--data", small_data, "--scheme", "fp32", "--json"]
    out = tmp_path / "run"
    code, text, _ = cli(*measured, "--target", "ort:cpu", "-o", out)
    assert code == 0
    ran = json.loads(text)["schemes"][0]["model_sha256"]
    for digest, status in ((ran, "ok"), ("0" * 64, "unsupported")):
        (folder / "import.toml").write_text(
            f'scheme = "fp32"\nmodel_sha256 = "{digest}"\n'
            '[[targets]]\nname = "p"\n[targets.outputs.y]\nfile = "y.npy"\n'
        )
        run = tmp_path / f"imported-{status}"
        asked = ["import", folder, "--model", small_model, "--data", small_data, "-o", run]
        assert cli(*asked)[0] == 0
        code, text, _ = cli(*measured, "--target", f"ort:cpu,import:{run}", "-o", out)
        assert code == 0
        cell = json.loads(text)["cells"][1]
        assert cell["status"] == status
        if status == "ok":
            assert cell["reason"] is None, "nothing is uncertain then"
        else:
            assert "p ran another model file under fp32" in cell["reason"]


def test_a_target_that_is_no_import_says_what_to_do(
    cli: CliCall, tmp_path: Path, small_model: Path, small_data: Path, phone: dict[str, Any]
) -> None:
    write_phones(phone)
    named = tmp_path / "named"
    assert cli("import", TABLE, "--index", "qsl_idx", "-o", named)[0] == 0
    run = tmp_path / "imported"
    asked = ["import", phone["folder"], "--model", small_model, "--data", small_data, "-o", run]
    assert cli(*asked)[0] == 0
    for name, words in {
        "import:": "no such folder ''",
        f"import:{tmp_path}/none": "no such folder",
        f"import:{phone['folder']}": "is not a chipdrift run",
        f"import:{named}#v4.0/SD7G3": "names and no hashes",
        f"import:{run}": "the run holds 3 targets. Name one: import:",
        f"import:{run}#sam": "Near names: same",
    }.items():
        code, _, told = cli(
            "matrix", small_model, "--data", small_data, "--scheme", "fp32",
            "--target", name, "-o", tmp_path / "run",
        )  # fmt: skip
        assert code == 2, name
        assert words in told, told
    code, text, _ = cli("targets")
    assert code == 0
    assert "import:RUN#TARGET" in text

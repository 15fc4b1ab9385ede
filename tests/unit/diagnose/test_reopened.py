"""A run that is no longer what was measured is not diagnosed as if it were."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from chipdrift import run_matrix
from chipdrift.demo import paths
from chipdrift.diagnose import run_diagnosis
from chipdrift.diagnose.files import read_diagnoses
from chipdrift.errors import ChipdriftError

PROFILE = '[requantize]\nscale = "float32"\nmultiplier = "float32"\nrounding = "FLOOR"\n'


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("reopened")
    (folder / "mine.toml").write_text(PROFILE, encoding="utf-8")
    files = paths()
    samples = np.load(files.data)
    np.savez(folder / "eval.npz", image=samples["image"][:40], labels=samples["labels"][:40])
    run_matrix(
        files.model,
        folder / "eval.npz",
        schemes=["w8a8"],
        targets=["ort:cpu", f"sim:{folder / 'mine.toml'}"],
        out=folder / "run",
        calibration=files.calibration,
    )
    return folder


@pytest.fixture
def copy(measured: Path, tmp_path: Path) -> Path:
    shutil.copytree(measured / "run", tmp_path / "run")
    return tmp_path / "run"


def test_a_profile_that_changed_is_named(measured: Path, copy: Path) -> None:
    profile = measured / "mine.toml"
    profile.write_text(PROFILE.replace("FLOOR", "HALF_UP"), encoding="utf-8")
    try:
        with pytest.raises(ChipdriftError, match="no longer what was measured"):
            run_diagnosis(copy, samples=2)
    finally:
        profile.write_text(PROFILE, encoding="utf-8")
    assert run_diagnosis(copy, samples=2).first_op is not None


def test_a_model_that_changed_is_named(copy: Path) -> None:
    (file,) = (copy / "models").glob("w8a8-*.onnx")
    file.write_bytes(file.read_bytes() + b"x")
    with pytest.raises(ChipdriftError, match="not the model that was measured"):
        run_diagnosis(copy, samples=2)


def test_other_labels_are_named(measured: Path, copy: Path, tmp_path: Path) -> None:
    samples = np.load(measured / "eval.npz")
    np.savez(tmp_path / "lab.npz", image=samples["image"], labels=samples["labels"] * 0)
    with pytest.raises(ChipdriftError, match="other labels"):
        run_diagnosis(copy, samples=2, data=tmp_path / "lab.npz")


def test_a_store_without_facts(measured: Path, copy: Path) -> None:
    with sqlite3.connect(copy / "store.sqlite") as store:
        store.execute("delete from facts where key in ('samples', 'origin')")
    with pytest.raises(ChipdriftError, match="same chipdrift matrix command"):
        run_diagnosis(copy, samples=2, data=measured / "eval.npz")


def test_where_nothing_can_be_kept_it_is_told_before_the_work(copy: Path) -> None:
    (copy / "diagnosis").write_text("", encoding="utf-8")
    with pytest.raises(ChipdriftError, match="cannot be kept there"):
        run_diagnosis(copy, samples=2)


def test_one_damaged_diagnosis_does_not_hide_the_others(copy: Path) -> None:
    run_diagnosis(copy, samples=2)
    (copy / "diagnosis" / "bad.json").write_text('{"a":', encoding="utf-8")
    found, faults = read_diagnoses(copy)
    assert len(found) == 1
    assert len(faults) == 1
    assert "bad.json" in faults[0]

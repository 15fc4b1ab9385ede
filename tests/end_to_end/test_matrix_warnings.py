"""What a matrix says beside its figures: what it left out, what weakens them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from chipdrift import run_matrix


def test_a_narrower_run_says_what_it_no_longer_shows(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    asked: dict[str, Any] = {"targets": ["ort:cpu"], "out": tmp_path / "run"}
    run_matrix(small_model, small_data, schemes=["fp32", "fp16"], **asked)
    narrower = run_matrix(small_model, small_data, schemes=["fp32"], **asked)
    assert any("fp16 on ort:cpu" in warning for warning in narrower.warnings)
    wider = run_matrix(small_model, small_data, schemes=["fp32", "fp16"], **asked)
    assert not any("name them again" in warning for warning in wider.warnings)


def test_copies_among_the_samples_are_counted(small_model: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).standard_normal((60, 3, 6, 6)).astype(np.float32)
    np.savez(tmp_path / "twice.npz", x=np.concatenate([x, x]))
    found = run_matrix(
        small_model,
        tmp_path / "twice.npz",
        schemes=["fp32"],
        targets=["ort:cpu"],
        out=tmp_path / "run",
    )
    assert any("60 of 120 evaluation samples are copies" in w for w in found.warnings)


def test_a_metric_against_the_baseline_tests_nothing(
    small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    found = run_matrix(
        small_model,
        small_data,
        calibration=small_data.with_name("cal.npz"),
        schemes=["fp32", "w8a8"],
        targets=["ort:cpu"],
        metric="sqnr",
        out=tmp_path / "run",
    )
    assert found.metric.against_baseline
    assert found.compared == 0
    assert not any(cell.delta is not None and cell.delta.significant for cell in found.cells)
    page = (tmp_path / "run" / "matrix.json").read_text()
    assert "NaN" not in page
    assert "Infinity" not in page

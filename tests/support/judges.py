"""A judge over the small model, in a folder."""

from __future__ import annotations

from pathlib import Path

from chipdrift.matrix.request import BASELINE_TARGET, resolve
from chipdrift.plan.judge import Judge


def judge_in(folder: Path, small_model: Path, small_data: Path) -> Judge:
    """It is asked about ``w8a8`` by top1; one worker."""
    request = resolve(
        small_model,
        small_data,
        schemes=["w8a8"],
        targets=[BASELINE_TARGET],
        metric="top1",
        calibration=small_data.with_name("cal.npz"),
    )
    return Judge(folder, request, 1, 60.0)

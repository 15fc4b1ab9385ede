"""What the how-to of plans tells a reader to type works when typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from documents import run_page

from chipdrift.plan import read_plan

pytestmark = pytest.mark.system
PAGE = Path(__file__).parents[2] / "docs" / "howto" / "plan.md"


def test_how_to_plan(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    printed = "\n".join(run_page(PAGE, tmp_path))
    plan = read_plan(tmp_path / "runs" / "plan")
    assert {choice.standing for choice in plan.choices} <= {"confirmed", "within"}
    assert plan.words[0] in printed
    told = PAGE.read_text(encoding="utf-8").split("```text\n")[1].split("```")[0].splitlines()
    assert told[1] in printed
    assert (tmp_path / "runs" / "plan" / "report.html").exists()
    small = read_plan(tmp_path / "runs" / "small")
    assert small.objective == "size"
    assert len({choice.variant for choice in small.choices}) == 1
    again = (tmp_path / "runs" / "again" / "cells.csv").read_text()
    choice = next(c for c in plan.choices if c.chip == "sm8550")
    if choice.variant == "w8a8_pc" and choice.metric is not None:
        assert f"{choice.metric.value:.6}"[:7] in again

"""What a cell keeps of how it was measured, and what is said of one without outputs."""

from __future__ import annotations

from collections import deque
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from chipdrift.errors import RunError
from chipdrift.matrix import cell_outputs, run_matrix
from chipdrift.matrix.cells import CellPlan, phone_run_of, settle
from chipdrift.matrix.schedule import Job
from chipdrift.records import OutputDiff, PhoneRun
from chipdrift.store import Store
from chipdrift.targets import Opened, Target

TARGET = Target(
    name="adb:R5/litert", runtime="x", evidence="device", has_npu=False, place="phone R5"
)


def settled(folder: Path, told: dict[str, Any]) -> tuple[PhoneRun | None, float]:
    """The phone's run and the opening seconds that are kept of a session opened in 9.5 s."""
    empty: Any = frozenset()
    variant: Any = SimpleNamespace(
        border=empty, expandable=empty, trace={}, kept=empty, fence=empty,
        scheme=SimpleNamespace(name="w8a8"),
    )  # fmt: skip
    cell = CellPlan(variant, TARGET, shown=True, key="k")
    job = Job(label="x", key="k", target=TARGET, path=folder, pending=deque(), told=told)
    job.opened, job.open_seconds = Opened((("cpu", "n", "Relu"),)), 9.5
    with Store.open(folder) as store:
        settle(store, cell, job)
        return phone_run_of(store, cell), store.fact("opening:k")


def test_a_phone_s_cool_down_is_no_opening(tmp_path: Path) -> None:
    run, opening = settled(tmp_path, {"cooled": 7.0, "samples": 3, "log": "words of the phone"})
    assert opening == 2.5
    assert run is not None and (run.cooled, run.samples) == (7.0, 3)
    assert run.log is not None and (tmp_path / run.log).read_text() == "words of the phone"
    assert settled(tmp_path, {"cooled": 9.6})[1] == 0.0
    assert settled(tmp_path, {})[1] == 9.5


def test_a_session_that_ended_in_trouble(tmp_path: Path) -> None:
    run, _ = settled(tmp_path, {"trouble": "it went away"})
    assert run == PhoneRun(trouble="it went away")


def test_what_a_tool_compared_is_kept(tmp_path: Path) -> None:
    diff = OutputDiff(output="y", dtype="int8", runs=10, mean=0.5, deviation=0.1)
    run, _ = settled(tmp_path, {"samples": 1, "diffs": [diff.model_dump()]})
    assert run is not None and run.diffs == (diff,)


@pytest.fixture
def run(small_model: Path, small_data: Path, tmp_path: Path) -> Path:
    place = tmp_path / "run"
    run_matrix(
        small_model,
        small_data,
        calibration=small_data.with_name("cal.npz"),
        schemes=["fp32"],
        targets=["ort:cpu"],
        limit=4,
        jobs=1,
        out=place,
    )
    return place


def test_a_cell_that_is_ok_and_has_no_outputs(run: Path) -> None:
    assert cell_outputs(run, "fp32", "ort:cpu")[0]["y"].shape[0] == 4
    with Store.open(run) as store:
        store.put_fact("cells", {})
        store.commit()
    with pytest.raises(RunError) as error:
        cell_outputs(run, "fp32", "ort:cpu")
    words = str(error.value)
    assert words.startswith("Cell fp32 on ort:cpu was measured, and the run folder holds no output")
    assert "Run the same chipdrift matrix command again." in words
    assert "None" not in words

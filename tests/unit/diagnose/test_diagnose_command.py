"""``chipdrift diagnose`` on a run: what it leaves in the folder, and what it prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from chipdrift import run_matrix
from chipdrift.demo import DemoPaths
from chipdrift.findings import Diagnosis


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, demo: DemoPaths) -> Path:
    folder = tmp_path_factory.mktemp("run")
    run_matrix(
        demo.model,
        demo.data,
        schemes=["w8a8"],
        targets=["sim:ort-mlas", "sim:hexagon-v69"],
        out=folder,
        calibration=demo.calibration,
        limit=8,
        jobs=1,
    )
    return folder


def command(run: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "chipdrift.cli.main", "diagnose", str(run), "--samples", "2"]
        + list(options),
        capture_output=True,
        text=True,
        check=True,
    )


def test_the_report_is_rewritten_with_the_diagnosis(run: Path) -> None:
    assert not (run / "report.html").exists()
    done = command(run)
    assert f"Report: {run / 'report.html'}" in done.stderr
    assert "Verdict: " in done.stdout
    html = (run / "report.html").read_text(encoding="utf-8")
    assert html.count('<article class="case"') == 1
    assert "w8a8: sim:" in html
    (page,) = [p for p in (run / "diagnosis").glob("*.json") if "explorer" not in p.name]
    kept = Diagnosis.model_validate_json(page.read_bytes())
    for finding in kept.findings:
        assert finding.title.split(" in ")[0] in html
    data = json.loads(next((run / "diagnosis").glob("*own-error.model-explorer.json")).read_bytes())
    (graph,) = data.values()
    assert set(graph["results"]) >= {"stem/conv", "head/linear"}
    # The edges are there: every node but the first is fed by another.
    made = {entry.tensor for entry in kept.own}
    assert [bool(made & set(entry.inputs)) for entry in kept.own] == [False] + [True] * (
        len(kept.own) - 1
    )


def test_as_json_it_prints_one_document_and_says_the_rest_to_people(run: Path) -> None:
    done = command(run, "--json")
    found = Diagnosis.model_validate_json(done.stdout)
    assert {found.a.target, found.b.target} == {"sim:ort-mlas", "sim:hexagon-v69"}
    assert "Report: " in done.stderr

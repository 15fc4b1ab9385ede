"""``chipdrift diagnose`` on a run: what it leaves in the folder."""

import json
import subprocess
import sys
from html import unescape
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


def test_the_report_is_rewritten_with_the_diagnosis(run: Path) -> None:
    assert not (run / "report.html").exists()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "chipdrift.cli.main", "diagnose", str(run)),
            *("--samples", "2", "--json"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert f"Report: {run / 'report.html'}" in done.stderr
    found = Diagnosis.model_validate_json(done.stdout)
    (page,) = [p for p in (run / "diagnosis").glob("*.json") if "explorer" not in p.name]
    assert Diagnosis.model_validate_json(page.read_bytes()) == found
    html = unescape((run / "report.html").read_text(encoding="utf-8"))
    assert html.count('<article class="case"') == 1
    assert f"w8a8: {found.a.target} against {found.b.target}" in html
    assert found.findings
    for finding in found.findings:
        assert finding.title in html
    data = json.loads(next((run / "diagnosis").glob("*own-error.model-explorer.json")).read_bytes())
    assert set(data["digits"]["results"]) >= {"stem/conv", "head/linear"}
    # The edges are there: every node but the first is fed by another.
    made = {entry.tensor for entry in found.own}
    fed = [bool(made & set(entry.inputs)) for entry in found.own]
    assert fed == [False] + [True] * (len(fed) - 1)

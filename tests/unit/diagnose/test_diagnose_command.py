"""``chipdrift diagnose`` on a run: what it leaves in the folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import onnx
import pytest
from float_models import image_net, images

from chipdrift import run_matrix
from chipdrift.demo import DemoPaths
from chipdrift.findings import Diagnosis
from chipdrift.graph import load_model
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme

if TYPE_CHECKING:
    from conftest import Cli


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


@pytest.mark.parametrize("verb", ["diagnose", "consistency"])
def test_open_dimensions_are_pinned_by_the_option_that_is_named(
    verb: str, tmp_path: Path, cli: Cli
) -> None:
    """A model that came quantized, its batch and height left open."""
    plain = apply_scheme(load_model(_written(tmp_path, image_net())), get_scheme("w8a8"), images())
    proto = onnx.load_from_string(plain.data)
    del proto.graph.value_info[:]
    for value, places in ((proto.graph.input[0], (0, 2)), (proto.graph.output[0], (0,))):
        for place in places:
            value.type.tensor_type.shape.dim[place].dim_param = f"open{place}"
    path = _written(tmp_path, bytes(proto.SerializeToString()))
    data = tmp_path / "eval.npz"
    np.savez(data, x=np.concatenate([feed["x"] for feed in images()]))
    words = [verb, path, "--target", "ort:cpu", "--data", data]
    if verb == "diagnose":
        words += ["--against", "sim:ort-mlas", "--scheme", "asis", "-o", tmp_path / "run"]
    else:
        words[3] = "ort:cpu,sim:ort-mlas"
    code, _, told = cli(*words)
    assert code == 2 and "Traceback" not in told
    (asked,) = re.findall(r"pin them with (--shape x=1,3,N,8)\.", told)
    code, _, told = cli(*words, *asked.replace("N", "6").split())
    assert code == 0, told


def _written(folder: Path, model: bytes) -> Path:
    path = folder / "model.onnx"
    path.write_bytes(model)
    return path

"""Releases of the SDK really fetched, side by side in one matrix, each with its own answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from documents import run_page

from chipdrift.demo import DemoPaths

ROOT = Path(__file__).parents[2]
SAMPLES = 12
# Fetches two wheels of 90 MB.
pytestmark = [pytest.mark.slow, pytest.mark.htp]

PLAIN = """
import sys
sys.path.insert(0, sys.argv[1])
import numpy as np, onnxruntime as ort, onnxruntime_qnn as qnn
assert qnn.__file__.startswith(sys.argv[1])
ort.register_execution_provider_library("QNNExecutionProvider", qnn.get_library_path())
device = next(d for d in ort.get_ep_devices() if d.ep_name == "QNNExecutionProvider")
options = ort.SessionOptions()
options.add_provider_for_devices(
    [device], {"backend_path": qnn.get_qnn_htp_path(), "soc_model": sys.argv[2]})
session = ort.InferenceSession(sys.argv[3], options)
assert "QNNExecutionProvider" in session.get_providers()
name = session.get_inputs()[0].name
images = np.load(sys.argv[4])[name][:int(sys.argv[5])]
np.save(sys.argv[6], np.stack([session.run(None, {name: x[None]})[0] for x in images]))
"""


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


def run(folder: Path, cache: Path, *words: object, code: int = 0, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "chipdrift.cli.main", *map(str, words)],
        cwd=folder,
        env={**os.environ, "XDG_CACHE_HOME": str(cache), **environment},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout


def test_two_releases_in_one_matrix(demo: DemoPaths, cache: Path, tmp_path: Path) -> None:
    """2.48 and 2.49 print their progress on stdout; SM8975's W8A16 changed between them."""
    pytest.importorskip("onnxruntime_qnn")
    asked: list[Any] = [demo.model, "--data", demo.data, "--calibration", demo.calibration]
    asked += ["--limit", SAMPLES, "--scheme", "w8a16_pc,w8a8", "--json", "--target"]
    chips = [f"htp:{chip}@{sdk}" for chip in ("sm8975", "sm8550") for sdk in ("2.48", "2.49")]
    found = json.loads(run(tmp_path, cache, "matrix", *asked, ",".join(chips), "-o", "runs/a"))
    cells = {(cell["scheme"], cell["target"]): cell for cell in found["cells"]}
    assert {cell["status"] for cell in cells.values()} == {"ok"}
    told = {
        (c["target"][-4:], c["versions"]["qnn"], c["versions"]["onnxruntime-qnn"])
        for c in cells.values()
    }
    assert told == {("2.48", "2.48.40", "2.4.0"), ("2.49", "2.49.40", "2.5.0")}
    # No answer of one release stands in for another's.
    for cell in cells.values():
        assert cell["copied_from"] is None or cell["copied_from"][-4:] == cell["target"][-4:]
    pairs = {(p["scheme"], p["a"], p["b"]): p for p in found["pairs"]}
    changed = pairs["w8a16_pc", "htp:sm8975@2.48", "htp:sm8975@2.49"]
    assert (changed["identical"], changed["measured"]) == (0, SAMPLES)
    assert pairs["w8a8", "htp:sm8975@2.48", "htp:sm8975@2.49"]["identical"] == 1
    assert pairs["w8a16_pc", "htp:sm8550@2.48", "htp:sm8550@2.49"]["identical"] == 1

    # The bits of a plain script with each release's own package.
    scheme = next(s for s in found["schemes"] if s["name"] == "w8a16_pc")
    plain = {}
    for place in sorted((cache / "chipdrift" / "sdk").glob("2.*")):
        out = tmp_path / f"{place.name}.npy"
        # 103 is SM8975 in Qualcomm's headers.
        subprocess.run(
            [
                sys.executable,
                "-c",
                PLAIN,
                place,
                "103",
                tmp_path / "runs/a" / scheme["file"],
                demo.data,
                str(SAMPLES),
                out,
            ],
            check=True,
            capture_output=True,
        )
        plain[place.name[:4]] = np.load(out)
    for sdk in ("2.48", "2.49"):
        run(
            tmp_path,
            cache,
            "outputs",
            "runs/a",
            "--scheme",
            "w8a16_pc",
            "--target",
            f"htp:sm8975@{sdk}",
            "-o",
            f"{sdk}.npz",
        )
        (ours,) = np.load(tmp_path / f"{sdk}.npz").values()
        np.testing.assert_array_equal(ours.reshape(plain[sdk].shape), plain[sdk])

    # Offline afterwards, in another run.
    again = run(
        tmp_path,
        cache,
        "matrix",
        *asked,
        chips[0],
        "-o",
        "runs/b",
        PIP_NO_INDEX="1",
        PIP_FIND_LINKS=str(tmp_path),
    )
    assert {cell["status"] for cell in json.loads(again)["cells"]} == {"ok"}

    told_json = json.loads(
        run(
            tmp_path,
            cache,
            "regress",
            "runs/a",
            "--fail-above",
            "bits=0,changed=0,moved=0",
            "--json",
            code=1,
        )
    )
    exceeding = {(c["scheme"], c["a"], c["b"]): c["exceeds"] for c in told_json["changes"]}
    assert exceeding == {
        (s, f"htp:{chip}@2.48", f"htp:{chip}@2.49"): (
            ["bits"] if (s, chip) == ("w8a16_pc", "sm8975") else []
        )
        for s in ("w8a16_pc", "w8a8")
        for chip in ("sm8975", "sm8550")
    }


def test_how_to_compare_sdks(cache: Path, tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    printed = run_page(ROOT / "docs" / "howto" / "sdk.md", tmp_path, XDG_CACHE_HOME=str(cache))
    assert any("htp:sm8975@2.48 to @2.49  0 of 100  100 %    9" in text for text in printed)
    assert not list((cache / "chipdrift" / "sdk").glob("2.48-*"))

"""A probed profile that was asked at 8 bits only, on 8 and 16 bits: the guesses are named."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

PROFILE = """
name = "asked"
evidence = "prediction"
[[rule]]
ops = ["Conv", "Gemm"]
activation = 8
accumulator = {}
requantize = { scale = "float32", multiplier = "float32" }
[[rule]]
ops = ["GlobalAveragePool", "Flatten"]
activation = 8
elementwise = {}
"""


def test_nodes_without_a_rule_are_in_the_record_and_in_the_report(
    cli: Any, small_model: Path, small_data: Path, tmp_path: Path
) -> None:
    file, run = tmp_path / "asked.toml", tmp_path / "run"
    file.write_text(PROFILE, encoding="utf-8")
    code, out, _ = cli(
        *("matrix", small_model, "--data", small_data, "--calibration", tmp_path / "cal.npz"),
        *("--scheme", "w8a8,w8a16_pc", "--metric", "top1", "--target", f"ort:cpu,sim:{file}"),
        *("-o", run, "--json"),
    )
    assert code == 0
    assumed = {
        (cell["scheme"], cell["target"]): [node["node"] for node in cell["placement"]["assumed"]]
        for cell in json.loads(out)["cells"]
    }
    assert assumed == {
        ("w8a8", "ort:cpu"): [],
        ("w8a8", f"sim:{file}"): [],
        ("w8a16_pc", "ort:cpu"): [],
        ("w8a16_pc", f"sim:{file}"): ["conv", "gemm", "pool"],
    }
    report = (run / "report.html").read_text(encoding="utf-8")
    assert "<code>gemm</code></td><td>no rule for Gemm at 16 bits</td>" in report

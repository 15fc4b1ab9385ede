"""``silicon.csv`` beside ``pairs.csv``: there where a simulator was held to silicon, else not."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

from chipdrift.demo import DemoPaths

CliCall = Callable[..., tuple[int, str, str]]
N = 12


def test_the_checks_lie_in_a_table(cli: CliCall, tmp_path: Path, demo: DemoPaths) -> None:
    """A profile's forecast against a made-up phone: the table says what matrix.json says."""
    data = tmp_path / "eval.npz"
    samples = np.load(demo.data)
    np.savez(data, image=samples["image"][:N], labels=samples["labels"][:N])
    folder, phones, out = tmp_path / "told", tmp_path / "phones", tmp_path / "run"
    folder.mkdir()
    np.save(folder / "a.npy", np.random.default_rng(0).normal(size=(N, 1, 10)).astype(np.float32))
    (folder / "import.toml").write_text(
        'scheme = "w8a8"\n[[targets]]\nname = "a"\nchip = "SM8550"\n'
        '[targets.outputs.logits]\nfile = "a.npy"\n'
    )
    code, _, told = cli("import", folder, "--model", demo.model, "--data", data, "-o", phones)
    assert code == 0, told

    def measure(targets: str) -> None:
        asked = ("matrix", demo.model, "--data", data, "--calibration", demo.calibration)
        code, _, told = cli(*asked, "--scheme", "w8a8", "--target", targets, "-o", out)
        assert code == 0, told

    measure(f"sim:hexagon-v73,import:{phones}")
    (check,) = json.loads((out / "matrix.json").read_text())["silicon"]
    with (out / "silicon.csv").open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["simulator"], row["silicon"]) == (check["simulator"], check["silicon"])
    assert row["relation"] == check["relation"] == "same-generation"
    assert float(row["agreement"]) == check["agreement"] < 1
    assert float(row["predicted_value"]) == check["predicted"]["value"]
    assert float(row["observed_value"]) == check["observed"]["value"]
    assert float(row["difference_p_holm"]) == check["difference"]["p_holm"]
    assert row["cautions"] == "; ".join(check["cautions"]) != ""
    assert pq.read_table(out / "silicon.parquet").to_pylist()[0]["agreement"] == check["agreement"]

    # What an earlier run found must not lie there as this one's.
    measure("sim:hexagon-v73")
    assert not (out / "silicon.csv").exists() and not (out / "silicon.parquet").exists()

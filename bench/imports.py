"""Importing 10 x 50,000 predictions and all pairs, beside pandas and beside csv with NumPy.

``python bench/imports.py`` makes a gzipped table of ten targets and 50,000 samples in a temporary
folder: once with ten columns that all differ (nothing can be kept once for two), once as real
devices are, eight of them equal. ``chipdrift import`` makes a whole run of it, report included: a
process of its own, from start to end. The peers are processes, too: one reads the table with pandas
and computes the agreement of all pairs and no more, one does so with Python's csv and NumPy. The
three must find the same figures. Judged is the time on the cores: on a shared machine a process
waits for others, too. The ratios are what is kept.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

SAMPLES, TARGETS = 50_000, 10
LIMIT = 5.0  # seconds
PAIRS = """
found = {}
for i, a in enumerate(names):
    for b in names[i + 1:]:
        found[a + " " + b] = float(np.mean(columns[a] == columns[b]))
print(json.dumps(found))
"""
PANDAS = (
    """
import json, sys
import numpy as np, pandas as pd
table = pd.read_csv(sys.argv[1], index_col="sample")
names = list(table.columns)
columns = {name: table[name].to_numpy() for name in names}
"""
    + PAIRS
)
PLAIN = (
    """
import csv, gzip, json, sys
import numpy as np
with gzip.open(sys.argv[1], "rt", newline="") as file:
    names, *rows = csv.reader(file)
names = names[1:]
columns = {name: np.array([int(row[i]) for row in rows]) for i, name in enumerate(names, 1)}
"""
    + PAIRS
)


def write_table(path: Path, different: int) -> None:
    """Ten columns, ``different`` of them unlike all others: 2.5 % of their answers are others."""
    rng = np.random.default_rng(1)
    first = rng.integers(0, 1000, SAMPLES)
    columns = []
    for i in range(TARGETS):
        changed = first.copy()
        if 0 < i < different:
            at = rng.random(SAMPLES) < 0.025
            changed[at] = rng.integers(0, 1000, int(at.sum()))
        columns.append(changed)
    table = np.stack([np.arange(SAMPLES), *columns], axis=1)
    header = ",".join(["sample", *(f"target{i}" for i in range(TARGETS))])
    body = "\n".join(",".join(map(str, row)) for row in table.tolist())
    path.write_bytes(gzip.compress(f"{header}\n{body}\n".encode(), 6))


def timed(words: list[str | Path]) -> tuple[float, float, str]:
    """The least of three: seconds, and seconds that it computed; and what was printed."""
    wall = busy = float("inf")
    text = ""
    for _ in range(3):
        started = time.perf_counter()
        with tempfile.TemporaryFile("w+") as answer:
            process = subprocess.Popen(words, stdout=answer, stderr=subprocess.DEVNULL)
            _, status, used = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            wall = min(wall, time.perf_counter() - started)
            busy = min(busy, used.ru_utime + used.ru_stime)
            if process.returncode:
                raise SystemExit(f"{words[:4]} failed with {process.returncode}")
            answer.seek(0)
            text = answer.read()
    return wall, busy, text


def main() -> None:
    failed = False
    with tempfile.TemporaryDirectory(prefix="chipdrift-bench-") as name:
        folder = Path(name)
        for what, different in (("all different", TARGETS), ("two kinds", 2)):
            path = folder / f"{different}.csv.gz"
            write_table(path, different)
            ours: list[str | Path] = [sys.executable, "-m", "chipdrift.cli.main", "import", path]
            wall, seconds, text = timed(
                [*ours, "--index", "sample", "-o", folder / "run", "--json"]
            )
            found = {f"{p['a']} {p['b']}": p["agreement"] for p in json.loads(text)["pairs"]}
            size = sum(file.stat().st_size for file in (folder / "run").iterdir()) / 1e6
            print(
                f"{TARGETS} targets x {SAMPLES:,} samples, {what}: chipdrift import "
                f"{wall:.2f} s, {seconds:.2f} s on the cores (at most {LIMIT:g}), a run of "
                f"{size:.0f} MB"
            )
            failed = failed or seconds > LIMIT
            for peer, script in (("pandas", PANDAS), ("csv and NumPy", PLAIN)):
                waited, theirs, text = timed([sys.executable, "-c", script, path])
                if json.loads(text) != found:
                    raise SystemExit(f"{peer} finds other figures")
                print(
                    f"  {peer}, pairs alone: {waited:.2f} s, {theirs:.2f} s on the cores; "
                    f"chipdrift takes {seconds / theirs:.1f} times as long, "
                    "with intervals, a run and a report"
                )
    raise SystemExit(1 if failed else 0)


if __name__ == "__main__":
    main()

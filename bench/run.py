"""``make bench``: each line a ratio against a named peer, measured in turns in one go.

Absolute times on shared machines are noise; the ratios are what is kept in CHANGELOG.md.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bare
import network

SAMPLES = 100
GENERATIONS = ["sm8350", "sm8450", "sm8550", "sm8650", "sm8750", "sm8850"]
SOC_MODELS = ["30", "36", "43", "57", "69", "87"]
AT_MOST = "at most 1.10"
CLI = [sys.executable, "-m", "chipdrift.cli.main"]


def chipdrift(*words: object) -> float:
    started = time.perf_counter()
    done = subprocess.run([*CLI, *map(str, words)], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise SystemExit(f"chipdrift {words[0]} failed:\n{done.stderr[-2000:]}")
    return time.perf_counter() - started


def tell(name: str, ours: float, peers: float, peer: str, bound: str) -> None:
    print(f"{name}: {ours:.2f} s, {peer}: {peers:.2f} s, ratio {ours / peers:.2f} ({bound})")


def overhead(folder: Path) -> None:
    """The whole command, quantization and report included, against the bare simulator.

    The least of three turns each: what else the machine does only ever adds time.
    """
    model, data, calibration = network.prepare(folder, SAMPLES)
    words = ["--data", data, "--calibration", calibration, "--scheme", "w8a8"]
    targets = ["--target", "htp:sm8450,htp:sm8550", "--metric", "top1", "--exhaustive"]
    ours, peers = [], []
    for turn in range(3):
        out = folder / f"overhead{turn}"
        ours.append(chipdrift("matrix", model, *words, *targets, "-o", out))
        quantized = next((out / "models").glob("w8a8-*.onnx"))
        peers.append(bare.spread(quantized, data, ["36", "43"], SAMPLES))
    tell(
        "matrix, W8A8 on 2 chips",
        min(ours),
        min(peers),
        "bare simulator on the same cores",
        AT_MOST,
    )


def sharing(folder: Path) -> None:
    model, data, calibration = network.prepare(folder, SAMPLES)
    words = ["--data", data, "--calibration", calibration, "--scheme", "w8a8", "--metric", "top1"]
    targets = ["--target", ",".join(f"htp:{soc}" for soc in GENERATIONS)]
    shared = chipdrift("matrix", model, *words, *targets, "-o", folder / "shared")
    every = chipdrift(
        "matrix", model, *words, *targets, "--exhaustive", "-o", folder / "exhaustive"
    )
    quantized = next((folder / "exhaustive" / "models").glob("w8a8-*.onnx"))
    alone = bare.spread(quantized, data, SOC_MODELS, SAMPLES)
    tell("matrix, W8A8 on 6 chips", every, alone, "bare simulator on the same cores", AT_MOST)
    tables = []
    for name in ("shared", "exhaustive"):
        cells = json.loads((folder / name / "matrix.json").read_text())["cells"]
        tables.append([(c["target"], c["metric"], c["agreement"], c["lsb"]) for c in cells])
    same = "same table" if tables[0] == tables[1] else "TABLES DIFFER"
    print(
        f"sharing, W8A8 on 6 generations: {shared:.2f} s, --exhaustive: {every:.2f} s, "
        f"{every / shared:.2f} times faster, {same} (at least 1.8)"
    )
    again = chipdrift("matrix", model, *words, *targets, "-o", folder / "shared")
    tell("rerun with nothing new", again, shared, "the first run", "under 3 s")


def start_up() -> None:
    ours = statistics.median(chipdrift("--help") for _ in range(5))
    started = time.perf_counter()
    for _ in range(5):
        subprocess.run([sys.executable, "-c", "import numpy"], check=True)
    tell(
        "chipdrift --help", ours, (time.perf_counter() - started) / 5, "import numpy", "under 0.5 s"
    )


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="chipdrift-bench-") as name:
        folder = Path(name)
        start_up()
        overhead(folder)
        sharing(folder)


if __name__ == "__main__":
    main()

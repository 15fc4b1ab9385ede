"""SIGTERM, as ``timeout`` and service managers send it, or Ctrl-C: nothing stays behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from chipdrift.cli.main import main
from chipdrift.demo import DemoPaths
from chipdrift.matrix import run_matrix

PATIENCE = 60.0
TERMINATED = "Terminated. What a run had measured is kept."
STOPPED = "Stopped. What was measured is kept: run the same command again."


@pytest.fixture(scope="module")
def run(demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("stopped") / "run"
    run_matrix(
        demo.model, demo.data, schemes=["w8a8"], targets=["sim:hexagon-v69", "sim:hexagon-v73"],
        calibration=demo.calibration, out=out, limit=16,
    )  # fmt: skip
    return out


def children(pid: int) -> list[int]:
    found = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [int(child) for child in found]


def alive(pid: int) -> bool:
    """Whether it runs; one that only waits to be buried does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("verb", "number", "said"),
    [
        ("diagnose", signal.SIGTERM, TERMINATED),
        ("consistency", signal.SIGTERM, TERMINATED),
        ("probe", signal.SIGTERM, TERMINATED),
        ("consistency", signal.SIGINT, STOPPED),
    ],
)
def test_temporary_folders_and_workers_go(
    verb: str, number: signal.Signals, said: str, run: Path, demo: DemoPaths, tmp_path: Path
) -> None:
    words = {
        "diagnose": [run, "--samples", "16"],
        "consistency": [
            demo.model, "--scheme", "w8a8", "--calibration", demo.calibration,
            "--target", "ort:cpu,sim:hexagon-v69",
        ],
        "probe": ["sim:hexagon-v69", "-o", tmp_path / "found.toml"],
    }[verb]  # fmt: skip
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    process = subprocess.Popen(
        [sys.executable, "-m", "chipdrift.cli.main", verb, *map(str, words)],
        env={**os.environ, "TMPDIR": str(temporary)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        # A shell's background jobs, and what they start, would ignore it.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    workers: list[int] = []
    end = time.monotonic() + PATIENCE
    # A worker of the questions is there, and has been handed one.
    while not (workers and list(temporary.glob("chipdrift-probe-*/*.onnx"))):
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.01)
        workers = children(process.pid)
    process.send_signal(number)
    _, told = process.communicate(timeout=PATIENCE)
    assert process.returncode == 128 + number
    assert told.rstrip().endswith(said)
    assert "Traceback" not in told
    assert not list(temporary.glob("chipdrift*"))
    # One that had only just been started reads the end of its line once it has come up.
    end = time.monotonic() + PATIENCE
    while any(alive(pid) for pid in workers):
        assert time.monotonic() < end, workers
        time.sleep(0.05)


def test_the_signal_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who calls the command line from Python keeps an own handler."""
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(sys, "argv", ["chipdrift", "--version"])
    with pytest.raises(SystemExit):
        main()
    assert signal.getsignal(signal.SIGTERM) == before

"""chipdrift-runner for arm64, under qemu, against the Python of the same root."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runner_models as models
from phone_kit import arm64_root
from runner_built import Command, built, demo_requests, library_in, on, places, python_session
from runner_process import loaded, request, same_bits, saved, tell

from chipdrift.targets import arm64, ort

pytestmark = pytest.mark.system


@pytest.fixture(scope="module")
def root() -> Path:
    """Debian's arm64 and the aarch64 wheels: test_arm64.py says more."""
    return arm64_root()


@pytest.fixture(scope="module")
def emulated(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Command:
    """The runner under qemu."""
    return [*emulator(root), built(tmp_path_factory)]


def emulator(root: Path, cpu: str = arm64.CPU) -> Command:
    return [arm64.find_arm64_emulator().path, "-cpu", cpu, "-L", str(root / arm64.ROOT)]


EMULATED = """
import json, sys
import numpy as np, onnxruntime
from chipdrift.targets import ort
model, count, folder = sys.argv[1], int(sys.argv[2]), sys.argv[3]
session = ort.open_session(model, {})
for i in range(count):
    feed = {"image": np.load(f"{folder}/in{i}/in0.npy")}
    np.save(f"{folder}/python{i}.npy", session.run(feed)[0])
print(json.dumps([session.opened().nodes, ort.host_isa(), onnxruntime.__version__]))
"""


def emulated_python(root: Path, *arguments: object) -> Any:
    """What EMULATED prints in the emulated Python of the same root."""
    python = [*emulator(root), str(root / arm64.ROOT / "usr/bin/python3"), "-P", "-c"]
    source = Path(ort.__file__).parents[2]
    path = f"import sys; sys.path[:0] = [{str(root / arm64.SITE)!r}, {str(source)!r}]\n"
    command = [*python, path + EMULATED, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("scheme", ["fp32", "w8a8", "w8a16_pc"])
def test_arm64_answers_as_the_emulated_python_does(
    scheme: str, emulated: Command, root: Path, tmp_path: Path
) -> None:
    model, feeds, lines = demo_requests(scheme, 4, tmp_path)
    told = tell(emulated, *on(model, library_in(root / arm64.SITE)), requests=lines)
    assert told.kinds == ["opened", *["ran"] * 4, "ended"]
    nodes, isa, version = emulated_python(root, model, 4, tmp_path)
    opened = told.opened
    assert (opened["machine"], opened["onnxruntime"]) == ("aarch64", version)
    assert places(opened) == [tuple(node) for node in nodes]
    assert [name for name in opened["features"] if name in ort._ISA] == isa == [arm64.ISA]
    assert "asimdhp" in opened["features"]
    host = python_session(model)
    apart = 0.0
    for i, feed in enumerate(feeds):
        found = loaded(tmp_path / f"out{i}")
        same_bits(found, [np.load(tmp_path / f"python{i}.npy")])
        apart = max(apart, float(np.abs(found[0] - host.run(feed)[0]).max()))
    # 8-bit integers are the host's; float sums are not, or it would not have been emulated.
    if scheme != "w8a16_pc":
        assert (apart == 0) == (scheme == "w8a8")


def test_the_features_of_a_newer_processor(emulated: Command, root: Path, tmp_path: Path) -> None:
    model = models.identity(tmp_path / "m.onnx")
    newer = [*emulator(root, "max"), emulated[-1]]
    told = tell(newer, *on(model, library_in(root / arm64.SITE)))
    expected = {"asimdhp", "asimddp", "i8mm", "bf16", "sve", "sve2", "sme"}
    assert set(told.opened["features"]) == expected


def test_arm64_s_errors_and_its_time_limit(emulated: Command, root: Path, tmp_path: Path) -> None:
    told = tell(emulated, *on(models.product(tmp_path / "m.onnx")))
    assert (told.kinds, told.code) == (["error"], 4)
    assert "expected a libonnxruntime.so for aarch64" in told.last
    model = models.endless(tmp_path / "e.onnx")
    feed = {"go": np.array(True), "x": np.zeros(4, "f4")}
    line = request(tmp_path / "out", saved(tmp_path / "in", feed))
    away = on(model, library_in(root / arm64.SITE))
    told = tell(emulated, *away, "--timeout", 10, requests=line)
    assert (told.kinds, told.code) == (["opened", "error"], 5)

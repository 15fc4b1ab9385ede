"""``ort:arm64`` under Debian's qemu: its root, and the integers of the aarch64 kernels."""

from __future__ import annotations

import csv
import platform
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "targets"))

from phone_kit import arm64_root
from qdq_models import conv_stack
from targets_worker import demo_feeds, demo_quantized, open_in, run_in, working

from chipdrift.cli.sdk import sdk_folder
from chipdrift.demo import DemoPaths
from chipdrift.errors import ChipdriftError
from chipdrift.sdk import sdks_in
from chipdrift.targets import Target, WorkerProcess, arm64, get_target, ort
from chipdrift.targets.arm64root import make_root
from conftest import Cli

pytestmark = pytest.mark.system

Array = np.ndarray[Any, Any]


@pytest.fixture(scope="module")
def root() -> Path:
    """The root in the user's cache folder, made where it is not there: 260 MB, about a minute."""
    return arm64_root()


@pytest.fixture(scope="module")
def target(root: Path) -> Target:
    with sdks_in(sdk_folder()):
        return get_target("ort:arm64")


@pytest.fixture(scope="module")
def worker(target: Target) -> Iterator[WorkerProcess]:
    with working(target) as process:
        yield process


def ask(target: Target, root: Path, script: str) -> str:
    """What a script prints in the emulated Python."""
    start = arm64.launcher(target.launcher[0], root)[:-1]
    path = f"import sys; sys.path.insert(0, {str(root / arm64.SITE)!r}); "
    source = f"sys.path.append({str(Path(ort.__file__).parents[2])!r}); "
    command = [*start, path + source + script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def test_the_emulated_processor_is_what_the_target_says(target: Target, root: Path) -> None:
    told = ask(
        target,
        root,
        "import platform; from chipdrift.targets.ort import host_isa; import onnxruntime, numpy;"
        "print(platform.machine(), onnxruntime.__version__, numpy.__version__, *host_isa())",
    )
    versions = [metadata.version(name) for name in ("onnxruntime", "numpy")]
    assert told.split() == ["aarch64", *versions, arm64.ISA]
    assert platform.machine() == "x86_64"
    assert target.evidence == "emulated-runtime"
    assert (target.versions["isa"], target.versions["cpu"]) == (arm64.ISA, "cortex-a76")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("per_channel", [False, True])
def test_every_8_bit_integer_is_the_host_s(
    per_channel: bool, dtype: Any, worker: WorkerProcess, tmp_path: Path
) -> None:
    model = conv_stack(per_channel, dtype)
    path = model.save(tmp_path)
    host = ort.open_session(path, get_target("ort:cpu").options)
    open_in(worker, Path(path))
    for seed in range(3):
        feed = model.feed(seed)
        for theirs, ours in zip(run_in(worker, feed), host.run(feed), strict=True):
            assert len(np.unique(theirs)) > 20
            np.testing.assert_array_equal(theirs, ours)


def test_float32_is_near_and_not_the_host_s(
    worker: WorkerProcess, demo: DemoPaths, tmp_path: Path
) -> None:
    """Other kernels sum in another order; the host's own bits would be a worker not emulated."""
    path = tmp_path / "fp32.onnx"
    path.write_bytes(demo_quantized("fp32").data)
    host = ort.open_session(str(path), {})
    open_in(worker, path)
    apart = [np.abs(run_in(worker, f)[0] - host.run(f)[0]).max() for f in demo_feeds(8)]
    # Twelve layers, logits of up to 16: 100 steps of float32 there.
    assert 0 < max(apart) < 1e-4


PLAIN = """
import numpy as np, onnxruntime as ort
options = ort.SessionOptions()
options.intra_op_num_threads = 1
session = ort.InferenceSession({model!r}, options, providers=["CPUExecutionProvider"])
np.save({out!r}, np.stack([session.run(None, {{"image": x}})[0] for x in np.load({feeds!r})]))
"""


def test_a_matrix_and_its_outputs(
    demo: DemoPaths, target: Target, root: Path, tmp_path: Path, cli: Cli
) -> None:
    run, npz = tmp_path / "run", tmp_path / "outputs.npz"
    code, out, err = cli(
        *("matrix", demo.model, "--data", demo.data, "--calibration", demo.calibration),
        *("--scheme", "w8a8,w8a16", "--target", "ort:cpu,ort:arm64", "--limit", 20, "-o", run),
    )
    assert code == 0, err
    assert "emulated-runtime, ort:arm64" in " ".join(out.split())
    with (run / "cells.csv").open(encoding="utf-8") as file:
        cells = {(row["scheme"], row["target"]): row for row in csv.DictReader(file)}
    for scheme in ("w8a8", "w8a16"):
        cell = cells[scheme, "ort:arm64"]
        assert (cell["status"], cell["evidence"]) == ("ok", "emulated-runtime")
        assert "machine=aarch64 isa=asimddp" in cell["versions"]
        assert f"qemu={target.versions['qemu']} cpu=cortex-a76" in cell["versions"]
    assert cells["w8a8", "ort:arm64"]["lsb_max"] == "0"
    # The bits of a plain script of onnxruntime in the same root.
    code, _, err = cli("outputs", run, "--scheme", "w8a16", "--target", "ort:arm64", "-o", npz)
    assert code == 0, err
    (model,) = run.glob("**/w8a16-*.onnx")
    feeds, found = tmp_path / "feeds.npy", tmp_path / "found.npy"
    np.save(feeds, np.stack([feed["image"] for feed in demo_feeds(20)]))
    ask(target, root, PLAIN.format(model=str(model), feeds=str(feeds), out=str(found)))
    with np.load(npz) as kept:
        np.testing.assert_array_equal(kept["logits"].reshape(20, -1), np.load(found)[:, 0])


def test_a_root_is_made_whole_or_not_at_all(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ChipdriftError, match="is there already"):
        make_root(root)
    place = tmp_path / "root"
    with pytest.raises(ChipdriftError, match="debootstrap ended with exit code 1"):
        make_root(place, "bookworm", "file:///nowhere")
    assert list(tmp_path.iterdir()) == []

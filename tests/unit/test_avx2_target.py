"""``ort:avx2`` without an emulator: what is said where it is missing, how a worker is started."""

from __future__ import annotations

import os
import platform
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.targets import Target, TargetInfo, WorkerProcess, get_target, list_targets
from conftest import save_small_model


@pytest.fixture
def bin_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux x86-64 host on whose PATH is this folder alone."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return folder


def put_emulator(folder: Path, script: str) -> Path:
    path = folder / "qemu-x86_64"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def put_version(folder: Path, version: str) -> Path:
    return put_emulator(folder, f'echo "qemu-x86_64 version {version} (Debian 1:{version}+ds-2)"')


def listed() -> TargetInfo:
    return next(info for info in list_targets() if info.name == "ort:avx2")


def refused() -> str:
    """The reason, the same in the list and in the error."""
    info = listed()
    assert not info.available
    assert info.evidence == "emulated-runtime"
    assert info.reason is not None
    with pytest.raises(ChipdriftError) as caught:
        get_target("ort:avx2")
    assert str(caught.value) == f"Target ort:avx2 cannot run here: {info.reason}."
    assert not isinstance(caught.value, UnknownNameError)
    return info.reason


@pytest.mark.usefixtures("bin_folder")
def test_no_emulator() -> None:
    assert refused() == "qemu-x86_64 is not on PATH: on Debian, apt-get install qemu-user"


@pytest.mark.parametrize("version", ["5.2.0", "7.1.94", "6.9"])
def test_an_emulator_without_avx2(version: str, bin_folder: Path) -> None:
    path = put_version(bin_folder, version)
    reason = refused()
    assert reason.startswith(f"{path} is qemu {version}, and 7.2 or newer is needed: ")
    assert "apt-get install qemu-user" in reason


def test_an_emulator_that_does_not_run(bin_folder: Path) -> None:
    path = put_emulator(bin_folder, "")
    assert refused().startswith(f"{path} --version does not tell a version")
    path.write_bytes(b"\x7fELF of another machine")
    assert refused().startswith(f"{path} --version does not run (OSError)")


@pytest.mark.parametrize(
    ("system", "machine"), [("linux", "aarch64"), ("darwin", "x86_64"), ("win32", "AMD64")]
)
def test_another_host(
    system: str, machine: str, bin_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    put_version(bin_folder, "10.0.2")
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr(platform, "machine", lambda: machine)
    reason = refused()
    assert f"this is {system} {machine}" in reason
    assert "apt" not in reason, "installing would not help"


@pytest.mark.parametrize("version", ["7.2.22", "10.0.2", "11.0"])
def test_the_target(version: str, bin_folder: Path) -> None:
    path = put_version(bin_folder, version)
    assert listed().available
    assert listed().reason is None
    target = get_target("ort:avx2")
    assert (target.evidence, target.has_npu, target.family) == ("emulated-runtime", False, None)
    # No session.x64quantprecision: that products saturate is what this target is for.
    assert target.options == {}
    assert target.launcher == (str(path), "-cpu", "Haswell,-hle,-rtm")
    assert target.versions == {
        "onnxruntime": metadata.version("onnxruntime"),
        "machine": "x86_64",
        "isa": "avx2 fma",
        "qemu": version,
        "cpu": "Haswell",
    }


def test_the_host_s_target_has_no_launcher() -> None:
    assert get_target("ort:cpu").launcher == ()


@pytest.mark.parametrize("name", ["ort:avx512", "ort:avx", "ort:AVX2"])
def test_near_names(name: str) -> None:
    with pytest.raises(UnknownNameError, match="ort:avx2"):
        get_target(name)


def answer(target: Target, path: Path, feed: dict[str, np.ndarray]) -> tuple[bytes, str]:
    worker = WorkerProcess(target, -1)
    try:
        worker.open("s", str(path), target.options, True)
        assert worker.receive()[0] == "opened"
        worker.run("s", "0", feed, False)
        return worker.receive()[4], worker.last_words()
    finally:
        worker.stop()


def test_the_worker_is_started_by_the_launcher(bin_folder: Path, tmp_path: Path) -> None:
    put_emulator(
        bin_folder,
        'if [ "$1" = --version ]; then echo "qemu-x86_64 version 10.0.2"; exit; fi\n'
        'echo "$@" >&2; shift 2; exec "$@"',
    )
    path = save_small_model(tmp_path / "m.onnx")
    feed = {"x": np.ones((1, 3, 6, 6), np.float32)}
    found, words = answer(get_target("ort:avx2"), path, feed)
    command = f"-cpu Haswell,-hle,-rtm {sys.executable} -m chipdrift.targets.worker"
    assert words.startswith(command)
    assert (found, "") == answer(get_target("ort:cpu"), path, feed)
    assert os.environ["PATH"] == str(bin_folder)

"""``chipdrift doctor``: what is here, what lacks, the command, and the exit code."""

from __future__ import annotations

import importlib.util
import json
import platform
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

from chipdrift.errors import ChipdriftError
from chipdrift.sdk import sdks_in
from chipdrift.targets import arm64, get_target, list_targets
from chipdrift.targets.arm64root import make_root
from chipdrift.targets.registry import runtimes
from conftest import Cli


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A Linux x86-64 host with an empty cache folder, nothing on PATH, no optional package."""
    real = importlib.util.find_spec
    gone = ("onnxruntime_qnn", "ai_edge_litert", "openvino")
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *rest: None if n in gone else real(n, *rest)
    )
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    return tmp_path


def put_qemu(folder: Path, program: str, version: str) -> None:
    path = folder / program
    path.write_text(f"#!/bin/sh\necho '{program} version {version} (Debian)'\n")
    path.chmod(0o755)


def test_every_runtime_is_there(cli: Cli) -> None:
    code, out, _ = cli("doctor", "--json")
    assert code == 0
    told = json.loads(out)
    assert told["schema_version"] == 1
    names = [one["name"] for one in told["checkups"]]
    assert names == list(runtimes())
    ort = told["checkups"][names.index("ort")]
    assert ort["parts"][0] == {
        "name": "onnxruntime",
        "found": metadata.version("onnxruntime"),
        "get": "pip install onnxruntime",
        "optional": False,
    }
    assert ort["targets"] == 3
    code, out, _ = cli("doctor")
    assert code == 0
    assert all(f"\n{name}: " in f"\n{out}" for name in names)


def test_a_target_that_is_here(cli: Cli) -> None:
    code, out, err = cli("doctor", "ort:cpu")
    assert (code, err) == (0, "")
    assert out.startswith("ort:cpu: here")
    assert f"  onnxruntime: {metadata.version('onnxruntime')}\n" in out


@pytest.mark.usefixtures("bare")
@pytest.mark.parametrize(
    ("target", "command"),
    [
        (
            "openvino:cpu",
            f"openvino: lacks. Get it: {sys.executable} -m pip install 'chipdrift[openvino]'",
        ),
        ("litert:xnnpack", "pip install 'chipdrift[litert]'"),
        ("htp:sm8550", "pip install 'chipdrift[htp]'"),
        ("ort:avx2", "qemu-x86_64: lacks. Get it: apt-get install qemu-user"),
        ("ort:arm64", "qemu-aarch64: lacks. Get it: apt-get install qemu-user"),
        ("openvino", "pip install 'chipdrift[openvino]'"),
    ],
)
def test_what_lacks_has_its_command(target: str, command: str, cli: Cli) -> None:
    code, out, err = cli("doctor", target)
    assert (code, err) == (1, "")
    assert out.startswith(f"{target}: not here") or "0 of" in out
    assert command in out
    code, out, _ = cli("doctor", target, "--json")
    assert code == 1
    (one,) = json.loads(out)["checkups"]
    assert (one["name"], one["available"], one["here"]) == (target, False, 0)
    assert one["reasons"]


def test_the_arm64_root(bare: Path, cli: Cli) -> None:
    put_qemu(bare, "qemu-aarch64", "7.2.22")
    code, out, _ = cli("doctor", "ort:arm64")
    assert code == 1
    assert "qemu-aarch64: lacks" in out
    put_qemu(bare, "qemu-aarch64", "10.0.2")
    code, out, _ = cli("doctor", "ort:arm64")
    assert code == 1
    assert f"qemu-aarch64: 10.0.2, {bare / 'qemu-aarch64'}\n" in out
    name = f"onnxruntime-{metadata.version('onnxruntime')}"
    place = bare / "cache" / "chipdrift" / "arm64" / name
    made = f"{sys.executable} -m chipdrift.targets.arm64root {place}"
    assert f"arm64 root: lacks. Get it: as root, apt-get install debootstrap && {made}\n" in out
    place.mkdir(parents=True)
    code, out, _ = cli("doctor", "ort:arm64")
    assert code == 0
    assert f"arm64 root: {place}\n" in out


@pytest.mark.htp
def test_asking_fetches_nothing(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("onnxruntime_qnn")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    code, out, err = cli("doctor", "htp:sm8550@2.50")
    assert (code, err) == (1, "")
    assert "SDK 2.50 is not here yet" in out and "chipdrift sdk install 2.50" in out
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize("name", ["ort:arm65", "orr", "tpu:7", "htp:sm8555", ":", ""])
def test_names_that_nobody_knows(name: str, cli: Cli) -> None:
    code, out, err = cli("doctor", name)
    assert (code, out) == (2, "")
    assert err.startswith("Error: ")
    assert "Traceback" not in err


def test_a_target_that_is_not_listed_by_itself(cli: Cli, tmp_path: Path) -> None:
    code, out, _ = cli("doctor", f"import:{tmp_path / 'nowhere'}")
    assert code == 1
    assert "no such folder" in out


def test_the_arm64_target_without_its_root(bare: Path) -> None:
    with sdks_in(bare / "sdk"):
        put_qemu(bare, "qemu-aarch64", "7.2.22")
        with pytest.raises(
            ChipdriftError, match=r"qemu 7\.2\.22, and 10\.0 or newer is needed: on"
        ):
            get_target("ort:arm64")
        put_qemu(bare, "qemu-aarch64", "10.0.2")
        (line,) = [info for info in list_targets() if info.name == "ort:arm64"]
        assert not line.available
        with pytest.raises(ChipdriftError) as caught:
            get_target("ort:arm64")
    assert str(caught.value) == f"Target ort:arm64 cannot run here: {line.reason}."
    assert str(bare / "arm64") in str(caught.value)
    with pytest.raises(ChipdriftError, match="no folder is named"), sdks_in(None):
        get_target("ort:arm64")


def test_the_arm64_target_and_its_launcher(bare: Path) -> None:
    put_qemu(bare, "qemu-aarch64", "10.0.2")
    with sdks_in(bare / "sdk"):
        place = arm64.folder()
        assert place is not None
        place.mkdir(parents=True)
        target = get_target("ort:arm64")
    assert target.launcher[:5] == (
        *(str(bare / "qemu-aarch64"), "-cpu", "cortex-a76"),
        *("-L", str(place / "root")),
    )
    # Whatever follows is a worker's command line, which begins with a Python of the host.
    start = target.launcher[-1]
    words = [sys.executable, "-c", start, "/host/python", "-m", "json.tool", "--help"]
    done = subprocess.run(words, capture_output=True, text=True, check=True)
    assert "json.tool" in done.stdout


def test_a_root_needs_debootstrap(bare: Path) -> None:
    with pytest.raises(ChipdriftError, match="qemu-aarch64 is not on PATH"):
        make_root(bare / "root")
    put_qemu(bare, "qemu-aarch64", "10.0.2")
    with pytest.raises(ChipdriftError, match="debootstrap and dpkg-deb and tar not found: as root"):
        make_root(bare / "root")
    assert not (bare / "root").exists()

"""onnxruntime's library for a kit, out of a wheel or an Android archive."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

from chipdrift.errors import ChipdriftError
from chipdrift.phones import library
from chipdrift.phones.kit import Kit, piece


def command(*words: object) -> subprocess.CompletedProcess[str]:
    full = [sys.executable, "-m", "chipdrift.phones.library", *map(str, words)]
    return subprocess.run(full, capture_output=True, text=True)


def aar(path: Path, abi: str = "arm64-v8a") -> Path:
    with zipfile.ZipFile(path, "w") as files:
        files.writestr(f"jni/{abi}/libonnxruntime.so", b"\x7fELF of Android")
        files.writestr("jni/x86/libonnxruntime.so", b"\x7fELF of another")
    return path


def test_the_library_of_an_android_archive(tmp_path: Path) -> None:
    folder = tmp_path / "phones" / "arm64-v8a"
    done = command(folder, "--aar", aar(tmp_path / "ort.aar"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (folder / "libonnxruntime.so").read_bytes() == b"\x7fELF of Android"
    assert [path.name for path in folder.iterdir()] == ["libonnxruntime.so"]


@pytest.mark.parametrize("kind", ["missing", "no archive", "another abi", "no aar"])
def test_what_is_no_such_archive_is_one_sentence(kind: str, tmp_path: Path) -> None:
    archive, words = tmp_path / "ort.aar", ["--aar", tmp_path / "ort.aar"]
    if kind == "no archive":
        archive.write_bytes(b"PK no")
    elif kind == "another abi":
        aar(archive, "armeabi-v7a")
    elif kind == "no aar":
        words = []
    done = command(tmp_path / "arm64-v8a", *words)
    assert done.returncode == 2
    assert done.stderr.startswith("Error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "arm64-v8a").exists()


def test_the_library_of_a_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """pip's part is played: its arguments are those for the machine, its wheel has the library."""
    release, asked = metadata.version("onnxruntime"), []

    def pip(command: list[str], **how: object) -> subprocess.CompletedProcess[str]:
        asked.extend(command)
        place = Path(command[command.index("--dest") + 1])
        with zipfile.ZipFile(place / "onnxruntime.whl", "w") as files:
            files.writestr(f"onnxruntime/capi/libonnxruntime.so.{release}", b"\x7fELF VERS_x")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(library.subprocess, "run", pip)
    found = library.library_from_wheel(tmp_path / "linux-aarch64", "aarch64")
    assert found.read_bytes() == b"\x7fELF VERS_x"
    assert f"onnxruntime=={release}" in asked
    assert "--platform=manylinux_2_28_aarch64" in asked


def test_pip_s_own_words_where_it_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    failed = subprocess.CompletedProcess([], 1, "", "ERROR: no route to the index")
    monkeypatch.setattr(library.subprocess, "run", lambda *a, **k: failed)
    with pytest.raises(ChipdriftError, match="no route to the index"):
        library.library_from_wheel(tmp_path, "aarch64")
    assert list(tmp_path.iterdir()) == []


def test_a_download_that_failed_is_not_taken_for_the_library(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    kit.path("libonnxruntime.so").touch()
    assert not kit.holds("libonnxruntime.so")
    kit.path("libonnxruntime.so").write_bytes(b"<html>not found")
    assert not kit.holds("libonnxruntime.so")
    aar(tmp_path / "a.aar")
    library.library_from_aar(tmp_path, tmp_path / "a.aar", "arm64-v8a")
    assert kit.holds("libonnxruntime.so")


def test_the_command_that_is_told_runs_as_it_is(tmp_path: Path) -> None:
    told = piece("linux-aarch64", "libonnxruntime.so", tmp_path / "linux-aarch64").get
    assert told.split()[1:3] == ["-m", "chipdrift.phones.library"]
    assert not set(told) & set("(),>|")

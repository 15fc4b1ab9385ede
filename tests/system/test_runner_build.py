"""chipdrift.phones.build: which compiler, what it makes, and how it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from runner_process import tell

from chipdrift.errors import ChipdriftError
from chipdrift.phones import build

pytestmark = pytest.mark.system


@pytest.mark.parametrize("cc", ["gcc", "clang"])
def test_it_compiles_without_a_warning(cc: str, tmp_path: Path) -> None:
    strict = build.find_compiler(f"{cc} -Wpedantic -Wshadow -Werror")
    program = build.build_runner(tmp_path / "new" / "folder", strict)
    told = tell([str(program)], "--version")
    assert told.answers == [{"runner": "1", "machine": "x86_64"}]
    assert (told.code, told.log) == (0, "")
    assert [path.name for path in program.parent.iterdir()] == [build.RUNNER]


def command_line(*arguments: object, **how: Any) -> subprocess.CompletedProcess[str]:
    full = [sys.executable, "-m", "chipdrift.phones.build", *map(str, arguments)]
    return subprocess.run(full, capture_output=True, text=True, **how)


def test_the_builder_s_command_line_aims_at_arm64(tmp_path: Path) -> None:
    done = command_line(tmp_path)
    program = tmp_path / build.RUNNER
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{program}\n", "")
    header = program.read_bytes()[:20]
    assert (header[:4], header[18]) == (b"\x7fELF", 183)  # EM_AARCH64


def test_a_builder_that_fails_says_why_and_leaves_what_was_there(tmp_path: Path) -> None:
    (tmp_path / build.RUNNER).write_text("earlier")
    for arguments, expected in {
        ("--cc", "gcc -include no/such.h"): "no/such.h: No such file or directory",
        ("--cc", "no-such-compiler"): "no such program on PATH",
        ("--cc", '"'): "is no command: No closing quotation",
        ("--ndk", str(tmp_path)): "is no Android NDK",
        ("--cc", "gcc -lnowhere"): "cannot find -lnowhere",
        ("--cc", "false"): "it printed nothing",
    }.items():
        done = command_line(tmp_path, *arguments)
        assert (done.returncode, done.stdout) == (2, "")
        assert expected in done.stderr
        assert done.stderr.count("\n") == 1
    done = command_line(tmp_path, env={**os.environ, "PATH": str(tmp_path)})
    assert done.returncode == 2
    assert "apt-get install gcc-aarch64-linux-gnu" in done.stderr
    assert [path.read_text() for path in tmp_path.iterdir()] == ["earlier"]
    done = command_line(tmp_path / build.RUNNER, "--cc", "gcc")
    assert (done.returncode, "cannot be written" in done.stderr) == (2, True)


def test_which_compiler_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "toolchains/llvm/prebuilt/linux-x86_64/bin/aarch64-linux-android24-clang"
    program.parent.mkdir(parents=True)
    program.write_text("")
    assert build.find_compiler(ndk=tmp_path) == [str(program)]
    tools = tmp_path / "tools"
    tools.mkdir()
    monkeypatch.setenv("PATH", str(tools))
    for name in ("clang", "ld.lld"):
        (tools / name).write_text("")
        (tools / name).chmod(0o755)
    found = build.find_compiler(sysroot=tmp_path)
    assert found == [
        *("clang", "--target=aarch64-linux-gnu", "-fuse-ld=lld", f"--sysroot={tmp_path}")
    ]
    with pytest.raises(ChipdriftError, match="nor a sysroot for clang"):
        build.find_compiler()

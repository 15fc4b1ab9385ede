"""Build the runner for a phone: ``python -m chipdrift.phones.build FOLDER``.

The C files in ``runner/`` need a C11 compiler and libc alone: onnxruntime is opened at run time.
What is built works where its compiler aims: with the Android NDK on phones, with
``aarch64-linux-gnu-gcc`` (or clang and a sysroot) on an arm64 Linux, with ``--cc gcc`` here.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from chipdrift.errors import ChipdriftError

RUNNER = "chipdrift-runner"
"""The program's file name, in the folder it is built into."""
SOURCES = Path(__file__).parent / "runner"
_FLAGS = ("-std=c11", "-O2", "-Wall", "-Wextra")
_LIBRARIES = ("-ldl", "-pthread")
_CROSS = "aarch64-linux-gnu-gcc"
# The oldest Android that onnxruntime-android itself supports.
_ANDROID = "aarch64-linux-android24-clang"
# A compiler's own errors and a linker's; not clang's "linker command failed", which says nothing.
_ERROR = re.compile(r"error: (?!linker command failed)|cannot find |undefined ")


def build_runner(folder: Path, compiler: Sequence[str]) -> Path:
    """Compile into ``folder``, made where it is not there, and return the program's path.

    ``compiler`` is a command without its inputs, as :func:`find_compiler` gives it. The program is
    there whole or not at all; one that was there stays until then. Raises ChipdriftError where the
    compiler cannot start or fails, with its first error, or where the folder cannot be written.
    """
    program = folder / RUNNER
    partial = folder / f".{RUNNER}.{os.getpid()}.partial"
    sources = sorted(map(str, SOURCES.glob("*.c")))
    command = [*compiler, *_FLAGS, "-o", str(partial), *sources, *_LIBRARIES]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        _compile(command)
        partial.replace(program)
    except OSError as error:
        raise ChipdriftError(f"{program}: cannot be written ({error.strerror}).") from error
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
    return program


def _compile(command: Sequence[str]) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise ChipdriftError(
            f"The compiler {command[0]} cannot be started: {error.strerror}."
        ) from error
    if done.returncode:
        raise ChipdriftError(
            f"{command[0]} cannot build the runner, exit code {done.returncode}: "
            f"{_first_error(done.stderr or done.stdout)}"
        )


def _first_error(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)]
    return next(iter([*errors, *lines]), "it printed nothing")


def find_compiler(
    cc: str | None = None, sysroot: Path | None = None, ndk: Path | None = None
) -> list[str]:
    """The command of a compiler: the one asked for, else the first that is here.

    ``cc`` is a command line of its own; ``ndk`` the folder of an Android NDK; ``sysroot`` a folder
    with the headers and libraries of the machine the runner is for. Without ``cc`` and ``ndk`` it
    is aarch64-linux-gnu-gcc, or clang and lld with ``sysroot``. Raises ChipdriftError where there
    is none, and says how to get one.
    """
    root = [] if sysroot is None else [f"--sysroot={sysroot}"]
    if cc is not None:
        return [*_named(cc), *root]
    if ndk is not None:
        return [*_android(ndk), *root]
    if shutil.which(_CROSS) is not None:
        return [_CROSS, *root]
    if root and shutil.which("clang") is not None and shutil.which("ld.lld") is not None:
        return ["clang", "--target=aarch64-linux-gnu", "-fuse-ld=lld", *root]
    raise ChipdriftError(
        f"No compiler for arm64 is here: {_CROSS} is not on PATH (on Debian, apt-get install "
        "gcc-aarch64-linux-gnu libc6-dev-arm64-cross), and neither an Android NDK (--ndk), nor "
        "another compiler (--cc), nor a sysroot for clang and lld (--sysroot) is given."
    )


def _named(cc: str) -> list[str]:
    try:
        words = shlex.split(cc)
    except ValueError as error:
        raise ChipdriftError(f"--cc {cc!r} is no command: {error}.") from error
    if not words or shutil.which(words[0]) is None:
        raise ChipdriftError(f"--cc {cc!r}: no such program on PATH.")
    return words


def _android(ndk: Path) -> list[str]:
    # One folder below prebuilt/, named after the machine that the NDK runs on.
    found = sorted(ndk.glob(f"toolchains/llvm/prebuilt/*/bin/{_ANDROID}"))
    if not found:
        raise ChipdriftError(
            f"{ndk} is no Android NDK: it has no toolchains/llvm/prebuilt/<host>/bin/{_ANDROID}."
        )
    return [str(found[0])]


def main() -> None:
    """Read the command line: 0 built, 2 not."""
    parser = argparse.ArgumentParser(prog="python -m chipdrift.phones.build")
    parser.add_argument("folder", type=Path, help=f"where {RUNNER} goes")
    parser.add_argument("--cc", help="a compiler, for instance gcc for this machine")
    parser.add_argument("--ndk", type=Path, help="an Android NDK, for phones")
    parser.add_argument("--sysroot", type=Path, help="headers and libraries to compile with")
    given = parser.parse_args()
    try:
        compiler = find_compiler(given.cc, given.sysroot, given.ndk)
        program = build_runner(given.folder.absolute(), compiler)
    except ChipdriftError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)
    print(program)


if __name__ == "__main__":
    main()

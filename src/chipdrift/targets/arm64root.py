"""Make the root of ``ort:arm64``: ``python -m chipdrift.targets.arm64root FOLDER``, as root.

debootstrap fetches Debian's arm64 packages (checked against Debian's keys) and they are unpacked,
not installed: no arm64 program runs for it, nothing is mounted. pip fetches the aarch64 wheels. At
last qemu runs the worker's imports in it; only then it gets its name.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from importlib import metadata
from pathlib import Path

from chipdrift.errors import ChipdriftError
from chipdrift.targets import arm64

# Debian's libraries that Python or the wheels are linked with come as its dependencies.
_PACKAGES = "python3,libstdc++6"
# glibc of Debian 12 is 2.36: every manylinux name up to it fits.
_GLIBC = range(36, 16, -1)
_MERGED = ("bin", "sbin", "lib")
_TRIAL = "import numpy, onnxruntime, chipdrift.targets.ort, chipdrift.targets.worker"


def make_root(folder: Path, suite: str = "bookworm", mirror: str | None = None) -> None:
    """Make the root in ``folder``, whole or not at all.

    ``mirror`` is by default the one that apt takes ``suite`` from. Raises ChipdriftError where a
    program lacks or fails, with its last words.
    """
    emulator = arm64.find_arm64_emulator()
    if emulator.reason is not None:
        raise ChipdriftError(f"The arm64 root cannot be used here: {emulator.reason}.")
    if folder.exists():
        raise ChipdriftError(f"{folder} is there already. Remove it first to make it anew.")
    lacks = [name for name in ("debootstrap", "dpkg-deb", "tar") if shutil.which(name) is None]
    if lacks:
        named = " and ".join(lacks)
        raise ChipdriftError(f"{named} not found: as root, apt-get install {lacks[0]}.")
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        root = partial / arm64.ROOT
        root.mkdir(parents=True)
        _unpack(root, suite, [mirror] if mirror else _apt_mirror(suite))
        _wheels(root, partial / arm64.SITE)
        start = arm64.launcher(emulator.path, partial)
        _run([*start[:-3], "-c", _path(partial) + _TRIAL], "the emulated Python")
        partial.rename(folder)
    except OSError as error:
        raise ChipdriftError(f"{folder}: cannot be written ({error.strerror}).") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _path(place: Path) -> str:
    found = [str(place / arm64.SITE), str(Path(arm64.__file__).parents[2])]
    return f"import sys; sys.path[:0] = {found!r}; "


def _apt_mirror(suite: str) -> list[str]:
    """Where apt takes the suite from, as an argument of debootstrap; empty for its own default."""
    if shutil.which("apt-get") is None:
        return []
    known = _run(
        ["apt-get", "indextargets", "--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"],
        "apt-get",
    )
    found = [line.split() for line in known.splitlines() if line.startswith(f"{suite} ")]
    return [found[0][1]] if found else []


def _unpack(root: Path, suite: str, mirror: list[str]) -> None:
    fetch = ["debootstrap", "--arch=arm64", "--variant=minbase", "--download-only"]
    _run([*fetch, f"--include={_PACKAGES}", suite, str(root), *mirror], "debootstrap")
    for name in _MERGED:
        (root / "usr" / name).mkdir(parents=True, exist_ok=True)
        (root / name).symlink_to(f"usr/{name}")
    archives = root / "var/cache/apt/archives"
    for package in sorted(archives.glob("*.deb")):
        with subprocess.Popen(
            ["dpkg-deb", "--fsys-tarfile", str(package)], stdout=subprocess.PIPE
        ) as files:
            # Packages hold lib/..., and lib is a link to usr/lib. None of them needs to be setuid.
            plain = ["--keep-directory-symlink", "--no-same-owner", "--no-same-permissions"]
            unpack = ["tar", "-C", str(root), *plain, "-xf", "-"]
            done = subprocess.run(unpack, stdin=files.stdout, capture_output=True, text=True)
        if done.returncode or files.returncode:
            raise ChipdriftError(f"{package.name} cannot be unpacked: {done.stderr[-300:].strip()}")
    shutil.rmtree(archives)


def _wheels(root: Path, site: Path) -> None:
    """The aarch64 wheels of the host's own versions, for the root's Python."""
    python = (root / "usr/bin/python3").readlink().name.removeprefix("python")
    platforms = [f"--platform=manylinux_2_{minor}_aarch64" for minor in _GLIBC]
    named = [f"{name}=={metadata.version(name)}" for name in arm64.WHEELS]
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    only = ["--no-deps", "--only-binary=:all:", f"--python-version={python}"]
    _run([*pip, *only, *platforms, f"--target={site}", *named], "pip")


def _run(command: list[str], called: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = " ".join((done.stderr.strip() or done.stdout).split())[-500:]
        raise ChipdriftError(f"{called} ended with exit code {done.returncode}: {words}")
    return done.stdout


def main() -> None:
    """Read the command line: 0 made, 2 not."""
    parser = argparse.ArgumentParser(prog="python -m chipdrift.targets.arm64root")
    parser.add_argument("folder", type=Path, help="where chipdrift doctor ort:arm64 says")
    parser.add_argument("--suite", default="bookworm", help="release of Debian")
    parser.add_argument("--mirror", help="default: apt's own, else debootstrap's")
    given = parser.parse_args()
    try:
        make_root(given.folder.absolute(), given.suite, given.mirror)
    except ChipdriftError as error:
        print(f"Error: {error}", file=sys.stderr)
        sys.exit(2)


if __name__ == "__main__":
    main()

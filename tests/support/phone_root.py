"""Make the root of the emulated phones: ``python tests/support/phone_root.py [FOLDER]``.

apt fetches Debian's arm64 packages from the mirror it is already set up with, checked against
Debian's keys, with lists and a status of its own: the host's packages are neither asked nor
changed. They are unpacked, not installed.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from chipdrift.cli.sdk import sdk_folder
from chipdrift.targets.arm64 import find_arm64_emulator

# adbd; a C++ runtime for onnxruntime; the shell and the commands that Android has, too.
_PACKAGES = ("adbd", "libstdc++6", "mksh", "toybox")
# Debian 12 has adbd in its backports alone.
_BACKPORTED = ("bookworm",)
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_MERGED = ("bin", "sbin", "lib")
_ADBD = "usr/lib/android-sdk/platform-tools/adbd"


def phone_root() -> Path:
    """The root in the user's cache folder, made where it is not there: 42 MB, a few seconds.

    Raises RuntimeError, with the program's last words, where it cannot be made.
    """
    shelf = sdk_folder()
    if shelf is None:
        raise RuntimeError("no cache folder: neither XDG_CACHE_HOME nor a home folder is there")
    place = shelf.parent / "phone-root"
    with _one_at_a_time(place):
        if not place.is_dir():
            make_phone_root(place)
    return place


def make_phone_root(folder: Path) -> None:
    """Make the root in ``folder``, whole or not at all: it gets its name when it is done."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        partial.mkdir()
        # Debian's packages hold /lib/..., which is /usr/lib/... today.
        for name in _MERGED:
            (partial / "usr" / name).mkdir(parents=True)
            (partial / name).symlink_to(f"usr/{name}")
        with tempfile.TemporaryDirectory(prefix="chipdrift-apt-") as private:
            for package in _fetched(Path(private)):
                _unpack(package, partial)
        _commands(partial)
        if not (partial / _ADBD).is_file():
            raise RuntimeError(f"the packages brought no {_ADBD}")
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


@contextmanager
def _one_at_a_time(place: Path) -> Iterator[None]:
    """Of several test processes one makes the root, the others wait."""
    place.parent.mkdir(parents=True, exist_ok=True)
    with place.with_name(f".{place.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _fetched(private: Path) -> list[Path]:
    """The packages and all they depend on, in apt's folder of its own."""
    for name in ("lists/partial", "archives/partial", "parts"):
        (private / name).mkdir(parents=True)
    (private / "status").touch()
    signed = f"[signed-by={_KEYRING}] " if _KEYRING.exists() else ""
    release = platform.freedesktop_os_release().get("VERSION_CODENAME", "")
    mirror = _mirror(release)
    suites = [release] + ([f"{release}-backports"] if release in _BACKPORTED else [])
    sources = private / "sources.list"
    sources.write_text("".join(f"deb {signed}{mirror} {suite} main\n" for suite in suites))
    settings = {
        "Dir::Etc::sourcelist": sources,
        "Dir::Etc::sourceparts": private / "parts",
        "Dir::State::lists": private / "lists",
        "Dir::State::status": private / "status",
        "Dir::Cache": private,
        "Dir::Cache::archives": private / "archives",
        "APT::Architecture": "arm64",
        "APT::Architectures": "arm64",
        # apt's own user may not read a folder of ours.
        "APT::Sandbox::User": "root",
    }
    apt = ["apt-get", "-qq", *(f"-o={name}={value}" for name, value in settings.items())]
    _run([*apt, "update"])
    only = ["--download-only", "--no-install-recommends", f"--target-release={suites[-1]}"]
    _run([*apt, "install", "-y", *only, *_PACKAGES])
    return sorted((private / "archives").glob("*.deb"))


def _mirror(release: str) -> str:
    """Where apt takes the host's own release from."""
    form = ["--format", "$(RELEASE) $(REPO_URI)", "Created-By: Packages"]
    for line in _run(["apt-get", "indextargets", *form]).splitlines():
        suite, _, mirror = line.partition(" ")
        if suite == release:
            return mirror
    raise RuntimeError(
        f"apt has no source for {release or 'this system'}: add one to /etc/apt, with main"
    )


def _unpack(package: Path, root: Path) -> None:
    archive = root.with_name(f"{root.name}.tar")
    try:
        with archive.open("wb") as files:
            subprocess.run(["dpkg-deb", "--fsys-tarfile", package], stdout=files, check=True)
        plain = ["--keep-directory-symlink", "--no-same-owner", "--no-same-permissions"]
        _run(["tar", "-C", str(root), *plain, "-xf", str(archive)])
    finally:
        archive.unlink(missing_ok=True)


def _commands(root: Path) -> None:
    """As on Android: /system/bin has the shell mksh, and toybox by the names of its commands."""
    place = root / "system/bin"
    place.mkdir(parents=True)
    for shell in (place / "sh", root / "usr/bin/sh"):
        shell.symlink_to("/usr/bin/mksh")
    # Debian's id and ls ask these for the names of users.
    (root / "etc/passwd").write_text("root:x:0:0::/:/system/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    emulator = find_arm64_emulator()
    if emulator.reason is not None:
        raise RuntimeError(f"no phone can be emulated here: {emulator.reason}")
    for name in _run([emulator.path, "-L", str(root), str(root / "usr/bin/toybox")]).split():
        (place / name).symlink_to("/usr/bin/toybox")


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        words = " ".join((done.stderr.strip() or done.stdout).split())[-500:]
        raise RuntimeError(f"{command[0]} ended with exit code {done.returncode}: {words}")
    return done.stdout


if __name__ == "__main__":
    if sys.argv[1:]:
        make_phone_root(Path(sys.argv[1]).absolute())
    else:
        print(phone_root())

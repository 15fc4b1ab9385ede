"""Fetch one wheel into a folder, with pip: pinned by hash, without what it depends on."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from importlib import util
from pathlib import Path

from chipdrift.errors import ChipdriftError
from chipdrift.sdk.pins import PACKAGE, Pin

_MEGA = 1_000_000


def fetch(pin: Pin, into: Path, lock: int) -> None:
    """Unpack ``pin``'s wheel into the empty folder ``into``; raises ChipdriftError.

    pip inherits ``lock``: as long as it lives, even without its parent, the shelf stays locked.
    """
    if util.find_spec("pip") is None:
        raise ChipdriftError(
            f"SDK {pin.name}: it is fetched with pip, which {sys.executable} lacks. Install it: "
            f"{sys.executable} -m ensurepip."
        )
    free = shutil.disk_usage(into).free // _MEGA
    if free < pin.fetched + pin.unpacked:
        raise ChipdriftError(
            f"SDK {pin.name}: {into.parent} has {free} MB left, and {pin.fetched + pin.unpacked} "
            "MB are needed to fetch and unpack it. Free some, or set XDG_CACHE_HOME to a folder "
            "with more."
        )
    wanted = into.with_name(into.name + ".txt")
    hashes = " ".join(f"--hash=sha256:{digest}" for digest in pin.sha256)
    try:
        wanted.write_text(f"{PACKAGE}=={pin.wheel} {hashes}\n", encoding="utf-8")
        done = subprocess.run(
            [
                sys.executable,
                *("-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet"),
                *("--retries", "2", "--no-deps", "--only-binary", ":all:", "--no-compile"),
                *("--require-hashes", "--target", str(into), "--requirement", str(wanted)),
            ],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            pass_fds=[lock],
            check=False,
        )
    finally:
        wanted.unlink(missing_ok=True)
    if done.returncode:
        raise ChipdriftError(_complaint(pin, done.stderr))


def _complaint(pin: Pin, printed: str) -> str:
    """One sentence of what pip printed: its own first error, and what to do."""
    told = re.findall(r"^\s*ERROR: (.*(?:\n(?! *(?:ERROR|WARNING)).*)*)", printed, re.MULTILINE)
    words = " ".join((told[0] if told else printed).split())[:300].rstrip(". ")
    if "HASHES" in words or "hashes" in words:
        return (
            f"SDK {pin.name}: the package index offers another {PACKAGE} {pin.wheel} than the one "
            f"that chipdrift knows by its hash ({words}). Nothing is kept."
        )
    return (
        f"SDK {pin.name}: {PACKAGE} {pin.wheel} could not be fetched (pip: {words or 'no words'}). "
        "Connect to a package index once; it is kept then, for use without one."
    )

"""qemu's user emulation: where it is, and whether it is new enough."""

from __future__ import annotations

import platform
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from typing import final


@final
@dataclass(frozen=True)
class Emulator:
    """``path`` and ``version`` as far as they are known; ``reason`` why it cannot be used."""

    path: str = ""
    version: str = ""
    reason: str | None = None


def find_emulator(program: str, oldest: tuple[int, int], runs: str, how: str) -> Emulator:
    """``program`` on PATH, of version ``oldest`` or newer, on a Linux x86-64 host.

    ``runs`` says what it runs and ``how`` how to get it: both become part of the reason.
    """
    if sys.platform != "linux" or platform.machine() != "x86_64":
        here = f"this is {sys.platform} {platform.machine()}"
        return Emulator(reason=f"it runs under {program} with {runs}; {here}")
    path = shutil.which(program)
    if path is None:
        return Emulator(reason=f"{program} is not on PATH: {how}")
    try:
        told = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired) as error:
        return Emulator(path, "", f"{path} --version does not run ({type(error).__name__}): {how}")
    found = re.search(r"version (\d+)\.(\d+)[.\d]*", told.stdout)
    if found is None:
        return Emulator(path, "", f"{path} --version does not tell a version: {how}")
    version = found[0].removeprefix("version ")
    if (int(found[1]), int(found[2])) < oldest:
        least = ".".join(map(str, oldest))
        reason = f"{path} is qemu {version}, and {least} or newer is needed: {how}"
        return Emulator(path, version, reason)
    return Emulator(path, version)

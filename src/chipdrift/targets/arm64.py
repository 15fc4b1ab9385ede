"""``ort:arm64``: onnxruntime's aarch64 wheel under qemu, and the root that it runs in.

The root is Debian's arm64 packages up to Python, unpacked, and beside it the aarch64 wheels of the
host's own release of onnxruntime and of what a worker imports. It is made once, as root, by

    python -m chipdrift.targets.arm64root FOLDER

and used by anybody: qemu looks files up in it first (``-L``), so nothing is mounted or registered.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path

from chipdrift.errors import ChipdriftError
from chipdrift.targets.base import Part, Target, TargetInfo
from chipdrift.targets.emulator import Emulator, find_emulator

CPU = "cortex-a76"
"""The processor that qemu is: big core of phones of 2019, dot products and no i8mm."""
ISA = "asimddp"
"""Of the instruction sets that matter to onnxruntime's kernels, what it has."""
WHEELS = (
    "annotated-types",
    "numpy",
    "onnxruntime",
    "pydantic",
    "pydantic_core",
    "typing-inspection",
    "typing_extensions",
)
"""What a worker imports beside the standard library, in the host's own versions."""
ROOT, SITE = "root", "site"
# 7.2 crashes when onnxruntime is imported; 10.0.2 is what this was measured with.
_OLDEST_QEMU = (10, 0)
_QEMU = "apt-get install qemu-user (10.0 or newer: bookworm has it in bookworm-backports)"
_DESCRIPTION = "onnxruntime on an emulated Arm Cortex-A76"
# The worker's command line names the host's Python; it comes here as words to pass over.
_START = (
    "import runpy, sys; sys.path[:0] = [{site!r}, {source!r}]; del sys.argv[:3]; "
    "runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
)


def folder() -> Path | None:
    """Where the root of this onnxruntime is looked for, below the cache folder; None without one.

    It is whole where it is there: it is renamed to this when it is done.
    """
    # Not above: the emulated worker imports this module, too, and slowly.
    from chipdrift.sdk import current_shelf

    shelf = current_shelf()
    if shelf is None:
        return None
    return shelf.folder.parent / "arm64" / f"onnxruntime-{metadata.version('onnxruntime')}"


def target(runtime: str) -> Target:
    """The target, its sessions opened by ``runtime``; raises ChipdriftError where it lacks."""
    emulator, reason = find_arm64_emulator(), _missing()
    place = folder()
    if reason is not None or place is None:
        raise ChipdriftError(f"Target ort:arm64 cannot run here: {reason}.")
    return Target(
        name="ort:arm64",
        runtime=runtime,
        evidence="emulated-runtime",
        has_npu=False,
        description="onnxruntime, Cortex-A76",
        profile="ort-mlas",
        versions={
            "onnxruntime": metadata.version("onnxruntime"),
            "machine": "aarch64",
            "isa": ISA,
            "qemu": emulator.version,
            "cpu": CPU,
        },
        launcher=launcher(emulator.path, place),
    )


def launcher(emulator: str, place: Path) -> tuple[str, ...]:
    """What stands before a worker's command line to run it in the root at ``place``."""
    source = str(Path(__file__).parents[2])
    python = place / ROOT / "usr/bin/python3"
    start = _START.format(site=str(place / SITE), source=source)
    return (emulator, "-cpu", CPU, "-L", str(place / ROOT), str(python), "-P", "-c", start)


def listed() -> TargetInfo:
    """The line of ``chipdrift targets``."""
    reason = _missing()
    return TargetInfo(
        name="ort:arm64",
        evidence="emulated-runtime",
        available=reason is None,
        description=_DESCRIPTION,
        reason=reason,
    )


def parts() -> list[Part]:
    """What it is made of, beside onnxruntime."""
    emulator, place = find_arm64_emulator(), folder()
    found = None if emulator.reason else f"{emulator.version}, {emulator.path}"
    here = None if place is None or not place.is_dir() else str(place)
    return [Part("qemu-aarch64", found, _QEMU), Part("arm64 root", here, _command(place))]


def _missing() -> str | None:
    emulator, place = find_arm64_emulator(), folder()
    if emulator.reason is not None:
        return emulator.reason
    if place is None:
        return (
            "no folder is named in which to look for its root. In Python: with "
            "chipdrift.sdks_in(folder). On the command line it is below XDG_CACHE_HOME, or below "
            ".cache in the home folder, and there is neither"
        )
    return None if place.is_dir() else f"its root {place} is not there: {_command(place)}"


def _command(place: Path | None) -> str:
    """How the root is made; needs root and Debian's debootstrap."""
    where = "FOLDER" if place is None else str(place)
    return (
        f"as root, apt-get install debootstrap && {sys.executable} -m "
        f"chipdrift.targets.arm64root {where}"
    )


def find_arm64_emulator() -> Emulator:
    """qemu-aarch64, or why it cannot be used."""
    return find_emulator(
        "qemu-aarch64", _OLDEST_QEMU, "the packages of a Linux x86-64 host", f"on Debian, {_QEMU}"
    )

"""The kit of a Linux phone: our runner, cross-compiled, and the aarch64 wheel's library."""

from __future__ import annotations

import shutil
from pathlib import Path

from chipdrift.cli.sdk import sdk_folder
from chipdrift.phones.build import build_runner, find_compiler
from chipdrift.sdk import sdks_in
from chipdrift.targets import arm64
from chipdrift.targets.arm64root import make_root


def arm64_root() -> Path:
    """The root of ``ort:arm64`` in the user's cache folder, made where it is not there."""
    with sdks_in(sdk_folder()):
        place = arm64.folder()
    assert place is not None
    if not place.is_dir():
        make_root(place)
    return place


def linux_kit(kits: Path) -> Path:
    """``kits`` with a folder ``linux-aarch64`` in it."""
    kit = kits / "linux-aarch64"
    kit.mkdir(parents=True)
    build_runner(kit, find_compiler())
    (library,) = (arm64_root() / arm64.SITE / "onnxruntime" / "capi").glob("libonnxruntime.so.*")
    shutil.copy(library, kit / "libonnxruntime.so")
    return kits

"""What must lie on the host to be pushed to a phone: one folder per ABI.

``<kits>/arm64-v8a`` is for Android phones, ``<kits>/linux-aarch64`` for a Linux with adbd. The
folder of kits is a value of the context, as the adb server is.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import final

from chipdrift.errors import ChipdriftError
from chipdrift.phones.elf import read_elf
from chipdrift.phones.identity import Identity
from chipdrift.phones.phone import Phone
from chipdrift.phones.server import PhoneError

RUNNER = "chipdrift-runner"
LIBRARY = "libonnxruntime.so"
PROVIDER = "libonnxruntime_providers_qnn.so"
# onnxruntime's linker script names its one version of symbols after the release.
_RELEASE = re.compile(rb"VERS_(\d+\.\d+\.\d+)\x00")


@final
@dataclass(frozen=True)
class Piece:
    """One file of a kit and how to get it."""

    name: str
    get: str


@final
@dataclass(frozen=True)
class Kit:
    """The kit of one ABI in ``folder``, which need not exist."""

    folder: Path

    def path(self, name: str) -> Path:
        """Where the file is, or would be."""
        return self.folder / name

    def holds(self, name: str) -> bool:
        """Whether the file is there, and an ELF file: a download that failed is none."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(4) == b"\x7fELF"
        except OSError:
            return False

    def lack(self, name: str) -> str:
        """Why the file cannot be used, where :meth:`holds` says that it cannot."""
        path = self.path(name)
        return f"{name} is there and is no ELF file" if path.exists() else f"{name} is not there"

    def digest(self, names: list[str]) -> str:
        """SHA-256 over the files' contents, in order: 16 digits."""
        whole = hashlib.sha256()
        for name in names:
            whole.update(hashlib.sha256(self.path(name).read_bytes()).digest())
        return whole.hexdigest()[:16]

    def release(self) -> str | None:
        """The onnxruntime release of its library, read from the file; None where it is silent."""
        found = _RELEASE.search(self.path(LIBRARY).read_bytes())
        return found[1].decode() if found else None

    def check(self, phone: Phone, identity: Identity, names: list[str]) -> None:
        """Raise PhoneError where a file is for another processor or another system."""
        for name in names:
            elf = read_elf(self.path(name))
            # Hexagon's own libraries (skel) are 32-bit files for the NPU: they are not asked here.
            if elf.machine != identity.machine:
                raise PhoneError(
                    f"{self.path(name)} is for {elf.machine}, and phone {phone.serial} is "
                    f"{identity.machine} ({identity.abi}). Put the {identity.abi} file there."
                )
            if elf.loader and phone.shell(f"test -e {elf.loader}").code:
                raise PhoneError(
                    f"{self.path(name)} starts with {elf.loader}, which phone {phone.serial} does "
                    f"not have ({identity.abi}): it is built for another system. "
                    f"{piece(identity.abi, name, self.folder).get}"
                )


def piece(abi: str, name: str, folder: Path) -> Piece:
    """How one file of the kit is got."""
    android = not abi.startswith("linux-")
    if name == RUNNER:
        how = f"{sys.executable} -m chipdrift.phones.build {folder}" + (
            " --ndk FOLDER (Android's NDK)" if android else ""
        )
    elif name == LIBRARY:
        how = f"{sys.executable} -m chipdrift.phones.library {folder}" + (
            " --aar FILE (com.microsoft.onnxruntime:onnxruntime-android, or "
            f"onnxruntime-android-qnn with QNN inside, release {_installed()})"
            if android
            else ""
        )
    elif name == "benchmark_model":
        how = (
            "build TensorFlow Lite's tool with bazel in LiteRT's source, "
            f"bazel build -c opt --config={'android_arm64' if android else 'elinux_aarch64'} "
            f"//tflite/tools/benchmark:{name}, and copy it to {folder / name} (LiteRT's newer tool "
            "of that name, //litert/tools, takes no inputs and writes no outputs)"
        )
    elif name == "inference_diff":
        how = (
            "build it with bazel in LiteRT's source, "
            f"bazel build -c opt --config={'android_arm64' if android else 'elinux_aarch64'} "
            "//tflite/tools/evaluation/tasks/inference_diff:run_eval, and copy run_eval to "
            f"{folder / name}"
        )
    elif name == PROVIDER:
        how = (
            f"copy onnxruntime-qnn's library of that name, built for {abi}, to {folder / name}: "
            f"only for a {LIBRARY} that has no QNN provider inside"
        )
    elif "Skel" in name:
        number = re.search(r"V(\d+)", name)
        where = f"lib/hexagon-v{number[1] if number else 'NN'}/unsigned"
        how = f"copy {where}/{name} of Qualcomm's QAIRT SDK to {folder / name}"
    else:
        kind = "bin" if name == "qnn-net-run" else "lib"
        system = "aarch64-android" if android else "aarch64-oe-linux-gcc11.2"
        how = f"copy {kind}/{system}/{name} of Qualcomm's QAIRT SDK to {folder / name}"
    return Piece(name, how)


def htp_libraries(hexagon: str) -> list[str]:
    """The QNN libraries that a phone of that generation (``v73``) needs, the NPU's own last."""
    number = hexagon.removeprefix("v")
    return [
        "libQnnHtp.so",
        "libQnnHtpPrepare.so",
        "libQnnSystem.so",
        f"libQnnHtpV{number}Stub.so",
        f"libQnnHtpV{number}Skel.so",
    ]


def _installed() -> str:
    return metadata.version("onnxruntime")


_KITS: ContextVar[Path | None] = ContextVar("chipdrift_phone_kits", default=None)


@contextmanager
def kits_in(folder: str | Path | None) -> Iterator[Path | None]:
    """Within it, phones' kits are looked for in ``folder``; None leaves them without a place."""
    place = None if folder is None else Path(folder).absolute()
    token = _KITS.set(place)
    try:
        yield place
    finally:
        _KITS.reset(token)


def kit_for(abi: str) -> Kit:
    """The kit of an ABI; raises ChipdriftError where no folder is named in which to look."""
    place = _KITS.get()
    if place is None:
        raise ChipdriftError(
            "No folder is named in which to look for phones' kits. In Python: with "
            "chipdrift.kits_in(folder). On the command line it is below XDG_CACHE_HOME, or below "
            ".cache in the home folder, and there is neither."
        )
    return Kit(place / abi)

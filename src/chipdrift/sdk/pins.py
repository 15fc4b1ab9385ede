"""Which wheel brings which release of the SDK: ``pins.toml``."""

from __future__ import annotations

import functools
import platform
import sys
import tomllib
from dataclasses import dataclass
from importlib import metadata, resources
from typing import final

from chipdrift.errors import ChipdriftError, UnknownNameError

PACKAGE = "onnxruntime-qnn"


@final
@dataclass(frozen=True)
class Pin:
    """One release: ``name`` is what stands behind a target's @, ``qnn`` its whole version.

    ``wheel`` is the version of onnxruntime-qnn that brings it, ``sha256`` the hashes that its
    wheels may have. ``fetched`` and ``unpacked`` are its size in MB of 1,000,000 bytes.
    ``refused_by`` is the first onnxruntime that is known not to load it, "" where none is.
    ``strangers`` are the ids of chips that this release does not know, which it would simulate as
    another chip without a word.
    """

    name: str
    qnn: str
    wheel: str
    fetched: int
    unpacked: int
    sha256: tuple[str, ...]
    refused_by: str = ""
    strangers: tuple[int, ...] = ()

    @property
    def label(self) -> str:
        """For people: release and wheel."""
        return f"QNN {self.qnn} ({PACKAGE} {self.wheel})"

    def refused(self, onnxruntime: str) -> str | None:
        """Why this release cannot be had with that version of onnxruntime, if that is known."""
        if not self.refused_by or _parts(onnxruntime) < _parts(self.refused_by):
            return None
        later = [pin.name for pin in known_pins().values() if not pin.refused_by]
        return (
            f"SDK {self.name}: {PACKAGE} {self.wheel} does not load with the installed onnxruntime "
            f"{onnxruntime}. Those that do: {', '.join(later)}."
        )

    @property
    def is_installed(self) -> bool:
        """Whether this is the release of the installed wheel, so that nothing need be fetched."""
        try:
            return metadata.version(PACKAGE) == self.wheel
        except metadata.PackageNotFoundError:
            return False


@functools.cache
def known_pins() -> dict[str, Pin]:
    """Every release by its name, the oldest first."""
    text = resources.files(__package__).joinpath("pins.toml").read_text(encoding="utf-8")
    return {
        name: Pin(
            name=name,
            qnn=fields["qnn"],
            wheel=fields["wheel"],
            fetched=fields["fetched"],
            unpacked=fields["unpacked"],
            sha256=tuple(fields["sha256"]),
            refused_by=fields.get("refused_by", ""),
            strangers=tuple(fields.get("strangers", ())),
        )
        for name, fields in tomllib.loads(text)["sdk"].items()
    }


def get_pin(name: str) -> Pin:
    """The release of that name; raises where nobody knows it, or it cannot run on this machine."""
    pins = known_pins()
    if name not in pins:
        names = [pin.name for pin in pins.values() if pin.refused(_onnxruntime()) is None]
        raise UnknownNameError.of("SDK", name, names, "chipdrift sdk list shows them.")
    away = elsewhere()
    if away is not None:
        raise ChipdriftError(f"SDK {name}: {away}.")
    refused = pins[name].refused(_onnxruntime())
    if refused is not None:
        raise ChipdriftError(refused)
    return pins[name]


def elsewhere() -> str | None:
    """Why no release runs on this machine, or None."""
    if sys.platform == "linux" and platform.machine() == "x86_64":
        return None
    return (
        f"Qualcomm's simulator ({PACKAGE}) runs on Linux x86-64; this is {sys.platform} "
        f"{platform.machine()}. Measure there and read the run folder here"
    )


def _onnxruntime() -> str:
    return metadata.version("onnxruntime")


def _parts(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())

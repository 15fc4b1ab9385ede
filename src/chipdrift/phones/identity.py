"""What a phone is: its chip, its build, and whether it is silicon at all."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import final

from chipdrift.chips import Chip, get_chip
from chipdrift.errors import ChipdriftError
from chipdrift.phones.phone import Phone

_PROPERTY = re.compile(r"^\[([^\]]+)\]: \[(.*)\]$")
_BIN = re.compile(r"([A-Za-z]+\d{4})[-_ ]?[A-Za-z]{1,2}")
_SECONDS = 10.0
_MARK = "chipdrift-identity"
# A Linux with adbd may have properties too: Android's programs need Android's loader.
_LOADER = "/system/bin/linker64"
_ASK = f"getprop 2>/dev/null; echo {_MARK}; uname -m; ls {_LOADER} 2>/dev/null; true"
# Properties by which Android's own emulators tell what they are.
_EMULATORS = {
    "ro.kernel.qemu": ("1",),
    "ro.boot.qemu": ("1",),
    "ro.hardware": ("goldfish", "ranchu", "cutf_cvm", "cutf_ivsh", "vsoc"),
}


@final
@dataclass(frozen=True)
class Identity:
    """What a phone says of itself; "" where it does not say.

    ``chip`` is its row in the catalogue, found by ``ro.soc.model`` alone: board names are shared by
    different chips. ``emulated`` is the reason why its answers are not a device's, or None.
    """

    serial: str
    model: str
    soc_manufacturer: str
    soc_model: str
    build: str
    android: str
    abi: str
    machine: str
    chip: Chip | None
    emulated: str | None

    @property
    def label(self) -> str:
        """A few words for people."""
        what = self.model or self.machine or "phone"
        chip = self.chip.label if self.chip is not None else self.soc_model or "unknown chip"
        return f"{what}, {chip}"

    @property
    def unknown_chip(self) -> str | None:
        """What must be said where the catalogue does not have its chip."""
        if self.chip is not None:
            return None
        if not self.soc_model:
            return f"phone {self.serial} does not tell its chip (ro.soc.model)"
        return f"phone {self.serial} has a {self.soc_model}, which the catalogue does not know"


def identify(phone: Phone) -> Identity:
    """Ask the phone what it is, with one command; it has 10 s, since lists of targets ask too."""
    told, _, rest = phone.check(_ASK, _SECONDS).partition(_MARK)
    machine, _, loader = rest.strip().partition("\n")
    lines = (_PROPERTY.match(line.rstrip("\r")) for line in told.splitlines())
    found = {match[1]: match[2] for match in lines if match is not None}
    return identity_of(phone.serial, found, machine.strip(), loader.strip() == _LOADER)


def identity_of(
    serial: str, properties: dict[str, str], machine: str, androids_loader: bool
) -> Identity:
    """Read what ``getprop`` and ``uname -m`` printed, and whether Android's loader is there."""

    def told(*names: str) -> str:
        return next((properties[n].strip() for n in names if properties.get(n, "").strip()), "")

    soc = told("ro.soc.model")
    android = told("ro.build.version.release")
    return Identity(
        serial=serial,
        model=" ".join(filter(None, (told("ro.product.manufacturer"), told("ro.product.model")))),
        soc_manufacturer=told("ro.soc.manufacturer"),
        soc_model=soc,
        build=told("ro.build.fingerprint", "ro.build.display.id"),
        android=android,
        abi=_abi(told("ro.product.cpu.abi"), machine, androids_loader),
        machine=machine,
        chip=_chip(soc),
        emulated=_emulated(properties, android, soc, androids_loader),
    )


def _abi(told: str, machine: str, androids_loader: bool) -> str:
    """Android's name, or ``linux-aarch64`` and the like: its kit is another."""
    if androids_loader and told:
        return told
    return f"linux-{machine}" if machine else "unknown"


def _chip(soc_model: str) -> Chip | None:
    """The row of that very name, or of the name without its bin's letters: SM8550-AC is SM8550."""
    binned = _BIN.fullmatch(soc_model)
    for name in (soc_model, *([binned[1]] if binned else [])):
        try:
            return get_chip(name)
        except ChipdriftError:
            continue
    return None


def _emulated(
    properties: dict[str, str], android: str, soc: str, androids_loader: bool
) -> str | None:
    for name, values in _EMULATORS.items():
        if properties.get(name) in values:
            return f"{name} is {properties[name]}"
    if not android:
        return "it does not say that it runs Android (ro.build.version.release)"
    if not androids_loader:
        return f"it says Android {android}, and has no {_LOADER}"
    if not soc:
        return "it does not name its chip (ro.soc.model)"
    return None

"""The phone's log of just one run, with the verbose properties set before and restored after."""

from __future__ import annotations

import contextlib
import json
import re
import secrets
import shlex
from collections.abc import Mapping
from typing import final

from chipdrift.phones.phone import Phone
from chipdrift.phones.server import PhoneError

# Android's liblog lets a tag's least level be set by property.
VERBOSE: Mapping[str, str] = {
    "log.tag.onnxruntime": "VERBOSE",
    "log.tag.tflite": "VERBOSE",
    "log.tag.QnnDsp": "VERBOSE",
}
_MOST = 8 << 20  # characters kept of one run
_SECONDS = 30.0
_KEPT = "log-properties.json"


@final
class RunLog:
    """What the phone logs from now on, at the level that tells most.

    ``folder`` on the phone keeps what the properties were, so that a run that was killed in the
    middle does not leave them raised for good: the next one, or :func:`restore_log`, puts back what
    that one found. ``since`` is None where the phone does not tell its clock: then there is no log.
    """

    def __init__(self, phone: Phone, folder: str, wanted: Mapping[str, str] = VERBOSE) -> None:
        self._phone = phone
        self._folder = folder
        if _kept(phone, folder) is None:
            before = json.dumps(_values(phone, wanted)).encode()
            partial = f"{folder}/{secrets.token_hex(4)}.part"
            phone.push(before, partial)
            phone.check(f"rm -rf {folder}/{_KEPT}; mv {partial} {folder}/{_KEPT}")
        _set(phone, wanted)
        # By the phone's own clock: the host's is another.
        told = re.fullmatch(r"(\d+)(?:\.(\d{3}).*)?\S*", phone.shell("date +%s.%N").out.strip())
        self.since = None if told is None else f"{told[1]}.{told[2] or '000'}"

    def read(self) -> str:
        """The log since it began, oldest line first; "" where the phone keeps none."""
        if self.since is None:
            return ""
        command = f"logcat -d -v threadtime -T {shlex.quote(self.since)}"
        ran = self._phone.shell(command, _SECONDS)
        return "" if ran.code else ran.out[-_MOST:]

    def restore(self) -> None:
        """Put the properties back to what they were."""
        restore_log(self._phone, self._folder)


def restore_log(phone: Phone, folder: str) -> None:
    """Put back what a :class:`RunLog` found, if one is still raised."""
    before = _kept(phone, folder)
    if before is not None:
        _set(phone, before)
        phone.shell(f"rm -rf {folder}/{_KEPT}")


def _kept(phone: Phone, folder: str) -> dict[str, str] | None:
    try:
        found = json.loads(phone.shell(f"cat {folder}/{_KEPT} 2>/dev/null || true").out)
    except (ValueError, RecursionError):
        return None
    sound = (
        isinstance(found, dict)
        and VERBOSE.keys() <= found.keys()
        and all(isinstance(v, str) and re.fullmatch(r"[\w.]+", k) for k, v in found.items())
    )
    return found if sound else None


def _values(phone: Phone, names: Mapping[str, str]) -> dict[str, str]:
    """Each property's value, "" where it is not set, where it has lines, where there is none."""
    found = dict.fromkeys(names, "")
    for name in names:
        with contextlib.suppress(PhoneError):
            lines = phone.shell(f"getprop {shlex.quote(name)} 2>/dev/null", _SECONDS).out.split(
                "\n"
            )
            found[name] = lines[0].strip() if lines[1:] in ([], [""]) else ""
    return found


def _set(phone: Phone, values: Mapping[str, str]) -> None:
    """A phone without setprop has no such properties."""
    told = "; ".join(f"setprop {shlex.quote(n)} {shlex.quote(v)}" for n, v in values.items())
    phone.shell(f"{{ {told}; }} >/dev/null 2>&1; true")

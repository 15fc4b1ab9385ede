"""The phone's log of just one run, with the verbose properties set before and restored after."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Mapping
from typing import final

from chipdrift.phones.phone import Phone

# Android's liblog lets a tag's least level be set by property.
VERBOSE: Mapping[str, str] = {
    "log.tag.onnxruntime": "VERBOSE",
    "log.tag.tflite": "VERBOSE",
    "log.tag.QnnDsp": "VERBOSE",
}
_MOST = 8 << 20  # characters kept of one run


@final
class RunLog:
    """What the phone logs from now on, at the level that tells most.

    ``folder`` on the phone keeps what the properties were, so that a run that was killed in the
    middle does not leave them raised for good: the next one puts back what that one found.
    """

    def __init__(self, phone: Phone, folder: str, wanted: Mapping[str, str] = VERBOSE) -> None:
        self._phone = phone
        self._kept = f"{folder}/log-properties.json"
        told = phone.shell(f"cat {self._kept} 2>/dev/null || true").out
        self._before = _parsed(told)
        if self._before is None:
            self._before = _values(phone, wanted)
            phone.push(json.dumps(self._before).encode(), self._kept)
        _set(phone, wanted)
        # By the phone's own clock: the host's is another.
        now = phone.check("date +%s.%N").strip()
        whole, _, fraction = now.partition(".")
        self.since = f"{whole}.{fraction[:3] if fraction.isdecimal() else '000'}"

    def read(self) -> str:
        """The log since it began, oldest line first; "" where the phone keeps none."""
        ran = self._phone.shell(f"logcat -d -v threadtime -T {shlex.quote(self.since)}")
        return "" if ran.code else ran.out[-_MOST:]

    def restore(self) -> None:
        """Put the properties back to what they were."""
        assert self._before is not None
        _set(self._phone, self._before)
        self._phone.shell(f"rm -f {self._kept}")


def _parsed(told: str) -> dict[str, str] | None:
    try:
        found = json.loads(told)
    except ValueError:
        return None
    sound = isinstance(found, dict) and all(
        isinstance(v, str) and re.fullmatch(r"[\w.]+", k) for k, v in found.items()
    )
    return found if sound else None


def _values(phone: Phone, names: Mapping[str, str]) -> dict[str, str]:
    """One line each, empty where it is not set or where there is no getprop."""
    asked = "; ".join(f'echo "$(getprop {shlex.quote(name)} 2>/dev/null)"' for name in names)
    return dict(zip(names, phone.check(asked).splitlines(), strict=True))


def _set(phone: Phone, values: Mapping[str, str]) -> None:
    """A phone without setprop has no such properties."""
    told = "; ".join(f"setprop {shlex.quote(n)} {shlex.quote(v)}" for n, v in values.items())
    phone.shell(f"{{ {told}; }} >/dev/null 2>&1; true")

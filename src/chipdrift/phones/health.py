"""How hot a phone is and how much battery it has: a throttled phone's times are no measurement."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from chipdrift.phones.phone import Phone
from chipdrift.phones.server import PhoneError, PhoneGoneError

_ASK = (
    "dumpsys battery 2>/dev/null; echo chipdrift-thermal; dumpsys thermalservice 2>/dev/null; "
    "echo chipdrift-zones; cat /sys/class/thermal/thermal_zone*/temp 2>/dev/null; true"
)
# Names of android.os.PowerManager's THERMAL_STATUS_* by value.
STATUSES = ("none", "light", "moderate", "severe", "critical", "emergency", "shutdown")
_TEMPERATURE = re.compile(r"\bTemperature{mValue=(-?\d+(?:\.\d+)?), mType=\d")
_POLL_SECONDS = 5.0
_SECONDS = 10.0
_ZONES = (1.0, 150.0)  # degrees Celsius that a thermal zone may truthfully tell


@final
@dataclass(frozen=True)
class Health:
    """One look at a phone; None where it does not tell.

    ``thermal`` is Android's thermal status from 0 (none) to 6 (shutdown); temperatures are in
    degrees Celsius; ``battery`` is in per cent; ``charging`` says that a cable or pad feeds it.
    """

    battery: int | None = None
    battery_celsius: float | None = None
    charging: bool | None = None
    thermal: int | None = None
    hottest_celsius: float | None = None

    @property
    def hot(self) -> bool:
        """Whether Android throttles it, or is about to."""
        return self.thermal is not None and self.thermal > 0

    @property
    def words(self) -> str:
        """For people."""
        parts = []
        if self.thermal is not None:
            name = STATUSES[self.thermal] if self.thermal < len(STATUSES) else str(self.thermal)
            parts.append(f"thermal status {name}")
        if self.hottest_celsius is not None:
            parts.append(f"hottest {self.hottest_celsius:.0f} °C")
        if self.battery is not None:
            parts.append(f"battery {self.battery} %" + (", charging" if self.charging else ""))
        return ", ".join(parts) or "it tells neither heat nor battery"


def take_health(phone: Phone) -> Health:
    """Look at the phone now; it tells nothing where its services do not answer."""
    try:
        return read_health(phone.shell(_ASK, _SECONDS).out)
    except PhoneGoneError:
        raise
    except PhoneError:
        return Health()


def read_health(text: str) -> Health:
    """Read what ``dumpsys battery``, ``dumpsys thermalservice`` and the thermal zones printed."""
    battery, _, rest = text.partition("chipdrift-thermal")
    thermal, _, zones = rest.partition("chipdrift-zones")
    level, scale = _number(battery, "level"), _number(battery, "scale") or 100
    tenths = _number(battery, "temperature")
    powered = re.findall(r"^\s*(?:AC|USB|Wireless|Dock) powered: (true|false)", battery, re.M)
    status = re.search(r"Thermal Status: ([0-6])\b", thermal)
    # HAL readings are of now, cached ones may be old; of each mType 0 to 4: CPU, GPU, battery,
    # skin. A value of -1 or NaN says that there is none.
    current = thermal.partition("Current temperatures from HAL")[2] or thermal
    read = [
        float(v) for v in re.findall(r"\bTemperature{mValue=(-?\d+(?:\.\d+)?), mType=\d", current)
    ]
    if not read:
        raw = [float(v) for v in zones.split() if re.fullmatch(r"-?\d+", v)]
        read = [v / 1000 if abs(v) > 1000 else v for v in raw]
    sound = [v for v in read if _ZONES[0] < v < _ZONES[1]]
    return Health(
        battery=None if level is None else round(100 * level / scale),
        battery_celsius=None if tenths is None else tenths / 10,
        charging="true" in powered if powered else None,
        thermal=int(status[1]) if status else None,
        hottest_celsius=max(sound, default=None),
    )


def cool_down(
    phone: Phone,
    seconds: float,
    tell: Callable[[str], None] = lambda _: None,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> tuple[Health, float]:
    """Wait until the phone is not hot, ``seconds`` at most: how it is then, and the time it took.

    A phone that does not tell its thermal status is not waited for.
    """
    began = clock()
    while True:
        health = take_health(phone)
        waited = clock() - began
        if not health.hot or waited >= seconds:
            return health, waited
        tell(f"phone {phone.serial} is hot ({health.words}) and is waited for")
        sleep(min(_POLL_SECONDS, seconds - waited))


def _number(text: str, name: str) -> int | None:
    found = re.search(rf"^\s*{name}: (-?\d+)\s*$", text, re.M)
    return int(found[1]) if found else None

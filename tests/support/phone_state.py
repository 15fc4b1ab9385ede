"""What an emulated phone says of itself: files that its scripts read and a test sets."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

# A phone's names with an emulator's values: nothing here is Android silicon.
PROPERTIES = {
    "ro.build.version.release": "14",
    "ro.build.version.sdk": "34",
    "ro.hardware": "emulated",
    "ro.kernel.qemu": "1",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.product.cpu.abilist": "arm64-v8a",
    "ro.product.manufacturer": "chipdrift",
    "ro.product.model": "Emulated phone",
    "ro.build.fingerprint": "chipdrift/emulated/emulated:14/TEST/1:userdebug/test-keys",
}
# In the form of Android 14's BatteryService; degrees in tenths, millivolts.
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Dock powered: false
  Max charging current: 500000
  Max charging voltage: 5000000
  Charge counter: 3200000
  status: 2
  health: 2
  present: true
  level: 84
  scale: 100
  voltage: 4263
  temperature: 276
  technology: Li-ion
"""
# In the form of Android's ThermalManagerService: types 0 CPU, 1 GPU, 2 battery, 3 skin, 9 NPU.
THERMAL = """\
IsStatusOverride: false
ThermalEventListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
ThermalStatusListeners:
\tcallbacks: 1
\tkilled: false
\tbroadcasts count: -1
Thermal Status: 0
Cached temperatures:
\tTemperature{mValue=31.5, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=28.4, mType=3, mName=skin, mStatus=0}
HAL Ready: true
HAL connection:
\tThermalHAL 2.0 connected: yes
Current temperatures from HAL:
\tTemperature{mValue=32.25, mType=0, mName=CPU0, mStatus=0}
\tTemperature{mValue=30.5, mType=1, mName=GPU0, mStatus=0}
\tTemperature{mValue=27.6, mType=2, mName=battery, mStatus=0}
\tTemperature{mValue=28.75, mType=3, mName=skin, mStatus=0}
\tTemperature{mValue=30.0, mType=9, mName=nsp0, mStatus=0}
Current cooling devices from HAL:
\tCoolingDevice{mValue=0, mType=2, mName=thermal-cpufreq-0}
"""


class PhoneState:
    """The files in ``folder``, which the phone sees, too."""

    def __init__(self, folder: Path) -> None:
        self._state = folder
        self._write("properties", "")

    @property
    def properties(self) -> dict[str, str]:
        """What ``getprop`` lists now."""
        lines = (self._state / "properties").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines)

    def set_properties(self, values: Mapping[str, str | None]) -> None:
        """Set some properties; None takes one away."""
        now = {**self.properties, **values}
        kept = {name: value for name, value in now.items() if value is not None}
        self._write("properties", "".join(f"{name}={kept[name]}\n" for name in sorted(kept)))

    @property
    def properties_set(self) -> list[tuple[str, str]]:
        """What ``setprop`` was asked for, in order."""
        record = self._state / "setprop.log"
        if not record.exists():
            return []
        pairs = [line.split("=", 1) for line in record.read_text().splitlines()]
        return [(name, value) for name, value in pairs]

    def set_dumpsys(self, service: str, text: str | None) -> None:
        """What ``dumpsys battery`` or ``dumpsys thermalservice`` prints; None: no such service."""
        if text is None:
            (self._state / service).unlink()
        else:
            self._write(service, text)

    def add_log(
        self,
        tag: str,
        message: str,
        level: str = "I",
        at: datetime | None = None,
        pid: int = 1000,
        tid: int | None = None,
    ) -> None:
        """One more entry of its log, the newest; ``at`` is now by default, its clock is UTC."""
        moment = datetime.now(UTC) if at is None else at.astimezone(UTC)
        millis = f"{moment.microsecond // 1000:03d}"
        second = f"{int(moment.timestamp())}.{millis}"
        day = f"{moment:%m-%d %H:%M:%S}.{millis}"
        head = "\t".join((second, day, str(pid), str(pid if tid is None else tid), level, tag))
        # As Android's logcat prints them: each line with the entry's own head.
        with (self._state / "log").open("a") as log:
            log.write("".join(f"{head}\t{line}\n" for line in message.split("\n")))

    def _write(self, name: str, text: str) -> None:
        new = self._state / f".{name}.new"
        new.write_text(text)
        new.replace(self._state / name)

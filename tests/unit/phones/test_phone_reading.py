"""What phones print and what is made for them: health, identity, ELF headers, kits, profiles."""

from __future__ import annotations

import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from chipdrift.phones.elf import read_elf
from chipdrift.phones.health import Health, cool_down, read_health
from chipdrift.phones.identity import identity_of
from chipdrift.phones.kit import Kit, piece
from chipdrift.phones.phone import Ran
from chipdrift.phones.server import PhoneError
from chipdrift.targets.adb_runner import read_profile

# As Android's BatteryService and ThermalManagerService print it.
BATTERY = """Current Battery Service state:
  AC powered: false
  USB powered: true
  Wireless powered: false
  Max charging current: 500000
  Charge counter: 2713000
  status: 2
  health: 2
  present: true
  level: 61
  scale: 100
  voltage: 4123
  temperature: 305
  technology: Li-ion
"""
THERMAL = """IsStatusOverride: false
ThermalEventListeners:
	callbacks: 3
Thermal Status: 2
Cached temperatures:
	Temperature{mValue=99.0, mType=3, mName=old, mStatus=0}
HAL Ready: true
HAL connection:
	ThermalHAL 2.0 connected: yes
Current temperatures from HAL:
	Temperature{mValue=47.25, mType=0, mName=CPU0, mStatus=0}
	Temperature{mValue=-274.0, mType=1, mName=none, mStatus=0}
	Temperature{mValue=41.5, mType=3, mName=skin, mStatus=2}
Current cooling devices from HAL:
	CoolingDevice{mValue=120, mType=2, mName=thermal-cpufreq-0}
"""


def heard(battery: str = "", thermal: str = "", zones: str = "") -> Health:
    return read_health(f"{battery}chipdrift-thermal\n{thermal}chipdrift-zones\n{zones}")


def test_heat_and_battery_of_a_phone() -> None:
    found = heard(BATTERY, THERMAL)
    assert found == Health(61, 30.5, True, 2, 47.25)
    assert found.hot
    assert found.words == "thermal status moderate, hottest 47 °C, battery 61 %, charging"


def test_a_phone_that_tells_nothing() -> None:
    assert heard() == Health()
    assert not Health().hot
    assert Health().words == "it tells neither heat nor battery"


def test_a_scale_that_is_not_100_and_no_cable() -> None:
    battery = "  AC powered: false\n  USB powered: false\n  level: 100\n  scale: 200\n"
    assert heard(battery) == Health(battery=50, charging=False)


def test_zones_stand_in_where_the_service_is_silent() -> None:
    assert heard(zones="45123\n-40000\n38\n0\n200000\n").hottest_celsius == 45.123


class _HotPhone:
    """Hot at its first looks."""

    def __init__(self, hot: int) -> None:
        self.left = hot

    serial = "hot"

    def shell(self, command: str, seconds: float) -> Ran:
        status = 1 if self.left > 0 else 0
        self.left -= 1
        return Ran(0, f"chipdrift-thermal\nThermal Status: {status}\nchipdrift-zones\n", "")


@pytest.mark.parametrize(("hot", "limit", "took"), [(0, 60, 0), (3, 60, 15), (99, 60, 60)])
def test_cooling_ends_when_it_is_cool_or_when_the_time_is_up(
    hot: int, limit: float, took: float
) -> None:
    now = [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    told: list[str] = []
    phone: Any = _HotPhone(hot)
    health, waited = cool_down(phone, limit, told.append, clock=lambda: now[0], sleep=sleep)
    assert waited == took
    # Each pause is told, so that no time limit takes it for a hang.
    assert len(told) == took / 5 and all("thermal status light" in words for words in told)
    assert health.hot == (hot == 99)


PHONE = {
    "ro.product.manufacturer": "Xiaomi",
    "ro.product.model": "2211133C",
    "ro.soc.manufacturer": "QTI",
    "ro.soc.model": "SM8550",
    "ro.build.version.release": "14",
    "ro.build.fingerprint": "Xiaomi/fuxi/fuxi:14/UKQ1/V816:user/release-keys",
    "ro.product.cpu.abi": "arm64-v8a",
    "ro.board.platform": "kalama",
}


def test_a_phone_is_its_ro_soc_model() -> None:
    found = identity_of("S", PHONE, "aarch64", True)
    assert found.chip is not None and found.chip.soc == "SM8550"
    assert (found.emulated, found.unknown_chip, found.abi) == (None, None, "arm64-v8a")
    assert found.label.startswith("Xiaomi 2211133C, SM8550")


def test_a_bin_of_a_chip_is_that_chip() -> None:
    found = identity_of("S", {**PHONE, "ro.soc.model": "SM8550-AC"}, "aarch64", True)
    assert found.chip is not None and found.chip.soc == "SM8550"


@pytest.mark.parametrize("soc", ["SM855", "SM99999", "SM8550X9", "kalama", "8550"])
def test_a_near_name_is_no_chip_of_the_catalogue(soc: str) -> None:
    found = identity_of("S", {**PHONE, "ro.soc.model": soc}, "aarch64", True)
    assert found.chip is None
    assert found.unknown_chip == f"phone S has a {soc}, which the catalogue does not know"
    assert found.emulated is None


@pytest.mark.parametrize(
    "change",
    [
        {"ro.kernel.qemu": "1"},
        {"ro.boot.qemu": "1"},
        {"ro.hardware": "ranchu"},
        {"ro.hardware": "cutf_cvm"},
        {"ro.soc.model": ""},
        {"ro.build.version.release": ""},
    ],
)
def test_what_does_not_say_that_it_is_silicon_is_none(change: dict[str, str]) -> None:
    assert identity_of("S", {**PHONE, **change}, "aarch64", True).emulated is not None


def test_a_linux_with_adbd_has_a_kit_of_its_own() -> None:
    assert identity_of("S", {}, "aarch64", False).abi == "linux-aarch64"
    assert identity_of("S", PHONE, "aarch64", False).abi == "linux-aarch64"


def elf(machine: int, loader: bytes = b"", bits: int = 2) -> bytes:
    """An ELF header with one PT_INTERP, by the System V ABI's own layout."""
    at = 64 + 56
    head = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    head += struct.pack("<HHIQQQIHHHHHH", 3, machine, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 3 if loader else 1, 4, at, 0, 0, len(loader), len(loader), 1)
    return head + segment + loader


def test_an_elf_file_tells_processor_and_loader(tmp_path: Path) -> None:
    path = tmp_path / "program"
    path.write_bytes(elf(183, b"/system/bin/linker64\0"))
    assert (read_elf(path).machine, read_elf(path).loader) == ("aarch64", "/system/bin/linker64")
    path.write_bytes(elf(243))
    assert (read_elf(path).machine, read_elf(path).loader) == ("riscv64", "")


def test_this_python_is_an_elf_file_of_this_machine() -> None:
    import platform

    found = read_elf(Path(sys.executable).resolve())
    assert found.machine == platform.machine()
    assert Path(found.loader).exists()


@pytest.mark.parametrize("share", [0.3, 0.9, 0.9999])
def test_a_library_whose_download_broke_off_is_cut_short(share: float, tmp_path: Path) -> None:
    import onnxruntime

    (library,) = (Path(onnxruntime.__file__).parent / "capi").glob("libonnxruntime.so.*")
    assert read_elf(library).loader == ""
    data = library.read_bytes()
    path = tmp_path / "libonnxruntime.so"
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(PhoneError, match="is cut short"):
        read_elf(path)


@pytest.mark.parametrize("length", range(0, 120, 7))
def test_a_file_that_is_cut_short_is_said_to_be(length: int, tmp_path: Path) -> None:
    path = tmp_path / "cut"
    path.write_bytes(elf(183, b"/lib/ld.so\0")[:length])
    with pytest.raises(PhoneError, match=r"is no ELF file|is cut short|32-bit"):
        read_elf(path)


def test_a_kit_knows_the_release_of_its_library(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    kit.path("libonnxruntime.so").write_bytes(b"\0VERS_1.31.1\0\0")
    assert kit.release() == "1.31.1"
    kit.path("libonnxruntime.so").write_bytes(b"nothing of that kind")
    assert kit.release() is None


def test_the_installed_wheel_s_library_tells_the_installed_release() -> None:
    import onnxruntime

    folder = Path(onnxruntime.__file__).parent / "capi"
    (library,) = folder.glob("libonnxruntime.so.*")
    kit = Kit(folder)
    assert kit.path(library.name).is_file()
    from chipdrift.phones.kit import _RELEASE

    found = _RELEASE.search(library.read_bytes())
    assert found is not None and found[1].decode() == onnxruntime.__version__


@pytest.mark.parametrize("abi", ["arm64-v8a", "linux-aarch64"])
@pytest.mark.parametrize(
    "name", ["chipdrift-runner", "libonnxruntime.so", "libQnnHtp.so", "libQnnHtpV73Skel.so"]
)
def test_every_piece_tells_the_exact_file(abi: str, name: str, tmp_path: Path) -> None:
    assert str(tmp_path) in piece(abi, name, tmp_path).get


def test_a_profile_is_added_up_by_node() -> None:
    def event(name: str, op: str, microseconds: int) -> dict[str, object]:
        return {"cat": "Node", "name": name, "dur": microseconds, "args": {"op_name": op}}

    events = [
        {"cat": "Session", "name": "model_run", "dur": 9999},
        event("a_kernel_time", "Conv", 100),
        event("a_fence_before", "Conv", 7000),
        event("b_kernel_time", "Add", 900),
        event("a_kernel_time", "Conv", 300),
    ]
    found = read_profile(json.dumps(events).encode(), 2)
    assert [(n, o) for n, o, _ in found] == [("b", "Add"), ("a", "Conv")]
    assert [s for *_, s in found] == pytest.approx([450e-6, 200e-6], rel=1e-12)


def test_a_thermal_status_that_does_not_exist_is_none() -> None:
    assert heard(thermal="Thermal Status: 0099999\n").thermal is None
    assert heard(thermal="Thermal Status: 7\n").thermal is None

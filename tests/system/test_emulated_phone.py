"""The emulated phone is what tests of phones rest on: that it does what a phone does."""

from __future__ import annotations

import hashlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import adbutils
import phone_root
import pytest
from emulated_phone import AdbServer, EmulatedPhone, LockedPhone
from phone_server import until

pytestmark = pytest.mark.system

EMULATED = Path(__file__).parents[1] / "support" / "emulated_phone.py"
PLACE = "/data/local/tmp"


@pytest.fixture(scope="module")
def server() -> Iterator[AdbServer]:
    with AdbServer() as running:
        yield running


@pytest.fixture
def phone(server: AdbServer) -> Iterator[EmulatedPhone]:
    with EmulatedPhone(server) as running:
        yield running


def client(phone: EmulatedPhone) -> adbutils.AdbDevice:
    host, port = phone.server
    return adbutils.AdbClient(host=host, port=port).device(phone.serial)


def processes_of(folder: str) -> list[str]:
    """Command lines that name a folder, of all processes of this machine."""
    found = []
    for entry in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = entry.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue  # it has just ended
        if folder in words:
            found.append(words)
    return found


def test_a_command_gives_its_exit_code_and_both_outputs(phone: EmulatedPhone) -> None:
    done = phone.shell("uname -m; echo wrong >&2; exit 7")
    assert (done.returncode, done.stdout, done.stderr) == (7, b"aarch64\n", b"wrong\n")
    # The same by the other client.
    told = client(phone).shell2("uname -m; echo wrong >&2; exit 7", v2=True)
    assert (told.returncode, told.stdout, told.stderr) == (7, "aarch64\n", "wrong\n")


def test_its_processor_is_a_cortex_a76_and_its_shell_is_androids(phone: EmulatedPhone) -> None:
    words = phone.shell("cat /proc/cpuinfo").stdout.decode()
    assert "CPU part\t: 0xd0b" in words  # Arm's number of the Cortex-A76
    features = words.split("Features\t:")[1].splitlines()[0].split()
    assert "asimddp" in features and "i8mm" not in features
    assert b"MIRBSD KSH" in phone.shell("echo $KSH_VERSION").stdout
    assert phone.shell("ls /sys/class/thermal").returncode == 1
    # Without these onnxruntime does not know the processor.
    assert phone.shell("cat /sys/devices/system/cpu/possible").stdout.startswith(b"0-")


def test_nothing_of_the_hosts_environment_is_seen(
    server: AdbServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHIPDRIFT_SEEN", "1")
    with EmulatedPhone(server) as phone:
        names = {line.split("=")[0] for line in phone.shell("env").stdout.decode().splitlines()}
    own = {"PATH", "HOME", "TERM", "QEMU_CPU", "ADBD_PORT", "_", "PWD", "SHLVL", "OLDPWD"}
    # What adbd sets for every shell.
    assert names <= own | {"HOSTNAME", "LOGNAME", "SHELL", "TMPDIR", "USER"}


def test_files_go_there_and_back(phone: EmulatedPhone, tmp_path: Path) -> None:
    sent, back = tmp_path / "sent", tmp_path / "back"
    sent.write_bytes(os.urandom(10_000_000))
    client(phone).sync.push(sent, f"{PLACE}/sent")
    told = phone.shell(f"sha256sum {PLACE}/sent").stdout.split()[0].decode()
    assert told == hashlib.sha256(sent.read_bytes()).hexdigest()
    done = phone.adb_server.adb("-s", phone.serial, "pull", f"{PLACE}/sent", str(back))
    assert done.returncode == 0 and back.read_bytes() == sent.read_bytes()


def test_exec_out_changes_no_byte(phone: EmulatedPhone, tmp_path: Path) -> None:
    every = bytes(range(256)) + b"\r\n\n\r" * 3
    sent = tmp_path / "sent"
    sent.write_bytes(every)
    client(phone).sync.push(sent, f"{PLACE}/every")
    done = phone.adb_server.adb("-s", phone.serial, "exec-out", f"cat {PLACE}/every")
    assert done.stdout == every


def test_a_full_phone_refuses_a_file(server: AdbServer, tmp_path: Path) -> None:
    large = tmp_path / "large"
    large.write_bytes(os.urandom(20_000_000))
    with EmulatedPhone(server, room_mb=8) as phone:
        done = server.adb("-s", phone.serial, "push", str(large), f"{PLACE}/large")
        assert done.returncode != 0 and b"No space left on device" in done.stdout + done.stderr
        with pytest.raises(adbutils.AdbError):
            client(phone).sync.push(large, f"{PLACE}/large")
        size = phone.shell("df -k /data").stdout.decode().splitlines()[1].split()[1]
        assert size == "8192"


def test_a_pulled_cable_ends_a_command_and_the_files_stay(phone: EmulatedPhone) -> None:
    phone.shell(f"echo kept > {PLACE}/kept")
    pull = threading.Timer(0.5, phone.unplug)
    pull.start()
    begun = time.monotonic()
    done = phone.shell(f"echo begun; sleep 30; echo ended; echo late > {PLACE}/late")
    pull.join()
    assert time.monotonic() - begun < 20
    assert done.stdout == b"begun\n"
    assert phone.serial not in phone.adb_server.states()
    phone.plug()
    assert phone.adb_server.states()[phone.serial] == "device"
    assert phone.shell(f"ls {PLACE}").stdout == b"kept\n"


def test_a_pulled_cable_ends_a_transfer(phone: EmulatedPhone, tmp_path: Path) -> None:
    large = tmp_path / "large"
    with large.open("wb") as file:
        file.truncate(400_000_000)
    raised: list[BaseException] = []

    def push() -> None:
        try:
            client(phone).sync.push(large, f"{PLACE}/large")
        except (OSError, EOFError, adbutils.AdbError) as error:
            raised.append(error)

    pushing = threading.Thread(target=push)
    # A frozen daemon holds the transfer up in its middle, on any machine.
    pushing.start()
    time.sleep(0.1)
    phone.freeze()
    phone.unplug()
    pushing.join(30)
    phone.thaw()
    assert not pushing.is_alive() and len(raised) == 1
    phone.plug()
    assert phone.shell("echo here").stdout == b"here\n"


def test_a_frozen_phone_answers_when_it_thaws(phone: EmulatedPhone) -> None:
    phone.freeze()
    with pytest.raises(subprocess.TimeoutExpired):
        phone.shell("true", timeout=1)
    assert phone.adb_server.states()[phone.serial] == "device"
    phone.thaw()
    assert phone.shell("echo here").stdout == b"here\n"


def test_a_phone_that_is_switched_off_is_offline_and_keeps_its_files(phone: EmulatedPhone) -> None:
    phone.shell(f"echo kept > {PLACE}/kept; sleep 100 >/dev/null 2>&1 &")
    assert until(lambda: phone.shell("pgrep sleep").returncode == 0)
    phone.power_off()
    assert until(lambda: phone.adb_server.states()[phone.serial] == "offline")
    assert b"device offline" in phone.shell("true").stderr
    phone.power_on()
    phone.plug()
    assert phone.shell(f"cat {PLACE}/kept").stdout == b"kept\n"
    assert phone.shell("pgrep sleep").returncode == 1


def test_two_phones_share_a_server_and_nothing_else(server: AdbServer) -> None:
    with EmulatedPhone(server) as one, EmulatedPhone(server) as other:
        assert one.serial != other.serial and one.server == other.server
        assert {one.serial, other.serial} <= set(server.states())
        one.shell(f"echo one > {PLACE}/name; setprop debug.name one")
        assert other.shell(f"ls {PLACE}; getprop debug.name").stdout == b"\n"
        one.unplug()
        assert one.serial not in server.states()
        assert other.shell("echo here").stdout == b"here\n"


def test_a_locked_phone_is_unauthorized(server: AdbServer) -> None:
    with LockedPhone(server) as locked:
        assert server.states()[locked.serial] == "unauthorized"
        done = server.adb("-s", locked.serial, "shell", "true")
        assert done.returncode == 1 and b"device unauthorized" in done.stderr
    assert locked.serial not in server.states()


def test_properties_are_listed_asked_and_set(server: AdbServer) -> None:
    given = {"ro.product.model": "a [b]: c=d  \\e", "ro.hardware": None}
    with EmulatedPhone(server, properties=given) as phone:
        listed = phone.shell("getprop").stdout.decode()
        found = dict(re.findall(r"^\[(.*?)\]: \[(.*)\]$", listed, re.MULTILINE))
        assert len(found) == listed.count("\n")
        assert found == phone.properties
        assert found["ro.kernel.qemu"] == "1" and "ro.hardware" not in found
        assert phone.shell("getprop ro.product.model").stdout.decode() == "a [b]: c=d  \\e\n"
        # A name that is not set is an empty line, as on Android.
        assert phone.shell("getprop ro.hardware").stdout == b"\n"
        assert phone.shell("setprop debug.a 'b c'; setprop debug.a d").returncode == 0
        assert phone.shell("setprop ro.product.model x").returncode == 1
        assert phone.properties_set == [("debug.a", "b c"), ("debug.a", "d")]
        assert phone.shell("getprop debug.a").stdout == b"d\n"


def test_its_log_is_told_from_a_time_on(phone: EmulatedPhone) -> None:
    start = datetime(2025, 3, 1, 12, 30, 15, 250_000, tzinfo=UTC)
    assert phone.shell("logcat -d").stdout == b""
    phone.add_log("QnnDsp", "first", "E", at=start, pid=7, tid=12345)
    phone.add_log("a.longer.tag", "second\tx\nthird", "D", at=start + timedelta(seconds=1))
    head = "--------- beginning of main\n"
    first = "03-01 12:30:15.250     7 12345 E QnnDsp  : first\n"
    rest = "".join(
        f"03-01 12:30:16.250  1000  1000 D a.longer.tag: {x}\n" for x in ("second\tx", "third")
    )

    def told(words: str) -> str:
        done = phone.shell(f"logcat {words}")
        assert (done.returncode, done.stderr) == (0, b"")
        return done.stdout.decode()

    assert told("-d") == told("-d -v threadtime") == head + first + rest
    for later in ("03-01 12:30:15.251", "2025-03-01 12:30:16.250", f"{start.timestamp() + 1:.3f}"):
        assert told(f"-d -T '{later}'") == head + rest
    assert told("-d -s QnnDsp") == told("-d '*:W'") == head + first
    epoch = told("-d -v epoch QnnDsp:V '*:S'").splitlines()[1]
    assert epoch == "         1740832215.250     7 12345 E QnnDsp  : first"
    assert phone.shell("logcat -d -v html").returncode == 1
    assert told("-c") == told("-d") == ""


def test_its_log_is_followed(phone: EmulatedPhone) -> None:
    phone.add_log("QnnDsp", "long ago")
    phone.add_log("QnnDsp", "before")
    with client(phone).shell("logcat -T 1", stream=True) as following:
        following.conn.settimeout(30)

        def told(last: bytes) -> bytes:
            words = b""
            while not words.endswith(last) and (piece := following.recv(1 << 12)):
                words += piece
            return words

        first = told(b"before\n")
        assert first.endswith(b": before\n") and b"long ago" not in first
        phone.add_log("QnnDsp", "as it happens")
        assert told(b"happens\n").endswith(b" I QnnDsp  : as it happens\n")


def test_battery_and_temperatures_are_what_a_test_sets(phone: EmulatedPhone) -> None:
    battery = phone.shell("dumpsys battery").stdout.decode()
    assert (
        battery.startswith("Current Battery Service state:\n") and "  temperature: 276\n" in battery
    )
    thermal = phone.shell("dumpsys thermalservice").stdout.decode()
    assert "Thermal Status: 0\n" in thermal
    assert "\tTemperature{mValue=28.75, mType=3, mName=skin, mStatus=0}\n" in thermal
    phone.set_dumpsys("battery", "  level: 3\n")
    assert phone.shell("dumpsys battery").stdout == b"  level: 3\n"
    phone.set_dumpsys("thermalservice", None)
    done = phone.shell("dumpsys thermalservice")
    assert (done.stdout, done.stderr) == (b"", b"Can't find service: thermalservice\n")


def test_a_root_is_made_whole_or_not_at_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = tmp_path / "broken.deb"
    package.write_bytes(b"!<arch>\n")
    monkeypatch.setattr(phone_root, "_fetched", lambda private: [package])
    with pytest.raises((RuntimeError, subprocess.CalledProcessError)):
        phone_root.make_phone_root(tmp_path / "root")
    assert list(tmp_path.iterdir()) == [package]


def test_it_leaves_nothing_behind() -> None:
    with EmulatedPhone() as phone:
        folder = phone.adb_server.folder
        assert len(processes_of(str(folder))) >= 3
        phone.shell("sleep 100 >/dev/null 2>&1 &")
    assert processes_of(str(folder)) == [] and not folder.exists()
    with pytest.raises(OSError):
        phone.adb_server.ask("host:version")


def test_it_ends_with_the_process_that_started_it() -> None:
    with subprocess.Popen(
        [sys.executable, str(EMULATED)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        assert running.stdout.readline().startswith("serial ")
        of_it = [pid for pid in descendants(running.pid) if pid != running.pid]
        words = [Path(f"/proc/{pid}/cmdline").read_text().split("\0") for pid in of_it]
        assert any(command[0] == "adb" for command in words)
        assert any(command[0].endswith("qemu-aarch64") for command in words)
        # namespace.py FOLDER EMULATOR
        [folder] = {Path(command[-3]) for command in words if "-S" in command}
        assert folder.is_dir()
        running.send_signal(signal.SIGKILL)
    assert until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in of_it))
    assert not folder.exists()


def descendants(pid: int) -> list[int]:
    """A process and all that come of it."""
    words = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(each for word in words for each in descendants(int(word)))]

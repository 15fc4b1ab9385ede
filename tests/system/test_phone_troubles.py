"""What goes wrong on and around a phone: damaged files, restarts, two runs at once, leftovers."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from emulated_phone import AdbServer, EmulatedPhone
from phone_kit import linux_kit

from chipdrift.demo import DemoPaths
from chipdrift.phones import AdbServer as Server
from chipdrift.phones import PhoneFiles, find_phone
from conftest import Cli

pytestmark = pytest.mark.system

FOLDER = "/data/local/tmp/chipdrift"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("cache")
    linux_kit(place / "chipdrift" / "phones")
    return place


@pytest.fixture(scope="module")
def server() -> Iterator[AdbServer]:
    with AdbServer() as running:
        yield running


@pytest.fixture
def phone(
    server: AdbServer, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[EmulatedPhone]:
    with EmulatedPhone(server) as running:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(server.address[1]))
        monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
        yield running


def words(demo: DemoPaths, run: Path, phone: EmulatedPhone, *more: object) -> list[object]:
    given = ("matrix", demo.model, "--data", demo.data, "--calibration", demo.calibration)
    return [*given, "--target", f"adb:{phone.serial}", "-o", run, *more]


def cell_of(run: Path, phone: EmulatedPhone, scheme: str = "fp32") -> dict[str, Any]:
    cells = json.loads((run / "matrix.json").read_text())["cells"]
    (found,) = [c for c in cells if (c["scheme"], c["target"]) == (scheme, f"adb:{phone.serial}")]
    assert isinstance(found, dict)
    return found


def once(ready: Callable[[], bool], do: Callable[[], None]) -> threading.Thread:
    """Do something in the middle of a run."""

    def wait() -> None:
        end = time.monotonic() + 60
        while not ready():
            if time.monotonic() > end:
                return
            time.sleep(0.05)
        do()

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def answering(phone: EmulatedPhone) -> Callable[[], bool]:
    return lambda: b".npy" in phone.shell(f"ls {FOLDER}/runs/*/out").stdout


def test_what_was_damaged_on_the_phone_is_sent_anew(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    """Inputs with other bytes, a model cut short, one that is a folder, a library cut short."""
    more = ("--scheme", "fp32", "--limit", 6)
    assert cli(*words(demo, tmp_path / "a", phone, *more))[0] == 0
    good = cell_of(tmp_path / "a", phone)["metric"]["value"]
    spoil = {
        "inputs": f"cd {FOLDER}/files; for f in *; do n=$(stat -c %s $f); (head -c 128 $f; "
        "head -c $((n - 128)) /dev/zero) > ../x; mv ../x $f; done",
        "short": f"for f in {FOLDER}/files/*; do truncate -s 100 $f; done",
        "folders": f"for f in {FOLDER}/files/*; do rm $f; mkdir $f; done",
        "library": f"truncate -s 1000 {FOLDER}/kits/*/libonnxruntime.so",
        "runner": f"rm {FOLDER}/kits/*/chipdrift-runner",
    }
    for name, command in spoil.items():
        done = phone.shell(command)
        assert done.returncode == 0, (name, done.stderr)
        code, _, err = cli(*words(demo, tmp_path / name, phone, *more))
        assert code == 0, (name, err)
        cell = cell_of(tmp_path / name, phone)
        assert cell["metric"]["value"] == good, name
        assert cell["phone"]["sent"] > 0, name
    assert cli(*words(demo, tmp_path / "b", phone, *more))[0] == 0
    assert cell_of(tmp_path / "b", phone)["phone"]["sent"] == 0


def test_a_phone_that_restarts_is_waited_for(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    def restart() -> None:
        phone.power_off()
        time.sleep(2)
        phone.power_on()
        phone.plug()

    thread = once(answering(phone), restart)
    code, _, err = cli(*words(demo, tmp_path / "run", phone, "--scheme", "fp32", "--limit", 400))
    thread.join()
    assert code == 0, err
    assert cell_of(tmp_path / "run", phone)["phone"]["away"] >= 1


def test_a_phone_unplugged_while_the_kit_is_pushed_is_waited_for(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    def pull() -> None:
        phone.unplug()
        time.sleep(2)
        phone.plug()

    pushing = f"ls {FOLDER}/kits/*.part/libonnxruntime.so*"
    thread = once(lambda: phone.shell(pushing).returncode == 0, pull)
    code, _, err = cli(*words(demo, tmp_path / "run", phone, "--scheme", "fp32", "--limit", 6))
    thread.join()
    assert code == 0, err


def test_two_runs_on_one_phone_at_once(
    demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    """Both push the same kit, model and inputs to an empty phone; both are whole."""
    runs = [tmp_path / "a", tmp_path / "b"]
    started = [
        subprocess.Popen(
            [
                *(sys.executable, "-m", "chipdrift.cli.main"),
                *map(str, words(demo, run, phone, "--scheme", "fp32,w8a8", "--limit", 30)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for run in runs
    ]
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0], said
    values = [cell_of(run, phone)["metric"]["value"] for run in runs]
    assert values[0] == values[1]
    assert b".part" not in phone.shell(f"ls -R {FOLDER}").stdout


@pytest.mark.parametrize("how", ["refused", "timeout", "killed"])
def test_the_log_s_level_is_put_back_whatever_happens(
    how: str, cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    phone.set_properties({"log.tag.onnxruntime": "WARN"})
    run = tmp_path / "run"
    given = words(demo, run, phone, "--scheme", "fp32", "--limit", 200)
    level = lambda: phone.properties["log.tag.onnxruntime"]  # noqa: E731
    if how == "refused":
        # The kit's library is cut on the way: the runner cannot start.
        thread = once(
            lambda: level() == "VERBOSE", lambda: phone.shell(f"rm {FOLDER}/kits/*/*") and None
        )
        cli(*given)
        thread.join()
    elif how == "timeout":
        thread = once(answering(phone), phone.freeze)
        assert cli(*given, "--timeout", 8)[0] == 1
        thread.join()
        phone.thaw()
        assert level() == "VERBOSE"  # nobody could reach it; the next run, or clean, puts it back
        assert cli("phones", "clean", phone.serial)[0] == 0
    else:
        process = subprocess.Popen([sys.executable, "-m", "chipdrift.cli.main", *map(str, given)])
        while not answering(phone)():
            time.sleep(0.05)
        process.terminate()
        process.wait(timeout=60)
    assert level() == "WARN"


def test_cleaning_ends_what_hangs_there(cli: Cli, phone: EmulatedPhone) -> None:
    phone.shell(
        f"mkdir -p {FOLDER}/kits/x {FOLDER}/runs/0badcafe-1; cd {FOLDER}/runs/0badcafe-1; "
        f"cp $(which sleep) {FOLDER}/kits/x/sleep; "
        f"({FOLDER}/kits/x/sleep 997 >/dev/null 2>&1 & echo $! > pid)"
    )
    there = "cat /proc/[0-9]*/cmdline"
    assert b"sleep\x00997" in phone.shell(there).stdout
    code, _, err = cli("phones", "clean", phone.serial)
    assert code == 0, err
    assert b"sleep\x00997" not in phone.shell(there).stdout


def test_a_hot_phone_is_not_taken_for_one_that_hangs(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chipdrift.targets.adb._COOL_SECONDS", "25")
    phone.set_dumpsys("thermalservice", "Thermal Status: 2\n")
    more = ("--scheme", "fp32", "--limit", 4, "--timeout", 12)
    code, _, err = cli(*words(demo, tmp_path / "run", phone, *more))
    assert code == 0, err
    assert cell_of(tmp_path / "run", phone)["phone"]["cooled"] >= 25


def test_a_phone_that_goes_at_the_end_keeps_its_times(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All samples have run when the log is read: what can be told is told."""
    profiling = lambda: b"profile" in phone.shell(f"ls {FOLDER}/runs/*").stdout  # noqa: E731
    thread = once(profiling, phone.unplug)
    code, _, err = cli(*words(demo, tmp_path / "run", phone, "--scheme", "fp32", "--limit", 6))
    thread.join()
    phone.plug()
    assert code == 0, err
    told = cell_of(tmp_path / "run", phone)["phone"]
    assert told["samples"] == 6 and told["median_seconds"] > 0
    assert "nodes: " in told["trouble"] and told["nodes"] == []
    assert phone.serial in told["trouble"]


def test_two_sessions_push_one_kit_at_once(
    phone: EmulatedPhone, server: AdbServer, tmp_path: Path
) -> None:
    """Each of the kit's files comes there once whole, and what was begun is gone."""
    kit = {name: tmp_path / name for name in ("one", "two", "three")}
    for name, path in kit.items():
        path.write_bytes(name.encode() * 400_000)
    start = threading.Barrier(2)
    places: list[str] = []

    def session() -> None:
        files = PhoneFiles(find_phone(phone.serial, Server(*server.address)))
        start.wait()
        places.append(files.put_kit(kit))

    both = [threading.Thread(target=session) for _ in range(start.parties)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()
    assert len(places) == 2 and len(set(places)) == 1
    there = phone.shell(f"cd {places[0]} && find . -type f -exec sha256sum {{}} +").stdout
    assert sorted(there.decode().splitlines()) == sorted(
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  ./{name}" for name, path in kit.items()
    )
    left = phone.shell(f"find {FOLDER} -name '*.part' -o -name '*.old'").stdout
    assert left == b""
    again = PhoneFiles(find_phone(phone.serial, Server(*server.address)))
    assert (again.put_kit(kit), again.sent) == (places[0], 0)

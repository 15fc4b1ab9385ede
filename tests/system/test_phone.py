"""``adb:<serial>`` with the real adb and adbd, on emulated arm64 phones."""

from __future__ import annotations

import csv
import io
import json
import shutil
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from emulated_phone import AdbServer, EmulatedPhone, LockedPhone
from onnx import TensorProto, helper
from phone_kit import linux_kit

from chipdrift.cli.sdk import sdk_folder
from chipdrift.demo import DemoPaths
from chipdrift.phones import AdbServer as Server
from chipdrift.phones import PhoneError, PhoneFiles, adb_at, find_phone, kits_in
from chipdrift.sdk import sdks_in
from chipdrift.targets import WorkerProcess, get_target
from conftest import Cli

pytestmark = pytest.mark.system

LIBRARY = "libonnxruntime.so"
RUNNER = "chipdrift-runner"


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kit of a Linux phone: our runner, cross-compiled, and the aarch64 wheel's library."""
    return linux_kit(tmp_path_factory.mktemp("kits"))


@pytest.fixture(scope="module")
def server() -> Iterator[AdbServer]:
    with AdbServer() as running:
        yield running


@pytest.fixture
def phone(server: AdbServer) -> Iterator[EmulatedPhone]:
    with EmulatedPhone(server) as running:
        yield running


@pytest.fixture(autouse=True)
def there(server: AdbServer, kits: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The command line and this process look for phones and kits where the tests have them."""
    host, port = server.address
    monkeypatch.setenv("ANDROID_ADB_SERVER_ADDRESS", host)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setattr("chipdrift.cli.phones.kits_folder", lambda: kits)
    with adb_at(Server(host, port)), kits_in(kits), sdks_in(sdk_folder()):
        yield


def cells_of(run: Path) -> dict[tuple[str, str], dict[str, Any]]:
    found = json.loads((run / "matrix.json").read_text())["cells"]
    return {(cell["scheme"], cell["target"]): cell for cell in found}


def matrix(cli: Cli, demo: DemoPaths, run: Path, *words: object) -> tuple[int, str, str]:
    given = ("matrix", demo.model, "--data", demo.data, "--calibration", demo.calibration)
    return cli(*given, "-o", run, *words)


def outputs_of(cli: Cli, run: Path, scheme: str, target: str) -> np.ndarray[Any, Any]:
    npz = run / "outputs.npz"
    code, _, err = cli("outputs", run, "--scheme", scheme, "--target", target, "-o", npz)
    assert code == 0, err
    with np.load(npz) as kept:
        return np.asarray(kept["logits"])


def test_a_phone_answers_as_the_same_runtime_under_qemu_directly(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    mine, run = f"adb:{phone.serial}", tmp_path / "run"
    code, out, err = matrix(
        *(cli, demo, run, "--scheme", "fp32,w8a8,w8a16_pc"),
        *("--target", f"ort:cpu,ort:arm64,{mine}", "--limit", 12),
    )
    assert code == 0, err
    cells = cells_of(run)
    for scheme in ("fp32", "w8a8", "w8a16_pc"):
        cell = cells[scheme, mine]
        assert (cell["status"], cell["evidence"]) == ("ok", "emulated-runtime")
        assert "not silicon: ro.kernel.qemu is 1" in cell["reason"]
        np.testing.assert_array_equal(
            outputs_of(cli, run, scheme, mine), outputs_of(cli, run, scheme, "ort:arm64")
        )
        assert cell["placement"]["cpu"] == cells[scheme, "ort:arm64"]["placement"]["cpu"] > 0
        told = cell["phone"]
        assert told["samples"] == 12 and told["slowest_seconds"] >= told["median_seconds"] > 0
        assert {node["op"] for node in told["nodes"]} & {"QLinearConv", "Conv", "FusedConv"}
        assert told["before"]["battery"] == 84 and told["after"]["thermal"] == 0
    # Float sums of another processor are others: a phone that is this host would have the same.
    assert not np.array_equal(
        outputs_of(cli, run, "fp32", mine), outputs_of(cli, run, "fp32", "ort:cpu")
    )
    assert "emulated-runtime" in " ".join(out.split())


def test_only_what_changed_is_sent(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, kits: Path, tmp_path: Path
) -> None:
    """The kit, the model and four inputs; another run of the same: nothing; then two inputs."""
    target = f"adb:{phone.serial}"
    sent = []
    for limit, run in ((4, "a"), (4, "b"), (6, "b")):
        code, _, err = matrix(
            *(cli, demo, tmp_path / run, "--scheme", "w8a8"),
            *("--target", target, "--limit", limit),
        )
        assert code == 0, err
        sent.append(cells_of(tmp_path / run)["w8a8", target]["phone"]["sent"])
    model = next((tmp_path / "a" / "models").glob("w8a8-*.onnx")).stat().st_size
    file = io.BytesIO()
    np.save(file, np.load(demo.data)["image"][:1])
    each = len(file.getvalue())
    kit = sum(path.stat().st_size for path in (kits / "linux-aarch64").iterdir())
    assert sent == [kit + model + 4 * each, 0, 2 * each]


@pytest.mark.parametrize("comes_back", [True, False])
def test_a_phone_that_is_pulled_out_in_the_middle(
    comes_back: bool,
    demo: DemoPaths,
    cli: Cli,
    phone: EmulatedPhone,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("chipdrift.targets.adb._RETURN_SECONDS", "20" if comes_back else "1")
    target, run = f"adb:{phone.serial}", tmp_path / "run"
    pulled = threading.Event()

    def pull() -> None:
        # Once it answers samples: its folder for outputs is there.
        while b".npy" not in phone.shell("ls /data/local/tmp/chipdrift/runs/*/out").stdout:
            time.sleep(0.05)
        phone.unplug()
        pulled.set()
        if comes_back:
            time.sleep(1)
            phone.plug()

    thread = threading.Thread(target=pull)
    thread.start()
    code, _, err = matrix(
        *(cli, demo, run, "--scheme", "w8a8,fp32", "--target", f"ort:cpu,{target}"),
        *("--limit", 100),
    )
    thread.join()
    assert pulled.is_set()
    cells = cells_of(run)
    assert cells["w8a8", "ort:cpu"]["status"] == "ok"
    mine = [cells[scheme, target] for scheme in ("w8a8", "fp32")]
    if comes_back:
        assert code == 0, err
        assert [cell["phone"]["away"] for cell in mine].count(1) == 1
        assert all(cell["status"] == "ok" for cell in mine)
        assert cells["w8a8", target]["lsb"] == {"max": 0, "mean": 0.0}
        return
    assert code == 1
    assert all(cell["status"] == "failed" for cell in mine)
    assert "it did not come back within 1 s" in " ".join(cell["reason"] for cell in mine)
    kept = max(cell["measured"] for cell in mine)
    assert kept > 0
    # Plugged in again, the same command goes on from what was measured.
    phone.plug()
    code, _, err = matrix(
        *(cli, demo, run, "--scheme", "w8a8,fp32", "--target", f"ort:cpu,{target}"),
        *("--limit", 100),
    )
    assert code == 0, err
    cells = cells_of(run)
    samples = cells["w8a8", target]["samples"]
    ran = [cells[scheme, target]["phone"]["samples"] for scheme in ("w8a8", "fp32")]
    assert sorted(ran) == sorted([samples, samples - kept]) or min(ran) < samples


def test_a_command_that_never_returns(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    """The daemon stops answering: that cell is lost, the run goes on; later it is as before."""
    target, run = f"adb:{phone.serial}", tmp_path / "run"

    def freeze() -> None:
        while b".npy" not in phone.shell("ls /data/local/tmp/chipdrift/runs/*/out").stdout:
            time.sleep(0.05)
        phone.freeze()

    thread = threading.Thread(target=freeze)
    thread.start()
    words = ("--scheme", "w8a8", "--target", f"{target},ort:cpu")
    code, _, err = matrix(cli, demo, run, *words, "--timeout", 15)
    thread.join()
    phone.thaw()
    cells = cells_of(run)
    assert code == 1, err
    assert "no answer within 15 s" in cells["w8a8", target]["reason"]
    assert cells["w8a8", "ort:cpu"]["status"] == "ok"
    code, _, err = matrix(cli, demo, run, *words, "--timeout", 60)
    assert code == 0, err
    # Of the runner that hung nothing is left.
    left = phone.shell("cat /proc/[0-9]*/cmdline | tr '\\0' ' '").stdout
    assert left.count(RUNNER.encode() + b" --library") == 0
    assert len(phone.shell("ls /data/local/tmp/chipdrift/runs").stdout.split()) <= 1


def test_a_phone_without_room(cli: Cli, demo: DemoPaths, server: AdbServer, tmp_path: Path) -> None:
    with EmulatedPhone(server, room_mb=16) as full:
        target = f"adb:{full.serial}"
        code, out, err = matrix(
            *(cli, demo, tmp_path / "run", "--scheme", "w8a8", "--limit", 4),
            *("--target", f"ort:cpu,{target}"),
        )
        assert code == 1, out + err
        reason = cells_of(tmp_path / "run")["w8a8", target]["reason"]
        assert "there is no room" in reason
        assert f"chipdrift phones clean {full.serial}" in reason
        code, _, err = cli("phones", "clean", full.serial)
        assert code == 0, err
        assert full.shell("ls /data/local/tmp/chipdrift").returncode != 0


def test_room_that_runs_out_in_the_middle(server: AdbServer) -> None:
    """Small files are not asked for room first: the daemon's refusal is told as what it is."""
    with EmulatedPhone(server, room_mb=4) as full:
        phone = find_phone(full.serial, Server(*server.address))
        files = PhoneFiles(phone)
        with pytest.raises(PhoneError, match=r"there is no room: \d+\.\d MB are free"):
            for index in range(9):
                files.put(bytes([index]) * 900_000)


@pytest.mark.parametrize(
    ("name", "words"),
    [(RUNNER, "is for x86_64, and phone"), (LIBRARY, "is for x86_64, and phone")],
)
def test_a_kit_for_another_processor(
    name: str,
    words: str,
    cli: Cli,
    phone: EmulatedPhone,
    kits: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    wrong = tmp_path / "kits"
    shutil.copytree(kits, wrong)
    shutil.copy(Path(sys.executable).resolve(), wrong / "linux-aarch64" / name)
    monkeypatch.setattr("chipdrift.cli.phones.kits_folder", lambda: wrong)
    code, _, err = cli("doctor", f"adb:{phone.serial}/cpu")
    assert code == 1
    code, _, err = matrix(
        cli, demo_paths(), tmp_path / "run", "--scheme", "w8a8", "--target", f"adb:{phone.serial}"
    )
    assert code == 2
    assert words in err and "Traceback" not in err


def test_a_kit_for_another_system(
    cli: Cli, phone: EmulatedPhone, kits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wrong = tmp_path / "kits"
    shutil.copytree(kits, wrong)
    runner = wrong / "linux-aarch64" / RUNNER
    built = runner.read_bytes()
    # As long as the loader's own path, so that nothing else of the file moves.
    androids = b"/system/bin/linker64\0".ljust(len(b"/lib/ld-linux-aarch64.so.1\0"), b"\0")
    assert b"/lib/ld-linux-aarch64.so.1\0" in built
    runner.write_bytes(built.replace(b"/lib/ld-linux-aarch64.so.1\0", androids))
    monkeypatch.setattr("chipdrift.cli.phones.kits_folder", lambda: wrong)
    code, _, err = matrix(
        cli, demo_paths(), tmp_path / "run", "--scheme", "w8a8", "--target", f"adb:{phone.serial}"
    )
    assert code == 2
    assert "starts with /system/bin/linker64, which phone" in err


def demo_paths() -> DemoPaths:
    from chipdrift.demo import paths

    return paths()


def test_what_the_kit_lacks_is_told_with_the_very_file(
    cli: Cli, phone: EmulatedPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chipdrift.cli.phones.kits_folder", lambda: tmp_path)
    code, out, _ = cli("doctor", f"adb:{phone.serial}")
    assert code == 1
    assert f"chipdrift.phones.build {tmp_path / 'linux-aarch64'}" in out
    assert f"chipdrift.phones.library {tmp_path / 'linux-aarch64'}" in out
    code, out, _ = cli("doctor", f"adb:{phone.serial}/qnn", "--json")
    parts = {part["name"] for part in json.loads(out)["checkups"][0]["parts"]}
    assert {"libQnnHtp.so", "libQnnSystem.so", RUNNER, LIBRARY} <= parts


def test_two_phones_with_one_model_side_by_side(
    cli: Cli, demo: DemoPaths, server: AdbServer, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with EmulatedPhone(server) as a, EmulatedPhone(server) as b:
        names = [f"adb:{a.serial}", f"adb:{b.serial}"]
        code, _, err = matrix(cli, demo, run, "--scheme", "w8a8", "--target", "adb:")
        assert code == 2
        assert all(name in err for name in names), err
        together: list[bool] = []
        done = threading.Event()

        def watch() -> None:
            script = "ls /data/local/tmp/chipdrift/runs/*/out"
            while not done.is_set():
                together.append(all(b".npy" in p.shell(script).stdout for p in (a, b)))
                time.sleep(0.2)

        thread = threading.Thread(target=watch)
        thread.start()
        code, _, err = matrix(
            *(cli, demo, run, "--scheme", "w8a8,fp32", "--target", ",".join(names)),
            *("--limit", 60, "--jobs", 1),
        )
        done.set()
        thread.join()
    assert code == 0, err
    assert any(together)
    cells = cells_of(run)
    for scheme in ("w8a8", "fp32"):
        mine = [cells[scheme, name] for name in names]
        # Each answered for itself, though chip and build are the same.
        assert [cell["measured"] for cell in mine] == [60, 60]
        assert all(cell["copied_from"] is None for cell in mine)
        np.testing.assert_array_equal(*(outputs_of(cli, run, scheme, name) for name in names))


def test_the_log_of_just_this_run_is_kept(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    phone.set_properties({"log.tag.onnxruntime": "WARN"})
    phone.add_log("before", "nothing to do with the run")
    target, run = f"adb:{phone.serial}", tmp_path / "run"
    time.sleep(0.1)
    seen: list[dict[str, str]] = []

    def write() -> None:
        while b".npy" not in phone.shell("ls /data/local/tmp/chipdrift/runs/*/out").stdout:
            time.sleep(0.05)
        seen.append(phone.properties)
        phone.add_log("adsprpc", "of this run")

    thread = threading.Thread(target=write)
    thread.start()
    code, _, err = matrix(cli, demo, run, "--scheme", "w8a8", "--target", target, "--limit", 30)
    thread.join()
    assert code == 0, err
    name = cells_of(run)["w8a8", target]["phone"]["log"]
    kept = (run / name).read_text()
    assert "of this run" in kept and "nothing to do" not in kept
    assert seen[0]["log.tag.onnxruntime"] == "VERBOSE"
    assert phone.properties["log.tag.onnxruntime"] == "WARN"
    assert phone.properties.get("log.tag.tflite", "") == ""


def test_a_killed_run_leaves_the_log_s_level_to_be_restored(
    phone: EmulatedPhone, server: AdbServer
) -> None:
    from chipdrift.phones import RunLog

    phone.set_properties({"log.tag.onnxruntime": "INFO"})
    there = find_phone(phone.serial, Server(*server.address))
    folder = PhoneFiles(there).folder
    RunLog(there, folder)  # and killed
    assert phone.properties["log.tag.onnxruntime"] == "VERBOSE"
    RunLog(there, folder).restore()
    assert phone.properties["log.tag.onnxruntime"] == "INFO"


def test_a_hot_phone_is_waited_for_and_that_is_told(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chipdrift.targets.adb._COOL_SECONDS", "2")
    hot = "Thermal Status: 3\nCached temperatures:\n\tTemperature{mValue=91.0, mType=0, mName=x}\n"
    phone.set_dumpsys("thermalservice", hot)
    target, run = f"adb:{phone.serial}", tmp_path / "run"
    code, _, err = matrix(cli, demo, run, "--scheme", "w8a8", "--target", target, "--limit", 4)
    assert code == 0, err
    told = cells_of(run)["w8a8", target]["phone"]
    assert 2 <= told["cooled"] < 20
    assert told["before"]["thermal"] == 3 and told["before"]["hottest_celsius"] == 91.0


def test_a_locked_phone_says_what_to_do(cli: Cli, server: AdbServer) -> None:
    with LockedPhone(server) as locked:
        code, out, err = cli("doctor", f"adb:{locked.serial}")
        assert code == 1
        assert "accept the question about USB debugging" in out + err
        code, out, _ = cli("phones", "list")
        assert code == 0 and f"adb:{locked.serial}" in out


def test_phones_are_listed_with_what_they_are(cli: Cli, phone: EmulatedPhone) -> None:
    phone.set_properties({"ro.soc.model": "SM8550", "ro.soc.manufacturer": "QTI"})
    code, out, _ = cli("phones", "list", "--json")
    assert code == 0
    (one,) = [p for p in json.loads(out)["phones"] if p["serial"] == phone.serial]
    assert (one["chip"], one["hexagon"], one["machine"]) == ("SM8550", "v73", "aarch64")
    assert one["emulated"] == "ro.kernel.qemu is 1"
    # Even one that hides it is no device: it has not Android's loader.
    phone.set_properties({"ro.kernel.qemu": None})
    target = get_target(f"adb:{phone.serial}/cpu")
    assert target.evidence == "emulated-runtime"
    assert target.versions["soc"] == "SM8550"


def test_a_model_that_the_runtime_refuses_is_unsupported(
    phone: EmulatedPhone, tmp_path: Path
) -> None:
    node = helper.make_node("NoSuchOp", ["x"], ["y"], "odd")
    ports = [helper.make_tensor_value_info(n, TensorProto.FLOAT, [1]) for n in "xy"]
    model = helper.make_model(
        helper.make_graph([node], "odd", ports[:1], ports[1:]),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    bad = tmp_path / "bad.onnx"
    onnx.save(model, bad)
    target = get_target(f"adb:{phone.serial}/cpu")
    worker = WorkerProcess(target, -1)
    try:
        worker.open("bad", str(bad), target.session_options, True)
        kind, _, words = worker.receive()[:3]
    finally:
        worker.stop()
    assert kind == "refused" and "NoSuchOp" in words


def test_diagnose_sets_a_phone_against_another_target(
    cli: Cli, demo: DemoPaths, phone: EmulatedPhone, tmp_path: Path
) -> None:
    target, run = f"adb:{phone.serial}", tmp_path / "run"
    code, _, err = matrix(
        *(cli, demo, run, "--scheme", "w8a16_pc", "--target", f"{target},ort:cpu", "--limit", 8),
    )
    assert code == 0, err
    code, out, err = cli(
        *(
            "diagnose",
            run,
            "--scheme",
            "w8a16_pc",
            "--target",
            target,
            "--against",
            "ort:cpu",
            "--json",
        )
    )
    assert code in (0, 1), err
    assert json.loads(out)


def test_the_time_per_sample_is_the_phone_s_own(
    phone: EmulatedPhone, demo: DemoPaths, cli: Cli, tmp_path: Path
) -> None:
    target, run = f"adb:{phone.serial}", tmp_path / "run"
    code, _, err = matrix(cli, demo, run, "--scheme", "w8a8", "--target", target, "--limit", 6)
    assert code == 0, err
    with (run / "cells.csv").open(encoding="utf-8") as file:
        (row,) = [row for row in csv.DictReader(file) if row["target"] == target]
    told = cells_of(run)["w8a8", target]["phone"]
    # Without the way there and back.
    assert told["median_seconds"] * 6 < float(row["seconds"])
    assert sum(node["seconds"] for node in told["nodes"]) < 20 * told["slowest_seconds"]

"""``adb:<serial>/qnn-net-run`` and ``/litert`` on an emulated phone, with stand-ins for the tools.

What stands in checks its arguments as the tools' documentation has them and answers what the real
runtimes answer on this host: Qualcomm's simulator from the very context binary, LiteRT from the
very file. All else is real: adb, adbd, pushing, running, time limits, pulling.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from emulated_phone import AdbServer, EmulatedPhone

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "targets"))

from targets_worker import demo_feeds, demo_quantized, working

from chipdrift.demo import DemoPaths
from chipdrift.errors import ChipdriftError
from chipdrift.graph import load_model
from chipdrift.phones import AdbServer as Server
from chipdrift.phones import adb_at, kits_in
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.store import unpack_arrays
from chipdrift.targets import WorkerProcess, get_target
from chipdrift.targets.adb_litert import Benchmark
from chipdrift.targets.adb_netrun import NetRun
from conftest import SUPPORT, Cli

pytestmark = [pytest.mark.system, pytest.mark.htp]
pytest.importorskip("onnxruntime_qnn")
pytest.importorskip("ai_edge_litert")

STAND_INS = SUPPORT / "stand_ins"
BESIDE = "/data/local/tmp/stand-in"
DIFF = "inference_diff"
TOOLS = {"qnn-net-run": "qnn-net-run", "litert": "benchmark_model"}
COUNT = 6
SCHEME = "asis"
CHIP = {"ro.soc.manufacturer": "QTI", "ro.soc.model": "SM8550"}
QNN = ("QnnHtp", "QnnHtpPrepare", "QnnSystem", "QnnHtpV73Stub", "QnnHtpV73Skel")
FIRST_HASH = """
import hashlib, sys, tempfile
from pathlib import Path
from chipdrift.targets.adb_netrun import compile_context
with tempfile.TemporaryDirectory() as folder:
    made = compile_context(Path(sys.argv[1]), "43", Path(folder))
    print("sha256", hashlib.sha256(made.context.binary.read_bytes()).hexdigest())
"""


@pytest.fixture(scope="module")
def kits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("kits")
    kit = folder / "linux-aarch64"
    kit.mkdir()
    launcher = kit / "benchmark_model"
    flags = "--target=aarch64-linux-gnu -fuse-ld=lld -nostdlib -static -ffreestanding -O1"
    source = STAND_INS / "launcher.c"
    subprocess.run(["clang", *flags.split(), "-o", launcher, source], check=True)
    for name in ("qnn-net-run", *(f"lib{library}.so" for library in QNN)):
        shutil.copy(launcher, kit / name)
    with (kit / "libQnnHtp.so").open("ab") as library:
        library.write(b"\0v2.51.0.260929181845\0")
    return folder


@pytest.fixture(scope="module")
def server() -> Iterator[AdbServer]:
    with AdbServer() as running:
        yield running


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("model") / "m.onnx"
    path.write_bytes(demo_quantized("w8a8").data)
    # As a run writes it.
    path.write_bytes(apply_scheme(load_model(path), get_scheme(SCHEME)).data)
    return path


@pytest.fixture(scope="module")
def answers(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the stand-ins want it beside them."""
    from test_adb_litert import PROFILE, by_the_interpreter
    from test_adb_netrun import by_the_simulator, written_for

    folder = tmp_path_factory.mktemp("beside")
    (folder / "answers").mkdir()
    (folder / "profile").write_text(PROFILE)
    net_run, benchmark = NetRun(model, "43"), Benchmark(model)
    written = written_for(model, tmp_path_factory.mktemp("context") / "c")
    for feed in demo_feeds(COUNT):
        (logits,) = by_the_simulator(net_run, written, feed)
        place = _place(folder, net_run.raws(feed))
        (place / "logits_native.raw").write_bytes(logits)
        raws = benchmark.raws(feed)
        (_place(folder, raws) / "answers").write_bytes(by_the_interpreter(benchmark, raws))
    # What is compiled first in a process has the same bytes in every process.
    script = [sys.executable, "-c", FIRST_HASH, str(model)]
    told = subprocess.run(script, capture_output=True, text=True, check=True).stdout
    (folder / "context").write_text(told.split()[-1] + "\n")
    for name in (*TOOLS.values(), DIFF):
        shutil.copy(STAND_INS / name, folder / name)
    (folder / "diffs").write_text(apart(benchmark.model))
    return folder


def apart(model: bytes) -> str:
    """What LiteRT's tool prints of the outputs: here by LiteRT's Python, on random inputs."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    kinds = (OpResolverType.BUILTIN, OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES)
    both = [Interpreter(model_content=model, experimental_op_resolver_type=k) for k in kinds]
    rng, means = np.random.default_rng(0), []
    for _ in range(10):
        outputs = []
        feeds = [rng.random(i["shape"], np.float32) for i in both[0].get_input_details()]
        for one in both:
            one.allocate_tensors()
            for told, feed in zip(one.get_input_details(), feeds, strict=True):
                raw = feed if told["dtype"] == np.float32 else np.floor(feed * 256) - 128
                one.set_tensor(told["index"], raw.astype(told["dtype"]))
            one.invoke()
            outputs.append([one.get_tensor(o["index"]) for o in one.get_output_details()])
        means.append([np.abs(a.astype(float) - b).mean() for a, b in zip(*outputs, strict=True)])
    return "".join(
        f"INFO: OutputDiff[{i}]: avg_error={mean:g}, std_dev={deviation:g}\n"
        for i, (mean, deviation) in enumerate(
            zip(np.mean(means, 0), np.std(means, 0, ddof=1), strict=True)
        )
    )


def _place(folder: Path, raws: dict[str, bytes]) -> Path:
    hashes = (f"{name}={hashlib.sha256(data).hexdigest()};" for name, data in raws.items())
    key = "".join(hashes) + "\n"
    place = folder / "answers" / hashlib.sha256(key.encode()).hexdigest()
    place.mkdir()
    return place


@pytest.fixture
def phone(server: AdbServer, answers: Path) -> Iterator[EmulatedPhone]:
    with EmulatedPhone(server, properties=CHIP) as running:
        prepare(running, answers)
        yield running


def prepare(phone: EmulatedPhone, beside: Path) -> None:
    done = phone.adb_server.adb("-s", phone.serial, "push", str(beside), BESIDE)
    assert done.returncode == 0, done.stderr


def fault(phone: EmulatedPhone, name: str) -> None:
    assert phone.shell(f"echo {name} > {BESIDE}/faults").returncode == 0


@pytest.fixture(autouse=True)
def there(server: AdbServer, kits: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    host, port = server.address
    monkeypatch.setenv("ANDROID_ADB_SERVER_ADDRESS", host)
    monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
    monkeypatch.setattr("chipdrift.cli.phones.kits_folder", lambda: kits)
    with adb_at(Server(host, port)), kits_in(kits):
        yield


def test_both_ways_answer_as_the_real_runtimes_here(
    cli: Cli, demo: DemoPaths, model: Path, phone: EmulatedPhone, tmp_path: Path
) -> None:
    run, mine = tmp_path / "run", [f"adb:{phone.serial}/{way}" for way in TOOLS]
    peers = ["htp:sm8550", "litert:xnnpack"]
    code, out, err = cli(
        *("matrix", model, "--data", demo.data, "--limit", COUNT, "-o", run),
        *("--scheme", SCHEME, "--target", ",".join([*peers, *mine])),
    )
    assert code == 0, (out, err)
    cells = {c["target"]: c for c in json.loads((run / "matrix.json").read_text())["cells"]}
    outputs = {}
    for target in (*peers, *mine):
        npz = tmp_path / "o.npz"
        assert cli("outputs", run, "--scheme", SCHEME, "--target", target, "-o", npz)[0] == 0
        with np.load(npz) as kept:
            outputs[target] = np.asarray(kept["logits"])
    assert not np.array_equal(outputs[peers[0]], outputs[peers[1]])
    for target, peer in zip(mine, peers, strict=True):
        np.testing.assert_array_equal(outputs[target], outputs[peer])
        cell = cells[target]
        assert (cell["status"], cell["evidence"]) == ("ok", "emulated-runtime")
        assert "stand-in" in cell["reason"] and "on no silicon" in cell["reason"]
        assert "not silicon: ro.kernel.qemu is 1" in cell["reason"]
        assert cell["placement"] == cells[peer]["placement"]
        told = cell["phone"]
        assert told["samples"] == COUNT and told["before"]["battery"] == 84
    assert cells[mine[0]]["versions"]["sdk"] == "2.51.0"
    assert cells[mine[0]]["placement"]["npu"] > 0
    assert cells[mine[0]]["phone"]["median_seconds"] is None
    timed = cells[mine[1]]["phone"]
    assert timed["median_seconds"] == timed["slowest_seconds"] == 1250e-6
    assert [node["op"] for node in timed["nodes"]][1] == "SOFTMAX"


@pytest.fixture
def with_diff(kits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The kits, LiteRT's inference_diff among them."""
    folder = tmp_path / "kits"
    shutil.copytree(kits, folder)
    shutil.copy(folder / "linux-aarch64" / TOOLS["litert"], folder / "linux-aarch64" / DIFF)
    monkeypatch.setattr("chipdrift.cli.phones.kits_folder", lambda: folder)
    with kits_in(folder):
        yield folder


def test_litert_s_two_ways_are_compared_where_the_kit_has_its_tool(
    cli: Cli,
    demo: DemoPaths,
    model: Path,
    phone: EmulatedPhone,
    answers: Path,
    with_diff: Path,
    tmp_path: Path,
) -> None:
    target = f"adb:{phone.serial}/litert"

    def told(run: Path) -> dict[str, Any]:
        code, out, err = cli(
            *("matrix", model, "--data", demo.data, "--limit", COUNT, "-o", run),
            *("--scheme", SCHEME, "--target", target),
        )
        assert code == 0, (out, err)
        cells = json.loads((run / "matrix.json").read_text())["cells"]
        (cell,) = [cell for cell in cells if cell["target"] == target]
        assert cell["status"] == "ok" and "on no silicon" in cell["reason"]
        assert cell["phone"]["samples"] == COUNT and cell["phone"]["nodes"]
        return dict(cell["phone"])

    (found,) = told(tmp_path / "a")["diffs"]
    words = (answers / "diffs").read_text()
    assert words == (
        f"INFO: OutputDiff[0]: avg_error={found['mean']:g}, std_dev={found['deviation']:g}\n"
    )
    assert (found["output"], found["dtype"], found["runs"]) == ("logits", "float32", 10)
    page = (tmp_path / "a" / "report.html").read_text()
    assert "plain kernels, 10 random inputs (inference_diff), mean distance: logits" in page
    _, out, _ = cli("doctor", target)
    assert f"{DIFF}: {with_diff / 'linux-aarch64' / DIFF}" in out

    for name, reason in (
        ("diff-plain", "diffs: inference_diff is built without XNNPACK"),
        ("diff-fails", "inference_diff ended with exit code 1; last words: ERROR: Could not run"),
    ):
        fault(phone, name)
        ran = told(tmp_path / name)
        assert ran["diffs"] == [] and reason in ran["trouble"]


@pytest.fixture(params=sorted(TOOLS))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def ask(phone: EmulatedPhone, model: Path, way: str) -> Callable[..., tuple[Any, ...]]:
    """One sample through a worker of its own: only what is compiled first has the known bytes."""
    target = get_target(f"adb:{phone.serial}/{way}")

    def asked(limit: float = 60) -> tuple[Any, ...]:
        with working(target) as worker:
            return _asked(worker, model, limit)

    return asked


def _asked(worker: WorkerProcess, model: Path, limit: float) -> tuple[Any, ...]:
    options = {**worker.target.session_options, "limit": str(limit)}
    worker.open("s", str(model), options, True)
    opened = _patiently(worker)
    if opened[0] != "opened":
        return opened
    worker.run("s", "0", demo_feeds(1)[0], False)
    return _patiently(worker)


def _patiently(worker: WorkerProcess) -> tuple[Any, ...]:
    """Its next answer; what it says while it waits for a phone is none."""
    answer = worker.receive()
    while answer[0] == "waiting":
        answer = worker.receive()
    return answer


WORDS = {
    "words": r"{tool} ended with exit code (1|14); last words: .*"
    r"(Could not create context from binary|Failed to apply XNNPACK delegate\.?)",
    "silent": r"{tool} ended with exit code 9; last words: (it printed nothing|.*STARTING!)",
    "nothing": r"{tool} did not answer as asked \(it left no file\); last words: "
    r"(it printed nothing|.*STARTING!)",
    "longer": r"{tool} wrote other outputs than the model has: .*(15|45) bytes, and .* 4?1?0",
}


@pytest.mark.parametrize("name", sorted(WORDS))
def test_a_tool_that_fails(
    name: str, way: str, phone: EmulatedPhone, ask: Callable[..., tuple[Any, ...]]
) -> None:
    fault(phone, name)
    verb, _, words = ask()
    assert verb == "error"
    assert re.fullmatch(f"Phone {phone.serial}: " + WORDS[name].format(tool=TOOLS[way]), words)
    fault(phone, "none")
    assert ask()[0] == "outputs"


def test_an_older_benchmark_model_cannot_write_outputs(
    phone: EmulatedPhone, model: Path, answers: Path
) -> None:
    fault(phone, "old")
    with working(get_target(f"adb:{phone.serial}/litert")) as worker:
        verb, _, words = _asked(worker, model, 60)
    assert verb == "error"
    assert "(it left no file; it does not know --output_filepath: take a newer one of" in words


def runs(phone: EmulatedPhone) -> bool:
    """Whether a stand-in does on the phone."""
    told = phone.shell("cat /proc/[0-9]*/cmdline 2>/dev/null; true").stdout
    assert b"adbd" in told
    return b"stand-in/" in told


def test_a_tool_that_hangs_is_ended(
    way: str, phone: EmulatedPhone, ask: Callable[..., tuple[Any, ...]]
) -> None:
    fault(phone, "hangs")
    began = time.monotonic()
    verb, _, words = ask(limit=6)
    assert verb == "error"
    assert words == f"Phone {phone.serial}: {TOOLS[way]} did not end within 6 s and was ended"
    assert time.monotonic() - began < 60
    assert not runs(phone)
    fault(phone, "none")
    assert ask()[0] == "outputs"


def test_what_a_dead_worker_left_is_ended_and_removed(
    way: str, phone: EmulatedPhone, model: Path
) -> None:
    fault(phone, "hangs")
    target = get_target(f"adb:{phone.serial}/{way}")
    with working(target) as worker:
        worker.open("s", str(model), target.session_options, True)
        assert worker.receive()[0] == "opened"
        worker.run("s", "0", demo_feeds(1)[0], False)
        listed = f"ls {BESIDE}/../chipdrift/runs"
        dead = phone.shell(listed).stdout.split()
        deadline = time.monotonic() + 30
        while not runs(phone):
            assert time.monotonic() < deadline
    fault(phone, "none")
    with working(target) as worker:
        answer = _asked(worker, model, 60)
        left = phone.shell(listed).stdout.split()
    assert not runs(phone)
    assert answer[0] == "outputs"
    assert len(unpack_arrays(answer[4])) == 1
    assert len(dead) == len(left) == 1 and dead != left


def test_a_phone_that_is_pulled_out_in_the_middle(
    way: str, phone: EmulatedPhone, ask: Callable[..., tuple[Any, ...]]
) -> None:
    fault(phone, "hangs")

    def pull_out() -> None:
        while not runs(phone):
            time.sleep(0.5)
        fault(phone, "none")
        phone.unplug()
        time.sleep(2)
        phone.plug()

    hand = threading.Thread(target=pull_out)
    hand.start()
    answer = ask(limit=120)
    hand.join()
    assert answer[0] == "outputs", answer
    assert not runs(phone)


def test_a_second_session_sends_nothing_but_inputs(
    way: str, phone: EmulatedPhone, model: Path
) -> None:
    sent = []
    target = get_target(f"adb:{phone.serial}/{way}")
    for _ in range(2):
        with working(target) as worker:
            assert _asked(worker, model, 60)[0] == "outputs"
            worker.finish("s")
            sent.append(worker.receive()[2]["sent"])
    assert sent[0] > 1000 and sent[1] == 0


def test_doctor_lists_what_a_way_needs(
    cli: Cli, way: str, phone: EmulatedPhone, kits: Path, tmp_path: Path
) -> None:
    with kits_in(tmp_path), pytest.raises(ChipdriftError) as error:
        get_target(f"adb:{phone.serial}/{way}")
    assert f"{TOOLS[way]} is not there" in str(error.value)
    assert str(tmp_path / "linux-aarch64" / TOOLS[way]) in str(error.value)
    _, out, _ = cli("doctor", f"adb:{phone.serial}/{way}")
    told = "".join(out.split())
    assert str(kits / "linux-aarch64" / TOOLS[way]) in told
    assert {"qnn-net-run": "onnxruntime-qnn", "litert": "ai-edge-litert"}[way] in told
    assert (f"{DIFF}:notthere,anditgoeswithout.Getit:build" in told) == (way == "litert")


def test_a_chip_that_is_not_known(server: AdbServer) -> None:
    with EmulatedPhone(server) as other, pytest.raises(ChipdriftError) as error:
        get_target(f"adb:{other.serial}/qnn-net-run")
    assert "does not tell its chip (ro.soc.model). Take" in str(error.value)

"""SDKs on the shelf: fetched once, whole or not at all, one process at a time. No network."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from targets_worker import demo_quantized

from chipdrift.errors import ChipdriftError
from chipdrift.sdk import Pin, Shelf, get_pin, known_pins, sdks_in
from chipdrift.targets import Target, WorkerProcess, get_target, list_targets
from chipdrift.targets.releases import sdk_packages

FILES = {
    "onnxruntime_qnn/__init__.py": "from .build_and_package_info import __version__\n",
    "onnxruntime_qnn/build_and_package_info.py": "__version__ = '9.9.0'\nqnn_version = '9.90.1'\n",
    "onnxruntime_qnn-9.9.0.dist-info/METADATA": (
        "Metadata-Version: 2.1\nName: onnxruntime-qnn\nVersion: 9.9.0\nRequires-Dist: no-such-one\n"
    ),
    "onnxruntime_qnn-9.9.0.dist-info/WHEEL": (
        "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    ),
}


def make_wheel(folder: Path, **changes: str) -> Pin:
    """A wheel that pip installs and no onnxruntime loads; and its pin."""
    folder.mkdir(exist_ok=True)
    path = folder / "onnxruntime_qnn-9.9.0-py3-none-any.whl"
    files = {**FILES, **changes}
    record = "onnxruntime_qnn-9.9.0.dist-info/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(name, text)
        archive.writestr(record, "".join(f"{name},,\n" for name in [*files, record]))
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Pin("9.90", "9.90.1", "9.9.0", fetched=1, unpacked=1, sha256=("0" * 64, digest))


@pytest.fixture
def pin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pin:
    """pip knows nothing but the one wheel."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "wheels"))
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    return make_wheel(tmp_path / "wheels")


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path / "cache" / "sdk")


def good(folder: Path) -> None:
    """A trial that is passed."""
    assert (folder / "onnxruntime_qnn" / "__init__.py").exists()


def kept(shelf: Shelf) -> list[str]:
    """What is on the shelf but its locks."""
    return sorted(p.name for p in shelf.folder.iterdir() if not p.name.endswith(".lock"))


def test_fetched_once_and_offline_afterwards(
    pin: Pin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    shelf = Shelf(tmp_path / "cache", told.append)
    assert not shelf.holds(pin)
    place = shelf.ensure(pin, good)
    assert kept(shelf) == [place.name]
    assert shelf.holds(pin)
    assert shelf.size(pin) > 100
    assert len(told) == 1
    assert "1 MB" in told[0]
    assert str(place) in told[0]
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
    assert shelf.ensure(pin, lambda folder: pytest.fail("tried again")) == place
    assert len(told) == 1
    assert shelf.remove(pin) > 100
    assert kept(shelf) == []
    assert shelf.remove(pin) == 0


@pytest.mark.parametrize("fault", ["offline", "hash", "trial", "interrupt"])
def test_nothing_is_left_of_what_fails(
    fault: str, pin: Pin, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trial(folder: Path) -> None:
        raise {"trial": ChipdriftError("it does not run."), "interrupt": KeyboardInterrupt()}[fault]

    words = {"trial": "does not run", "offline": "could not be fetched", "hash": "by its hash"}
    if fault == "offline":
        monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "nowhere"))
        monkeypatch.setenv("PIP_NO_INDEX", "0")
        # Nobody listens on port 1.
        monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")
    if fault == "hash":
        pin = replace(pin, sha256=("0" * 64,))
    with pytest.raises((ChipdriftError, KeyboardInterrupt)) as caught:
        shelf.ensure(pin, trial)
    assert words.get(fault, "") in str(caught.value)
    assert "\n" not in str(caught.value)
    assert kept(shelf) == []


ENSURE = """
import sys, time
from pathlib import Path
from chipdrift.sdk import Pin, Shelf
folder, digest, seconds = sys.argv[1:]
pin = Pin("9.90", "9.90.1", "9.9.0", fetched=1, unpacked=1, sha256=(digest,))
def trial(folder):
    print("trial", flush=True)
    time.sleep(float(seconds))
print(Shelf(Path(folder), lambda words: print(words, flush=True)).ensure(pin, trial), flush=True)
"""


def ensuring(shelf: Shelf, pin: Pin, seconds: float, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", ENSURE, str(shelf.folder), pin.sha256[-1], str(seconds)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, **environment}
    )


def test_a_killed_install_leaves_nothing_half(pin: Pin, shelf: Shelf) -> None:
    with ensuring(shelf, pin, 600) as process:
        assert process.stdout is not None
        while "trial" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    # Its remains are under another name.
    assert not shelf.holds(pin)
    assert [name.endswith(".partial") for name in kept(shelf)] == [True]
    place = shelf.ensure(pin, good)
    assert kept(shelf) == [place.name]


def test_two_processes_at_once_fetch_it_once(pin: Pin, shelf: Shelf) -> None:
    both = [ensuring(shelf, pin, 1.0) for _ in range(2)]
    printed = [process.communicate(timeout=120)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    lines = sorted(line for lines in printed for line in lines)
    assert sum(line.startswith("Fetching") for line in lines) == 1
    assert sum(line == "trial" for line in lines) == 1
    assert [lines[-1] for lines in printed] == [str(shelf.place(pin))] * 2


def test_an_orphaned_pip_keeps_the_lock(pin: Pin, shelf: Shelf, tmp_path: Path) -> None:
    """What still writes below the shelf must not be swept away under its hands."""
    slow = tmp_path / "slow" / "pip"
    slow.mkdir(parents=True)
    (slow / "__init__.py").write_text("")
    (slow / "__main__.py").write_text("import time; time.sleep(3)")
    with ensuring(shelf, pin, 0, PYTHONPATH=str(slow.parent)) as process:
        assert process.stdout is not None
        assert "Fetching" in process.stdout.readline()
        time.sleep(0.5)
        process.kill()
        told: list[str] = []
        started = time.monotonic()
        Shelf(shelf.folder, told.append).ensure(pin, good)
    assert "waiting" in told[0]
    assert time.monotonic() - started > 1


def test_a_folder_that_cannot_be_written(pin: Pin, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ChipdriftError, match="XDG_CACHE_HOME"):
        Shelf(tmp_path / "file" / "sdk").ensure(pin, good)


def test_no_room(pin: Pin, shelf: Shelf) -> None:
    with pytest.raises(ChipdriftError, match="MB left"):
        shelf.ensure(replace(pin, unpacked=10**9), good)
    assert kept(shelf) == []


def test_the_pins_are_whole() -> None:
    pins = known_pins()
    assert list(pins) == ["2.47", "2.48", "2.49", "2.50", "2.51"]
    for name, pin in pins.items():
        assert pin.qnn.startswith(f"{name}.")
        assert len({len(digest) for digest in pin.sha256}) == 1
        assert len(set(pin.sha256)) == len(pin.sha256) == 4
        assert 50 < pin.fetched < pin.unpacked < 500
    assert len({digest for pin in pins.values() for digest in pin.sha256}) == 20


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("htp:sm8550@2.46", "Unknown SDK '2.46'.*2.48"),
        ("htp:sm8550@", "Unknown SDK ''"),
        ("htp:sm8550@2.47", "2.3.0 does not load with the installed onnxruntime"),
        ("htp:sm8555@2.50", "Unknown chip"),
        ("htp:sm8550@2.50", "sdks_in"),
    ],
)
def test_names_that_cannot_be_had(name: str, words: str) -> None:
    with pytest.raises(ChipdriftError, match=words) as caught:
        get_target(name)
    assert str(caught.value).count("\n") == 0


def test_a_chip_that_the_release_does_not_know(monkeypatch: pytest.MonkeyPatch) -> None:
    # SM8550 is id 43 in Qualcomm's own headers.
    stranger = replace(get_pin("2.50"), strangers=(43,))
    monkeypatch.setattr("chipdrift.targets.htp.get_pin", lambda name: stranger)
    with pytest.raises(ChipdriftError, match=r"SDK 2\.50 does not know SM8550"):
        get_target("htp:sm8550@2.50")


def test_a_later_onnxruntime_only_is_refused() -> None:
    assert known_pins()["2.47"].refused("1.30.2") is None
    assert known_pins()["2.47"].refused("1.31.0") is not None
    assert known_pins()["2.47"].refused("2.0") is not None
    assert known_pins()["2.48"].refused("2.0") is None


@pytest.mark.htp
def test_the_installed_release_is_the_installed_wheel() -> None:
    """Nothing is fetched, and its answers have the address of the plain target's."""
    pytest.importorskip("onnxruntime_qnn")
    installed = [pin for pin in known_pins().values() if pin.is_installed]
    if not installed:
        pytest.skip("another onnxruntime-qnn is installed than any pinned one")
    plain, named = get_target("htp:sm8550"), get_target(f"htp:sm8550@{installed[0].name}")
    assert named.packages == ()
    assert (named.runtime, named.options, named.versions) == (
        plain.runtime,
        plain.options,
        plain.versions,
    )
    # It stands in for chips of its own release alone.
    assert named.family != plain.family


def test_releases_never_share(tmp_path: Path) -> None:
    names = ["2.48", "2.49", "2.50"]
    with sdks_in(tmp_path) as shelf:
        assert shelf is not None
        for name in names:
            shelf.place(get_pin(name)).mkdir()
        targets = [get_target(f"htp:sm8550@{name}") for name in names]
        listed = {info.name: info.description for info in list_targets()}
        (tmp_path / shelf.place(get_pin("2.48")).name).rmdir()
        later = {info.name: info.description for info in list_targets()}
    assert len({target.family for target in targets}) == 3
    assert len({json.dumps(dict(target.versions), sort_keys=True) for target in targets}) == 3
    assert [t.packages for t in targets] == [(str(shelf.place(get_pin(n))),) for n in names]
    assert listed["htp:CHIP@2.48"].endswith("here")
    assert "91 MB" in later["htp:CHIP@2.48"]


@pytest.mark.htp
def test_a_worker_of_another_version_is_found_out(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    plain = get_target("htp:sm8550")
    promised = replace(plain, versions={**plain.versions, "qnn": "2.50.40"})
    assert opened(promised, tmp_path)[0] == "error"
    assert opened(promised, tmp_path)[2] == (
        f"its worker runs qnn {plain.versions['qnn']} and not 2.50.40"
    )
    assert opened(plain, tmp_path)[0] == "opened"
    assert opened(plain, tmp_path)[2].versions == plain.versions


@pytest.mark.htp
def test_a_library_from_elsewhere_is_found_out(tmp_path: Path) -> None:
    """A package that says one version and loads the libraries of another; and it prints."""
    pytest.importorskip("onnxruntime_qnn")
    import onnxruntime_qnn

    home = tmp_path / "packages" / "onnxruntime_qnn"
    home.mkdir(parents=True)
    theirs = Path(onnxruntime_qnn.__file__).parent
    (home / "build_and_package_info.py").write_text("qnn_version = '2.50.40'\n")
    (home / "__init__.py").write_text(
        "print('Starting stage: Graph Preparation', flush=True)\n"
        f"def get_library_path(): return {str(theirs / 'libonnxruntime_providers_qnn.so')!r}\n"
        f"def get_qnn_htp_path(): return {str(theirs / 'libQnnHtp.so')!r}\n"
    )
    plain = get_target("htp:sm8550")
    answer = opened(replace(plain, packages=(str(home.parent),)), tmp_path)
    assert answer[0] == "error"
    assert f"libQnnHtp.so was loaded in place of the one in {home}" in answer[2]


def opened(target: Target, folder: Path) -> tuple[Any, ...]:
    path = folder / "m.onnx"
    path.write_bytes(demo_quantized("w8a8").data)
    worker = WorkerProcess(target, -1)
    try:
        worker.open("slot", str(path), target.options, fresh=True)
        assert worker.connection.poll(120)
        return worker.receive()
    finally:
        worker.stop()


def test_a_wheel_that_does_not_load_is_not_kept(pin: Pin, tmp_path: Path) -> None:
    with sdks_in(tmp_path / "cache") as shelf:
        assert shelf is not None
        with pytest.raises(ChipdriftError, match=r"onnxruntime-qnn 9\.9\.0 does not run") as caught:
            sdk_packages(pin)
        assert kept(shelf) == []
    assert "\n" not in str(caught.value)


def test_the_commands(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, _ = cli("sdk", "list", "--json")
    found = json.loads(out)
    assert code == 0
    assert found["folder"] == str(tmp_path / "chipdrift" / "sdk")
    by_name = {sdk["name"]: sdk for sdk in found["sdks"]}
    assert [by_name["2.48"]["path"], by_name["2.48"]["bytes"]] == [None, 0]
    assert "does not load" in by_name["2.47"]["reason"]
    pin = get_pin("2.48")
    place = tmp_path / "chipdrift" / "sdk" / f"2.48-onnxruntime-qnn-{pin.wheel}"
    place.mkdir(parents=True)
    (place / "library.so").write_bytes(bytes(3_000_000))
    code, out, _ = cli("sdk", "list")
    assert "2.48  QNN 2.48.40  onnxruntime-qnn 2.4.0  here, 3 MB" in out
    code, out, err = cli("sdk", "remove", "2.48", "--json")
    assert (code, json.loads(out)["sdks"][0]["path"]) == (0, None)
    assert "removed, 3 MB" in err
    assert not place.exists()
    code, out, err = cli("sdk", "remove", "2.48")
    assert code == 0
    assert "nothing to remove" in err
    for words in (("install", "2.47"), ("install", "2.4"), ("remove", "latest")):
        code, out, err = cli("sdk", *words)
        assert (code, out) == (2, "")
        assert err.startswith("Error: ")
        assert err.count("\n") == 1


def test_where_sdks_are_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from chipdrift.cli.sdk import sdk_folder

    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("", "relative/cache"):
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert sdk_folder() == tmp_path / ".cache" / "chipdrift" / "sdk"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    assert sdk_folder() == tmp_path / "elsewhere" / "chipdrift" / "sdk"

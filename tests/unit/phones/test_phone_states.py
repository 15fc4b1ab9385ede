"""What is told where there is no adb, no phone, or one that cannot be used."""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_adb_server import adb_server_that_sees

from chipdrift.phones import AdbServer, PhoneError, PhoneGoneError, adb_at, find_phone, kits_in
from chipdrift.phones import server as server_module
from chipdrift.targets import get_target, list_targets
from conftest import Cli


@pytest.fixture
def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
    return port


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("unauthorized", "has not allowed this computer: unlock it"),
        ("offline", "is offline: take the cable out and in again"),
        ("no permissions; see the manual", "cannot be opened by this user"),
        ("bootloader", "is in its bootloader: start it as usual"),
        ("host", "is in state 'host', and 'device' is needed"),
    ],
)
def test_a_phone_that_cannot_be_used_says_what_to_do(state: str, words: str) -> None:
    with (
        adb_server_that_sees({"ABC": state, "DEF": "device"}) as port,
        pytest.raises(PhoneError, match=f"Phone ABC {words}"),
    ):
        find_phone("ABC", AdbServer("127.0.0.1", port))


def test_two_phones_and_no_serial() -> None:
    with (
        adb_server_that_sees({"B": "device", "A": "device"}) as port,
        pytest.raises(PhoneError, match=r"sees 2 phones.*Name it: adb:A, adb:B\."),
    ):
        find_phone("", AdbServer("127.0.0.1", port))


def test_one_phone_needs_no_serial() -> None:
    with adb_server_that_sees({"only:16": "device"}) as port:
        assert find_phone("", AdbServer("127.0.0.1", port)).serial == "only:16"


def test_a_serial_that_nobody_has() -> None:
    with (
        adb_server_that_sees({"A": "device"}) as port,
        pytest.raises(PhoneGoneError, match=r"No phone 'X'.*it sees: A"),
    ):
        find_phone("X", AdbServer("127.0.0.1", port))


def test_no_phone_at_all() -> None:
    with (
        adb_server_that_sees({}) as port,
        pytest.raises(PhoneError, match=r"sees no phone\. Plug one in with USB debugging on"),
    ):
        find_phone("", AdbServer("127.0.0.1", port))


def test_a_server_that_is_too_old() -> None:
    with (
        adb_server_that_sees({"A": "device"}, version=31) as port,
        pytest.raises(PhoneError, match=r"version 1\.0\.31, and 1\.0\.39 or newer"),
    ):
        find_phone("A", AdbServer("127.0.0.1", port))


def test_something_else_listens_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def babble() -> None:
            for _ in range(2):
                with listening.accept()[0] as line:
                    line.sendall(b"SSH-2.0-OpenSSH\r\n")

        thread = threading.Thread(target=babble)
        thread.start()
        with pytest.raises(PhoneError, match="does not answer as an adb server does"):
            AdbServer("127.0.0.1", port).phones()
        thread.join()


def test_no_adb_to_start_a_server(free_port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "adb_program", lambda: None)
    with pytest.raises(PhoneError, match="there is no adb to start one"):
        AdbServer("127.0.0.1", free_port).phones()


def test_a_server_elsewhere_is_not_started() -> None:
    # 192.0.2.0/24 is reserved for documentation; nothing answers there.
    class Silent(AdbServer):  # type: ignore[misc]
        def answers(self) -> bool:
            return False

    with pytest.raises(PhoneError, match="starts one on this machine only"):
        Silent("192.0.2.1", 5037).phones()


@pytest.mark.parametrize("words", ["", "5037", "host:", "host:0", "host:70000", "host:x"])
def test_an_address_that_is_none(words: str) -> None:
    with pytest.raises(PhoneError, match="is not host:port"):
        AdbServer.at(words)


@pytest.fixture
def real_server(free_port: int, tmp_path: Path) -> Iterator[AdbServer]:
    """Android's own adb, which adbutils brings, on a port of its own and with no home."""
    program = server_module.adb_program()
    assert program is not None
    server = AdbServer("127.0.0.1", free_port)
    yield server
    if server.answers():
        subprocess.run([program, "-P", str(free_port), "kill-server"], check=True)


def test_a_real_server_is_started_where_none_runs(
    real_server: AdbServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert not real_server.answers()
    assert real_server.phones() == []
    assert real_server.answers()
    assert real_server.protocol() >= 41


def test_listing_targets_starts_no_server(free_port: int) -> None:
    server = AdbServer("127.0.0.1", free_port)
    with adb_at(server):
        (line,) = [info for info in list_targets() if info.name.startswith("adb:")]
    assert not line.available
    assert line.reason is not None and "no adb server answers" in line.reason
    assert not server.answers()


def test_listing_targets_names_each_phone_and_its_trouble(tmp_path: Path) -> None:
    with (
        adb_server_that_sees({"A": "unauthorized", "B": "offline"}) as port,
        adb_at(AdbServer("127.0.0.1", port)),
        kits_in(tmp_path),
    ):
        found = {i.name: i.reason or "" for i in list_targets() if i.name.startswith("adb:")}
        with pytest.raises(PhoneError, match="has not allowed this computer"):
            get_target("adb:A/cpu")
    assert set(found) == {"adb:A", "adb:B"}
    assert "has not allowed" in found["adb:A"] and "offline" in found["adb:B"]


def test_an_unknown_way_to_run_lists_the_ways(cli: Cli) -> None:
    code, _, err = cli("doctor", "adb:A/gpu")
    assert code == 2
    assert "Unknown way to run on a phone 'gpu'" in err and "cpu" in err


def test_the_command_line_takes_the_server_where_adb_has_it(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with adb_server_that_sees({"A": "offline"}) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        code, out, _ = cli("phones", "list")
        assert (code, "adb:A" in out, "offline" in out) == (0, True, True)
        monkeypatch.setenv("ADB_SERVER_SOCKET", f"tcp:127.0.0.1:{port}")
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", "1")
        assert cli("phones", "list")[0] == 0
        monkeypatch.setenv("ADB_SERVER_SOCKET", "localfilesystem:/tmp/x")
        code, _, err = cli("phones", "list")
    assert code == 2
    assert "chipdrift can use tcp:HOST:PORT alone" in err


def test_adb_is_the_one_on_path_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    own = tmp_path / "adb"
    own.write_text("#!/bin/sh\n")
    own.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    assert server_module.adb_program() == str(own) == shutil.which("adb")


def test_without_adbutils_it_says_what_to_install(
    cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda n, *rest: None if n == "adbutils" else real(n, *rest)
    )
    monkeypatch.setitem(sys.modules, "adbutils", None)
    with adb_server_that_sees({"A": "device"}) as port:
        monkeypatch.setenv("ANDROID_ADB_SERVER_PORT", str(port))
        code, _, err = cli("phones", "list")
        assert (code, "pip install 'chipdrift[phones]'" in err) == (2, True)
        code, out, _ = cli("doctor", "adb:A")
        assert (code, "pip install 'chipdrift[phones]'" in out) == (1, True)
        assert cli("targets")[0] == 0

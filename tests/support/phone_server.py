"""An adb server of its own for emulated phones, in namespaces that end with this process."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Self

from phone_relay import Relay, ask_server
from phone_root import phone_root

from chipdrift.targets.arm64 import find_arm64_emulator

SCRIPTS = Path(__file__).parent / "phone"
# Seconds. A phone starts in a fifth of one, on a machine that is not busy.
PATIENCE = 60.0
_PROGRAMS = ("adb", "unshare", "nsenter", "mount", "chroot")
# Above 5555 to 5585, where an adb server looks for Android's emulators by itself.
_FIRST_PORT = 16555


class Closing(ABC):
    """A context manager that is closed at the end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    @abstractmethod
    def close(self) -> None:
        """End it."""


class AdbServer(Closing):
    """A private adb server at 127.0.0.1, as a context manager; ``address`` is (host, port).

    A developer's own server at 5037 and phones on USB are out of its sight, and it of theirs.
    Raises RuntimeError, saying why, where no phone can be emulated.
    """

    def __init__(self) -> None:
        emulator = find_arm64_emulator()
        if emulator.reason is not None:
            raise RuntimeError(f"no phone can be emulated here: {emulator.reason}")
        lacks = [name for name in _PROGRAMS if shutil.which(name) is None]
        if lacks:
            raise RuntimeError(f"no phone can be emulated here: {', '.join(lacks)} not found")
        self.root = phone_root()
        self.folder = Path(tempfile.mkdtemp(prefix="chipdrift-phones-"))
        self.socket = self.folder / "adb"
        self._phones = 0
        self._relay: Relay | None = None
        said = self.folder / "namespace.log"
        with said.open("wb") as log:
            # Its input is its life line: it closes when this process ends, in whatever way.
            first = [sys.executable, "-I", "-S", str(SCRIPTS / "namespace.py")]
            private = ["unshare", "-Urmn", "-pf", "--kill-child", "--mount-proc"]
            self._first = subprocess.Popen(
                [*private, *first, str(self.folder), emulator.path],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        try:
            assert self._first.stdout is not None
            if self._first.stdout.readline() != b"ready\n" or not until(self._answers):
                words = said.read_text().strip()[-500:]
                raise RuntimeError(f"the phones' namespaces cannot be made here: {words}")
            self._relay = Relay(self.socket)
            self.address = self._relay.address
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the server and every phone."""
        if self._relay is not None:
            self._relay.close()
            self._relay = None
        assert self._first.stdin is not None and self._first.stdout is not None
        self._first.stdin.close()
        try:
            self._first.wait(PATIENCE)
        finally:
            self._first.kill()
            self._first.wait()
            self._first.stdout.close()
            shutil.rmtree(self.folder, ignore_errors=True)

    def ask(self, service: str) -> str:
        """Ask a service of the server itself, such as ``host:version``.

        Raises RuntimeError with its words where it says FAIL, OSError where it is gone.
        """
        return ask_server(self.socket, service, PATIENCE)

    def states(self) -> dict[str, str]:
        """What ``adb devices`` lists: each serial's state."""
        lines = self.ask("host:devices").splitlines()
        return dict(line.split("\t") for line in lines)

    def adb(self, *words: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[bytes]:
        """Debian's own adb as a client of this server."""
        self.ask("host:version")  # Where no server answers, adb would start one.
        place = f"localfilesystem:{self.socket}"
        return subprocess.run(["adb", "-L", place, *words], capture_output=True, timeout=timeout)

    def inside(self) -> list[str]:
        """What stands before a command to run it in the namespaces."""
        [first] = children(self._first.pid)
        return ["nsenter", "-t", str(first), "-U", "-m", "-n", "-p", "--preserve-credentials"]

    def new_port(self) -> int:
        """The port of one more phone."""
        self._phones += 1
        return _FIRST_PORT + 2 * self._phones

    def _answers(self) -> bool:
        try:
            self.ask("host:version")
        except OSError:
            return False
        return True


def children(pid: int) -> list[int]:
    """The processes that a process has started, as this process numbers them."""
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def until(done: Callable[[], bool], patience: float = PATIENCE) -> bool:
    """Whether ``done()`` becomes true in time, in seconds."""
    end = time.monotonic() + patience
    while not done():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True

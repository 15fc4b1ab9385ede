"""The adb server: where it listens, whether it answers, which phones it sees.

chipdrift talks to the server by its protocol (with adbutils) and needs the program ``adb`` only to
start one. The address is a value of the context: the command line, which alone reads the
environment, opens one around each command.
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib import resources, util
from typing import final

from chipdrift.errors import ChipdriftError

DEFAULT_PORT = 5037
# 1.0.39 is of 2017; from it on the server knows every request that adbutils sends.
OLDEST_PROTOCOL = 39
INSTALL = f"{sys.executable} -m pip install 'chipdrift[phones]'"
_START_SECONDS = 30.0
_KNOCK_SECONDS = 2.0

_STATES = {
    "offline": "is offline: take the cable out and in again, or restart the phone",
    "unauthorized": "has not allowed this computer: unlock it and accept the question about USB "
    "debugging on its screen",
    "authorizing": "is still deciding whether it allows this computer: try again in a moment",
    "connecting": "is still connecting: try again in a moment",
    "recovery": "is in recovery mode: start it as usual",
    "sideload": "is in sideload mode: start it as usual",
    "bootloader": "is in its bootloader: start it as usual",
    "no permissions": "cannot be opened by this user: it needs a udev rule (on Debian, "
    "apt-get install android-sdk-platform-tools-common), then plug it in again",
}


class PhoneError(ChipdriftError):
    """A phone, or the way to it, cannot be used as it is."""


class PhoneGoneError(PhoneError):
    """A phone that was there is not any more."""


@final
@dataclass(frozen=True)
class Seen:
    """One phone as the server lists it: ``state`` is ``device`` where it can be used."""

    serial: str
    state: str

    @property
    def trouble(self) -> str | None:
        """What is wrong with it and what to do, or None."""
        if self.state == "device":
            return None
        return _STATES.get(self.state, f"is in state {self.state!r}, and 'device' is needed")


@final
@dataclass(frozen=True)
class AdbServer:
    """An adb server's address."""

    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"

    @classmethod
    def at(cls, words: str) -> AdbServer:
        """The server at ``host:port``; raises PhoneError."""
        host, _, port = words.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
            raise PhoneError(
                f"The adb server's address {words!r} is not host:port, as 127.0.0.1:{DEFAULT_PORT}."
            )
        return cls(host.removeprefix("[").removesuffix("]"), int(port))

    def answers(self) -> bool:
        """Whether something listens there; nothing is started."""
        try:
            socket.create_connection((self.host, self.port), timeout=_KNOCK_SECONDS).close()
        except (OSError, UnicodeError):
            return False
        return True

    def ensure(self) -> None:
        """Start it where it does not run, and refuse one that is too old; raises PhoneError."""
        if util.find_spec("adbutils") is None:
            raise PhoneError(f"adbutils is not installed, and phones need it: {INSTALL}.")
        if not self.answers():
            self._start()
        found = self.protocol()
        if found < OLDEST_PROTOCOL:
            raise PhoneError(
                f"The adb server at {self} is of version 1.0.{found}, and 1.0.{OLDEST_PROTOCOL} or "
                "newer is needed: install newer platform tools, then adb kill-server."
            )

    def protocol(self) -> int:
        """Its version's last number (41 of 1.0.41); raises PhoneError where it is no adb server."""
        from adbutils import AdbClient, AdbError

        try:
            return int(
                AdbClient(self.host, self.port, socket_timeout=_START_SECONDS).server_version()
            )
        except (AdbError, OSError, ValueError, EOFError) as error:
            raise PhoneError(
                f"What listens at {self} does not answer as an adb server does "
                f"({type(error).__name__}). Set ANDROID_ADB_SERVER_PORT to adb's port, or end what "
                "took it."
            ) from error

    def phones(self) -> list[Seen]:
        """Every phone that it sees, whatever its state, by serial."""
        self.ensure()
        from adbutils import AdbClient, AdbError

        try:
            client = AdbClient(self.host, self.port, socket_timeout=_START_SECONDS)
            found = client.list()
        except (AdbError, OSError, ValueError, EOFError) as error:
            raise PhoneError(
                f"The adb server at {self} did not list its phones ({error}). Restart it: adb "
                "kill-server, then adb start-server."
            ) from error
        # "no permissions; see [url]" is cut at its blanks.
        states = {"no": "no permissions"}
        return sorted(
            (Seen(one.serial, states.get(one.state, one.state)) for one in found),
            key=lambda one: one.serial,
        )

    def _start(self) -> None:
        program = adb_program()
        if program is None:
            raise PhoneError(
                f"No adb server answers at {self}, and there is no adb to start one. Install it: "
                "on Debian, apt-get install adb; elsewhere, Android's platform tools, on PATH."
            )
        if self.host not in ("127.0.0.1", "localhost", "::1"):
            raise PhoneError(
                f"No adb server answers at {self}, and chipdrift starts one on this machine only: "
                "start it there (adb -a nodaemon server start)."
            )
        try:
            done = subprocess.run(
                [program, "-P", str(self.port), "start-server"],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=_START_SECONDS,
                check=False,
            )
            said = " ".join((done.stderr or done.stdout).split())[-300:]
            words = said or f"it ended with exit code {done.returncode} and said nothing"
        except subprocess.TimeoutExpired:
            words = f"it did not end within {_START_SECONDS:g} s"
        except OSError as error:
            words = str(error)
        if not self.answers():
            raise PhoneError(f"{program} could not start an adb server at {self}: {words}")


def adb_program() -> str | None:
    """The ``adb`` on PATH, else the one that adbutils brings for this system, else None."""
    found = shutil.which("adb")
    if found is not None or util.find_spec("adbutils") is None:
        return found
    brought = resources.files("adbutils") / "binaries" / "adb"
    return str(brought) if brought.is_file() else None


_SERVER: ContextVar[Callable[[], AdbServer]] = ContextVar("chipdrift_adb_server", default=AdbServer)


@contextmanager
def adb_at(server: AdbServer | Callable[[], AdbServer]) -> Iterator[None]:
    """Within it, phones are looked for at ``server``; a function is asked when it is needed."""
    token = _SERVER.set((lambda: server) if isinstance(server, AdbServer) else server)
    try:
        yield
    finally:
        _SERVER.reset(token)


def current_server() -> AdbServer:
    """The server of the innermost :func:`adb_at`; adb's own default outside of any."""
    return _SERVER.get()()

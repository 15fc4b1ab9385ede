"""One phone: run a command on it, push and pull files, talk to a program that runs there."""

from __future__ import annotations

import contextlib
import io
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, final

from chipdrift.phones.server import AdbServer, PhoneError, PhoneGoneError

if TYPE_CHECKING:
    from adbutils import AdbConnection, AdbDevice

SHELL_SECONDS = 60.0
_POLL_SECONDS = 0.5
_LONGEST = 64 << 20  # bytes of one line: the nodes of a large model


@final
@dataclass(frozen=True)
class Ran:
    """How a command on the phone ended."""

    code: int
    out: str
    err: str


@final
class Stream:
    """A program on the phone, its standard input and output joined to this side, byte for byte."""

    def __init__(self, connection: AdbConnection, phone: Phone) -> None:
        self._connection = connection
        self._phone = phone
        self._buffer = bytearray()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, data: bytes) -> None:
        """Write to its standard input; raises PhoneGoneError."""
        with self._phone.asked("writing to the runner"):
            self._connection.conn.sendall(data)

    def line(self, seconds: float | None = None) -> str | None:
        """Its next line, without the end; None where it has ended.

        Raises PhoneError where nothing comes for ``seconds``, PhoneGoneError where the phone went.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        with self._phone.asked("waiting for the runner"):
            seen = 0
            while (at := self._buffer.find(b"\n", seen)) < 0:
                seen = len(self._buffer)
                if seen > _LONGEST:
                    raise ValueError(f"its line is longer than {_LONGEST} bytes")
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(f"no answer within {seconds:g} s")
                self._connection.conn.settimeout(left)
                chunk = self._connection.conn.recv(1 << 16)
                if not chunk:
                    return None
                self._buffer += chunk
        taken, self._buffer = bytes(self._buffer[:at]), self._buffer[at + 1 :]
        return taken.decode("utf-8", errors="replace")

    def read(self, size: int) -> bytes:
        """The next ``size`` bytes; raises PhoneError where the program ends before."""
        with self._phone.asked("reading from the runner"):
            self._connection.conn.settimeout(None)
            while len(self._buffer) < size:
                chunk = self._connection.conn.recv(1 << 16)
                if not chunk:
                    raise EOFError(f"it ended after {len(self._buffer)} of {size} bytes")
                self._buffer += chunk
        taken, self._buffer = bytes(self._buffer[:size]), self._buffer[size:]
        return taken

    def close(self) -> None:
        """End the connection; adbd then closes the program's standard input."""
        with contextlib.suppress(OSError):
            self._connection.close()


@final
class Phone:
    """A phone by its serial at an adb server.

    Everything raises PhoneGoneError where the phone is not there any more, and PhoneError where it
    or the server does not do what was asked.
    """

    def __init__(self, serial: str, server: AdbServer) -> None:
        self.serial = serial
        self.server = server

    def __str__(self) -> str:
        return f"phone {self.serial}"

    def require(self) -> None:
        """Raise what is wrong with it, if anything; a server that ended took it along."""
        try:
            found = {one.serial: one for one in self.server.phones()}
        except PhoneError as error:
            raise PhoneGoneError(f"Phone {self.serial}: {error}") from error
        mine = found.get(self.serial)
        if mine is None:
            others = ", ".join(found) or "none"
            raise PhoneGoneError(
                f"No phone {self.serial!r} at the adb server {self.server}; it sees: {others}. "
                "Plug it in with USB debugging on, or adb connect HOST:PORT."
            )
        if mine.trouble is not None:
            raise PhoneGoneError(f"Phone {self.serial} {mine.trouble}.")

    def returns(self, seconds: float, tell: Callable[[str], None] = lambda _: None) -> bool:
        """Wait up to ``seconds`` for it to be usable; ``tell`` hears of it now and then."""
        deadline = time.monotonic() + seconds
        while True:
            with contextlib.suppress(PhoneError):
                self.require()
                return True
            if time.monotonic() >= deadline:
                return False
            tell(f"phone {self.serial} is waited for")
            time.sleep(_POLL_SECONDS)

    def shell(self, command: str, seconds: float = SHELL_SECONDS) -> Ran:
        """Run a command of its shell to the end."""
        with self.asked(f"running {_brief(command)}"):
            done = self._device().shell2(command, timeout=seconds, v2=True, encoding="utf-8")
        return Ran(done.returncode, done.stdout or "", done.stderr or "")

    def check(self, command: str, seconds: float = SHELL_SECONDS) -> str:
        """What a command printed; raises PhoneError where it failed, with its words."""
        ran = self.shell(command, seconds)
        if ran.code:
            words = " ".join((ran.err or ran.out).split())[-300:]
            raise PhoneError(
                f"Phone {self.serial}: {_brief(command)} ended with exit code {ran.code}: {words}"
            )
        return ran.out

    def push(self, data: Path | bytes, remote: str, executable: bool = False) -> int:
        """Write a file there; the number of bytes that were sent."""
        size = len(data) if isinstance(data, bytes) else data.stat().st_size
        with self.asked(f"pushing {size} bytes to {remote}"):
            source = io.BytesIO(data) if isinstance(data, bytes) else data
            self._device().sync.push(
                source, remote, mode=0o755 if executable else 0o644, check=True
            )
        return size

    def pull(self, remote: str) -> bytes:
        """A file's bytes."""
        with self.asked(f"pulling {remote}"):
            content: bytes = self._device().sync.read_bytes(remote)
        return content

    def start(self, command: str) -> Stream:
        """Start a program whose standard input and output are binary; its errors go elsewhere."""
        with self.asked(f"starting {_brief(command)}"):
            connection = self._device().open_transport(timeout=SHELL_SECONDS)
            connection.send_command("exec:" + command)
            connection.check_okay()
            connection.conn.settimeout(None)
        return Stream(connection, self)

    @contextlib.contextmanager
    def asked(self, doing: str) -> Iterator[None]:
        """What goes wrong within it becomes a sentence: is the phone gone, or did it refuse?"""
        from adbutils import AdbError

        try:
            yield
        except PhoneError:
            raise
        # ValueError and struct.error: adbutils reads a length that did not come.
        except (AdbError, OSError, EOFError, ValueError, struct.error, AssertionError) as error:
            words = " ".join(str(error).split()) or type(error).__name__
            gone = self._gone()
            if gone is not None:
                raise PhoneGoneError(
                    f"Phone {self.serial} went away while {doing} ({gone})"
                ) from error
            raise PhoneError(f"Phone {self.serial}: {doing} failed: {words}") from error

    def _gone(self) -> str | None:
        try:
            self.require()
        except PhoneError as error:
            return str(error).rstrip(".")
        return None

    def _device(self) -> AdbDevice:
        from adbutils import AdbClient

        return AdbClient(self.server.host, self.server.port).device(self.serial)


def find_phone(serial: str, server: AdbServer) -> Phone:
    """The phone called ``serial``, or the only one where that is empty; it can be used now.

    Raises PhoneError where there is none, where there are several and none is named, and where it
    is unauthorised or offline.
    """
    if not serial:
        seen = server.phones()
        if len(seen) != 1:
            listed = ", ".join(f"adb:{one.serial}" for one in seen)
            raise PhoneError(
                f"The adb server {server} sees {len(seen)} phones, and adb: means the only one. "
                f"Name it: {listed}."
                if seen
                else f"The adb server {server} sees no phone. Plug one in with USB debugging on, "
                "or adb connect HOST:PORT."
            )
        serial = seen[0].serial
    phone = Phone(serial, server)
    phone.require()
    return phone


def _brief(command: str) -> str:
    words = " ".join(command.split())
    return repr(words if len(words) <= 60 else words[:57] + "...")

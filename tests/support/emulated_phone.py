"""Phones without a phone: Debian's arm64 adbd, emulated, behind an adb server of its own.

    python tests/support/emulated_phone.py [--room-mb N]

starts one and keeps it until its input ends. The daemon, the server and the protocol between them
are the real ones; ``getprop``, ``logcat`` and ``dumpsys`` are small scripts that answer what a test
has set. All ends with the process that started it, even where that is killed.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping

from phone_server import PATIENCE, SCRIPTS, AdbServer, Closing, children, until
from phone_state import BATTERY, PROPERTIES, THERMAL, PhoneState

__all__ = ["AdbServer", "EmulatedPhone", "LockedPhone"]


class EmulatedPhone(PhoneState, Closing):
    """One phone, on and plugged in, as a context manager.

    ``server``: its adb server, by default one of its own; several phones can share one.
    ``room_mb``: size of /data in MiB. ``properties``: beside those that every phone has; None takes
    one away. ``serial`` and ``server`` (host, port) are what a client needs.
    """

    def __init__(
        self,
        server: AdbServer | None = None,
        *,
        room_mb: int = 512,
        properties: Mapping[str, str | None] | None = None,
    ) -> None:
        self.adb_server = AdbServer() if server is None else server
        self._owns_server = server is None
        self._started: subprocess.Popen[bytes] | None = None
        try:
            self.server = self.adb_server.address
            self.port = self.adb_server.new_port()
            self.serial = f"127.0.0.1:{self.port}"
            self._folder = self.adb_server.folder / str(self.port)
            for name in ("system", "data", "state"):
                (self._folder / name).mkdir(parents=True)
            super().__init__(self._folder / "state")
            self.set_properties({**PROPERTIES, "ro.serialno": f"EMULATED{self.port}"})
            self.set_properties(properties or {})
            self.set_dumpsys("battery", BATTERY)
            self.set_dumpsys("thermalservice", THERMAL)
            # Not in the phone's own namespace: it stays while the phone is off.
            room = ["mount", "-t", "tmpfs", "-o", f"size={room_mb}m", "none"]
            mount = [*self.adb_server.inside(), *room, str(self._folder / "data")]
            subprocess.run(mount, check=True, capture_output=True)
            self.power_on()
            self.plug()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Unplug it and switch it off; end its server if that is its own."""
        try:
            with contextlib.suppress(OSError):  # the server has ended already
                self.unplug()
        finally:
            self.power_off()
            if self._owns_server:
                self.adb_server.close()

    def shell(self, command: str, timeout: float = PATIENCE) -> subprocess.CompletedProcess[bytes]:
        """A command in its shell, by Debian's adb: exit code, stdout and stderr."""
        return self.adb_server.adb("-s", self.serial, "shell", "-T", command, timeout=timeout)

    def plug(self) -> None:
        """Plug the cable in: it is there again, under the same serial.

        Raises RuntimeError where it does not answer, as while it is off or frozen.
        """
        said = ""

        def online() -> bool:
            nonlocal said
            if self._started is None or self._started.poll() is not None:
                raise RuntimeError(f"the emulated phone is off. {self.log()[-500:]}")
            said = self.adb_server.ask(f"host:connect:{self.serial}")
            state = self.adb_server.states().get(self.serial)
            if state == "offline":  # a connection from before it was switched off
                self.unplug()
            return state == "device"

        if not until(online):
            raise RuntimeError(f"the emulated phone does not answer: {said}. {self.log()[-500:]}")

    def unplug(self) -> None:
        """Pull the cable: the connection ends at once, also within a transfer or a command.

        The phone goes on; as Android's does, its daemon hangs up on the commands it ran.
        """
        if self.serial in self.adb_server.states():
            self.adb_server.ask(f"host:disconnect:{self.serial}")

    def power_on(self) -> None:
        """Start its daemon; :meth:`plug` connects it."""
        assert self._started is None
        words = [str(self.adb_server.root), str(self._folder), str(self.port), str(SCRIPTS)]
        start = ["unshare", "-mpf", "--kill-child", "--mount-proc", str(SCRIPTS / "start"), *words]
        with (self._folder / "adbd.log").open("ab") as log:
            self._started = subprocess.Popen(
                [*self.adb_server.inside(), *start],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def power_off(self) -> None:
        """End all that runs on it, at once. Its /data stays.

        Where it was plugged in, the server lists it as offline, and finds it when it is on again.
        """
        if self._started is None:
            return
        # The first process of its namespace: with it the kernel ends all others.
        for pid in self._line()[2:3]:
            os.kill(pid, signal.SIGKILL)
        self._started.wait()
        self._started = None

    def freeze(self) -> None:
        """Stop its daemon: connected, and it answers nothing. What it has started goes on."""
        os.kill(self._line()[3], signal.SIGSTOP)

    def thaw(self) -> None:
        """Let a frozen daemon go on."""
        os.kill(self._line()[3], signal.SIGCONT)

    def log(self) -> str:
        """What the daemon wrote."""
        return (self._folder / "adbd.log").read_text(errors="replace")

    def _line(self) -> list[int]:
        """nsenter, unshare, the script, the daemon: each the parent of the next."""
        assert self._started is not None
        line = [self._started.pid]
        while len(line) < 4 and until(lambda: bool(children(line[-1]))):
            line.append(min(children(line[-1])))
        return line


class LockedPhone(Closing):
    """A phone whose screen has not allowed this computer: the server calls it unauthorized.

    It is no daemon but the refusal alone: Debian's adbd is built to ask for no key.
    """

    def __init__(self, server: AdbServer) -> None:
        self.adb_server, self.server = server, server.address
        port = server.new_port()
        self.serial = f"127.0.0.1:{port}"
        script = [sys.executable, "-I", "-S", str(SCRIPTS / "locked.py"), str(port)]
        self._started = subprocess.Popen([*server.inside(), *script], start_new_session=True)
        if not until(self._listed):
            self.close()
            raise RuntimeError("the locked phone does not answer")

    def close(self) -> None:
        """Unplug it."""
        if self.serial in self.adb_server.states():
            self.adb_server.ask(f"host:disconnect:{self.serial}")
        for pid in children(self._started.pid):
            os.kill(pid, signal.SIGKILL)
        self._started.wait()

    def _listed(self) -> bool:
        self.adb_server.ask(f"host:connect:{self.serial}")
        return self.adb_server.states().get(self.serial) == "unauthorized"


def main() -> None:
    """Start one phone, say where it is, keep it until the input ends."""
    parser = argparse.ArgumentParser(prog="python tests/support/emulated_phone.py")
    parser.add_argument("--room-mb", type=int, default=512, help="size of /data in MiB")
    given = parser.parse_args()
    with EmulatedPhone(room_mb=given.room_mb) as phone:
        host, port = phone.server
        print(f"serial {phone.serial}", f"server {host} {port}", sep="\n", flush=True)
        print(f"adb -H {host} -P {port} -s {phone.serial} shell", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main()

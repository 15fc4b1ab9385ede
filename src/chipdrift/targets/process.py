"""The parent's handle on a worker process: start it, ask it, notice its death."""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from multiprocessing.connection import Connection
from typing import Any

from chipdrift.targets.base import Opened, Target

_LAST_WORDS = 600


class WorkerDiedError(Exception):
    """The worker is gone, or said what no worker says: a sentence with its last words."""


class WorkerProcess:
    """One process for one target, on one core.

    ``connection`` can be waited on with ``multiprocessing.connection.wait``.
    """

    def __init__(self, target: Target, core: int) -> None:
        self.target = target
        self.core = core
        # Not a with block: the log lives as long as the worker does.
        self._log = tempfile.TemporaryFile(prefix="chipdrift-worker-")  # noqa: SIM115
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [
                    *target.launcher,
                    sys.executable,
                    "-m",
                    "chipdrift.targets.worker",
                    str(theirs.fileno()),
                    str(core),
                    target.runtime,
                    *target.packages,
                ],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self._log,
                stderr=self._log,
            )
        self.connection = Connection(ours.detach())

    def open(self, slot: str, path: str, options: Mapping[str, str], fresh: bool) -> None:
        """Ask for a session; ``fresh`` closes all others first."""
        self._send(("open", slot, path, dict(options), fresh))

    def run(self, slot: str, sample: str, feed: Mapping[str, Any], digest: bool) -> None:
        """Ask for one sample's outputs, or for the hash of them."""
        self._send(("run", slot, sample, dict(feed), digest))

    def finish(self, slot: str) -> None:
        """Ask what is to be told of a session whose samples have all run."""
        self._send(("finish", slot))

    def receive(self) -> tuple[Any, ...]:
        """The next answer; raises WorkerDiedError where there is none to come."""
        try:
            message = self.connection.recv()
        except (EOFError, OSError) as error:
            raise WorkerDiedError(self.obituary()) from error
        except (pickle.UnpicklingError, ValueError, AttributeError, ImportError) as error:
            raise WorkerDiedError(f"its worker sent garbage ({type(error).__name__})") from error
        if not isinstance(message, tuple) or len(message) < 3:
            raise WorkerDiedError("its worker sent garbage")
        if message[0] == "opened" and isinstance(message[2], Opened):
            return self._as_promised(message)
        return message

    def _as_promised(self, message: tuple[Any, ...]) -> tuple[Any, ...]:
        """An error in place of a session of another version: results are kept under versions."""
        wanted, found = self.target.versions, message[2].versions
        wrong = [key for key in found if key in wanted and found[key] != wanted[key]]
        if not wrong:
            return message
        words = ", ".join(f"{key} {found[key]} and not {wanted[key]}" for key in wrong)
        return ("error", message[1], f"its worker runs {words}")

    def obituary(self) -> str:
        """How the process ended, with the last it printed."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        if code is None:
            how = "its worker closed the line"
        elif code < 0:
            name = signal.Signals(-code).name
            how = f"its worker was killed by {name}" + (
                " (out of memory?)" if name == "SIGKILL" else ""
            )
        else:
            how = f"its worker ended with exit code {code}"
        words = self.last_words()
        return f"{how}; last words: {words}" if words else how

    def last_words(self) -> str:
        """The end of what the worker printed, in one line."""
        self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, self._log.tell() - 4 * _LAST_WORDS))
        text = self._log.read().decode("utf-8", errors="replace")
        words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return words[-_LAST_WORDS:]

    def stop(self, patience: float = 0.0) -> None:
        """End the process, whatever it is doing; with ``patience`` it has that long to tidy up."""
        if patience:
            self._send(("leave", ""))
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=patience)
        with contextlib.suppress(OSError):
            self.connection.close()
        self._process.kill()
        self._process.wait()
        self._log.close()

    def _send(self, message: tuple[Any, ...]) -> None:
        # A worker that is gone may have answered before: ``receive`` hands that out, then tells.
        with contextlib.suppress(OSError):
            self.connection.send(message)

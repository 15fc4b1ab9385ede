"""The process in which vendor code runs: ``python -m chipdrift.targets.worker FD CORE RUNTIME``.

Folders that follow come before all others where it looks for packages.

It answers on a socket of its own; whatever the vendor prints goes to a log file. It ends when the
socket closes, and dies with its parent.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import importlib
import os
import signal
import sys
import time
from dataclasses import replace
from multiprocessing.connection import Connection
from typing import Any

from chipdrift.errors import ChipdriftError
from chipdrift.store import pack_arrays
from chipdrift.targets.base import RefusedError, Session

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Serve requests until the parent hangs up."""
    fd, core, runtime = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    sys.path[:0] = sys.argv[4:]
    _die_with_parent()
    if core >= 0 and hasattr(os, "sched_setaffinity"):
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, {core})
    connection = Connection(fd)
    module = importlib.import_module(runtime)
    if hasattr(module, "preload"):
        # What is wrong with the runtime is told by the first session, which a cell is waiting for.
        with contextlib.suppress(Exception):
            module.preload()
    sessions: dict[str, Session] = {}
    while True:
        try:
            request = connection.recv()
        except (EOFError, OSError):
            return
        if request[0] == "leave":
            for session in sessions.values():
                session.close()
            return
        connection.send(_serve(module, sessions, request, connection))


def _serve(
    module: Any, sessions: dict[str, Session], request: tuple[Any, ...], connection: Connection
) -> tuple[Any, ...]:
    verb, slot = request[0], request[1]
    started = time.perf_counter()
    try:
        if verb == "open":
            if request[4]:
                for session in sessions.values():
                    session.close()
                sessions.clear()
            arguments: list[Any] = [request[2], request[3]]
            if getattr(module, "TELLS", False):
                arguments.append(lambda words: connection.send(("waiting", slot, words)))
            sessions[slot] = module.open_session(*arguments)
            opened = sessions[slot].opened()
            if hasattr(module, "loaded"):
                opened = replace(opened, versions=module.loaded())
            return ("opened", slot, opened, time.perf_counter() - started)
        if verb == "finish":
            return ("finished", slot, dict(sessions[slot].finish()))
        sample, feed, digest = request[2:]
        arrays = sessions[slot].run(feed)
        seconds = time.perf_counter() - started
        data = pack_arrays(arrays)
        if digest:
            return ("digest", slot, sample, seconds, hashlib.sha256(data).hexdigest())
        return ("outputs", slot, sample, seconds, data)
    except RefusedError as refusal:
        return ("refused", slot, str(refusal))
    except ChipdriftError as error:
        return ("error", slot, str(error).rstrip("."))
    except Exception as error:
        return ("error", slot, f"{type(error).__name__}: {' '.join(str(error).split())}")


def _die_with_parent() -> None:
    """A parent that is killed outright must not leave a simulator running."""
    if sys.platform == "linux":
        with contextlib.suppress(OSError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    main()

"""A shell in which ``chipdrift`` is run by this process.

A command of its own costs half a second to two of imports and compiled templates, and its workers a
second each; here all of that is there, and workers serve one command after the other. What the
shell does (files, redirections, exit codes) is the shell's. That the installed script starts, and
alone, is tested where :func:`documents.run_page` is used, and by the tests that start processes.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest
from worker_pool import WorkerPool

# What the shell finds as ``chipdrift``: it hands over its words, folder, environment and files.
_SCRIPT = """\
#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX) as asked:
    asked.connect({address!r})
    told = json.dumps([os.getcwd(), dict(os.environ), sys.argv[1:]])
    socket.send_fds(asked, [told.encode()], [0, 1, 2])
    sys.exit(int(asked.recv(8)))
"""
_LONGEST = 1 << 20  # bytes of words and environment
_PATIENCE = 0.02  # seconds until it is asked again whether the shell has ended


class PageShell:
    """Runs shells one at a time; made by :func:`page_shell`."""

    def __init__(self, server: socket.socket, programs: Path) -> None:
        self._server, self._programs = server, programs

    def run(
        self, command: Sequence[str], folder: Path, environment: Mapping[str, str]
    ) -> subprocess.CompletedProcess[str]:
        """As ``subprocess.run`` with captured text; ``chipdrift`` comes first on the PATH."""
        path = str(self._programs) + os.pathsep + environment["PATH"]
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            process = subprocess.Popen(
                command, cwd=folder, env={**environment, "PATH": path}, stdout=out, stderr=err
            )
            while process.poll() is None:
                with contextlib.suppress(TimeoutError):
                    asked, _ = self._server.accept()
                    with asked:
                        asked.sendall(str(_answer(asked)).encode())
            out.seek(0), err.seek(0)
            return subprocess.CompletedProcess(command, process.returncode, out.read(), err.read())


@contextlib.contextmanager
def page_shell() -> Iterator[PageShell]:
    """A shell with workers of its own: they run where, and as, its commands do."""
    pool = WorkerPool()
    with tempfile.TemporaryDirectory() as place, socket.socket(socket.AF_UNIX) as server:
        programs, address = Path(place) / "bin", f"{place}/asked"
        programs.mkdir()
        script = programs / "chipdrift"
        script.write_text(_SCRIPT.format(python=sys.executable, address=address))
        script.chmod(0o755)
        server.bind(address)
        server.listen()
        server.settimeout(_PATIENCE)
        try:
            with pool.lending():
                yield PageShell(server, programs)
        finally:
            pool.close()


def _answer(asked: socket.socket) -> int:
    """The exit code of what is asked, which has printed to the files that came with it."""
    told, files, _, _ = socket.recv_fds(asked, _LONGEST, 3)
    folder, environment, words = json.loads(told)
    with contextlib.ExitStack() as stack:
        stdin = stack.enter_context(open(files[0], encoding="utf-8"))  # noqa: PTH123
        out, err = (
            stack.enter_context(open(file, "w", encoding="utf-8"))  # noqa: PTH123
            for file in files[1:]
        )
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name in os.environ.keys() - environment.keys():
            patch.delenv(name)
        for name, value in environment.items():
            patch.setenv(name, value)
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["chipdrift", *words])
        patch.setattr(sys, "stdin", stdin)
        stack.enter_context(contextlib.redirect_stdout(out))
        stack.enter_context(contextlib.redirect_stderr(err))
        return _exit_code()


def _exit_code() -> int:
    from chipdrift.cli.main import main

    try:
        main()
    except SystemExit as stop:
        if isinstance(stop.code, str):
            print(stop.code, file=sys.stderr)
            return 1
        return stop.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0

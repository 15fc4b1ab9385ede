"""Run the commands of a Markdown page as a reader would: ``sh`` and ``python`` blocks in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from page_shell import page_shell

_Run = Callable[[Sequence[str], Mapping[str, str]], subprocess.CompletedProcess[str]]
_BLOCK = re.compile(r"(<!-- not run: .*? -->\n+)?```(sh|python)\n(.*?)```", re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block that is not marked ``<!-- not run: why -->``."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, text) for skipped, language, text in found if not skipped]


def run_page(page: Path, folder: Path, **environment: str) -> list[str]:
    """Run every block in ``folder``; what each printed on stdout. Fails where a command does."""

    def run(command: Sequence[str], env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            command, cwd=folder, env=env, capture_output=True, text=True, check=False
        )

    return _printed(page, {**os.environ, **environment}, run)


def run_page_here(page: Path, folder: Path) -> list[str]:
    """As :func:`run_page`, several times as fast: this process is ``chipdrift``."""
    with page_shell() as shell:
        return _printed(page, os.environ, lambda command, env: shell.run(command, folder, env))


def _printed(page: Path, environment: Mapping[str, str], run: _Run) -> list[str]:
    path = str(Path(sys.executable).parent) + os.pathsep + environment["PATH"]
    printed = []
    for language, text in blocks(page):
        command = [sys.executable, "-c", text] if language == "python" else ["sh", "-ec", text]
        done = run(command, {**environment, "PATH": path})
        assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    return printed

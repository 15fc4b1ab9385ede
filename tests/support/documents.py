"""Run the commands of a Markdown page as a reader would: ``sh`` and ``python`` blocks in order."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

_BLOCK = re.compile(r"(<!-- not run: .*? -->\n+)?```(sh|python)\n(.*?)```", re.DOTALL)


def blocks(page: Path) -> list[tuple[str, str]]:
    """Language and text of every block that is not marked ``<!-- not run: why -->``."""
    found = _BLOCK.findall(page.read_text(encoding="utf-8"))
    return [(language, text) for skipped, language, text in found if not skipped]


def run_page(page: Path, folder: Path, **environment: str) -> list[str]:
    """Run every block in ``folder``; what each printed on stdout. Fails where a command does."""
    path = str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]
    printed = []
    for language, text in blocks(page):
        command = [sys.executable, "-c", text] if language == "python" else ["sh", "-ec", text]
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "PATH": path, **environment},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{page.name}:\n{text}\n{done.stdout}\n{done.stderr}"
        printed.append(done.stdout)
    return printed

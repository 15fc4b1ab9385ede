"""``chipdrift plan`` and other verbs in this process, for fixtures that many tests share."""

from __future__ import annotations

import contextlib
import io
import sys
from pathlib import Path
from typing import Any

import pytest

from chipdrift.demo import paths
from chipdrift.plan import Plan

ENGINE = "sim:hexagon-v73"


def plan(out: Path, *words: str) -> tuple[int, str, str]:
    """``chipdrift plan`` on the demo, in this process: exit code, stdout, stderr."""
    demo = paths()
    return command(
        *("plan", str(demo.model), "--data", str(demo.data), "-o", str(out)),
        *("--calibration", str(demo.calibration), "--jobs", "1"),
        *words,
    )


def command(*words: str) -> tuple[int, str, str]:
    from chipdrift.cli.main import main

    shown, told, code = io.StringIO(), io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["chipdrift", *words])
        with contextlib.redirect_stdout(shown), contextlib.redirect_stderr(told):
            try:
                main()
            except SystemExit as stop:
                code = int(stop.code or 0)
    return code, shown.getvalue(), told.getvalue()


def lasting(found: Plan) -> dict[str, Any]:
    """All but what another run has a right to say otherwise."""
    return found.model_dump(mode="json", exclude={"created", "seconds"})

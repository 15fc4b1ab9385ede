"""The checks of a diagnosis, one module each, found by their files.

A check is a module with a function ``look(exam)`` that yields findings, and a docstring that is its
page: a title, then the sections "What it finds", "Why it hurts", "Example" and "Fix". Its name is
the module's with hyphens. Adding a check is adding a file and its test.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from types import ModuleType

from chipdrift.diagnose.exam import Exam
from chipdrift.errors import UnknownNameError
from chipdrift.findings import Finding

SECTIONS = ("What it finds", "Why it hurts", "Example", "Fix")


@dataclass(frozen=True)
class Check:
    """A check: its name, the title and the text of its page, and what it does."""

    name: str
    title: str
    page: str
    look: Callable[[Exam], Iterator[Finding]]


@cache
def all_checks() -> dict[str, Check]:
    """Every check by name."""
    found = {}
    for info in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{info.name}")
        if hasattr(module, "look"):
            check = _check(module, info.name)
            found[check.name] = check
    return found


def get_check(name: str) -> Check:
    """One check; raises UnknownNameError."""
    checks = all_checks()
    if name not in checks:
        raise UnknownNameError.of("check", name, checks, "chipdrift checks lists them.")
    return checks[name]


def _check(module: ModuleType, name: str) -> Check:
    page = inspect.cleandoc(module.__doc__ or "")
    title = page.split("\n", 1)[0].rstrip(".")
    return Check(name.replace("_", "-"), title, page, module.look)

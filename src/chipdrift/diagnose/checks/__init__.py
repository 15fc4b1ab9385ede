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

    @property
    def sections(self) -> dict[str, str]:
        """The page's paragraphs by the section of :data:`SECTIONS` that they belong to."""
        found: dict[str, str] = {}
        last = ""
        for paragraph in self.page.split("\n\n")[1:]:
            words = " ".join(paragraph.split())
            head, colon, rest = words.partition(":")
            if colon and head in SECTIONS:
                last = head
                found[last] = rest.strip()
            elif last:
                found[last] += f"\n\n{words}"
        return found


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


def checks_page() -> str:
    """All pages as one Markdown document: ``docs/checks.md``."""
    checks = all_checks().values()
    lines = [
        "# Checks",
        "",
        "What a diagnosis looks for, one page each. `chipdrift checks NAME` prints one of them; "
        "this document is made from the same text, by `chipdrift checks --markdown`.",
        "",
        *(f"- [`{check.name}`](#{check.name}): {check.title}" for check in checks),
    ]
    for check in checks:
        lines += ["", f"## {check.name}", "", f"{check.title}."]
        for name, words in check.sections.items():
            lines += ["", f"**{name}.** {words[:1].upper()}{words[1:]}"]
    return "\n".join(lines) + "\n"


def _check(module: ModuleType, name: str) -> Check:
    page = inspect.cleandoc(module.__doc__ or "")
    title = page.split("\n", 1)[0].rstrip(".")
    return Check(name.replace("_", "-"), title, page, module.look)

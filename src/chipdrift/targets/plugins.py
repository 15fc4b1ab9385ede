"""Runtimes that others bring: the entry-point group ``chipdrift.targets``.

An entry point's name stands before the colon of its targets, its value is a module with the three
functions of a built-in runtime (see :mod:`chipdrift.targets.base`). Whatever is wrong with a plugin
costs its own targets only: they are listed with the reason, and asking for one raises it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib import metadata
from typing import Any, Protocol, final

from chipdrift.errors import ChipdriftError
from chipdrift.targets.base import Part, Target, TargetInfo

GROUP = "chipdrift.targets"
_FUNCTIONS = ("resolve", "listed", "open_session")
_NAME = re.compile(r"[a-z][a-z0-9_-]*")
# A module may end the interpreter on import, which is no Exception.
_ANYTHING = (Exception, SystemExit)


class Runtime(Protocol):
    """What stands before a target's colon, built in or brought."""

    def resolve(self, rest: str) -> Target:
        """The Target of ``<name>:<rest>``; raises ChipdriftError where it cannot be had."""

    def listed(self) -> list[TargetInfo]:
        """Every target there is, those that cannot be had here with the reason."""


@final
@dataclass(frozen=True)
class Plugin:
    """A runtime that a distribution brings; its module is imported when it is first asked."""

    entry: metadata.EntryPoint
    fault: str | None = None

    @property
    def words(self) -> str:
        """How it is called in a sentence."""
        return f"Plugin {self.entry.name} ({_source(self.entry)})"

    def resolve(self, rest: str) -> Target:
        """The plugin's own answer; raises ChipdriftError with its name for anything wrong."""
        name = f"{self.entry.name}:{rest}"
        try:
            target = self._module().resolve(rest)
        except ChipdriftError:
            raise
        except _ANYTHING as error:
            raise self._broken(f"its resolve({rest!r}) raised {_said(error)}") from error
        if not isinstance(target, Target) or not self._owns(target.name):
            what = target.name if isinstance(target, Target) else type(target).__name__
            raise self._broken(f"its resolve({rest!r}) gave {what}, not a Target called {name}")
        return target

    def listed(self) -> list[TargetInfo]:
        """The plugin's own list, or one line that says what is wrong with it."""
        try:
            found = self._module().listed()
            for info in found:
                if not isinstance(info, TargetInfo) or not self._owns(info.name):
                    what = getattr(info, "name", type(info).__name__)
                    raise self._broken(f"its listed() gave {what}, not TargetInfo of its own name")
            return list(found)
        except ChipdriftError as error:
            return [self._line(str(error))]
        except _ANYTHING as error:
            return [self._line(str(self._broken(f"its listed() raised {_said(error)}")))]

    def parts(self, rest: str) -> list[Part]:
        """What the plugin says ``<name>:<rest>`` is made of; empty where it says nothing."""
        try:
            tell = getattr(self._module(), "parts", None)
            return [] if tell is None else list(tell(rest))
        except _ANYTHING:  # ``listed`` says what is wrong
            return []

    def _owns(self, name: str) -> bool:
        return name.startswith(f"{self.entry.name}:")

    def _module(self) -> Any:
        if self.fault is not None:
            raise ChipdriftError(self.fault)
        try:
            module = self.entry.load()
        except _ANYTHING as error:
            raise self._broken(f"importing {self.entry.value} raised {_said(error)}") from error
        lacks = [name for name in _FUNCTIONS if not callable(getattr(module, name, None))]
        if lacks:
            raise self._broken(f"{self.entry.value} has no function {' and no '.join(lacks)}")
        return module

    def _broken(self, what: str) -> ChipdriftError:
        return ChipdriftError(f"{self.words}: {what}. {self._remedy()}")

    def _remedy(self) -> str:
        distribution = self.entry.dist
        if distribution is None:
            return "Mend it, or take it off Python's path."
        return f"Tell its author, or remove it: pip uninstall {distribution.name}."

    def _line(self, reason: str) -> TargetInfo:
        # No result will carry this evidence: the target cannot be had.
        return TargetInfo(
            name=f"{self.entry.name}:*",
            evidence="hypothesis",
            available=False,
            description=f"a plugin that does not work, from {_source(self.entry)}",
            reason=reason.removesuffix("."),
        )


def find_plugins(builtin: Collection[str]) -> tuple[Mapping[str, Plugin], list[Plugin]]:
    """Plugins by their name, and those that cannot have the name that they ask for.

    ``builtin`` are the names of chipdrift's own runtimes, which no plugin may take.
    """
    found: dict[str, Plugin] = {}
    refused: list[Plugin] = []
    for entry in sorted(metadata.entry_points(group=GROUP), key=_order):
        plugin = Plugin(entry)
        why = None
        if not _NAME.fullmatch(entry.name):
            why = "a name is lower-case letters, digits, - and _, and begins with a letter"
        elif entry.name in builtin:
            why = (
                f"chipdrift itself has {entry.name}:, which goes on to work; it needs another name"
            )
        elif entry.name in found:
            # One distribution that lies twice on the path is no clash.
            if found[entry.name].entry.value == entry.value:
                continue
            why = f"{_source(found[entry.name].entry)} has that name; one of both must go"
        if why is None:
            found[entry.name] = plugin
        else:
            refused.append(Plugin(entry, f"{plugin.words}: {why}. {plugin._remedy()}"))
    return found, refused


def _order(entry: metadata.EntryPoint) -> tuple[str, str, str]:
    """The same winner every time, whatever the order on Python's path."""
    return entry.name, _source(entry), entry.value


def _source(entry: metadata.EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else entry.value


def _said(error: BaseException) -> str:
    words = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__

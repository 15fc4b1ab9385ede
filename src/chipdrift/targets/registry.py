"""Find a target by its name."""

from __future__ import annotations

import importlib
import pkgutil
from typing import cast

from chipdrift import targets
from chipdrift.errors import UnknownNameError
from chipdrift.targets.base import Target, TargetInfo
from chipdrift.targets.plugins import Runtime, find_plugins

_PLUMBING = frozenset(
    {
        "arm64",
        "arm64root",
        "base",
        "emulator",
        "placement",
        "plugins",
        "process",
        "registry",
        "releases",
        "tuned",
        "worker",
    }
)


def runtimes() -> dict[str, Runtime]:
    """chipdrift's own runtimes, by the name that stands before a target's colon.

    It is the module's name, or its ``PREFIX`` where that is no name for a module.
    """
    found = {}
    for entry in pkgutil.iter_modules(targets.__path__):
        # What stands behind the / of a target adb: is no runtime of its own.
        if entry.name not in _PLUMBING and not entry.name.startswith("adb_"):
            module = importlib.import_module(f"{targets.__name__}.{entry.name}")
            found[getattr(module, "PREFIX", entry.name)] = cast(Runtime, module)
    return found


def get_target(name: str) -> Target:
    """The target called ``runtime:rest``; raises ChipdriftError where it cannot be had here."""
    prefix, colon, rest = name.strip().partition(":")
    known = runtimes()
    if colon and prefix in known:
        return known[prefix].resolve(rest)
    plugins, refused = find_plugins(known)
    asked = plugins.get(prefix) or next((p for p in refused if p.entry.name == prefix), None)
    if not colon or asked is None:
        names = [info.name for info in list_targets()]
        raise UnknownNameError.of("target", name, names, "chipdrift targets lists them all.")
    return asked.resolve(rest)


def whole_name(name: str) -> str:
    """The name under which a run holds a target: ``adb:`` is the only phone, by its serial."""
    prefix, _, rest = name.strip().partition(":")
    return get_target(name).name if prefix == "adb" and not rest.partition("/")[0] else name


def list_targets() -> list[TargetInfo]:
    """Every target by name, those that cannot be had here with the reason."""
    return [info for _, source in every_runtime() for info in source.listed()]


def every_runtime() -> list[tuple[str, Runtime]]:
    """Every runtime by name: chipdrift's own, those of plugins, and plugins that were refused.

    A name comes twice where a plugin asks for one that is taken; the first is the one that has it.
    """
    known = runtimes()
    plugins, refused = find_plugins(known)
    return [*known.items(), *plugins.items(), *((p.entry.name, p) for p in refused)]

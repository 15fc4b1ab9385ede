"""Find a target by its name."""

from __future__ import annotations

import importlib
import pkgutil
from types import ModuleType

from chipdrift import targets
from chipdrift.errors import UnknownNameError
from chipdrift.targets.base import Target, TargetInfo

_PLUMBING = frozenset({"base", "placement", "process", "registry", "worker"})


def runtimes() -> dict[str, ModuleType]:
    """The runtimes that are there, by the name that stands before a target's colon.

    It is the module's name, or its ``PREFIX`` where that is no name for a module.
    """
    found = {}
    for entry in pkgutil.iter_modules(targets.__path__):
        if entry.name not in _PLUMBING:
            module = importlib.import_module(f"{targets.__name__}.{entry.name}")
            found[getattr(module, "PREFIX", entry.name)] = module
    return found


def get_target(name: str) -> Target:
    """The target called ``runtime:rest``; raises ChipdriftError where it cannot be had here."""
    prefix, colon, rest = name.strip().partition(":")
    known = runtimes()
    if not colon or prefix not in known:
        names = [info.name for info in list_targets()]
        raise UnknownNameError.of("target", name, names, "chipdrift targets lists them all.")
    target: Target = known[prefix].resolve(rest)
    return target


def list_targets() -> list[TargetInfo]:
    """Every target by name, those that cannot be had here with the reason."""
    return [info for module in runtimes().values() for info in module.listed()]

"""Reference functions, one op per file: what an op answers, in the plainest NumPy.

A module of this package has ``OPS``, a mapping from ONNX op types to functions
``(spec, arrays) -> integers``. ``arrays`` are the integers of all operands in the model's order,
constants included, None where an optional input is absent. ``LIMITS``, where a module has it, maps
an op type to a function that says why a node of it has no integer form, or None. ``TABLES`` names
the tables of a profile's rules that the module's ops obey.
"""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from types import ModuleType

from chipdrift.numerics.tensors import OpSpec, Reference


@functools.cache
def _modules() -> tuple[ModuleType, ...]:
    names = [module.name for module in pkgutil.iter_modules(__path__)]
    return tuple(importlib.import_module(f"{__name__}.{name}") for name in names)


@functools.cache
def reference_ops() -> dict[str, Reference]:
    """Every op that has an integer form, by its ONNX op type."""
    return {op: function for module in _modules() for op, function in module.OPS.items()}


@functools.cache
def tables_of(op: str) -> frozenset[str]:
    """The tables of a profile's rules that ``op`` obeys."""
    return frozenset(table for module in _modules() if op in module.OPS for table in module.TABLES)


def refusal(spec: OpSpec) -> str | None:
    """Why this node has no integer form here, or None."""
    if not spec.output.per_tensor:
        return "its output has a scale per channel"
    for module in _modules():
        limits: dict[str, Callable[[OpSpec], str | None]] = getattr(module, "LIMITS", {})
        if spec.op in limits:
            return limits[spec.op](spec)
    return None

"""Strengths between those of the catalogue, around one that explains a part."""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.diagnose.mechanisms import Variation
from chipdrift.numerics.profile import Function

# Of what can be any number, so many between the neighbours in the catalogue.
_MOST = 32
_ANY = frozenset({"entries", "block"})
# Errors of a function, as powers of two.
_ERRORS = range(4, 15)
_DROPPED = range(1, 17)


def nearby(variation: Variation) -> Iterator[Variation]:
    """``variation`` at other strengths, where the catalogue leaves some out."""
    names = [name for name, _ in variation.changes]
    for name, value in variation.changes:
        if isinstance(value, Function):
            for function in _functions(value):
                yield _with(variation, name, function)
        elif name in _ANY and isinstance(value, int):
            for number in _spread(value):
                yield _with(variation, name, number)
    if variation.part == "function" and "relative_error" not in names:
        for power in _ERRORS:
            yield _with(variation, "relative_error", 2.0**-power)
    if "keep" in names and "drop" not in names:
        for drop in _DROPPED:
            yield _with(variation, "drop", drop)


def _functions(function: Function) -> Iterator[Function]:
    if function.arithmetic == "table":
        for entries in _spread(function.entries):
            yield function.model_copy(update={"entries": entries})
        return
    for power in _ERRORS:
        yield function.model_copy(update={"relative_error": 2.0**-power})


def _with(variation: Variation, name: str, value: object) -> Variation:
    changes = {**dict(variation.changes), name: value}
    return Variation(variation.mechanism, variation.part, tuple(changes.items()))


def _spread(value: int) -> list[int]:
    """Numbers from half to twice ``value``, without it."""
    low, high = max(2, value // 2), 2 * value
    step = max(1, (high - low) // _MOST)
    return [number for number in range(low, high + 1, step) if number != value]

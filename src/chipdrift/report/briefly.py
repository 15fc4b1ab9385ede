"""Names of thousands of characters, cut for people; the JSON keeps them whole."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, TypeVar

from chipdrift.records import Record

R = TypeVar("R", bound=Record)

# A line of a wide terminal. Exporters write names of up to 100 characters, seldom more.
LONGEST = 120
# Of a longer name these are shown, with dots between.
_HEAD, _TAIL = 70, 40
# Where a node or a tensor is named, and where names stand among words. Targets are in neither:
# their paths are needed whole.
_NAMES = frozenset(
    {
        *("node", "nodes", "raised", "tensor", "inputs", "output"),
        *("together", "first_layer", "first_op"),
    }
)
_WORDS = frozenset({"words", "title", "experiment", "fix", "notes", "reason", "trouble", "why"})
# A path may be longer than a name's limit; what is longer than this is none that one reads.
_RUN = re.compile(r"\S{400,}")


def brief(name: str) -> str:
    """``name``, or its two ends where it is longer than :data:`LONGEST`."""
    return name if len(name) <= LONGEST else f"{name[:_HEAD]}...{name[-_TAIL:]}"


def shortened(record: R) -> R:
    """``record`` with its nodes' and tensors' long names cut, wherever they stand among words, too.

    Names that were different stay so. Commands and targets stay as they are.
    """
    dumped = record.model_dump()
    long = {name for name in _named(dumped) if len(name) > LONGEST}
    runs = any(_RUN.search(text) for text in _said(dumped))
    if not long and not runs:
        return record
    short: dict[str, str] = {}
    for name in sorted(long):
        made, number = brief(name), 2
        while made in short.values():
            made, number = f"{brief(name)} ({number})", number + 1
        short[name] = made
    # The longest first: one name may be the beginning of another.
    ordered = sorted(short, key=len, reverse=True)
    return type(record).model_validate(_cut(dumped, "", short, ordered))


def _named(value: Any, key: str = "") -> Iterator[str]:
    return _strings(value, key, _NAMES)


def _said(value: Any, key: str = "") -> Iterator[str]:
    return _strings(value, key, _WORDS)


def _strings(value: Any, key: str, wanted: frozenset[str]) -> Iterator[str]:
    if isinstance(value, str):
        if key in wanted:
            yield value
    elif isinstance(value, dict):
        for inner, found in value.items():
            yield from _strings(found, inner, wanted)
    elif isinstance(value, list | tuple):
        for found in value:
            yield from _strings(found, key, wanted)


def _cut(value: Any, key: str, short: dict[str, str], ordered: list[str]) -> Any:
    if isinstance(value, str):
        if key in _NAMES:
            return short.get(value, value)
        if key in _WORDS:
            for name in ordered:
                value = value.replace(name, short[name])
            return _RUN.sub(lambda found: brief(found[0]), value)
        return value
    if isinstance(value, dict):
        return {name: _cut(found, name, short, ordered) for name, found in value.items()}
    if isinstance(value, list | tuple):
        return tuple(_cut(found, key, short, ordered) for found in value)
    return value

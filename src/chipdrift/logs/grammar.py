"""What a grammar file is made of: a source, its forms, and the facts that they yield.

A grammar file is ``sources/<name>.py`` with one :class:`Source` named ``SOURCE``; it is found by
its name alone. A form's pattern names what it finds with groups; each fact says below which groups
it reads. Where a line has no such group, a value may be fixed in the form.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from functools import cache


class Fact(Enum):
    """What a line says; the groups (or fixed values) that its form must give in brackets."""

    NOTHING = "known, and nothing that is kept"
    VERSION = "a version (version; fixed: what)"
    CHIP = "a chip (any of soc, soc_model, soc_id, arch, ro_soc_model, vtcm_mb, detected)"
    OPTION = "a setting of the run (name, value)"
    SETUP = "a session's provider is made: the chip that is named next is the next session's"
    SESSION = "a session starts: what was said before was said of another"
    READY = "the session has come to be"
    TRYING = "the provider looks at a node next: what went wrong before is not its fault (node)"
    VERDICT = "the provider's answer to a group of nodes (verdict, count, op; group)"
    MEMBER = "one node of that group (op, node)"
    REASON = "why that group was refused (reason)"
    ANSWER = "the provider's answer to one node, on one line (verdict 1 or 0, op, node)"
    REFUSED = "a refused node or op (any of node, op; reason, by)"
    REFUSED_LIST = "several, as {{ name: x, type: y }} (nodes; by)"
    PLACES = "a provider and how many nodes it has; the nodes may follow (provider, nodes)"
    PLACED = "one of these nodes (op, node)"
    ASSIGNED = "the device chosen for an op (op, provider)"
    TAKEN = "how many nodes a delegate took (provider, nodes, total, partitions)"
    FUSION = "a fusion that was applied (name)"
    TENSOR = "a tensor with its quantization (tensor, dtype, rest)"
    TIME = "a time (value, unit; name or node or op; provider)"
    EVENT = "one event of a profile, as JSON (event)"
    ERROR = "an error (text; node; fixed: stops, what it ends: session, run, or either)"
    WARNING = "a warning (text; node)"

    # Members are single objects, and Enum's own hash is written in Python.
    __hash__ = object.__hash__


@dataclass(frozen=True)
class Form:
    """One form of line.

    ``anchor`` is a literal that every such line holds: lines without any anchor are never looked
    at, so a longer one is faster. ``origin`` says where the form is known from.
    """

    fact: Fact
    anchor: bytes
    pattern: re.Pattern[bytes]
    origin: str
    fixed: Mapping[str, str] = field(default_factory=dict)


def form(fact: Fact, anchor: bytes, pattern: bytes, origin: str, **fixed: str) -> Form:
    """A form with its pattern compiled; the pattern may match anywhere in the line."""
    return Form(fact, anchor, re.compile(pattern), origin, fixed)


@dataclass(frozen=True)
class Source:
    """A program whose lines we know.

    ``tags`` are its logcat tags. ``marks`` are literals that make a line this source's wherever it
    was printed; a line with a tag or a mark that no form reads is of an unknown form, and is shown.
    ``chatter`` are literals of lines that are known and say nothing that is kept.
    """

    name: str
    title: str
    forms: tuple[Form, ...]
    tags: tuple[bytes, ...] = ()
    marks: tuple[bytes, ...] = ()
    chatter: tuple[bytes, ...] = ()


@cache
def all_sources() -> tuple[Source, ...]:
    """Every grammar file's source, by name."""
    from chipdrift.logs import sources

    names = sorted(module.name for module in pkgutil.iter_modules(sources.__path__))
    return tuple(importlib.import_module(f"{sources.__name__}.{name}").SOURCE for name in names)

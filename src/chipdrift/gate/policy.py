"""A policy: what a run must hold.

Every limit may stand in ``[default]`` and in any ``[[rule]]``; the last rule that names a cell and
sets the limit decides it.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field

from chipdrift.numerics.profiles.complaint import Place, spot_of
from chipdrift.records import Evidence, Record, Status

_Patterns = Annotated[tuple[Annotated[str, Field(min_length=1)], ...], Field(min_length=1)]
Off = Literal["off"]
"""Written in a rule to take back a limit that stands before it."""


def _percent_agreement(value: float) -> float:
    if 0 < value <= 1:
        raise ValueError(
            f"{value:g} is a share of 1 and would allow nearly everything: per cent are expected, "
            f"as in {100 * value:g}"
        )
    return value


_Number = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
_Count = Annotated[int, Field(ge=0, strict=True)]
_Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False, strict=True)]
_Agreement = Annotated[_Percent, AfterValidator(_percent_agreement)]


class Limits(Record):
    """Limits of a cell; None is not set. Units as in :class:`chipdrift.gate.records.Check`.

    ``fallback`` is the most nodes that may leave the NPU, or the ops of which none may; ``status``
    are the outcomes of a cell that are accepted; ``evidence`` is the least that is accepted, or a
    list of the kinds that are. ``judge`` and ``unproven`` say how figures with an interval decide.
    """

    drop: _Number | Off | None = None
    metric: Annotated[float, Field(allow_inf_nan=False, strict=True)] | Off | None = None
    agreement: _Agreement | Off | None = None
    agree_with: dict[str, _Agreement] | Off | None = None
    fallback: _Count | _Patterns | Off | None = None
    unexplained: _Percent | Off | None = None
    lsb: _Count | Off | None = None
    latency_ms: Annotated[_Number, Field(gt=0)] | Off | None = None
    status: Annotated[tuple[Status, ...], Field(min_length=1)] | None = None
    evidence: Evidence | Annotated[tuple[Evidence, ...], Field(min_length=1)] | Off | None = None
    min_samples: Annotated[int, Field(ge=1, strict=True)] | None = None
    judge: Literal["interval", "value"] | None = None
    unproven: Literal["fail", "warn"] | None = None


class Rule(Limits):
    """Limits of the cells whose target and scheme match any of the patterns (``*``, ``?``)."""

    targets: _Patterns = ("*",)
    schemes: _Patterns = ("*",)

    def matches(self, scheme: str, target: str) -> bool:
        """Whether a cell is meant."""
        return _any(self.schemes, scheme) and _any(self.targets, target)


class SinceLimits(Record):
    """What may have changed since the baseline."""

    drop: _Number | None = None
    new_fallback: _Count | None = None
    bits: Literal["fail", "warn", "off"] = "warn"
    missing: Literal["fail", "warn"] = "fail"
    other_model: Literal["refuse", "warn"] = "refuse"
    other_data: Literal["refuse", "warn"] = "refuse"


class Policy(Record):
    """A policy file. ``name`` is its path as it was given, ``sha256`` of its text."""

    description: str = ""
    default: Limits = Limits()
    rule: tuple[Rule, ...] = ()
    since: SinceLimits | None = None
    name: str = ""
    sha256: str = ""
    text: str = Field(default="", repr=False)

    def line(self, place: Place) -> int | None:
        """The line of what stands at ``place``, or of the nearest thing around it."""
        return _line(self.text, place)


LIMITS: tuple[str, ...] = (
    *("drop", "metric", "agreement", "agree_with", "fallback", "unexplained", "lsb", "latency_ms"),
    *("status", "evidence", "min_samples"),
)
"""What can be limited, in the order in which it is told."""
BUILT_IN = "built-in"
"""The rule of what holds where a policy says nothing."""
_STANDING: dict[str, Any] = {
    "status": ("ok",),
    "min_samples": 100,
    "judge": "interval",
    "unproven": "warn",
}


@dataclass(frozen=True)
class Setting:
    """A limit's value for one cell, where it stands ("default", "rule 2"), and on which line."""

    value: Any
    rule: str
    line: int | None


def settings(policy: Policy, scheme: str, target: str) -> dict[str, Setting]:
    """Every limit of a cell, those that are off or not set left out."""
    found = {name: Setting(value, BUILT_IN, None) for name, value in _STANDING.items()}
    for place, where, limits in parts(policy):
        if isinstance(limits, Rule) and not limits.matches(scheme, target):
            continue
        for name in Limits.model_fields:
            value = getattr(limits, name)
            if value == "off":
                found.pop(name, None)
            elif value is not None:
                found[name] = Setting(value, where, policy.line((*place, name)))
    return found


def parts(policy: Policy) -> Iterator[tuple[Place, str, Limits]]:
    """Place, name and limits of the default and of every rule, in order."""
    yield ("default",), "default", policy.default
    for index, rule in enumerate(policy.rule):
        yield ("rule", index), f"rule {index + 1}", rule


@functools.lru_cache(maxsize=4096)
def _line(text: str, place: Place) -> int | None:
    """Kept: a run of many cells asks for the same few lines, and each reads the whole file."""
    spot = spot_of("", text, place)
    return int(spot.rpartition(" ")[2]) if spot else None


def _any(patterns: Sequence[str], name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)

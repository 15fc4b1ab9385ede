"""The mechanisms by name: which rule of a profile is which, and what turning one means.

A mechanism is a group of rules that act as one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from pydantic import ValidationError

from chipdrift.numerics.profile import (
    Elementwise,
    Fusion,
    Input,
    Narrow,
    Override,
    Profile,
    Rules,
    Weights,
)
from chipdrift.numerics.smallfloat import SmallFloat
from chipdrift.records import Record

# (part of a profile, field) to the mechanism's name.
_GROUPS: dict[str, dict[str, tuple[str, ...]]] = {
    "rounding": {
        "requantize": ("rounding", "steps", "bias_rounding"),
        "elementwise": ("rounding",),
        "input": ("rounding",),
    },
    "dropped_bits": {
        "requantize": (
            "drop", "keep", "drop_rounding", "parts", "correction_drop", "bias_drop",
        ),
        "elementwise": ("zero_step", "zero_rounding", "zero_width", "guard", "parts"),
    },
    "accumulator_overflow": {
        "accumulator": (
            "width", "overflow", "operands", "stored", "order", "block", "block_width",
            "block_overflow",
        ),
    },
    "scale_precision": {
        "requantize": ("scale", "multiplier", "bits"),
        "elementwise": ("arithmetic", "bits", "scale", "leading", "fraction", "reciprocal"),
        "input": ("arithmetic",),
    },
    "bias_and_zero_point": {
        "requantize": ("bias", "zero_point"),
        "elementwise": ("zero_point",),
    },
    "function_table": {"function": ("arithmetic", "entries", "relative_error")},
    "narrowed_operand": {"narrow": ("arithmetic", "fraction", "rounding")},
    "block_scales": {"weights": ("format", "block", "collapse")},
    "fused_activation": {"fusion": ("activation",)},
    "fused_norm": {"fusion": ("batch_norm",)},
    "fused_attention": {"fusion": ("attention_softmax", "attention_scores")},
    "float16_range": {"floats": ("subnormals", "overflow")},
    "float16_order": {
        "floats": (
            "format", "products", "accumulate", "order", "block", "within", "steps", "output",
        ),
    },
}  # fmt: skip
# What stands where a profile has no such table.
_ABSENT: dict[str, Record] = {"narrow": Narrow(arithmetic="none")}

# What helps against each today, besides the CPU and what :data:`MORE_BITS` names.
FIXES: dict[str, str] = {
    "accumulator_overflow": "weights of 7 bits (reduce_range)",
    "float16_range": "scale the sums down before these nodes, or use integers",
    "float16_order": "use integers",
    "block_scales": "quantize per channel (w4a16_pc, w8a16_pc)",
    "fused_activation": "give the activation and the op before it one range",
    "fallback": "replace the op by one that the NPU takes, or accept its time on the CPU",
}
# Mechanisms whose harm 16-bit activations make smaller.
MORE_BITS = frozenset(
    {
        "rounding",
        "dropped_bits",
        "scale_precision",
        "bias_and_zero_point",
        "function_table",
        "accumulator_overflow",
    }
)


# A node in which a mechanism closes less of the difference is cleared of it: two turned rules
# change a few integers in a thousand by the order in which they are turned.
CLOSES = 0.02


@dataclass(frozen=True)
class Tables:
    """The tables of a profile as they hold for one op.

    ``rules`` is None where it does not run in integers, ``floats`` where no rules for small floats
    hold; ``halves``: it is a product of float16, for which there may be some.
    """

    rules: Rules | None
    weights: Weights
    fusion: Fusion
    floats: SmallFloat | None
    input: Input
    halves: bool = False

    @classmethod
    def of(cls, profile: Profile, rules: Rules | None = None) -> Tables:
        """A profile's own, with the rules of an op that runs in integers."""
        return cls(rules, profile.weights, profile.fusion, profile.floats, profile.input)

    def table(self, part: str) -> Record | None:
        """The table called ``part``, or one to begin with; None where it could not act."""
        if part == "floats" and self.floats is None:
            return SmallFloat() if self.halves else None
        if part not in Rules.model_fields:
            found: Record | None = getattr(self, part, None)
            return found
        if self.rules is None:
            return None
        return getattr(self.rules, part) or _ABSENT.get(part)

    def having(self, part: str, table: Record) -> Tables:
        """These tables with another one; raises ValidationError where it contradicts the rest."""
        if part in Rules.model_fields and self.rules is not None:
            return replace(self, rules=Rules(**{**dict(self.rules), part: table}))
        match table:
            case Weights():
                return replace(self, weights=table)
            case Fusion():
                return replace(self, fusion=table)
            case SmallFloat():
                return replace(self, floats=table)
        return self


@dataclass(frozen=True)
class Variation:
    """One mechanism at one strength, as a change of a profile.

    ``part`` and ``changes`` are a table of a profile and its entries.
    """

    mechanism: str
    part: str
    changes: tuple[tuple[str, Any], ...]

    @property
    def rule(self) -> str:
        """The rule that it turns, by its place in a profile."""
        return ", ".join(f"{self.part}.{name}" for name, _ in self.changes)

    def changed(self, tables: Tables) -> Record | None:
        """The table with the change; None where there is no such table, or it contradicts it."""
        table = tables.table(self.part)
        return None if table is None else altered(table, dict(self.changes))

    def apply(self, profile: Profile, tables: Tables) -> tuple[Profile, Tables] | None:
        """``profile`` with the change, and the tables as they are then.

        ``tables`` are those that hold for the op in question: the change is made to them. None
        where nothing changes, or the rules would contradict each other.
        """
        changed = self.changed(tables)
        held = tables.floats if self.part == "floats" else tables.table(self.part)
        if changed is None or changed == held:
            return None
        if self.part not in Override.model_fields:
            return profile.model_copy(update={self.part: changed}), tables
        try:
            override = Override.model_validate({self.part: changed})
            tables = tables.having(self.part, changed)
        except ValidationError:
            return None
        return profile.model_copy(update={"rule": (*profile.rule, override)}), tables


# What of ``elementwise`` has a meaning without fixed point.
_OF_ALL = frozenset({"arithmetic", "rounding", "zero_point", "reciprocal"})


def altered(table: Record, changes: dict[str, Any]) -> Record | None:
    """``table`` with ``changes``, checked anew; None where they contradict the rest of it.

    Entries that only another choice gives a meaning to fall back to their defaults with it.
    """
    fields = type(table).model_fields
    given = {name: getattr(table, name) for name in fields}
    given.update(changes)
    if "multiplier" in changes and changes["multiplier"] not in ("fixed_point", "significand"):
        given["bits"] = None
    if "multiplier" in changes and changes["multiplier"] != "significand":
        given["steps"] = "single"
    if "rounding" in changes and "steps" not in changes and "steps" in given:
        given["steps"] = "single"
    if given.get("steps") == "double":
        given.pop("rounding", None)
    if changes.get("arithmetic", "fixed_point") != "fixed_point":
        kept = {"arithmetic"} if isinstance(table, Narrow) else _OF_ALL
        if isinstance(table, Narrow | Elementwise):
            given = {name: value for name, value in given.items() if name in kept}
    if isinstance(table, SmallFloat):
        _without_order(given, changes)
    given = {name: value for name, value in given.items() if value != fields[name].default}
    try:
        return type(table)(**given)
    except ValidationError:
        return None


def _without_order(given: dict[str, Any], changes: dict[str, Any]) -> None:
    """Take out what another accumulator or order leaves without a meaning."""
    if given["accumulate"] == "exact" and "order" not in changes:
        given["order"] = "sequential"
    if given["order"] != "blocks":
        given.update({"block": None, "within": "sequential"})
    if given["accumulate"] in (16, 32) and "steps" not in changes:
        given["steps"] = "single"


def between(a: Tables, b: Tables) -> list[Variation]:
    """The mechanisms in which two ops' tables differ, each with all its rules turned to ``b``'s."""
    found = []
    if a.halves and a.floats is None and b.floats is not None:
        theirs = {name: getattr(b.floats, name) for name in type(b.floats).model_fields}
        fields = type(b.floats).model_fields
        turned = {n: v for n, v in theirs.items() if v != fields[n].default}
        turned = turned or {"accumulate": b.floats.accumulate}
        found.append(Variation("float16_order", "floats", tuple(turned.items())))
    for mechanism, parts in _GROUPS.items():
        for part, names in parts.items():
            mine, other = a.table(part), b.table(part)
            if mine is None or other is None or (part == "floats" and None in (a.floats, b.floats)):
                continue
            changes = tuple(
                (name, getattr(other, name))
                for name in names
                if getattr(mine, name) != getattr(other, name)
            )
            if changes:
                found.append(Variation(mechanism, part, changes))
    return found

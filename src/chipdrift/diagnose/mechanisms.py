"""The mechanisms by name: which rule of a profile is which, and what else each might be.

A mechanism is a group of rules that act as one. What is tried on a target whose rules are not known
is listed here too, the plain before the strange: of two that explain alike, the first is named and
the other called its rival.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from chipdrift.numerics.profile import Override, Profile, Rules
from chipdrift.numerics.rounding import Rounding
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
}  # fmt: skip

# What helps against each today, besides the CPU and what :data:`MORE_BITS` names.
FIXES: dict[str, str] = {
    "accumulator_overflow": "weights of 7 bits (reduce_range)",
    "float16": "scale the sums down before these nodes, or use integers",
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


@dataclass(frozen=True)
class Variation:
    """One mechanism at one strength, as a change of a profile.

    ``part`` and ``changes`` are a table of a profile and its entries; ``b`` says in words what
    they become.
    """

    mechanism: str
    part: str
    changes: tuple[tuple[str, Any], ...]

    @property
    def rule(self) -> str:
        """The rule that it turns, by its place in a profile."""
        return ", ".join(f"{self.part}.{name}" for name, _ in self.changes)

    @property
    def b(self) -> str:
        """What the rule becomes."""
        return ", ".join(str(value) for _, value in self.changes)

    def a(self, profile: Profile, rules: Rules | None) -> str:
        """What the rule is without it."""
        table = self.table(profile, rules)
        return ", ".join(str(getattr(table, name, None)) for name, _ in self.changes)

    def changed(self, profile: Profile, rules: Rules | None) -> Record | None:
        """The table with the change; None where there is no such table, or it contradicts it."""
        table = self.table(profile, rules)
        return None if table is None else altered(table, dict(self.changes))

    def apply(self, profile: Profile, rules: Rules | None) -> Profile | None:
        """``profile`` with the change; None where the rules would contradict each other.

        ``rules`` are those that hold for the op in question: the change is made to them.
        """
        table = self.table(profile, rules)
        changed = self.changed(profile, rules)
        if changed is None or changed == table:
            return None
        if self.part in Rules.model_fields:
            try:
                override = Override.model_validate({self.part: changed})
                made = profile.model_copy(update={"rule": (*profile.rule, override)})
                if rules is not None:
                    Rules(**{**dict(rules), self.part: changed})
            except ValidationError:
                return None
            return made
        return profile.model_copy(update={self.part: changed})

    def table(self, profile: Profile, rules: Rules | None) -> Record | None:
        """The table that is changed, as it holds for the op; None where there is none."""
        if self.part in Rules.model_fields:
            return None if rules is None else getattr(rules, self.part)
        found: Record | None = getattr(profile, self.part, None)
        return found if isinstance(found, Record) else None


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
    given = {name: value for name, value in given.items() if value != fields[name].default}
    try:
        return type(table)(**given)
    except ValidationError:
        return None


def between(a: Rules, b: Rules) -> list[Variation]:
    """The mechanisms in which two ops' rules differ, each with all its rules turned to ``b``'s."""
    found = []
    for mechanism, parts in _GROUPS.items():
        for part, names in parts.items():
            mine, theirs = getattr(a, part, None), getattr(b, part, None)
            if mine is None or theirs is None:
                continue
            changes = tuple(
                (name, getattr(theirs, name))
                for name in names
                if getattr(mine, name) != getattr(theirs, name)
            )
            if changes:
                found.append(Variation(mechanism, part, changes))
    return found


_DROPS = ("FLOOR", "HALF_UP", "MIDPOINT", "MIDPOINT_NONZERO")
# Products in a partial sum: what instructions take, and windows of convolutions.
_BLOCKS = (2, 3, 4, 5, 6, 8, 9, 12, 16, 24, 25, 27, 32, 48, 64, 128)


def catalogue(rules: Rules | None) -> Iterator[Variation]:
    """What might differ where nothing is known of B, by what the op's rules are for A."""
    if rules is None:
        yield from _inputs()
        return
    for rounding in Rounding:
        if rounding is not Rounding.STOCHASTIC:
            yield Variation("rounding", "requantize", (("rounding", rounding),))
            yield Variation("rounding", "elementwise", (("rounding", rounding),))
    yield Variation(
        "rounding", "requantize", (("multiplier", "significand"), ("bits", 31), ("steps", "double"))
    )
    for drop in range(1, 17):
        for how in _DROPS:
            yield Variation("dropped_bits", "requantize", (("drop", drop), ("drop_rounding", how)))
    for keep in range(13):
        for how in _DROPS:
            yield Variation("dropped_bits", "requantize", (("keep", keep), ("drop_rounding", how)))
    for operands in ("centred", "stored"):
        for width in (16, 24, 32):
            for overflow in ("saturate", "wrap"):
                for order in ("channels_first", "channels_last"):
                    yield Variation(
                        "accumulator_overflow",
                        "accumulator",
                        (
                            ("width", width), ("overflow", overflow), ("operands", operands),
                            ("order", order),
                        ),
                    )  # fmt: skip
    for block in _BLOCKS:
        for overflow in ("saturate", "wrap"):
            yield Variation(
                "accumulator_overflow",
                "accumulator",
                (
                    ("operands", "stored"), ("block", block), ("block_width", 16),
                    ("block_overflow", overflow),
                ),
            )  # fmt: skip
    yield Variation("scale_precision", "requantize", (("multiplier", "exact"),))
    yield Variation("scale_precision", "requantize", (("multiplier", "float32"),))
    for scale in ("exact", "float32", "float64"):
        yield Variation("scale_precision", "requantize", (("scale", scale),))
    yield Variation("scale_precision", "requantize", (("multiplier", "power_of_two"),))
    for bits in (*range(24, 3, -1), 31):
        yield Variation(
            "scale_precision", "requantize", (("multiplier", "significand"), ("bits", bits))
        )
    for bits in (*range(24, 3, -1), 31):
        yield Variation(
            "scale_precision", "requantize", (("multiplier", "fixed_point"), ("bits", bits))
        )
    yield Variation("scale_precision", "elementwise", (("arithmetic", "exact"),))
    yield Variation("scale_precision", "elementwise", (("arithmetic", "float32"),))
    for bits in (*range(16, 3, -1), 31, 24, 20):
        yield Variation(
            "scale_precision", "elementwise", (("arithmetic", "fixed_point"), ("bits", bits))
        )
    for bias in ("exact", "float32", "float32_reciprocal"):
        yield Variation("bias_and_zero_point", "requantize", (("bias", bias),))
    for place in ("output", "accumulator"):
        yield Variation("bias_and_zero_point", "requantize", (("zero_point", place),))
    for place in ("output", "inside"):
        yield Variation("bias_and_zero_point", "elementwise", (("zero_point", place),))
    for arithmetic in ("exact", "float32", "float16"):
        yield Variation("function_table", "function", (("arithmetic", arithmetic),))
    for entries in (16, 32, 64, 128, 256, 1024):
        yield Variation(
            "function_table", "function", (("arithmetic", "table"), ("entries", entries))
        )
    for collapse in ("per_channel", "per_tensor"):
        yield Variation("block_scales", "weights", (("collapse", collapse),))


def _inputs() -> Iterator[Variation]:
    """What a quantizer of real values might do."""
    for rounding in Rounding:
        if rounding is not Rounding.STOCHASTIC:
            yield Variation("rounding", "input", (("rounding", rounding),))
    for arithmetic in ("exact", "float32", "float32_reciprocal"):
        yield Variation("scale_precision", "input", (("arithmetic", arithmetic),))

"""A rule in words that say what it does, for those who never read a profile."""

from __future__ import annotations

from typing import Any

from chipdrift.diagnose.mechanisms import Variation
from chipdrift.numerics.profile import Profile, Rules


def said(variation: Variation, profile: Profile, rules: Rules | None) -> tuple[str, str]:
    """What the rule is for A, and what the variation makes of it."""
    if variation.part == "fallback":
        return "computes it in integers", "computes it in float"
    before = variation.table(profile, rules)
    after = variation.changed(profile, rules)
    words = _WORDS.get((variation.mechanism, variation.part))
    if before is None or after is None or words is None:
        return variation.a(profile, rules), variation.b
    return words(before), words(after)


def _rounding(table: Any) -> str:
    if getattr(table, "steps", "single") == "double":
        return "rounds twice (HALF_UP, then HALF_AWAY)"
    bias = getattr(table, "bias", "exact")
    after = f", the bias {table.bias_rounding}" if bias != "exact" else ""
    return f"rounds {table.rounding}{after}"


def _dropped(table: Any) -> str:
    if table.keep is None and not table.drop:
        return "drops no bits of the sum"
    kept = []
    if table.drop:
        kept.append(f"drops the lowest {table.drop} bits of the sum")
    if table.keep is not None:
        kept.append(f"keeps {table.keep} bits of the sum below the output's step")
    how = {
        "FLOOR": "cut off",
        "HALF_UP": "rounded HALF_UP",
        "MIDPOINT": "cut off, half a unit put in their place",
        "MIDPOINT_NONZERO": "cut off, half a unit put in their place but for 0",
    }[table.drop_rounding]
    return f"{' and '.join(kept)}, the rest {how}"


def _accumulator(table: Any) -> str:
    def overflow(width: int, what: str) -> str:
        if width == 64:
            return "never overflows"
        return f"{'saturates' if what == 'saturate' else 'wraps'} in {width} bits"

    whole = f"the sum {overflow(table.width, table.overflow)}"
    if not table.block:
        return whole
    number = "pairs of" if table.block == 2 else f"every {table.block}"
    part = overflow(table.block_width, table.block_overflow)
    return f"the sum of {number} products {part}, {whole}"


def _bias(table: Any) -> str:
    place = {
        "output": "adds the zero point after rounding",
        "accumulator": "adds the zero point to the accumulator",
    }[table.zero_point]
    bias = {
        "exact": "the bias as it is",
        "float32": "the bias after a trip through float32",
        "float32_reciprocal": "the bias after a product with a float32 reciprocal",
    }[table.bias]
    return f"{place}, {bias}"


def _inside(table: Any) -> str:
    inside = table.zero_point == "inside"
    return f"adds the zero point {'before' if inside else 'after'} rounding"


def _scale(table: Any) -> str:
    words = {
        "exact": "scales by the exact ratio",
        "float32": "scales by a float32",
        "fixed_point": f"scales by a fixed-point number of {table.bits} bits",
        "significand": f"scales by a significand of {table.bits} bits",
        "power_of_two": "scales by a power of two",
    }
    made = {
        "exact": "",
        "float32": ", computed in float32",
        "float32_max": ", computed in float32 for the largest channel",
        "float64": ", computed in float64",
    }[table.scale]
    return words[table.multiplier] + made


def _sum(table: Any) -> str:
    bits = "" if table.bits is None else f" of {table.bits} bits"
    return f"adds in {table.arithmetic}{bits}".replace("fixed_point", "fixed point")


def _function(table: Any) -> str:
    if table.arithmetic == "table":
        return f"looks the function up in {table.entries} entries"
    if table.arithmetic == "exact":
        return "computes the function exactly"
    return f"computes the function in {table.arithmetic}"


def _input(table: Any) -> str:
    return f"divides by the scale in {table.arithmetic}, rounds {table.rounding}"


def _weights(table: Any) -> str:
    if table.collapse is None:
        return "keeps the weights' scales as they are"
    return f"uses one scale {table.collapse.replace('per_', 'per ')} for the weights"


_WORDS = {
    ("rounding", "requantize"): _rounding,
    ("rounding", "elementwise"): _rounding,
    ("rounding", "input"): _input,
    ("scale_precision", "input"): _input,
    ("bias_and_zero_point", "requantize"): _bias,
    ("bias_and_zero_point", "elementwise"): _inside,
    ("dropped_bits", "requantize"): _dropped,
    ("accumulator_overflow", "accumulator"): _accumulator,
    ("scale_precision", "requantize"): _scale,
    ("scale_precision", "elementwise"): _sum,
    ("function_table", "function"): _function,
    ("block_scales", "weights"): _weights,
}

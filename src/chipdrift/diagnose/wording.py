"""A rule in words that say what it does, for those who never read a profile."""

from __future__ import annotations

from typing import Any

from chipdrift.diagnose.mechanisms import Tables, Variation
from chipdrift.findings import WORDS, Mechanism

# Between the bits that a target drops and what becomes of the rest.
_REST = ", and "
# What becomes of dropped bits, by ``requantize.drop_rounding``.
_ROUNDED = {
    "FLOOR": "cuts the rest off",
    "HALF_UP": "rounds a half of the rest up",
    "MIDPOINT": "puts half a unit in the place of what it drops",
    "MIDPOINT_NONZERO": "puts half a unit in the place of what it drops, unless 0 is kept",
}
_ROUNDS = {
    "HALF_EVEN": "rounds a half to even",
    "HALF_UP": "rounds a half up",
    "HALF_AWAY": "rounds a half away from zero",
    "FLOOR": "cuts off downwards",
    "TOWARD_ZERO": "cuts off towards zero",
    "STOCHASTIC": "rounds up or down by chance",
}


def said(variation: Variation, tables: Tables) -> tuple[str, str]:
    """What the rule is for A, and what the variation makes of it.

    Each is a clause that begins with its verb, or with "the sum", and holds a profile's term in
    brackets where it has one: see :func:`clause`.
    """
    if variation.part == "fallback":
        if tables.floats is not None:
            return "computes it by rules of its own", "computes it as onnxruntime's CPU does"
        return "computes it in integers", "computes it in float"
    before = tables.table(variation.part)
    after = variation.changed(tables)
    words = _WORDS.get((variation.mechanism, variation.part))
    if before is not None and after is not None and words is not None:
        spoken = words(before), words(after)
        if variation.part == "floats" and tables.floats is None:
            spoken = "sums float16 as onnxruntime's CPU does", words(after)
        if spoken[0] != spoken[1]:
            return spoken
    names = [name for name, value in variation.changes if getattr(before, name, None) != value] or [
        name for name, _ in variation.changes
    ]
    return _plainly(variation.part, names, before), _plainly(variation.part, names, after)


def clause(target: str, words: str) -> str:
    """What ``target`` does, as a clause with its verb: "on ort:cpu the sum wraps in 32 bits"."""
    return f"on {target} {words}" if words.startswith("the ") else f"{target} {words}"


def nearest(target: str, words: str) -> str:
    """The same of a rule that is near to what ``target`` does and not all of it."""
    which = "by which" if words.startswith("the ") else "that"
    return f"nearest to {target} comes a rule {which} {words}"


def share(part: float) -> str:
    """A share in percent that neither all nor nothing rounds to."""
    if 0 < part < 0.01:
        return "under 1 %"
    return "over 99 %" if 0.99 < part < 1 else f"{100 * part:.0f} %"


def titled(mechanism: Mechanism) -> str:
    """What differs, in words for a title: less general than the mechanism's name where it can."""
    a, b = mechanism.a, mechanism.b
    if mechanism.mechanism == "dropped_bits" and _REST in a and _REST in b:
        if a.partition(_REST)[0] == b.partition(_REST)[0]:
            return "low accumulator bits rounded otherwise"
        return "other low accumulator bits dropped before scaling"
    if mechanism.mechanism == "block_scales" and "collapse" not in mechanism.rule:
        return "the weights in another format"
    if mechanism.rule == "requantize.bias_rounding":
        return "another rounding of the bias"
    if mechanism.mechanism == "bias_and_zero_point" and ", " in a and ", " in b:
        if a.partition(", ")[0] == b.partition(", ")[0]:
            return "another precision of the bias"
        if a.partition(", ")[2] == b.partition(", ")[2]:
            return "the zero point added at another place"
    return WORDS[mechanism.mechanism]


def _plainly(part: str, names: list[str], table: Any) -> str:
    values = ", ".join(f"{part}.{name} = {getattr(table, name, None)}" for name in names)
    return f"has {values}"


def _named(rounding: Any) -> str:
    """A rounding as a verb, with the profile's term."""
    return f"{_ROUNDS[str(rounding)]} ({rounding})"


def _rounding(table: Any) -> str:
    if getattr(table, "steps", "single") == "double":
        return "rounds twice, a half up and then a half away from zero (HALF_UP, HALF_AWAY)"
    bias = getattr(table, "bias", "exact")
    after = f", and for the bias {_named(table.bias_rounding)}" if bias != "exact" else ""
    return f"{_named(table.rounding)}{after}"


def dropped(table: Any) -> str:
    """What a table of ``requantize`` does to the sum's low bits, from the verb on."""
    if table.keep is None and not table.drop:
        return "drops no bits of the sum"
    kept = []
    if table.drop:
        kept.append(f"drops the lowest {table.drop} bits of the sum")
    if table.keep is not None:
        kept.append(f"keeps {table.keep} bits of the sum below the output's step")
    how = _ROUNDED[table.drop_rounding]
    return f"{' and '.join(kept)}{_REST}{how} ({table.drop_rounding})"


def _zeros(table: Any) -> str:
    """What a sum in fixed point does to the zero points' share and to its own last bits."""
    if table.zero_step == 1 and table.guard is None:
        return "drops no bits of the sum"
    done = []
    if table.zero_step > 1:
        how = "cuts" if table.zero_rounding == "FLOOR" else "rounds"
        width = f" in {table.zero_width} bits" if table.zero_width else ""
        done.append(f"{how} the zero points' share to multiples of {table.zero_step}{width}")
    if table.guard is not None:
        what = "each part of the sum" if table.parts == "apart" else "the sum"
        done.append(f"rounds {what} to {table.guard} bits behind the point first")
    return " and ".join(done)


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
    return f"the sum of {number} products {part}, and {whole}"


def _bias(table: Any) -> str:
    place = {
        "output": "adds the zero point after rounding",
        "accumulator": "adds the zero point to the accumulator",
    }[table.zero_point]
    bias = {
        "exact": "takes the bias as it is",
        "float32": "takes the bias through float32",
        "float32_reciprocal": "multiplies the bias by a float32 reciprocal",
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
    if table.arithmetic == "exact":
        return "adds exactly"
    bits = "" if table.bits is None else f" of {table.bits} bits"
    return f"adds in {table.arithmetic}{bits}".replace("fixed_point", "fixed point")


def _function(table: Any) -> str:
    if table.arithmetic == "table":
        words = f"looks the function up in {table.entries} entries"
    elif table.arithmetic == "exact":
        words = "computes the function exactly"
    else:
        words = f"computes the function in {table.arithmetic}"
    error = table.relative_error
    return f"{words}, with errors of up to {100 * error:.2g} %" if error else words


def _input(table: Any) -> str:
    how = {
        "exact": "divides by the scale exactly",
        "float32": "divides by the scale in float32",
        "float32_reciprocal": "multiplies by the scale's reciprocal in float32",
    }[table.arithmetic]
    return f"{how} and {_named(table.rounding)}"


def _weights(table: Any) -> str:
    if table.collapse is None:
        return "keeps the weights' scales as they are"
    return f"uses one scale {table.collapse.replace('per_', 'per ')} for the weights"


def _collapse_or_format(table: Any) -> str:
    if table.format is None:
        return _weights(table)
    return f"keeps the weights as {table.format} in blocks of {table.block}"


def _narrow(table: Any) -> str:
    if table.arithmetic == "none":
        return "multiplies the second activation with all its 16 bits"
    how = "rounded once"
    if table.arithmetic == "fixed_point":
        how = f"by way of {table.fraction} bits behind the point ({table.rounding})"
    return f"brings the second activation to 8 bits, {how}"


def _activation(table: Any) -> str:
    if table.activation == "fused":
        return "computes the op and the activation behind it in one, with one rounding"
    return "rounds to the op's own scale before the activation, as the model writes"


def _norm(table: Any) -> str:
    if table.batch_norm == "fused":
        return "takes the batch normalization into the weights before it"
    return "computes the batch normalization by itself"


def _attention(table: Any) -> str:
    scores = (
        "keeps the scores in the accumulator up to the softmax"
        if table.attention_scores == "fused"
        else "rounds the scores where the model says"
    )
    own = table.attention_softmax
    if own is None:
        return f"{scores}, and computes the softmax as any other"
    return f"{scores}, and {_function(own).replace('the function', 'the softmax')}"


def _range(table: Any) -> str:
    low = (
        "makes what lies below the normal numbers 0"
        if table.subnormals == "flush"
        else "keeps subnormal numbers"
    )
    high = "65504" if table.overflow == "clamp" else "infinity"
    return f"{low}, and what passes the end {high}"


def _order(table: Any) -> str:
    kept = {16: table.format, 32: "float32", 64: "float64", "exact": "all bits"}[table.accumulate]
    if table.accumulate == "exact":
        words = "keeps all bits of the sum"
    else:
        order = {
            "sequential": "one after the other",
            "pairwise": "in pairs of pairs",
            "blocks": f"in blocks of {table.block}",
        }[table.order]
        words = f"adds {order} in {kept}"
    if table.products != "exact":
        words += f", each product rounded to {table.products}"
    if table.steps == "double":
        words += ", and rounds to float32 on the way"
    return f"{words} ({table.output})"


_WORDS = {
    ("narrowed_operand", "narrow"): _narrow,
    ("fused_activation", "fusion"): _activation,
    ("fused_norm", "fusion"): _norm,
    ("fused_attention", "fusion"): _attention,
    ("float16_range", "floats"): _range,
    ("float16_order", "floats"): _order,
    ("rounding", "requantize"): _rounding,
    ("rounding", "elementwise"): _rounding,
    ("rounding", "input"): _input,
    ("scale_precision", "input"): _input,
    ("bias_and_zero_point", "requantize"): _bias,
    ("bias_and_zero_point", "elementwise"): _inside,
    ("dropped_bits", "requantize"): dropped,
    ("dropped_bits", "elementwise"): _zeros,
    ("accumulator_overflow", "accumulator"): _accumulator,
    ("scale_precision", "requantize"): _scale,
    ("scale_precision", "elementwise"): _sum,
    ("function_table", "function"): _function,
    ("block_scales", "weights"): _collapse_or_format,
}

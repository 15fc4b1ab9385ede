"""What might differ where nothing is known of B: the mechanisms to try, at many strengths.

The plain stand before the strange: of two that explain alike, the first is named and the other
called its rival.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

from chipdrift.diagnose.mechanisms import Tables, Variation
from chipdrift.numerics.profile import Function
from chipdrift.numerics.rounding import Rounding

_DROPS = ("FLOOR", "HALF_UP", "MIDPOINT", "MIDPOINT_NONZERO")
# Products in a partial sum: what instructions take, and windows of convolutions.
_BLOCKS = (2, 3, 4, 5, 6, 8, 9, 12, 16, 24, 25, 27, 32, 48, 64, 128)


def catalogue(tables: Tables) -> Iterator[Variation]:
    """What might differ, by what the op's tables are for A."""
    if tables.rules is not None:
        yield from _integers()
    elif tables.floats is not None or tables.halves:
        yield from _floats(tables)
    else:
        yield from _inputs()


def _integers() -> Iterator[Variation]:
    """What an op between quantizers might do."""
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


def fusions() -> Iterator[Variation]:
    """What may be computed in one, or apart, where an op answers otherwise than alone."""
    for how in ("fused", "as_written"):
        yield Variation("fused_activation", "fusion", (("activation", how),))
    for how in ("fused", "as_written"):
        yield Variation("fused_norm", "fusion", (("batch_norm", how),))
    functions: list[Function | None] = [None]
    for arithmetic in ("float16", "float32", "exact"):
        functions.append(Function(arithmetic=arithmetic))
    functions += [Function(arithmetic="table", entries=n) for n in (16, 32, 64, 128, 256, 1024)]
    for function in functions:
        yield Variation("fused_attention", "fusion", (("attention_softmax", function),))
    for scores, function in product(("fused", "as_written"), functions[:4]):
        changes = (("attention_scores", scores), ("attention_softmax", function))
        yield Variation("fused_attention", "fusion", changes)


def narrowings() -> Iterator[Variation]:
    """What may become of a second activation of 16 bits."""
    for arithmetic in ("none", "exact"):
        yield Variation("narrowed_operand", "narrow", (("arithmetic", arithmetic),))
    for fraction, rounding in product(range(1, 17), ("UP", "HALF_UP", "FLOOR")):
        changes = (("arithmetic", "fixed_point"), ("fraction", fraction), ("rounding", rounding))
        yield Variation("narrowed_operand", "narrow", changes)


# Products of float16 that are summed before the rest is added.
_SUMMED = (2, 4, 8, 16, 32, 64, 128, 256)


def _floats(tables: Tables) -> Iterator[Variation]:
    """What a unit for small floats might do: its range, then its precision and its order."""
    if tables.floats is not None:
        for subnormals in ("flush", "keep"):
            yield Variation("float16_range", "floats", (("subnormals", subnormals),))
        for overflow in ("clamp", "infinity"):
            yield Variation("float16_range", "floats", (("overflow", overflow),))
    else:
        yield Variation("float16_order", "floats", (("accumulate", 32),))
    for rounding in Rounding:
        if rounding is not Rounding.STOCHASTIC:
            yield Variation("float16_order", "floats", (("output", rounding),))
    for steps in ("single", "double"):
        yield Variation("float16_order", "floats", (("steps", steps),))
    for products in ("exact", "float16"):
        yield Variation("float16_order", "floats", (("products", products),))
    orders: list[tuple[tuple[str, object], ...]] = [(("order", "sequential"),)]
    orders.append((("order", "pairwise"),))
    for block, within in product(_SUMMED, ("sequential", "pairwise")):
        if block > 2 or within == "sequential":
            orders.append((("order", "blocks"), ("block", block), ("within", within)))
    yield Variation("float16_order", "floats", (("accumulate", "exact"),))
    yield Variation("float16_order", "floats", (("accumulate", "exact"), ("steps", "double")))
    for accumulate in (32, 64, 16):
        yield Variation("float16_order", "floats", (("accumulate", accumulate),))
        for order in orders:
            yield Variation("float16_order", "floats", (("accumulate", accumulate), *order))
    for accumulate, order in product((64, 16), orders):
        other = ("steps", "double") if accumulate == 64 else ("products", "float16")
        yield Variation("float16_order", "floats", (("accumulate", accumulate), other, *order))

"""Dot products of float16 and bfloat16 under rules: what is rounded, when, in which order.

Every rounding is from the exact value, once. Products of two such numbers are exact in float64 (at
most 22 bits of significand). A sum of two numbers need not be: it is first rounded to odd in
float64's 53 bits, and from there to the target's p. Rounding to odd with at least p + 2 bits before
rounding to p gives the correctly rounded result (Boldo and Melquiond, "Emulation of FMA and
correctly rounded sums: proved algorithms using rounding to odd", 2008). Where the operands have no
more bits than the target, 53 >= 2p + 2 bits would do without (Figueroa 1995); with exact products
added to a narrower accumulator it would not: 7 * 37 = 259 is half way between two bfloat16, and the
1e-30 it is added to decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, model_validator

from chipdrift.numerics.rounding import Rounding, round_float
from chipdrift.records import Record

Array = np.ndarray[Any, Any]
Format = Literal["float16", "bfloat16", "float32"]
Subnormals = Literal["keep", "flush"]
Overflow = Literal["infinity", "clamp"]


class _Width(NamedTuple):
    """IEEE 754's p - 1, emin and largest finite value."""

    mantissa: int
    emin: int
    max: float


_WIDTHS = {
    "float16": _Width(10, -14, 65504.0),
    "bfloat16": _Width(7, -126, 2.0**127 * (2 - 2.0**-7)),
    "float32": _Width(23, -126, 2.0**127 * (2 - 2.0**-23)),
}


class SmallFloat(Record):
    """How a unit for small floats multiplies and adds.

    ``format``: what the inputs and the output are. ``products``: rounded to that format before
    they are added, or ``exact``. ``accumulate``: every sum is rounded to the format (16), to
    float32 (32) or to float64 (64); ``exact`` keeps all bits of the sum, as a fixed-point
    accumulator that is wide enough does, so that order does not matter (float16 alone).
    ``order``: ``sequential`` adds one product after the other to a zero; ``pairwise`` adds
    neighbours, then neighbouring sums, an odd last one moving up as it is; ``blocks`` sums each
    ``block`` consecutive products in the order ``within``, then adds the block sums
    sequentially. ``subnormals``: ``flush`` makes every input, product, sum and output below the
    smallest normal value of its format a zero of the same sign, judged after rounding.
    ``overflow``: what exceeds the largest finite value becomes infinite or, with ``clamp``,
    that value (and so does an infinity). ``steps``: an accumulator wider than float32 becomes the
    output at once or, with ``double``, a float32 first. ``output``: how an accumulator becomes the
    output; everything before is HALF_EVEN.
    """

    format: Literal["float16", "bfloat16"] = "float16"
    products: Literal["float16", "bfloat16", "exact"] = "exact"
    accumulate: Literal[16, 32, 64, "exact"] = 32
    order: Literal["sequential", "pairwise", "blocks"] = "sequential"
    block: int | None = Field(default=None, ge=2, le=65536)
    within: Literal["sequential", "pairwise"] = "sequential"
    subnormals: Subnormals = "keep"
    overflow: Overflow = "infinity"
    steps: Literal["single", "double"] = "single"
    output: Rounding = Rounding.HALF_EVEN

    @model_validator(mode="after")
    def _consistent(self) -> SmallFloat:
        if self.products not in ("exact", self.format):
            raise ValueError(
                f'products = "{self.products}" contradicts format = "{self.format}"; use '
                f'products = "{self.format}" or "exact"'
            )
        if self.accumulate == "exact" and self.format != "float16":
            raise ValueError(
                f'accumulate = "exact" contradicts format = "{self.format}", whose products reach '
                'from 2^-266 to 2^256; use accumulate = 64, or format = "float16"'
            )
        if self.accumulate == "exact" and self.order != "sequential":
            raise ValueError(
                f'order = "{self.order}" contradicts accumulate = "exact", which no order changes; '
                "remove order"
            )
        if self.order == "blocks" and self.block is None:
            raise ValueError('order = "blocks" needs block, the products per block, say block = 32')
        if self.order != "blocks" and {"block", "within"} & self.model_fields_set:
            raise ValueError(
                f'block and within contradict order = "{self.order}"; use order = "blocks", or '
                "remove them"
            )
        if self.steps == "double" and self.accumulate in (16, 32):
            raise ValueError(
                f'steps = "double" contradicts accumulate = {self.accumulate}, which is no wider '
                'than the float32 on the way; use accumulate = 64 or "exact", or remove steps'
            )
        if self.output is Rounding.STOCHASTIC:
            raise ValueError(
                "output = STOCHASTIC is not known for small floats; use HALF_EVEN, HALF_UP, "
                "HALF_AWAY, FLOOR or TOWARD_ZERO"
            )
        return self


def round_to(
    values: Array,
    fmt: Format,
    subnormals: Subnormals = "keep",
    overflow: Overflow = "infinity",
    rounding: Rounding = Rounding.HALF_EVEN,
) -> Array:
    """``values`` (float64, any shape) rounded once to ``fmt``: float64 holding its values.

    Formula: with ``e = max(floor(log2|x|), emin)``, ``round(x / 2^(e - p + 1)) * 2^(e - p + 1)``
    (IEEE 754-2019, 4.3). Past the largest finite value: infinite, or that value with ``clamp``,
    which limits infinities, too. TOWARD_ZERO, and FLOOR above zero, stop at the largest finite
    value in any case. ``flush``: below the smallest normal value after rounding, a zero with the
    sign. NaN stays.
    """
    width = _WIDTHS[fmt]
    x = np.asarray(values, np.float64)
    finite = np.isfinite(x)
    safe = np.where(finite, x, 0.0)
    step = np.maximum(np.frexp(safe)[1] - 1, width.emin) - width.mantissa
    # Both scalings are exact: the quotient has a p-bit integer part and float64's 53 bits, and the
    # product is a value of the format, or the power of two above its largest.
    out = np.ldexp(round_float(np.ldexp(safe, -step), rounding), step)
    over = np.abs(out) > width.max
    limit = np.copysign(width.max if overflow == "clamp" else np.inf, x)
    if rounding in (Rounding.TOWARD_ZERO, Rounding.FLOOR):
        stays = (x > 0) | (rounding is Rounding.TOWARD_ZERO)
        limit = np.where(stays, np.copysign(width.max, x), limit)
    out = np.where(over, limit, out)
    if subnormals == "flush":
        out = np.where(np.abs(out) < 2.0**width.emin, np.copysign(0.0, out), out)
    infinite = np.copysign(width.max, x) if overflow == "clamp" else x
    return np.where(finite, out, np.where(np.isnan(x), x, infinite))


def dot(
    a: Array,
    b: Array,
    rules: SmallFloat,
    bias: Array | None = None,
    sums: Callable[[Array, Array], Array] | None = None,
) -> Array:
    """``a`` (M, K) times ``b`` (K, N) under ``rules``: float32 (M, N) holding the format's values.

    Inputs are first rounded to the format, HALF_EVEN. Formula, sequential: ``s = 0``, then for each
    k ``s = round(s + round(a[:, k] * b[k]))``, the inner rounding only where products are rounded;
    the output is s rounded to the format. ``bias`` (N,), rounded to the format like any input, is
    added to the accumulator at the end. K = 0 gives zeros. An infinity times 0, and the sum of
    opposite infinities, are NaN. ``sums`` adds the products of the rounded inputs in the place of
    the functions here, as they do. ``ValueError`` where shapes do not fit.
    """
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise ValueError(f"dot takes (M, K) and (K, N), found {a.shape} and {b.shape}")
    with np.errstate(invalid="ignore", over="ignore"):
        total = _Unit(rules, a, b, sums).total(bias)
        if rules.steps == "double":
            total = round_to(total, "float32", rules.subnormals, rules.overflow)
        out = round_to(total, rules.format, rules.subnormals, rules.overflow, rules.output)
    return out.astype(np.float32)


class _Unit:
    """The multiplier and the adder that ``rules`` describe, on float64 arrays of shape (M, N)."""

    def __init__(
        self,
        rules: SmallFloat,
        a: Array,
        b: Array,
        sums: Callable[[Array, Array], Array] | None,
    ) -> None:
        self._rules, self._sums = rules, sums
        self._wide: Format = rules.format if rules.accumulate == 16 else "float32"
        # The sum of a float16 product (22 bits) and a float32 is rounded correctly by way of
        # float64 (53 >= 2 * 24 + 2), and no float32 sum of such products is subnormal or overflows.
        self._plain32 = rules.accumulate == 32 and rules.format == "float16"
        self._a = self._round(a, rules.format)
        self._b = self._round(b, rules.format)

    def total(self, bias: Array | None) -> Array:
        """The accumulator in the end, in its own format."""
        rules, count = self._rules, self._a.shape[1]
        last = None if bias is None else self._round(bias.reshape(1, -1), rules.format)
        if rules.accumulate == "exact":
            return self._exact([*self._products(0, count), *([] if last is None else [last])])
        if self._sums is not None:
            total = self._sums(self._a, self._b)
        elif rules.order == "sequential":
            total = self._sequential(self._products(0, count))
        elif rules.order == "pairwise":
            total = self._pairwise(self._products(0, count))
        else:
            assert rules.block is not None
            inside = self._pairwise if rules.within == "pairwise" else self._sequential
            starts = range(0, count, rules.block)
            total = self._sequential(
                inside(self._products(i, min(i + rules.block, count))) for i in starts
            )
        return total if last is None else self._add(total, last)

    def _exact(self, terms: Iterable[Array]) -> Array:
        """The sum of float16 products, all bits of it, rounded to odd in float64.

        A product is a multiple of 2^-48 below 2^32. What it has above 2^-8 and the rest are summed
        apart, 40 bits each: exact up to 8192 of the largest products, and the rest is carried.
        """
        shape = (self._a.shape[0], self._b.shape[1])
        high, low = np.zeros(shape), np.zeros(shape)
        for index, term in enumerate(terms):
            coarse = _coarse(term)
            high, low = high + coarse, low + np.where(np.isfinite(term), term - coarse, 0.0)
            if index % 4096 == 4095:
                carry = _coarse(low)
                high, low = high + carry, low - carry
        return _sum_to_odd(high, low)

    def _products(self, start: int, stop: int) -> Iterator[Array]:
        for k in range(start, stop):
            # Exact in float64: 22 bits at most, and exponents from -266 to 256.
            exact = self._a[:, k, None] * self._b[None, k, :]
            rounded = self._rules.products != "exact"
            yield self._round(exact, self._rules.format) if rounded else exact

    def _sequential(self, terms: Iterable[Array]) -> Array:
        total = np.zeros((self._a.shape[0], self._b.shape[1]))
        for term in terms:
            total = self._add(total, term)
        return total

    def _pairwise(self, terms: Iterable[Array]) -> Array:
        # Sums wait for a neighbour of their height, so that log2(K) of them are held at a time.
        waiting: list[tuple[int, Array]] = []
        for term in terms:
            height = 0
            while waiting and waiting[-1][0] == height:
                term = self._add(waiting.pop()[1], term)
                height += 1
            waiting.append((height, term))
        if len(waiting) == 1 and waiting[0][0] == 0:
            # A single product has met no adder yet: it is rounded as a sum with zero is.
            return self._sequential([waiting[0][1]])
        total = waiting.pop()[1] if waiting else self._sequential([])
        while waiting:
            total = self._add(waiting.pop()[1], total)
        return total

    def _add(self, x: Array, y: Array) -> Array:
        if self._rules.accumulate == 64:
            return x + y
        if self._plain32:
            return (x + y).astype(np.float32).astype(np.float64)
        return self._round(_sum_to_odd(x, y), self._wide)

    def _round(self, values: Array, fmt: Format) -> Array:
        if fmt == "float16":  # NumPy's conversion from float64 is one rounding, too, and faster
            out: Array = np.asarray(values, np.float64).astype(np.float16).astype(np.float64)
            if self._rules.overflow == "clamp":
                out = np.clip(out, -_WIDTHS[fmt].max, _WIDTHS[fmt].max)
            if self._rules.subnormals == "flush":
                tiny = np.abs(out) < 2.0 ** _WIDTHS[fmt].emin
                out = np.where(tiny, np.copysign(0.0, out), out)
            return out
        return round_to(values, fmt, self._rules.subnormals, self._rules.overflow)


def _coarse(values: Array) -> Array:
    """``values`` cut to multiples of 2^-8."""
    return np.ldexp(np.trunc(np.ldexp(values, 8)), -8)


def _sum_to_odd(x: Array, y: Array) -> Array:
    """``x + y`` in float64: exact, or the neighbour of the exact sum whose last bit is 1."""
    total = x + y
    # Knuth's TwoSum: total + error is the exact sum.
    shadow = total - x
    error = (x - (total - shadow)) + (y - shadow)
    inexact = np.isfinite(total) & (error != 0)
    if not inexact.any():  # NaN compares unequal to 0, hence the test for finite totals
        return total
    even = (np.ascontiguousarray(total).view(np.int64) & 1) == 0
    odd = np.nextafter(total, np.where(error > 0, np.inf, -np.inf))
    return np.where(inexact & even, odd, total)

"""Predict many candidates' outputs fast enough to try tens of thousands of them.

The same formulas as :mod:`chipdrift.numerics.requantize` in extended precision, on all channels at
once; what a search finds is confirmed by the reference.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from chipdrift.numerics.profile import PLAIN, Accumulator, Requantize
from chipdrift.numerics.requantize import (
    Channel,
    channels,
    floor_log2,
    represent,
    requantize,
    scaled,
    scales,
    significand,
)
from chipdrift.numerics.rounding import Rounding

Array = np.ndarray[Any, Any]
_Wide = np.longdouble
# Closer to a half than this, relatively, and it is one: no products of scales and sums are so near.
_ALMOST = 2.0**-60


@dataclass(frozen=True, eq=False)
class Evidence:
    """One setting's answers: ``products`` and ``answer`` are (rows, channels) int64.

    ``correction`` (channels,) is what the zero points take off; ``bias`` (channels,) or None; the
    scales are float32, ``w_scale`` () or (channels,). ``low`` and ``high`` are the clamp.
    """

    words: str
    products: Array
    correction: Array
    bias: Array | None
    x_scale: Array
    w_scale: Array
    y_scale: Array
    zero_point: int
    low: int
    high: int
    answer: Array
    accumulator: Accumulator = PLAIN

    def confirmed(self, rules: Requantize) -> int:
        """How many outputs the reference gets right under ``rules``."""
        factors = scales(self.x_scale, self.w_scale, self.y_scale, rules.scale)
        constants = channels(factors, self.bias, self.x_scale, self.w_scale, self.zero_point, rules)
        made = requantize(
            self.products, self.correction, constants, self.zero_point, self.low, self.high,
            self.accumulator, rules,
        )  # fmt: skip
        return int((made == self.answer).sum())


class Pool:
    """Outputs of many settings, flattened, that are not at the clamp.

    An output at the clamp says little; those are left to the confirmation (unless ``everything`` is
    asked for).
    """

    def __init__(
        self,
        evidence: Sequence[Evidence],
        limit: int | None = None,
        seed: int = 0,
        everything: bool = False,
    ) -> None:
        self.evidence = tuple(evidence)
        rng = np.random.default_rng(seed)
        products, correction, channel, answer, zero, bounds = [], [], [], [], [], []
        start = 0
        per = None if limit is None else max(8, limit // max(1, len(evidence)))
        for entry in evidence:
            inside = (entry.answer > entry.low) & (entry.answer < entry.high) | everything
            rows, columns = np.nonzero(inside)
            if per is not None and rows.size > per:
                pick = rng.choice(rows.size, per, replace=False)
                rows, columns = rows[pick], columns[pick]
            products.append(entry.products[rows, columns])
            correction.append(np.broadcast_to(entry.correction, entry.answer.shape)[rows, columns])
            channel.append(start + columns)
            answer.append(entry.answer[rows, columns])
            zero.append(np.full(rows.size, entry.zero_point))
            bounds.append(np.tile([entry.low, entry.high], (rows.size, 1)))
            start += entry.answer.shape[1]
        self.products, self.correction = np.concatenate(products), np.concatenate(correction)
        self.channel, self.answer = np.concatenate(channel), np.concatenate(answer)
        self.zero, self.size = np.concatenate(zero), sum(map(len, products))
        self.low, self.high = np.concatenate(bounds).T
        self._cache: dict[Any, Any] = {}

    def score(self, rules: Requantize) -> int:
        """How many of the pool's outputs ``rules`` explain."""
        return int((self.predict(rules) == self.answer).sum())

    def at(self, products: Array) -> Pool:
        """The same points with other sums, (size,) int64."""
        other = copy.copy(self)
        other.products = products
        other._cache = {k: v for k, v in self._cache.items() if not str(k).startswith("last")}
        return other

    def predict(self, rules: Requantize) -> Array:
        """The outputs under ``rules``, int64, clamped."""
        kept = self._kept(rules)
        if rules.steps == "double":
            out = self._double(kept, rules)
        else:
            out = _round(self._product(kept, rules), rules.rounding)
        outer = 0 if rules.zero_point == "accumulator" else self.zero
        return np.clip(out.astype(np.int64) + outer, self.low, self.high)

    def _constants(self, rules: Requantize) -> list[list[Channel]]:
        key = ("constants", rules.scale, rules.bias, rules.bias_rounding, rules.zero_point)
        if key not in self._cache:
            self._cache[key] = [
                _spread(
                    channels(
                        scales(e.x_scale, e.w_scale, e.y_scale, rules.scale),
                        e.bias,
                        e.x_scale,
                        e.w_scale,
                        e.zero_point,
                        rules,
                    ),
                    e.answer.shape[1],
                )
                for e in self.evidence
            ]
        return list(self._cache[key])

    def _per_channel(self, key: Any, rules: Requantize, function: Any, dtype: Any) -> Array:
        """``function(channel)`` for every point; the channels' are kept under ``key``."""
        if key not in self._cache:
            values = [function(c) for group in self._constants(rules) for c in group]
            self._cache[key] = np.array(values, dtype)
        found: Array = self._cache[key][self.channel]
        return found

    def _more(self, rules: Requantize) -> Array:
        """Bits that ``keep`` asks to drop beyond ``drop``, per point; negative where too few."""
        if rules.keep is None:
            return np.zeros(self.size, np.int64)
        held = rules.bits if rules.multiplier == "significand" else None
        exponents = self._per_channel(
            ("exponent", rules.scale, held),
            rules,
            lambda c: floor_log2(_held(c.factor, held)),
            np.int64,
        )
        return -(exponents + 1) - rules.keep - rules.drop

    def _kept(self, rules: Requantize) -> Array:
        key = (
            "kept", rules.scale, rules.bias, rules.bias_rounding, rules.zero_point, rules.drop,
            rules.keep, rules.bits if rules.multiplier == "significand" and rules.keep is not None
            else None, rules.drop_rounding == "HALF_UP", rules.parts, rules.correction_drop,
            rules.bias_drop,
        )  # fmt: skip
        if self._cache.get("last") == key:
            found: Array = self._cache["last kept"]
            return found
        addend = self._per_channel(
            ("addend", rules.scale, rules.bias, rules.bias_rounding, rules.zero_point),
            rules,
            lambda c: c.addend,
            np.int64,
        )
        up = rules.drop_rounding == "HALF_UP"
        if rules.parts == "apart":
            kept = (
                (self.products >> rules.drop)
                - _cut(self.correction, rules.drop, rules.correction_drop)
                + _cut(addend, rules.drop, rules.bias_drop)
            )
        else:
            kept = self.products - self.correction + addend
            kept = _cut(kept, rules.drop, "HALF_UP" if up else "FLOOR")
        more = np.maximum(self._more(rules), 0)
        kept = (kept + ((np.int64(1) << more) >> 1)) >> more if up else kept >> more
        self._cache["last"], self._cache["last kept"] = key, kept
        return kept

    def _product(self, kept: Array, rules: Requantize) -> Array:
        more = self._more(rules)
        unit = rules.drop + np.maximum(more, 0)
        wide = kept.astype(_Wide)
        if rules.drop_rounding.startswith("MIDPOINT") and (rules.drop or rules.keep is not None):
            half = np.ldexp(_Wide(1), (np.minimum(more, 0) - 1).astype(np.int32))
            skip = (kept == 0) & (rules.drop_rounding == "MIDPOINT_NONZERO")
            wide = wide + np.where(skip, _Wide(0), half)
        if rules.multiplier == "float32":
            factor = self._factor(rules)
            scaled = np.ldexp(factor, unit.astype(np.int32)).astype(np.float32)
            product: Array = wide.astype(np.float32) * scaled
            return product
        if rules.multiplier == "fixed_point":
            scaled = np.ldexp(self._factor(rules), (unit + (rules.bits or 0)).astype(np.int32))
            held = np.floor(scaled + _Wide(0.5))
            fixed: Array = wide * np.ldexp(held, -(rules.bits or 0))
            return fixed
        held = self._per_channel(
            ("held", rules.scale, rules.multiplier, rules.bits),
            rules,
            lambda c: _long(represent(c.factor, rules)),
            _Wide,
        )
        exact: Array = wide * np.ldexp(held, unit.astype(np.int32))
        if rules.scale == "exact" and rules.multiplier == "exact":
            # A ratio such as 1/6 is no sum of powers of two, but its products can be halves.
            halves = np.rint(2 * exact) / 2
            exact = np.where(np.abs(exact - halves) <= _ALMOST * np.abs(exact), halves, exact)
        return exact

    def _factor(self, rules: Requantize) -> Array:
        return self._per_channel(("factor", rules.scale), rules, lambda c: _long(c.factor), _Wide)

    def _double(self, kept: Array, rules: Requantize) -> Array:
        bits = rules.bits or 0
        m, e = (
            self._per_channel(
                ("double", rules.scale, bits, part),
                rules,
                lambda c, part=part: significand(c.factor, bits)[part],
                np.int64,
            )
            for part in (0, 1)
        )
        e = e + bits + rules.drop + np.maximum(self._more(rules), 0)
        wide = np.ldexp(kept.astype(_Wide) * m.astype(_Wide), np.maximum(e, 0).astype(np.int32))
        high = np.floor(np.ldexp(wide, -bits) + _Wide(0.5))
        return _round(np.ldexp(high, np.minimum(e, 0).astype(np.int32)), Rounding.HALF_AWAY)


def looks_stochastic(evidence: Sequence[Evidence]) -> bool:
    """Whether outputs are rounded up as often as their fractions ask for, and by nothing else.

    Fractions in the lower, middle and upper third must be rounded up at about their own rate: no
    rounding that depends on the number alone does that.
    """
    fractions, ups = [], []
    for entry in evidence:
        factors = scales(entry.x_scale, entry.w_scale, entry.y_scale, "exact")
        real = entry.products - entry.correction + (0 if entry.bias is None else entry.bias)
        value = real * np.array([float(f) for f in factors]) + entry.zero_point
        inside = (entry.answer > entry.low) & (entry.answer < entry.high)
        fractions.append((value - np.floor(value))[inside])
        ups.append((entry.answer - np.floor(value))[inside])
    fraction, up = np.concatenate(fractions), np.concatenate(ups)
    if fraction.size < 100 or ((up != 0) & (up != 1)).mean() > 0.005:
        return False
    for low, high in ((0.1, 0.4), (0.4, 0.6), (0.6, 0.9)):
        part = (fraction > low) & (fraction < high)
        rate, expected = up[part].mean(), fraction[part].mean()
        if abs(rate - expected) > 5 * np.sqrt(0.25 / max(1, part.sum())):
            return False
    return True


def _spread(constants: list[Channel], count: int) -> list[Channel]:
    return constants if len(constants) == count else constants * count


@functools.cache
def _held(factor: Fraction, bits: int | None) -> Fraction:
    if bits is None:
        return factor
    return scaled(*significand(factor, bits))


def _long(value: Fraction) -> np.longdouble:
    """To 64 bits: what an integer of up to 64 bits and a power of two can hold is exact."""
    m, e = significand(value, 64)
    return np.longdouble(np.ldexp(np.longdouble(np.uint64(m)), e))


def _cut(values: Array, bits: int, rounding: str) -> Array:
    if bits == 0:
        return values
    if rounding == "HALF_UP":
        return (values + (1 << (bits - 1))) >> bits
    if rounding == "TOWARD_ZERO":
        return np.where(values < 0, -((-values) >> bits), values >> bits)
    return values >> bits


def _round(values: Array, rounding: Rounding) -> Array:
    match rounding:
        case Rounding.HALF_EVEN:
            return np.rint(values)
        case Rounding.FLOOR:
            return np.floor(values)
        case Rounding.TOWARD_ZERO:
            return np.trunc(values)
    low = np.floor(values)
    fraction = values - low
    up: Array = fraction >= 0.5
    if rounding is Rounding.HALF_AWAY:
        up = (fraction > 0.5) | ((fraction == 0.5) & (values >= 0))
    return np.asarray(low + up)

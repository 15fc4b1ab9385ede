"""The rules of requantization as a few integers per channel, and the loop that applies them.

The constants come from the reference's own functions (N20 to N29); here they are only brought into
one form, and shown to fit the loop's integers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from fractions import Fraction

import numpy as np

from chipdrift.numerics.fast import loops
from chipdrift.numerics.products import clamp_limits
from chipdrift.numerics.profile import Requantize
from chipdrift.numerics.requantize import Channel, kept_bits, represent, requantize, significand
from chipdrift.numerics.rounding import Rounding, divide
from chipdrift.numerics.tensors import Array, OpSpec

# Accumulators (R, C) in, output integers (R, C) written; both contiguous.
Finish = Callable[[Array, Array], None]

_LENGTH = 512  # of the vectors of constants, at least
_MODES = {
    Rounding.HALF_EVEN: loops.HALF_EVEN,
    Rounding.HALF_UP: loops.HALF_UP,
    Rounding.HALF_AWAY: loops.HALF_AWAY,
    Rounding.FLOOR: loops.FLOOR,
    Rounding.TOWARD_ZERO: loops.TOWARD_ZERO,
}
# The fields that this module knows; a rule that is not among them is left to the reference.
_KNOWN = frozenset({
    "scale", "multiplier", "bits", "steps", "rounding", "bias", "bias_rounding", "zero_point",
    "drop", "keep", "parts", "drop_rounding", "correction_drop", "bias_drop",
})  # fmt: skip


@dataclass
class _Steps:
    """What ``loops.wide_steps`` does to one channel, in its order."""

    offset: int
    least: int
    most: int
    pre: int
    drop: int
    mid: int
    more: int
    m: int = 0
    bump: int = 0
    first: int = 0
    first_shift: int = 0
    half: int = 0
    negative: int = 0
    shift: int = 0


_FIELDS = tuple(field.name for field in fields(_Steps))


@dataclass(frozen=True, eq=False)
class Sums:
    """What is known of the sums before they are computed, per output channel (C,), int64.

    ``offset`` makes what the kernel summed the sum of products as the rules have it; ``correction``
    is taken off that (N11). ``low`` and ``high`` bound the accumulator that is requantized: sum -
    correction + addend, or the bare sum where its parts are dropped apart. It lies within the
    accumulator's width: nothing wraps or saturates any more.
    """

    offset: Array
    correction: Array
    low: Array
    high: Array


def compile_finish(spec: OpSpec, channels: list[Channel], sums: Sums) -> Finish | None:
    """What turns sums into output integers, or None where the reference must do it.

    It takes int32 sums where they are exact, else int64.
    """
    rules = spec.rules.requantize
    if rules.rounding not in _MODES or not set(type(rules).model_fields) <= _KNOWN:
        return None
    steps = [_dropping(channel, c, sums, rules) for c, channel in enumerate(channels)]
    if rules.multiplier == "float32":
        return _in_float32(spec, channels, steps)
    whole = [replace(s) for s in steps]
    if _multiply(spec, channels, whole):
        return _in_integers(spec, whole, sums)
    return _in_float64(spec, sums, channels, steps)


def _dropping(channel: Channel, c: int, sums: Sums, rules: Requantize) -> _Steps:
    """The part before the multiplication (N26, N29)."""
    correction, half_up = int(sums.correction[c]), rules.drop_rounding == "HALF_UP"
    more = max(0, kept_bits(channel.factor, rules))
    low, high, offset = int(sums.low[c]), int(sums.high[c]), int(sums.offset[c])
    steps = _Steps(offset, low, high, pre=0, drop=rules.drop, mid=0, more=more)
    unit = 1 << rules.drop
    if rules.parts == "apart":
        steps.mid = _whole(channel.addend, unit, rules.bias_drop)
        steps.mid -= _whole(correction, unit, rules.correction_drop)
    else:
        steps.offset += channel.addend - correction
        steps.pre = unit >> 1 if half_up else 0
    steps.mid += (1 << more) >> 1 if half_up else 0
    return steps


def _whole(value: int, unit: int, rounding: str) -> int:
    return int(divide(np.asarray([value]), unit, Rounding(rounding))[0])


def _half(factor: Fraction, rules: Requantize) -> Fraction:
    """What MIDPOINT adds, in units of what is kept."""
    if rules.drop_rounding.startswith("MIDPOINT") and (rules.drop or rules.keep is not None):
        return Fraction(2) ** (min(0, kept_bits(factor, rules)) - 1)
    return Fraction(0)


def _multiply(spec: OpSpec, channels: list[Channel], steps: list[_Steps]) -> bool:
    """Fill in the part from the multiplication on; False where 63 bits are too few for it."""
    rules = spec.rules.requantize
    low, high = clamp_limits(spec)
    outer = _outer(spec)
    for channel, s in zip(channels, steps, strict=True):
        factor = channel.factor * Fraction(2) ** (s.drop + s.more)
        if rules.steps == "double":
            bits = rules.bits or 0
            s.m, e = significand(factor, bits)
            e += bits
            s.m <<= max(e, 0)
            s.first, s.first_shift, s.shift = 1 << bits >> 1, bits, max(-e, 0)
            s.half = 1 << s.shift >> 1
            s.negative = -1 if s.shift else 0
        else:
            multiplier, half = represent(factor, rules), _half(channel.factor, rules)
            below = multiplier.denominator * half.denominator
            if below & (below - 1):
                return False
            s.m = multiplier.numerator * half.denominator
            s.bump = multiplier.numerator * half.numerator
            s.shift = below.bit_length() - 1
            _last(s, rules.rounding)
        _narrow_down(s, low - outer, high - outer)
        if not _fits(s, 62):
            return False
    return True


def _last(s: _Steps, rounding: Rounding) -> None:
    """The constants of the last shift."""
    half = 1 << s.shift >> 1
    if rounding is Rounding.HALF_EVEN:
        s.half = half - 1 if s.shift else 0
    elif rounding in (Rounding.HALF_UP, Rounding.HALF_AWAY):
        s.half = half
        s.negative = -1 if rounding is Rounding.HALF_AWAY and s.shift else 0
    elif rounding is Rounding.TOWARD_ZERO:
        s.negative = (1 << s.shift) - 1


def _narrow_down(s: _Steps, low: int, high: int) -> None:
    """Clamp the accumulator to where the answer is not clamped anyway: every step is monotone.

    Two units beyond the ends there is no rounding that could bring the answer back.
    """
    if s.m <= 0:
        return
    bits = s.shift + s.first_shift

    def accumulator(kept: int) -> int:
        return (((kept << s.more) - s.mid) << s.drop) - s.pre

    most = accumulator((((high + 2) << bits) + abs(s.bump)) // s.m + 2)
    least = accumulator((((low - 2) << bits) - abs(s.bump)) // s.m - 2)
    s.least, s.most = min(max(s.least, least), s.most), max(min(s.most, most), s.least)


def _fits(s: _Steps, bits: int) -> bool:
    """Whether every intermediate result is below ``2**bits`` in magnitude."""
    limit = 1 << bits
    reach = max(abs(s.least), abs(s.most))
    kept = (((reach + abs(s.pre)) >> s.drop) + 1 + abs(s.mid) >> s.more) + 1
    p = kept * abs(s.m) + abs(s.bump) + s.first + s.half + abs(s.negative) + 2
    before = reach + abs(s.pre) + abs(s.mid)
    return before < limit and p < limit and max(s.shift, s.first_shift, s.drop, s.more) < bits


def _outer(spec: OpSpec) -> int:
    inside = spec.rules.requantize.zero_point == "accumulator"
    return 0 if inside else int(spec.output.zero_point)


def _tiled(values: list[int] | list[float], dtype: type) -> Array:
    """A constant per channel, repeated to a length that pays for the loop's start."""
    times = -(-_LENGTH // len(values))
    return np.tile(np.asarray(values, dtype), times)


def _as_stored(out: Array) -> Array:
    """``out`` flat and unsigned: two's complement has the same bits, and the loops fewer types."""
    return out.reshape(-1).view(np.uint8 if out.itemsize == 1 else np.uint16)


def _in_integers(spec: OpSpec, steps: list[_Steps], sums: Sums) -> Finish:
    rules = spec.rules.requantize
    low, high = clamp_limits(spec)
    outer = _outer(spec)
    even = int(rules.steps == "single" and rules.rounding is Rounding.HALF_EVEN)
    if even:  # it looks at the last quotient's lowest bit, so there must be a bit below it
        for s in steps:
            if s.shift == 0:
                s.m, s.bump, s.shift = 2 * s.m, 2 * s.bump, 1
    nonzero = int(rules.drop_rounding == "MIDPOINT_NONZERO")
    wide = np.stack([_tiled([getattr(s, name) for s in steps], np.int64) for name in _FIELDS])

    def in_64_bits(acc: Array, out: Array) -> None:
        flat = acc.reshape(-1)
        loops.wide_steps(flat, wide, even, nonzero, outer, low, high, _as_stored(out))

    merged = [m for m in (_merged(s, even) for s in steps) if m is not None and _fits(m, 31)]
    reach = max(int(sums.high.max()), -int(sums.low.min())) + max(abs(s.pre) for s in steps)
    if nonzero or len(merged) < len(steps) or reach >= 2**31:
        return in_64_bits
    narrow = np.stack(
        [
            _tiled([getattr(m, name) for m in merged], np.int64).astype(np.int32)
            for name in ("offset", "least", "most", "drop", "m", "half", "negative", "shift")
        ]
    )

    def in_32_bits(acc: Array, out: Array) -> None:
        if acc.dtype != np.int32:
            in_64_bits(acc, out)
            return
        loops.narrow_steps(acc.reshape(-1), narrow, even, outer, low, high, _as_stored(out))

    return in_32_bits


def _merged(s: _Steps, even: int) -> _Steps | None:
    """The same steps with one shift before the multiplication and one sum after it."""
    if s.first_shift:
        return None
    if s.drop == 0:
        pre, drop, bump = s.pre + s.mid, s.more, s.bump
    elif s.more == 0:
        pre, drop, bump = s.pre, s.drop, s.bump + s.mid * s.m
    else:
        return None
    # Rounding that looks at the sign or the lowest bit of p needs p itself, bump included.
    if bump and (s.negative or even):
        return None
    return _Steps(
        offset=s.offset + pre, least=s.least + pre, most=s.most + pre, pre=0, drop=drop, mid=0,
        more=0, m=s.m, half=s.half + bump, negative=s.negative, shift=s.shift,
    )  # fmt: skip


def _dropped(steps: list[_Steps]) -> Array:
    names = ("offset", "pre", "drop", "mid", "more")
    return np.stack([_tiled([getattr(s, name) for s in steps], np.int64) for name in names])


def _multipliers(spec: OpSpec, channels: list[Channel], steps: list[_Steps]) -> list[Fraction]:
    rules = spec.rules.requantize
    units = [Fraction(2) ** (s.drop + s.more) for s in steps]
    return [represent(c.factor * u, rules) for c, u in zip(channels, units, strict=True)]


def _reach(steps: list[_Steps]) -> int:
    return max(
        max(abs(s.least), abs(s.most)) + abs(s.pre) + (abs(s.mid) << s.drop) + 1 for s in steps
    )


def _in_float32(spec: OpSpec, channels: list[Channel], steps: list[_Steps]) -> Finish | None:
    rules, outer = spec.rules.requantize, _outer(spec)
    limits = np.asarray(clamp_limits(spec), np.float32) - np.float32(outer)
    multipliers = [float(m) for m in _multipliers(spec, channels, steps)]
    scale, halves = _tiled(multipliers, np.float32), _halves(channels, rules)
    reach = _reach(steps)
    if reach >= 2**52 or reach * float(scale.max()) >= 2.0**60:
        return None
    vectors = _dropped(steps)
    plain = reach < 2**31 and not vectors[1:].any() and not halves.any()
    mode, nonzero = _MODES[rules.rounding], int(rules.drop_rounding == "MIDPOINT_NONZERO")
    offset = vectors[0].astype(np.int32)

    def finish(acc: Array, out: Array) -> None:
        flat, stored = acc.reshape(-1), _as_stored(out)
        if plain and mode == loops.HALF_EVEN and acc.dtype == np.int32:
            loops.float_even(flat, offset, scale, limits, outer, stored)
        else:
            loops.float_steps(flat, vectors, halves, scale, limits, mode, nonzero, outer, stored)

    return finish


def _halves(channels: list[Channel], rules: Requantize) -> Array:
    return _tiled([float(_half(c.factor, rules)) for c in channels], np.float64)


def _in_float64(
    spec: OpSpec, sums: Sums, channels: list[Channel], steps: list[_Steps]
) -> Finish | None:
    """The exact rational: float64 where it decides, the reference function where it is too near."""
    rules, outer = spec.rules.requantize, _outer(spec)
    if rules.steps == "double" or _reach(steps) >= 2**51:
        return None
    limits = np.asarray(clamp_limits(spec), np.float64) - outer
    multipliers = [float(m) for m in _multipliers(spec, channels, steps)]
    if min(multipliers) < 1e-300 or max(multipliers) > 1e300:
        return None
    scale, halves, vectors = (
        _tiled(multipliers, np.float64),
        _halves(channels, rules),
        _dropped(steps),
    )
    mode, nonzero = _MODES[rules.rounding], int(rules.drop_rounding == "MIDPOINT_NONZERO")
    count = sums.correction.size
    accumulator = spec.rules.accumulator
    low, high = clamp_limits(spec)
    zero = int(spec.output.zero_point)
    doubtful = np.empty(4096, np.int64)

    def finish(acc: Array, out: Array) -> None:
        flat, stored = acc.reshape(-1), _as_stored(out)
        found = loops.near_steps(
            flat, vectors, halves, scale, limits, mode, nonzero, outer, stored, doubtful
        )
        where = doubtful[:found] if found <= doubtful.size else np.arange(flat.size)
        for c in np.unique(where % count):
            mine = where[where % count == c]
            exact = requantize(
                flat[mine].astype(np.int64)[:, None] + sums.offset[c], sums.correction[c : c + 1],
                [channels[c]], zero, low, high, accumulator, rules,
            )  # fmt: skip
            out.reshape(-1)[mine] = exact[:, 0]

    return finish

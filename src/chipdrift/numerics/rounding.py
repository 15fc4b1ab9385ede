"""Rounding to an integer, by its full name. Rules N1 to N6 of docs/numerics.md."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

_NOISE_BITS = 32


class Rounding(StrEnum):
    """How a number between two integers becomes one of them."""

    HALF_EVEN = "HALF_EVEN"  # N1: nearest, a half to the even neighbour (IEEE 754, ONNX)
    HALF_UP = "HALF_UP"  # N2: floor(x + 1/2)
    HALF_AWAY = "HALF_AWAY"  # N3: nearest, a half away from zero (C's round, gemmlowp)
    FLOOR = "FLOOR"  # N4: towards minus infinity, an arithmetic shift
    TOWARD_ZERO = "TOWARD_ZERO"  # N5: a C cast
    STOCHASTIC = "STOCHASTIC"  # N6: up with the fraction's probability, seeded


def divide(
    numerator: Array, denominator: Array | int, rounding: Rounding, noise: Array | None = None
) -> Array:
    """``numerator / denominator`` rounded to an integer, exactly.

    Both are integers (int64, or object arrays of Python integers where int64 is too small);
    ``denominator`` is positive. ``noise``, integers of [0, 2**32) as :func:`noise_of` makes them,
    is for STOCHASTIC alone: up where ``noise / 2**32 < fraction``.
    """
    quotient = numerator // denominator
    remainder = numerator - quotient * denominator
    twice = 2 * remainder
    match rounding:
        case Rounding.FLOOR:
            return quotient
        case Rounding.HALF_UP:
            up = twice >= denominator
        case Rounding.HALF_EVEN:
            up = (twice > denominator) | ((twice == denominator) & (quotient % 2 == 1))
        case Rounding.HALF_AWAY:
            up = (twice > denominator) | ((twice == denominator) & (numerator >= 0))
        case Rounding.TOWARD_ZERO:
            up = (numerator < 0) & (remainder > 0)
        case Rounding.STOCHASTIC:
            up = _needed(noise).astype(object) * denominator < remainder * (1 << _NOISE_BITS)
    return quotient + up.astype(np.int64)


def round_float(values: Array, rounding: Rounding, noise: Array | None = None) -> Array:
    """``values`` (float32 or float64, finite) rounded to whole numbers of the same type.

    Exact: on the magnitude, ``a - floor(a)`` has no rounding error in binary floating point (on a
    negative value it would have).
    """
    match rounding:
        case Rounding.HALF_EVEN:
            return np.rint(values)
        case Rounding.FLOOR:
            return np.floor(values)
        case Rounding.TOWARD_ZERO:
            return np.trunc(values)
    magnitude = np.abs(values)
    whole = np.floor(magnitude)
    fraction = magnitude - whole
    negative = values < 0
    match rounding:
        case Rounding.HALF_UP:
            out = np.where(negative, fraction > 0.5, fraction >= 0.5)
        case Rounding.HALF_AWAY:
            out = fraction >= 0.5
        case _:
            scaled = fraction.astype(np.float64) * 2.0**_NOISE_BITS
            drawn = _needed(noise).astype(np.float64)
            out = np.where(negative, drawn >= 2.0**_NOISE_BITS - scaled, drawn < scaled)
    rounded: Array = np.copysign(whole + out.astype(values.dtype), values)
    return rounded


def noise_of(seed: int, stream: int, indices: Array) -> Array:
    """Integers of [0, 2**32), uint64: the same for the same seed, stream and index, in any order.

    SplitMix64's output function (Steele, Lea, Flood 2014) over a counter. ``stream`` tells the
    nodes of a model apart; ``indices`` are an output's positions in its own, logical layout.
    """
    with np.errstate(over="ignore"):
        state = indices.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        state += np.uint64((seed * 0xD1342543DE82EF95 + stream * 0xAF251AF3B0F025B5) % 2**64)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        state ^= state >> np.uint64(31)
    drawn: Array = state >> np.uint64(64 - _NOISE_BITS)
    return drawn


def _needed(noise: Array | None) -> Array:
    if noise is None:
        raise ValueError("STOCHASTIC rounding needs noise: see noise_of")
    return noise

"""Element formats of 4 to 8 bits, and MX blocks that share a power of two.

Source: OCP Microscaling Formats (MX) v1.0 (September 2023): element formats in 5.3, the E8M0 scale
in 5.4, conversion to blocks in 6.3; OCP OFP8 v1.0 for E4M3 and E5M2. Nothing here uses ml_dtypes:
the tests hold every encoding against it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import numpy as np

from chipdrift.numerics.rounding import Rounding, round_float

Array = np.ndarray[Any, Any]
Overflow = Literal["clamp", "infinity", "nan"]


@dataclass(frozen=True)
class ElementFormat:
    """A format of at most 8 bits: sign, exponent, mantissa from the highest bit down.

    A code with the fields s, e, m of a format with ``mantissa_bits`` M stands for

    - ``(-1)^s * 2^(e - bias) * (1 + m / 2^M)`` where e > 0,
    - ``(-1)^s * 2^(1 - bias) * m / 2^M`` where e = 0 (subnormal).

    INT8 has no exponent: a two's complement integer over ``2^M``. E8M0 has neither sign nor
    mantissa, and no zero: ``2^(e - bias)`` for every e, the last code being NaN. ``max`` is the
    largest finite value.
    """

    name: str
    exponent_bits: int
    mantissa_bits: int
    bias: int
    has_inf: bool
    has_nan: bool
    max: float
    signed: bool = True

    @property
    def bits(self) -> int:
        """The width of a code."""
        integer = int(self.exponent_bits == 0)
        return int(self.signed) + integer + self.exponent_bits + self.mantissa_bits

    @property
    def emax(self) -> int:
        """The exponent of the largest power of two in the format: emax of MX v1.0, 6.3."""
        return int(np.frexp(self.max)[1]) - 1

    @property
    def emin(self) -> int:
        """The exponent of the smallest normal value."""
        return 1 - self.bias if self.signed else -self.bias

    @property
    def max_code(self) -> int:
        """The code of ``max``. Codes count upwards with the value they stand for."""
        if self.exponent_bits == 0:
            return (2 << self.mantissa_bits) - 1
        one = 1 << self.mantissa_bits
        fraction = int(self.max / 2.0**self.emax * one) - one
        exponent = self.emax - self.emin + int(self.signed)
        return (exponent << self.mantissa_bits) + fraction


E2M1 = ElementFormat("E2M1", 2, 1, 1, False, False, 6.0)
E2M3 = ElementFormat("E2M3", 2, 3, 1, False, False, 7.5)
E3M2 = ElementFormat("E3M2", 3, 2, 3, False, False, 28.0)
E4M3 = ElementFormat("E4M3", 4, 3, 7, False, True, 448.0)
E5M2 = ElementFormat("E5M2", 5, 2, 15, True, True, 57344.0)
INT8 = ElementFormat("INT8", 0, 6, 0, False, False, 1.984375)
E8M0 = ElementFormat("E8M0", 8, 0, 127, False, True, 2.0**127, signed=False)

MX_FORMATS = {
    "mxfp4": E2M1,
    "mxfp6_e2m3": E2M3,
    "mxfp6_e3m2": E3M2,
    "mxfp8_e4m3": E4M3,
    "mxfp8_e5m2": E5M2,
    "mxint8": INT8,
}

_NAN_CODE = {"E4M3": 0x7F, "E5M2": 0x7E, "E8M0": 0xFF}
_E8M0_NAN = _NAN_CODE["E8M0"]


def encode(
    values: Array,
    fmt: ElementFormat,
    rounding: Rounding = Rounding.HALF_EVEN,
    overflow: Overflow = "clamp",
    noise: Array | None = None,
) -> Array:
    """The code of each value: uint8, the shape of ``values`` (any float, exact in float64).

    Formula: with ``e = max(floor(log2|x|), emin)``, the integer ``q = round(x / 2^(e - M))`` gives
    the code ``(e - emin) * 2^M + |q|``, for normal and subnormal values alike. A q that reaches
    2^(M + 1) is carried into the exponent by the same sum. INT8: ``q = round(x * 2^6)`` within 127
    (5.3.4 lets -128 be left unused, to be symmetric).

    What rounds beyond ``max`` becomes ``max`` ("clamp"), an infinity (E5M2), or NaN (E4M3 and E8M0,
    as ml_dtypes casts). FLOOR (above zero) and TOWARD_ZERO never round a finite value up to more
    than ``max``. An infinity overflows under every rounding. NaN keeps its sign: 0x7F or 0xFF in
    E4M3, 0x7E or 0xFE in E5M2. E8M0 turns zero and negatives into NaN, and positive values below
    2^-127 into 2^-127; half way between two of its powers goes up under HALF_EVEN, for the
    significand 1 is odd.

    ``noise`` is for STOCHASTIC alone. ``ValueError`` where the format has no such overflow, or for
    NaN in a format without it.
    """
    x = np.asarray(values).astype(np.float64)
    takes = {"clamp": True, "infinity": fmt.has_inf, "nan": fmt.has_nan and not fmt.has_inf}
    if not takes[overflow]:
        raise ValueError(f"overflow = {overflow!r}: {fmt.name} has no such value; use 'clamp'")
    nan = np.isnan(x)
    if nan.any() and not fmt.has_nan:
        raise ValueError(f"{fmt.name} has no NaN, and {int(nan.sum())} of {x.size} values are NaN")
    infinite = np.isinf(x)
    finite = np.where(infinite | nan, 0.0, x)
    if fmt is INT8:
        # Values past 2 clamp however they round; limiting them first keeps the product finite.
        integers = round_float(np.clip(finite, -4.0, 4.0) * 64.0, rounding, noise)
        integers = np.where(infinite, np.copysign(127.0, x), np.clip(integers, -127, 127))
        return _unsigned(integers)
    code = _magnitude(finite, fmt, rounding, noise)
    # One past the largest code is E5M2's infinity, and the NaN of E4M3 and E8M0.
    beyond = np.full(x.shape, fmt.max_code + int(overflow != "clamp"))
    if rounding in (Rounding.TOWARD_ZERO, Rounding.FLOOR):
        stays = ~infinite & ((x > 0) | (rounding is Rounding.TOWARD_ZERO))
        beyond[stays] = fmt.max_code
    code = np.where((code > fmt.max_code) | infinite, beyond, code)
    if not fmt.signed:
        return np.where(nan | (x <= 0), _NAN_CODE[fmt.name], code).astype(np.uint8)
    if fmt.has_nan:
        code = np.where(nan, _NAN_CODE[fmt.name], code)
    sign = np.signbit(x).astype(np.int64) << (fmt.bits - 1)
    out: Array = (code | sign).astype(np.uint8)
    return out


def decode(codes: Array, fmt: ElementFormat, dtype: Any = np.float32) -> Array:
    """The value of each code, exact in float32 and float64, after :class:`ElementFormat`.

    ``codes`` is any integer array; ``ValueError`` where one has bits beyond the format's.
    """
    codes = np.asarray(codes)
    if codes.size and (codes.min() < 0 or codes.max() >= 2**fmt.bits):
        raise ValueError(
            f"{fmt.name} codes are 0 to {2**fmt.bits - 1}, found {codes.min()} to {codes.max()}"
        )
    out: Array = _table(fmt)[codes].astype(dtype)
    return out


def mx_quantize(
    array: Array,
    fmt: ElementFormat,
    block: int = 32,
    axis: int = -1,
    rounding: Rounding = Rounding.HALF_EVEN,
) -> tuple[Array, Array]:
    """Blocks of ``block`` elements along ``axis`` that share a scale: codes and E8M0 scales, uint8.

    ``codes`` has the shape of ``array``; ``scales`` too, with ``axis`` divided by ``block`` and
    rounded up: where the block does not divide the axis, the last one is shorter.

    Formula (MX v1.0, 6.3): ``X = 2^(floor(log2(max|V|)) - emax)``, ``P = element(V / X)``, where
    normal values beyond the format's largest become the largest. The exponent of X is limited to
    E8M0's -127..127. The specification says nothing on two cases; as microxcaling does, a block
    with a NaN or an infinity has the scale NaN (elements 0), and a block of zeros a scale that does
    not matter: here 2^-127.

    ``array`` is of any float type. V / X is exact for all float32; a float64 below 2^-890 may
    vanish before it is rounded.
    """
    blocks, length = split_blocks(np.asarray(array).astype(np.float64), block, axis)
    peak = np.abs(blocks).max(axis=-1, keepdims=True)
    bad = ~np.isfinite(peak)
    exponent = np.frexp(np.where(bad | (peak == 0), 1.0, peak))[1] - 1 - fmt.emax
    exponent = np.clip(np.where(peak == 0, -127, exponent), -127, 127)
    with np.errstate(over="ignore", under="ignore"):
        scaled = np.ldexp(np.where(bad, 0.0, blocks), -exponent)
    codes = encode(scaled, fmt, rounding)
    scales = np.where(bad, _E8M0_NAN, exponent + E8M0.bias).astype(np.uint8)
    return join_blocks(codes, length, axis), np.moveaxis(scales[..., 0], -1, axis)


def mx_dequantize(
    codes: Array,
    scales: Array,
    fmt: ElementFormat,
    block: int = 32,
    axis: int = -1,
    dtype: Any = np.float32,
) -> Array:
    """``X * P`` (MX v1.0, 5.1) of what :func:`mx_quantize` returns, in the shape of ``codes``.

    A block whose scale is NaN is NaN throughout. The product is exact in float64; in float32 it is
    exact, too, for blocks made from float32 (what does not fit becomes infinite).
    """
    codes = np.asarray(codes)
    length = codes.shape[axis]
    factor = spread_blocks(decode(scales, E8M0, np.float64), block, length, axis)
    with np.errstate(over="ignore", under="ignore"):
        out: Array = (decode(codes, fmt, np.float64) * factor).astype(dtype)
    return out


def split_blocks(array: Array, block: int, axis: int) -> tuple[Array, int]:
    """``array`` with ``axis`` last and cut into (blocks, block), zeros filling the last one.

    With it the length of ``axis``, for :func:`join_blocks`. ``ValueError`` for a block below 1.
    """
    if block < 1:
        raise ValueError(f"a block of {block} elements: it needs at least 1")
    moved = np.moveaxis(array, axis, -1)
    length = moved.shape[-1]
    count = -(-length // block)
    padded = np.zeros((*moved.shape[:-1], count * block), array.dtype)
    padded[..., :length] = moved
    return padded.reshape(*moved.shape[:-1], count, block), length


def join_blocks(blocks: Array, length: int, axis: int) -> Array:
    """The inverse of :func:`split_blocks`."""
    joined = blocks.reshape(*blocks.shape[:-2], blocks.shape[-2] * blocks.shape[-1])
    return np.ascontiguousarray(np.moveaxis(joined[..., :length], -1, axis))


def spread_blocks(scales: Array, block: int, length: int, axis: int) -> Array:
    """One value per block repeated for each of its elements: ``axis`` becomes ``length`` long."""
    if scales.shape[axis] != -(-length // block):
        raise ValueError(
            f"{scales.shape[axis]} blocks of {block} along axis {axis}, expected "
            f"{-(-length // block)} for {length} elements"
        )
    return np.repeat(scales, block, axis).take(np.arange(length), axis)


def _magnitude(x: Array, fmt: ElementFormat, rounding: Rounding, noise: Array | None) -> Array:
    """The code without its sign, int64; past ``max_code`` where ``x`` (finite) overflows."""
    # frexp gives zero the exponent 0.
    exponent = np.where(x == 0, fmt.emin, np.maximum(np.frexp(x)[1] - 1, fmt.emin))
    # Exact: a power of two scales up to an integer part of M + 1 bits; nothing is lost below, for
    # the exponent is at least emin > -128, and float64 goes down to -1074.
    q = round_float(np.ldexp(x, fmt.mantissa_bits - exponent), rounding, noise)
    code = ((exponent - fmt.emin).astype(np.int64) << fmt.mantissa_bits) + np.abs(q).astype(int)
    # E8M0 has no subnormals and no zero: its first code is the power that others give e = 1.
    out: Array = code if fmt.signed else np.maximum(code - 1, 0)
    return out


def _unsigned(integers: Array) -> Array:
    """Two's complement in 8 bits."""
    return integers.astype(np.int8).view(np.uint8)


@cache
def _table(fmt: ElementFormat) -> Array:
    """The value of every code, float64."""
    codes = np.arange(1 << fmt.bits)
    if fmt is INT8:
        out: Array = codes.astype(np.uint8).view(np.int8) / 64.0
        return out
    one = 1 << fmt.mantissa_bits
    magnitude = codes & ((1 << (fmt.bits - int(fmt.signed))) - 1)
    field = magnitude >> fmt.mantissa_bits
    mantissa = magnitude & (one - 1)
    if fmt.signed:
        mantissa = np.where(field > 0, mantissa + one, mantissa)
        field = np.maximum(field, 1)
    else:
        mantissa = np.ones_like(codes)
    value: Array = np.ldexp(mantissa.astype(np.float64), field - fmt.bias - fmt.mantissa_bits)
    above = magnitude > fmt.max_code
    value[above] = np.nan
    if fmt.has_inf:
        value[magnitude == fmt.max_code + 1] = np.inf
    value[codes > magnitude] *= -1
    return value

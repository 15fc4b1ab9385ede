"""What is done to a model's weights and biases before the engine runs (N14, N60 to N66).

Every format but LPBQ is one of MX's. What the products run in depends on what the elements are:

- ``lpbq``: code times factor is an integer of 8 bits with one scale per channel: integers.
- ``mxint8``, ``mxfp4``, ``mxfp6_e2m3``: an element is an integer of at most 8 bits times a power
  of two, so a block is int8 with a scale of its own: integers, where the op takes blocks (MatMul,
  Gemm, 1x1 Conv), float32 elsewhere.
- ``mxfp6_e3m2``, ``mxfp8_e4m3``, ``mxfp8_e5m2``: their integers would have 10, 19 and 34 bits,
  which no integer unit multiplies: float32 on dequantized activations, with float32 weights.

What runs in float32 is said in the placement's reasons. Either way the weights have the same real
values.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chipdrift.errors import ChipdriftError
from chipdrift.numerics.blocks import collapse, expand, lpbq
from chipdrift.numerics.formats import (
    E8M0,
    MX_FORMATS,
    decode,
    mx_dequantize,
    mx_quantize,
    spread_blocks,
)
from chipdrift.numerics.profile import Weights
from chipdrift.numerics.quantize import dequantize
from chipdrift.numerics.signed import signed_weights
from chipdrift.numerics.tensors import Operand, OpSpec, Quant

Array = np.ndarray[Any, Any]

# The power of two that makes every element of these formats an integer of at most 8 bits.
_STEPS = {"mxint8": 6, "mxfp4": 1, "mxfp6_e2m3": 3}


def bias_integers(values: Array, quant: Quant | None, x: Quant, w: Quant) -> Array:
    """A bias (C,) as int64 steps of the accumulator, ``x.scale * w.scale`` (N14).

    Integers that have that scale already (in float32, as quantizers write it) stay as they are; any
    other bias is brought to it, HALF_EVEN, from a real number in float32.
    """
    step = np.atleast_1d(x.scale).astype(np.float32) * np.atleast_1d(w.scale).astype(np.float32)
    if quant is None:
        real = values.astype(np.float32)
    else:
        own = np.atleast_1d(quant.scale).astype(np.float32)
        integers = values.astype(np.int64) - quant.zero_point
        if np.allclose(own, step, rtol=1e-6, atol=0):  # quantizers round the product in many ways
            return integers.reshape(-1)
        real = integers.astype(np.float32) * own
    if not np.all(np.isfinite(real)):
        raise ValueError("a bias is not a finite number")
    steps = np.rint(real.reshape(-1).astype(np.float64) / step.astype(np.float64))
    # What does not fit 32 bits becomes the nearest that does, as quantizers have it.
    return np.clip(steps, -(2.0**31), 2.0**31 - 1).astype(np.int64)


def weight_axes(op: str, attributes: Mapping[str, Any], ndim: int) -> tuple[int, int] | None:
    """The axes of input 1 that a product sums over and that its outputs lie along, or None.

    Conv (M, C/g, ...): 1 and 0. ConvTranspose (C, M/g, ...): 0 and 1. MatMul (..., K, N): the last
    two. Gemm (K, N), or (N, K) with transB. None for every other op, and for a vector.
    """
    if ndim < 2:
        return None
    turned = bool(attributes.get("transB", 0))
    axes = {
        "Conv": (1, 0),
        "ConvTranspose": (0, 1),
        "MatMul": (ndim - 2, ndim - 1),
        "Gemm": (1, 0) if turned else (0, 1),
    }
    return axes.get(op)


def transformed(
    values: Array, quant: Quant, rules: Weights, op: str, attributes: Mapping[str, Any]
) -> tuple[Array, Quant] | str:
    """Integers and quantizer of a weight as the target holds it, or why it is no integer (N60).

    ``values`` are the model's integers in the op's layout, ``quant`` their quantizer. A format is
    made from the real numbers these stand for (float32), in blocks along the axis that is summed
    over; ``collapse`` then replaces the scales of blocks (and, per tensor, those of channels) by
    the largest. Weights of other ops stay as they are.
    """
    held = _held(values, quant, rules, weight_axes(op, attributes, values.ndim))
    if not isinstance(held, tuple):
        return f"its weights are {rules.format}, whose elements no integer unit multiplies"
    if rules.format and held[1].block_size and values.ndim > 2 and op == "MatMul":
        return f"its weights are {rules.format} in more than two dimensions"
    return held


def real_weights(
    values: Array, quant: Quant, rules: Weights, op: str, attributes: Mapping[str, Any]
) -> Array:
    """The same weight in real numbers, float32: what an op reads that does not run in integers."""
    held = _held(values, quant, rules, weight_axes(op, attributes, values.ndim))
    return dequantize(*held) if isinstance(held, tuple) else held


def signed(spec: OpSpec) -> OpSpec:
    """The op with weights of signed 8 bits where its rules bring them there (N17), else as it is.

    A bias stays the real number that it is: its steps become those of the channel's new scale.
    """
    rules = spec.rules.accumulator
    if (rules.operands, rules.stored) != ("stored", "signed") or len(spec.operands) < 2:
        return spec
    x, w = spec.operands[0], spec.operands[1]
    if w.constant is None or w.quant is None or w.quant.bits > 8 or w.quant.block_size:
        return spec
    axes = weight_axes(spec.op, spec.attributes, w.constant.ndim)
    if axes is None or not np.any(w.quant.zero_point):
        return spec
    values, held, factors = signed_weights(w.constant, w.quant, axes[1])
    rest = spec.operands[2:]
    if rest and rest[0].constant is not None:
        steps = np.rint(rest[0].constant / factors).astype(np.int64)
        rest = (replace(rest[0], constant=steps), *rest[1:])
    return replace(spec, operands=(x, Operand(held, values), *rest))


def _held(
    values: Array, quant: Quant, rules: Weights, axes: tuple[int, int] | None
) -> tuple[Array, Quant] | Array:
    """Integers with their quantizer, or real numbers (float32) where there are no integers."""
    if axes is None or (rules.format is None and rules.collapse is None):
        return values, quant
    if rules.format is None:
        return _collapsed(values, quant, rules, axes)
    real = dequantize(values, quant)
    if rules.format == "lpbq":
        made = lpbq(real, rules.block, axis=axes[0], channel_axis=axes[1])
        integers = expand(made.codes, made.factors, rules.block, axes[0]).astype(np.int8)
        scale = made.channel_scale.reshape(-1)
        lone = scale.size == 1
        held = Quant(
            scale.reshape(()) if lone else scale,
            np.zeros(() if lone else scale.size, np.int64),
            "int8",
            None if lone else axes[1],
        )
        return _collapsed(integers, held, rules, axes)
    if rules.format in _STEPS:
        return _collapsed(*_mx_integers(real, rules, axes[0]), rules, axes)
    if rules.collapse:
        raise ChipdriftError(
            f'weights.collapse = "{rules.collapse}" contradicts weights.format = "{rules.format}": '
            "its elements are no integers whose scales could be collapsed; remove one of them"
        )
    fmt = MX_FORMATS[rules.format]
    codes, scales = mx_quantize(real, fmt, rules.block, axes[0])
    return mx_dequantize(codes, scales, fmt, rules.block, axes[0])


def _mx_integers(weights: Array, rules: Weights, axis: int) -> tuple[Array, Quant]:
    """MX blocks as int8 with one scale each: ``element * 2^s`` and ``X / 2^s``, both exact."""
    assert rules.format is not None
    fmt, step = MX_FORMATS[rules.format], _STEPS[rules.format]
    codes, scales = mx_quantize(weights, fmt, rules.block, axis)
    integers = np.ldexp(decode(codes, fmt, np.float64), step).astype(np.int8)
    # 2^-127 of E8M0 less 6 is a subnormal float32: still exact.
    scale = np.ldexp(decode(scales, E8M0, np.float64), -step).astype(np.float32)
    zeros = np.zeros(scale.shape, np.int64)
    return integers, Quant(scale, zeros, "int8", axis, rules.block)


def _collapsed(
    values: Array, quant: Quant, rules: Weights, axes: tuple[int, int]
) -> tuple[Array, Quant]:
    """One scale for a channel, or for the tensor, where there were more (N66)."""
    finer = quant.block_size if rules.collapse == "per_channel" else not quant.per_tensor
    if rules.collapse is None or not finer:
        return values, quant
    summed, channel = axes
    axis = summed if quant.axis is None else quant.axis % values.ndim
    if rules.collapse == "per_channel" and axis != summed:
        return values, quant  # blocks of channels: not what converters collapse
    if quant.block_size:
        block, scale = quant.block_size, quant.scale
        zero = spread_blocks(quant.zero_point, block, values.shape[axis], axis)
    else:  # a scale per channel is a block of one along that axis
        block, shape = 1, tuple(n if i == axis else 1 for i, n in enumerate(values.shape))
        scale, zero = quant.scale.reshape(shape), quant.zero_point.reshape(shape)
    centred = values.astype(np.int64) - zero
    bits, dtype = _width(centred, quant.bits)
    keeps = channel if rules.collapse == "per_channel" else None
    codes, largest = collapse(
        centred.astype(np.int32), scale, block, bits, axis, rules.collapse, keeps
    )
    flat = largest.reshape(-1)
    codes = codes.astype("int16" if dtype == "int16" else "int8")
    if rules.collapse == "per_tensor":
        return codes, Quant(flat.reshape(()), np.zeros((), np.int64), dtype)
    return codes, Quant(flat, np.zeros(flat.size, np.int64), dtype, channel)


def _width(centred: Array, bits: int) -> tuple[int, str]:
    """The narrowest signed type, of ``bits`` at least, that holds integers without zero point."""
    for width, dtype in ((4, "int4"), (8, "int8"), (16, "int16")):
        half = 1 << (width - 1)
        if width >= bits and (
            not centred.size or (-half <= centred.min() and centred.max() < half)
        ):
            return width, dtype
    raise ChipdriftError(
        "weights.collapse: weights of more than 16 bits have no narrower form; remove collapse"
    )

"""What ends every sum of products: scale per output channel, requantization, clamp."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.numerics.requantize import Channel, channels, requantize, scales
from chipdrift.numerics.rounding import Rounding, noise_of
from chipdrift.numerics.tensors import OpSpec, Quant

Array = np.ndarray[Any, Any]


def output_channels(spec: OpSpec, bias: Array | None) -> list[Channel]:
    """S, bias and zero point per output channel (one where all are the same): N20, N27, N28."""
    x, w, rules = spec.quant(0), spec.quant(1), spec.rules.requantize
    factors = scales(x.scale, w.scale, spec.output.scale, rules.scale)
    return channels(factors, bias, x.scale, w.scale, int(spec.output.zero_point), rules)


def clamp_limits(spec: OpSpec) -> tuple[int, int]:
    """The least and greatest output integer once a fused Relu or Clip is counted in (N70).

    A bound's integer is that of QuantizeLinear: ``rint(bound / scale) + zero_point`` in float32.
    """
    out, limits = spec.output, [spec.output.low, spec.output.high]
    for side, bound in enumerate(spec.clamp):
        if bound is not None and np.isfinite(bound):
            with np.errstate(over="ignore"):
                steps = np.rint(np.float32(bound) / np.float32(out.scale.reshape(-1)[0]))
            whole = int(np.clip(steps, -(2.0**31), 2.0**31))
            limits[side] = int(np.clip(whole + int(out.zero_point), out.low, out.high))
    return limits[0], limits[1]


def finish(spec: OpSpec, products: Array, correction: Array, bias: Array | None) -> Array:
    """Sums of products (..., C), channels last, to the output's integers."""
    rules = spec.rules.requantize
    low, high = clamp_limits(spec)
    noise = None
    if rules.rounding is Rounding.STOCHASTIC:
        noise = noise_of(spec.seed, spec.stream, np.arange(products.size).reshape(products.shape))
    constants = output_channels(spec, bias)
    zero = int(spec.output.zero_point)
    out = requantize(
        products, correction, constants, zero, low, high, spec.rules.accumulator, rules, noise
    )
    return out.astype(spec.output.storage)


def channel_zero(quant: Quant) -> Array:
    """Zero points as a row, one for each channel or one for all."""
    return np.atleast_1d(quant.zero_point).astype(np.int64)

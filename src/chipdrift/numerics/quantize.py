"""Real numbers to integers and back: QuantizeLinear and DequantizeLinear (N50, N51)."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.numerics.profile import Input
from chipdrift.numerics.rounding import Rounding, noise_of, round_float
from chipdrift.numerics.tensors import Quant

Array = np.ndarray[Any, Any]


def spread(values: Array, quant: Quant, ndim: int) -> Array:
    """``values`` (a scale or zero point) shaped so that it meets a tensor of ``ndim`` dimensions.

    Blocks are not spread: see :func:`dequantize`.
    """
    if quant.axis is None or values.ndim == 0:
        return values
    shape = [1] * ndim
    shape[quant.axis % ndim] = -1
    return values.reshape(shape)


def quantize(values: Array, quant: Quant, rules: Input, seed: int = 0) -> Array:
    """``clip(round(values / scale) + zero_point)``.

    ``float32`` divides in float32, as ONNX and onnxruntime do; ``exact`` divides in float64, whose
    quotient of two float32 numbers is never rounded onto a half that it is not (24 + 24 bits < 53).
    ``float32_reciprocal`` multiplies by ``float32(1 / scale)``, as XNNPACK does.
    NaN becomes the zero point.
    """
    dtype = np.float64 if rules.arithmetic == "exact" else np.float32
    scale = spread(quant.scale, quant, values.ndim).astype(dtype)
    zero = spread(quant.zero_point, quant, values.ndim)
    with np.errstate(over="ignore", invalid="ignore"):
        if rules.arithmetic == "float32_reciprocal":
            ratio: Array = np.multiply(values.astype(dtype), np.divide(dtype(1), scale))
        else:
            ratio = np.divide(values.astype(dtype), scale)
        noise = None
        if rules.rounding is Rounding.STOCHASTIC:
            noise = noise_of(seed, 0, np.arange(values.size).reshape(values.shape))
        steps = round_float(
            np.nan_to_num(ratio, nan=0.0, posinf=3e9, neginf=-3e9), rules.rounding, noise
        )
    steps = np.clip(steps, -(2.0**31), 2.0**31).astype(np.int64)
    integers: Array = np.clip(steps + zero, quant.low, quant.high).astype(quant.storage)
    return integers


def dequantize(values: Array, quant: Quant) -> Array:
    """``(values - zero_point) * scale`` in float32."""
    if quant.block_size:
        axis = (quant.axis or 0) % values.ndim
        length = values.shape[axis]
        scale = np.repeat(quant.scale, quant.block_size, axis).take(range(length), axis)
        zero = np.repeat(quant.zero_point, quant.block_size, axis).take(range(length), axis)
    else:
        scale = spread(quant.scale, quant, values.ndim)
        zero = spread(quant.zero_point, quant, values.ndim)
    real: Array = ((values.astype(np.int64) - zero).astype(np.float32) * scale).astype(np.float32)
    return real

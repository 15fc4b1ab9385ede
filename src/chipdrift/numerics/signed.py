"""Weights with a zero point as signed 8-bit integers without one. Rule N17 of docs/numerics.md."""

from __future__ import annotations

import numpy as np

from chipdrift.numerics.tensors import Array, Quant

# A channel's factor is held in units of 2**-11.
_UNIT = 1 << 11
_LOW, _HIGH = -128, 127


def fits_signed(w: Array, quant: Quant) -> bool:
    """Whether all weights less their one zero point are signed 8-bit integers."""
    zero = int(quant.zero_point)
    return not w.size or (int(w.min()) - zero >= _LOW and int(w.max()) - zero <= _HIGH)


def signed_weights(w: Array, quant: Quant, axis: int) -> tuple[Array, Quant, Array]:
    """Weights (int8), their quantizer, and every channel's factor (C,), float64 (N17).

    ``w`` are integers of at most 8 bits, ``axis`` counts their output channels. A channel whose
    ``c = w - zero`` stays within -128 .. 127 keeps its integers and has the factor 1. Another one
    has the factor ``g = hu(2048 * max(max(c) / 127, min(c) / -128)) / 2048``, the integers
    ``clip(HALF_AWAY(c / g))`` and the scale ``float32(scale * g)``; hu rounds halves up.
    """
    axis %= w.ndim
    shape = [1] * w.ndim
    shape[axis] = -1
    zero = quant.zero_point if quant.per_tensor else quant.zero_point.reshape(shape)
    c = np.moveaxis(w.astype(np.int64) - zero, axis, 0).reshape(w.shape[axis], -1)
    top, bottom = c.max(axis=1, initial=0), c.min(axis=1, initial=0)
    # The larger of top / 127 and bottom / -128, over their common denominator.
    over, under = np.maximum(top * -_LOW, -bottom * _HIGH), -_LOW * _HIGH
    q = np.where(over > under, (2 * over * _UNIT + under) // (2 * under), _UNIT)[:, None]
    away = (2 * np.abs(c) * _UNIT + q) // (2 * q)
    made = np.clip(np.sign(c) * away, _LOW, _HIGH).astype(np.int8)
    back = made.reshape(np.moveaxis(w, axis, 0).shape)
    factors = q[:, 0] / _UNIT
    if quant.per_tensor and np.all(q == _UNIT):
        held = Quant(quant.scale, np.zeros((), np.int64), "int8")
    else:
        scale = (np.broadcast_to(quant.scale, factors.shape) * factors).astype(np.float32)
        held = Quant(scale, np.zeros(scale.shape, np.int64), "int8", axis)
    return np.ascontiguousarray(np.moveaxis(back, 0, axis)), held, factors

"""Take a BatchNormalization into the product in front of it (N71)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from chipdrift.numerics.tensors import Operand

Array = np.ndarray[Any, Any]


def fold_batch_norm(
    operands: list[Operand], parameters: list[Array], epsilon: float
) -> list[Operand] | str:
    """The operands of a Conv or Gemm (output channels first) with the normalization in them.

    ``parameters`` are gamma, beta, mean and variance, each (C,). With ``g = gamma / sqrt(variance +
    epsilon)``: the weight scale becomes ``scale * abs(g)``, the weights take the sign of g, and the
    bias is ``(bias - mean) * g + beta`` in steps of the new scale, HALF_EVEN. Returns the reason
    where it cannot be done.
    """
    x, w = operands[0].quant, operands[1]
    if x is None or w.quant is None or w.constant is None or w.quant.block_size:
        return "a BatchNormalization is fused into constant weights with plain scales only"
    gamma, beta, mean, variance = (values.astype(np.float64).reshape(-1) for values in parameters)
    gain = gamma / np.sqrt(variance + epsilon)
    if not np.all(np.isfinite(gain)) or np.any(gain == 0):
        return "its BatchNormalization has a factor that is 0 or not finite"
    old = float(x.scale) * np.broadcast_to(w.quant.scale.astype(np.float64), gain.shape)
    scale = (np.broadcast_to(w.quant.scale, gain.shape) * np.abs(gain)).astype(np.float32)
    bias = operands[2].constant if len(operands) > 2 else None
    real = 0.0 if bias is None else bias.astype(np.float64) * old
    moved = (real - mean) * gain + beta
    shape = (-1, *[1] * (w.constant.ndim - 1))
    zero = np.broadcast_to(w.quant.zero_point, gain.shape)
    sign = np.sign(gain).astype(np.int64)
    centred = w.constant.astype(np.int64) - zero.reshape(shape)
    # 16 bits hold the negative of -128, and what an asymmetric weight is from its zero point.
    weights = Operand(
        replace(
            w.quant, scale=scale, zero_point=np.zeros(gain.shape, np.int64), dtype="int16", axis=0
        ),
        (centred * sign.reshape(shape)).astype(np.int16),
    )
    steps = np.rint(moved / (float(x.scale) * scale.astype(np.float64))).astype(np.int64)
    return [operands[0], weights, Operand(None, steps)]

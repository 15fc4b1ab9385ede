"""What is done to a model's weights and biases before the engine runs."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.numerics.profile import Weights
from chipdrift.numerics.tensors import Quant

Array = np.ndarray[Any, Any]


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
        steps = values.astype(np.int64) - quant.zero_point
        if np.allclose(own, step, rtol=1e-6, atol=0):  # quantizers round the product in many ways
            return steps.reshape(-1)
        real = steps.astype(np.float32) * own
    return np.rint(real.reshape(-1).astype(np.float64) / step.astype(np.float64)).astype(np.int64)


def transformed(values: Array, quant: Quant, rules: Weights, op: str) -> tuple[Array, Quant]:
    """The weights as the target holds them: in another format, or with collapsed scales (N60)."""
    del op
    if rules.format is None and rules.collapse is None:
        return values, quant
    raise NotImplementedError

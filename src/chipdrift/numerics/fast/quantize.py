"""QuantizeLinear of float32 values in one pass (N50)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from chipdrift.numerics import quantize as reference
from chipdrift.numerics.fast.jit import jit
from chipdrift.numerics.profile import Input
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.tensors import Array, Quant


def compile_quantize(quant: Quant, rules: Input, seed: int) -> Callable[[Array], Array]:
    """What gives ``chipdrift.numerics.quantize.quantize(values, quant, rules, seed)``."""
    ties_even = rules.rounding is Rounding.HALF_EVEN and rules.arithmetic == "float32"
    scale, zero = np.float32(quant.scale.reshape(-1)[0]), int(quant.zero_point.reshape(-1)[0])
    small = quant.per_tensor and quant.bits <= 16
    known = set(Input.model_fields) <= {"rounding", "arithmetic"} and scale > 0
    limits = np.array([quant.low - zero, quant.high - zero], np.float32)

    def run(values: Array) -> Array:
        if not (ties_even and small and known) or values.dtype != np.float32:
            return reference.quantize(values, quant, rules, seed)
        flat = np.ascontiguousarray(values).reshape(-1)
        out = np.empty(flat.size, quant.storage)
        divide_even(flat, scale, limits, zero, out.view(np.dtype(f"u{out.dtype.itemsize}")))
        return out.reshape(values.shape)

    return run


@jit
def divide_even(x: Array, scale: np.floating[Any], limits: Array, zero: int, out: Array) -> None:
    """``rint(x / scale) + zero`` of flat float32, NaN as zero, limits less the zero point."""
    low, high, origin = limits[0], limits[1], np.int32(zero)
    for i in range(x.size):
        v = np.rint(x[i] / scale)
        v = v if v == v else np.float32(0)
        out[i] = np.int32(min(max(v, low), high)) + origin

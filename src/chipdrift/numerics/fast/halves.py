"""Sums of products of float16, compiled: every bit as in ``smallfloat``."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from chipdrift.numerics.fast.jit import jit
from chipdrift.numerics.smallfloat import SmallFloat
from chipdrift.numerics.tensors import Array

# float64 (M, G * K) and (G * K, N) that hold float16's values, to float64 (M, G * N).
Sums = Callable[[Array, Array], Array]


def compile_sums(rules: SmallFloat, groups: int = 1) -> Sums | None:
    """What adds the products in the order of ``rules``, or None where only the reference knows how.

    It knows accumulators of float32 and float64 that add one product after the other, all of them
    or by blocks. There every sum is rounded by the processor's own arithmetic: a product of two
    float16 is exact in float64, and float64 is wide enough for float32's rounding to be one. With
    ``groups`` each K columns are summed apart, with K rows of weights of their own.
    """
    plain = (
        rules.products == "exact" and rules.subnormals == "keep" and rules.overflow == "infinity"
    )
    ordered = rules.order == "sequential" or (
        rules.order == "blocks" and rules.within == "sequential"
    )
    if rules.format != "float16" or rules.accumulate not in (32, 64) or not (plain and ordered):
        return None
    kind = np.float32 if rules.accumulate == 32 else np.float64

    def sums(a: Array, b: Array) -> Array:
        depth = b.shape[0] // groups
        rows = np.ascontiguousarray(a).reshape(a.shape[0], groups, depth)
        weights = np.ascontiguousarray(b).reshape(groups, depth, b.shape[1])
        out = np.zeros((a.shape[0], groups, b.shape[1]), kind)
        _add_up(rows, weights, rules.block or depth + 1, out)
        return out.reshape(a.shape[0], -1).astype(np.float64)

    return sums


@jit
def _add_up(a: Array, b: Array, block: int, out: Array) -> None:
    """Sums of products in float64; what is kept of each is the type of ``out``."""
    groups, depth, width = b.shape
    part = np.empty(width, out.dtype)
    for row in range(a.shape[0]):
        for g in range(groups):
            for start in range(0, depth, block):
                part[:] = 0.0
                for k in range(start, min(start + block, depth)):
                    x = a[row, g, k]
                    for n in range(width):
                        part[n] = part[n] + x * b[g, k, n]
                for n in range(width):
                    out[row, g, n] = out[row, g, n] + part[n]

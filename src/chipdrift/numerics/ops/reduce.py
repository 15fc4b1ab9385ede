"""ReduceMean, ReduceSum, ReduceMax, ReduceMin (N33, N35)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.numerics.elementwise import from_real, from_sum, ratio, real_mean, rescale
from chipdrift.numerics.limits import both, fixed, needs
from chipdrift.numerics.ops.moves import axes_of
from chipdrift.numerics.tensors import Array, OpSpec


def reduce(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X reduced along ``axes``, an attribute or input 1; none means all, or nothing (noop).

    Of no elements the sum is 0, the mean NaN, the greatest -inf and the least inf (N46).
    """
    x = arrays[0]
    assert x is not None
    axes = axes_of(spec, arrays)
    if not axes and spec.attributes.get("noop_with_empty_axes", 0):
        return rescale(spec, x, spec.quant(0))
    over = tuple(axis % x.ndim for axis in axes or range(x.ndim))
    kept = bool(spec.attributes.get("keepdims", 1))
    count = int(np.prod([x.shape[axis] for axis in over]))
    if not count and spec.op != "ReduceSum":
        shape = np.sum(x, axis=over, keepdims=kept).shape
        nothing = {"ReduceMean": np.nan, "ReduceMax": -np.inf, "ReduceMin": np.inf}[spec.op]
        return from_real(spec, np.full(shape, nothing, np.float32))
    if spec.op in ("ReduceMax", "ReduceMin"):
        found = (np.max if spec.op == "ReduceMax" else np.min)(x, axis=over, keepdims=kept)
        return rescale(spec, np.asarray(found), spec.quant(0))
    steps = x.astype(np.int64) - int(spec.quant(0).zero_point)
    total = np.asarray(steps.sum(axis=over, keepdims=kept))
    count = count if spec.op == "ReduceMean" else 1
    if spec.rules.elementwise.arithmetic == "float32":
        return real_mean(spec, total, count)
    return from_sum(spec, [(total, ratio(spec.quant(0), spec.output))], count)


OPS = dict.fromkeys(("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"), reduce)
LIMITS = dict.fromkeys(OPS, both(needs(0), fixed(1)))
TABLES = ("elementwise",)

"""Concat and Where: several tensors, each brought to the output's quantizer (N31, N35)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.numerics.elementwise import rescale
from chipdrift.numerics.limits import needs
from chipdrift.numerics.tensors import Array, OpSpec


def concat(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """The inputs one behind the other along ``axis``."""
    parts = [x for x in arrays if x is not None]
    axis = int(spec.attributes.get("axis", 1))
    cuts = np.cumsum([x.shape[axis] for x in parts])
    shape = list(parts[0].shape)
    shape[axis] = int(cuts[-1])
    places = np.split(np.arange(int(np.prod(shape))).reshape(shape), cuts[:-1], axis)
    done = [rescale(spec, x, spec.quant(i), places[i]) for i, x in enumerate(parts)]
    return np.concatenate(done, axis=axis)


def where(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """Input 1 where the condition holds, else input 2; all broadcast."""
    chosen, a, b = np.broadcast_arrays(*(np.asarray(x) for x in arrays))
    first, second = rescale(spec, a, spec.quant(1)), rescale(spec, b, spec.quant(2))
    return np.where(chosen.astype(bool), first, second)


def _condition(spec: OpSpec) -> str | None:
    if spec.operands[0].quant is not None:
        return "its condition is quantized"
    return needs(1, 2)(spec)


OPS = {"Concat": concat, "Where": where}
LIMITS = {"Concat": needs(), "Where": _condition}
TABLES = ("elementwise",)

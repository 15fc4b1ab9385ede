"""Pad: constant, reflect, edge, wrap (N31, N36)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.numerics.elementwise import rescale
from chipdrift.numerics.limits import both, fixed, needs
from chipdrift.numerics.ops.moves import integers
from chipdrift.numerics.profile import Input
from chipdrift.numerics.quantize import dequantize, quantize
from chipdrift.numerics.tensors import Array, OpSpec


def pad(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X with elements added (or, where negative, cut off) at both ends of its dimensions.

    Moved elements as :func:`rescale` has them; the constant value is quantized by the output's
    quantizer as a graph's input is, in float32, HALF_EVEN (N36, N50).
    """
    x = arrays[0]
    assert x is not None
    counts = integers(spec, arrays, "pads", 1)
    axes = [a % x.ndim for a in integers(spec, arrays, "axes", 3) or range(x.ndim)]
    edges, cuts = [(0, 0)] * x.ndim, [slice(None)] * x.ndim
    for index, axis in enumerate(axes):
        before, after = counts[index], counts[len(axes) + index]
        edges[axis] = (max(before, 0), max(after, 0))
        cuts[axis] = slice(max(-before, 0), x.shape[axis] - max(-after, 0))
    mode = spec.attributes.get("mode", "constant")
    x = x[tuple(cuts)]
    if mode != "constant":
        moved = np.pad(x, edges, mode=mode)
        return rescale(spec, moved, spec.quant(0))
    outside = np.pad(np.zeros(x.shape, bool), edges, constant_values=True)
    moved = rescale(spec, np.pad(x, edges), spec.quant(0))
    return np.where(outside, _value(spec, arrays), moved).astype(spec.output.storage)


def _value(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    given = arrays[2] if len(arrays) > 2 else None
    if given is None:
        real = np.asarray(spec.attributes.get("value", 0.0), np.float32)
    elif (quant := spec.operands[2].quant) is not None:
        real = dequantize(given, quant)
    else:
        real = given.astype(np.float32)
    return quantize(real.reshape(-1)[:1], spec.output, Input())


def _known_mode(spec: OpSpec) -> str | None:
    mode = spec.attributes.get("mode", "constant")
    known = ("constant", "reflect", "edge", "wrap")
    return None if mode in known else f"its mode {mode} has no integer form"


OPS = {"Pad": pad}
LIMITS = {"Pad": both(needs(0), fixed(1, 2, 3), _known_mode)}
TABLES = ("elementwise",)

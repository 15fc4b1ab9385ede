"""MaxPool, tap by tap: whole images at once, channels where memory has them (N35)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from chipdrift.numerics.elementwise import rescale
from chipdrift.numerics.ops.conv import padding
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.tensors import Array, Kernel, OpSpec


def compile_max_pool(spec: OpSpec) -> Kernel | None:
    """X (N, C, *spatial) -> (N, C, *out); None for ``ceil_mode`` and indices."""
    a, quant = spec.attributes, spec.quant(0)
    if a.get("ceil_mode", 0) or a.get("output_index", 0) or not quant.per_tensor:
        return None
    if spec.rules.elementwise.rounding is Rounding.STOCHASTIC:
        return None
    kernel = list(a["kernel_shape"])
    spatial = len(kernel)
    strides = list(a.get("strides") or [1] * spatial)
    dilations = list(a.get("dilations") or [1] * spatial)
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]

    def run(arrays: Sequence[Array], seed: int | None = None) -> Array:
        x = np.moveaxis(arrays[0], 1, -1)
        pads = padding(x.shape[1:-1], reach, strides, a)
        if any(before or after for before, after in pads):
            x = np.pad(x, [(0, 0), *pads, (0, 0)], constant_values=quant.low)
        out: Array | None = None
        sizes = [(n - r) // s + 1 for n, r, s in zip(x.shape[1:-1], reach, strides, strict=True)]
        for taps in product(*(range(k) for k in kernel)):
            cut = [
                slice(t * d, t * d + (n - 1) * s + 1, s)
                for t, d, n, s in zip(taps, dilations, sizes, strides, strict=True)
            ]
            seen = x[:, *cut]
            out = seen.copy() if out is None else np.maximum(out, seen, out=out)
        assert out is not None
        return np.moveaxis(rescale(spec, out, quant), -1, 1)

    return run

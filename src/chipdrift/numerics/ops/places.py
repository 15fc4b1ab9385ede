"""Gather, GatherElements, Split, DepthToSpace, SpaceToDepth: integers in other places (N35)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.numerics.limits import needs
from chipdrift.numerics.ops.moves import integers, moving
from chipdrift.numerics.tensors import Array, OpSpec


def _gather(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    indices, axis = arrays[1], int(spec.attributes.get("axis", 0))
    assert indices is not None
    return np.take(x, np.where(indices < 0, indices + x.shape[axis], indices), axis=axis)


def _gather_elements(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """As ONNX's: other dimensions of ``indices`` may be shorter than X's."""
    indices, axis = arrays[1], int(spec.attributes.get("axis", 0)) % x.ndim
    assert indices is not None
    indices = np.where(indices < 0, indices + x.shape[axis], indices).astype(np.int64)
    cut = [slice(None) if i == axis else slice(n) for i, n in enumerate(indices.shape)]
    return np.take_along_axis(x[tuple(cut)], indices, axis)


def _depth_to_space(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    size, (n, c, h, w) = int(spec.attributes["blocksize"]), x.shape
    depth = c // size**2
    if spec.attributes.get("mode", "DCR") == "CRD":
        parts = x.reshape(n, depth, size, size, h, w).transpose(0, 1, 4, 2, 5, 3)
    else:
        parts = x.reshape(n, size, size, depth, h, w).transpose(0, 3, 4, 1, 5, 2)
    return parts.reshape(n, depth, h * size, w * size)


def _space_to_depth(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    size, (n, c, h, w) = int(spec.attributes["blocksize"]), x.shape
    parts = x.reshape(n, c, h // size, size, w // size, size).transpose(0, 3, 5, 1, 2, 4)
    return parts.reshape(n, c * size**2, h // size, w // size)


def _split(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """Part ``output_index``: sizes from input 1 or ``split``; else equal, the last one shorter."""
    axis, index = int(spec.attributes.get("axis", 0)), int(spec.attributes["output_index"])
    sizes = integers(spec, arrays, "split", 1)
    if not sizes:
        parts = int(spec.attributes.get("num_outputs", spec.attributes["output_count"]))
        sizes = [-(-x.shape[axis] // parts)] * parts
    start = sum(sizes[:index])
    return x.take(range(start, min(start + sizes[index], x.shape[axis])), axis=axis)


OPS = {
    "Gather": moving(_gather),
    "GatherElements": moving(_gather_elements),
    "Split": moving(_split),
    "DepthToSpace": moving(_depth_to_space),
    "SpaceToDepth": moving(_space_to_depth),
}
LIMITS = dict.fromkeys(OPS, needs(0))
TABLES = ("elementwise",)

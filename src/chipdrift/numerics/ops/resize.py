"""Resize and Upsample: nearest neighbour and linear interpolation (N39)."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from chipdrift.numerics.elementwise import from_sum, ratio, rescale
from chipdrift.numerics.limits import both, fixed, needs
from chipdrift.numerics.tensors import Array, OpSpec

_COORDINATES = ("half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel")
_F = np.float32


def resize(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X resized dimension by dimension.

    ``nearest`` moves integers. ``linear`` is the exact weighted mean of the neighbours, whose
    weights come from float32 coordinates (dyadic fractions), rounded once; under ``float32`` the
    mean is first rounded to float32 (N39).
    """
    x = arrays[0]
    assert x is not None
    plan = _plan(spec, x, arrays)
    if spec.attributes.get("mode", "nearest") == "nearest":
        for axis, (size, scale) in enumerate(plan):
            if (size, float(scale)) != (x.shape[axis], 1.0):
                x = x.take(_nearest(spec, x.shape[axis], size, scale), axis=axis)
        return rescale(spec, np.ascontiguousarray(x), spec.quant(0))
    total = (x.astype(np.int64) - int(spec.quant(0).zero_point)).astype(object)
    unit = 1
    for axis, (size, scale) in enumerate(plan):
        if (size, float(scale)) == (x.shape[axis], 1.0):
            continue
        n = x.shape[axis]
        where = np.clip(_coordinates(spec, n, size, scale), 0, n - 1)
        left = np.floor(where).astype(np.int64)
        rests = [Fraction(float(v)) for v in where - left.astype(_F)]
        common = max(rest.denominator for rest in rests)  # powers of two
        shape = [1] * x.ndim
        shape[axis] = size
        weight = np.array([int(rest * common) for rest in rests], object).reshape(shape)
        right = np.minimum(left + 1, n - 1)
        total = total.take(left, axis) * (common - weight) + total.take(right, axis) * weight
        unit *= common
    factor = ratio(spec.quant(0), spec.output)
    if spec.rules.elementwise.arithmetic == "float32":
        return from_sum(spec, [((total / unit).astype(_F), factor)], 1)
    return from_sum(spec, [(total, factor)], unit)


def _plan(spec: OpSpec, x: Array, arrays: Sequence[Array | None]) -> list[tuple[int, np.float32]]:
    """(size, scale) of every dimension of the output."""
    old = spec.op == "Upsample" or spec.attributes.get("opset", 19) < 11
    given = arrays[1 if old else 2] if len(arrays) > (1 if old else 2) else None
    sizes = arrays[3] if len(arrays) > 3 and not old else None
    if given is None and "scales" in spec.attributes:
        given = np.asarray(spec.attributes["scales"], _F)
    axes = [int(a) % x.ndim for a in spec.attributes.get("axes", range(x.ndim))]
    plan = [(n, _F(1)) for n in x.shape]
    for index, axis in enumerate(axes):
        n = x.shape[axis]
        if sizes is not None and sizes.size:
            size = int(sizes[index])
            plan[axis] = (size, _F(size) / _F(n))
        else:
            assert given is not None
            plan[axis] = (int(np.floor(n * _F(given[index]))), _F(given[index]))
    return plan


def _coordinates(spec: OpSpec, n: int, size: int, scale: np.float32) -> Array:
    """Where each output element lies in the input: float32 throughout, as onnxruntime does."""
    old = spec.op == "Upsample" or spec.attributes.get("opset", 19) < 11
    default = "asymmetric" if old else "half_pixel"
    mode = spec.attributes.get("coordinate_transformation_mode", default)
    i = np.arange(size).astype(_F)
    if mode == "asymmetric":
        return i / scale
    if mode == "align_corners":
        return i * _F(n - 1) / _F(size - 1) if size > 1 else np.zeros(size, _F)
    if mode == "pytorch_half_pixel" and size == 1:
        return np.zeros(size, _F)
    return (i + _F(0.5)) / scale - _F(0.5)


def _nearest(spec: OpSpec, n: int, size: int, scale: np.float32) -> Array:
    where = _coordinates(spec, n, size, scale)
    old = spec.op == "Upsample" or spec.attributes.get("opset", 19) < 11
    match spec.attributes.get("nearest_mode", "floor" if old else "round_prefer_floor"):
        case "floor":
            chosen = np.floor(where)
        case "ceil":
            chosen = np.ceil(where)
        case "round_prefer_ceil":
            chosen = np.floor(where + _F(0.5))
        case _:
            chosen = np.ceil(where - _F(0.5))
    return np.clip(chosen, 0, n - 1).astype(np.int64)


def _known(spec: OpSpec) -> str | None:
    found = spec.attributes
    mode = found.get("coordinate_transformation_mode", "half_pixel")
    if found.get("mode", "nearest") not in ("nearest", "linear"):
        return f"its mode {found['mode']} has no integer form"
    if mode not in _COORDINATES:
        return f"its coordinates ({mode}) have no integer form"
    if found.get("antialias", 0) or found.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        return "antialias and keep_aspect_ratio_policy have no integer form"
    return None


OPS = {"Resize": resize, "Upsample": resize}
LIMITS = {op: both(needs(0), fixed(2, 3), _known) for op in OPS}
TABLES = ("elementwise",)

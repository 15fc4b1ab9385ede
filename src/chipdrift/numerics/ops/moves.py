"""Ops that only move integers, and the bare change of a quantizer. Rules N30, N31, N35."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from chipdrift.numerics.elementwise import rescale
from chipdrift.numerics.limits import Limit, both, fixed, needs
from chipdrift.numerics.tensors import Array, OpSpec, Reference

# (integers of input 0, spec, arrays) -> the same integers in other places.
Move = Callable[[Array, OpSpec, Sequence[Array | None]], Array]


def moving(move: Move) -> Reference:
    """The op that moves its first input's integers and gives them the output's quantizer."""

    def run(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
        x = arrays[0]
        assert x is not None
        return rescale(spec, np.asarray(move(x, spec, arrays), order="C"), spec.quant(0))

    return run


def integers(spec: OpSpec, arrays: Sequence[Array | None], key: str, index: int) -> list[int]:
    """What newer opsets give as input ``index`` and older ones as attribute ``key``; else empty."""
    value: Any = arrays[index] if index < len(arrays) else None
    if value is None:
        value = spec.attributes.get(key, [])
    return [int(v) for v in np.asarray(value, np.int64).reshape(-1)]


def axes_of(spec: OpSpec, arrays: Sequence[Array | None]) -> list[int]:
    """``axes``, an attribute or input 1."""
    return integers(spec, arrays, "axes", 1)


def requantized(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """The same numbers under another quantizer; Relu and Clip, whose bounds are the clamp."""
    x = arrays[0]
    assert x is not None
    return rescale(spec, x, spec.quant(0))


def _flatten(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (d0, ..., dn) -> (d0 * ... * d[axis-1], the rest)."""
    axis = int(spec.attributes.get("axis", 1))
    axis += x.ndim if axis < 0 else 0
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(rows, int(np.prod(x.shape[axis:], dtype=np.int64)))


def _reshape(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """0 keeps a dimension (unless ``allowzero``), -1 takes what is left."""
    wanted = integers(spec, arrays, "shape", 1)
    if not spec.attributes.get("allowzero", 0):
        wanted = [x.shape[i] if n == 0 else n for i, n in enumerate(wanted)]
    return x.reshape(wanted)


def _squeeze(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    axes = axes_of(spec, arrays)
    return x.squeeze(tuple(axes)) if axes else x.squeeze()


def _unsqueeze(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    return np.expand_dims(x, tuple(axes_of(spec, arrays)))


def _transpose(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    return x.transpose(spec.attributes.get("perm") or None)


def _expand(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    wanted = tuple(integers(spec, arrays, "shape", 1))
    return np.broadcast_to(x, np.broadcast_shapes(x.shape, wanted))


def _tile(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    return np.tile(x, integers(spec, arrays, "repeats", 1))


def _slice(x: Array, spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    starts, ends = integers(spec, arrays, "starts", 1), integers(spec, arrays, "ends", 2)
    axes = integers(spec, arrays, "axes", 3) or list(range(len(starts)))
    steps = integers(spec, arrays, "steps", 4) or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        n = x.shape[axis]
        first, last = (v + n if v < 0 else v for v in (start, end))
        # ONNX clamps what lies outside, where a Python slice would be empty.
        low, high = (0, n) if step > 0 else (-1, n - 1)
        first, last = min(max(first, 0), high), min(max(last, low), high)
        x = x.take(range(first, last, step), axis=axis)
    return x


_MOVES: dict[str, Move] = {
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Unsqueeze": _unsqueeze,
    "Transpose": _transpose,
    "Expand": _expand,
    "Tile": _tile,
    "Slice": _slice,
}
OPS: dict[str, Reference] = {
    **dict.fromkeys(("Requantize", "Relu", "Clip", "Identity", "Dropout"), requantized),
    **{op: moving(move) for op, move in _MOVES.items()},
}


def _mask(spec: OpSpec) -> str | None:
    return "its mask is asked for" if spec.attributes.get("output_index", 0) else None


LIMITS: dict[str, Limit] = {
    **{op: needs(0) for op in OPS},
    "Squeeze": both(needs(0), fixed(1)),
    "Unsqueeze": both(needs(0), fixed(1)),
    "Dropout": both(needs(0), _mask),
}
TABLES = ("elementwise",)

"""Sums of products in an accumulator of a given width. Rules N10 to N14 of docs/numerics.md."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.numerics.profile import Accumulator

Array = np.ndarray[Any, Any]


def fit(values: Array, width: int, overflow: str) -> Array:
    """int64 ``values`` as an accumulator of ``width`` bits holds them (N10).

    ``wrap`` keeps the low ``width`` bits as two's complement; ``saturate`` clamps.
    """
    if width == 64:
        return values
    half = np.int64(1) << (width - 1)
    if overflow == "saturate":
        return np.clip(values, -half, half - 1)
    return ((values + half) & (2 * half - 1)) - half


def dot(x: Array, w: Array, rules: Accumulator) -> Array:
    """``x @ w`` as the accumulator sums it: int64 (..., M, K) x (K, N) or (..., K, N).

    Products are added in the order of K. Where sums wrap, order does not matter (N13): the sum
    modulo 2**width is the same. Saturation is applied after every addition.
    """
    x, w = x.astype(np.int64), w.astype(np.int64)
    if rules.block == 0:
        return _sum(x, w, rules.width, rules.overflow)
    depth = x.shape[-1]
    shape = np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
    total = np.zeros((*shape, x.shape[-2], w.shape[-1]), np.int64)
    for start in range(0, depth, rules.block):
        inner = slice(start, start + rules.block)
        part = _sum(x[..., inner], w[..., inner, :], rules.block_width, rules.block_overflow)
        total = fit(total + part, rules.width, rules.overflow)
    return total


def _sum(x: Array, w: Array, width: int, overflow: str) -> Array:
    if overflow == "wrap":
        return fit(x @ w, width, overflow)
    shape = np.broadcast_shapes(x.shape[:-2], w.shape[:-2])
    total = np.zeros((*shape, x.shape[-2], w.shape[-1]), np.int64)
    for k in range(x.shape[-1]):
        total = fit(total + x[..., k : k + 1] * w[..., k : k + 1, :], width, overflow)
    return total


def product_sums(
    x: Array, w: Array, x_zero: int, w_zero: Array, rules: Accumulator
) -> tuple[Array, Array]:
    """(products, correction) of (..., M, K) x (..., K, N), int64: their difference is the exact sum
    of ``(x - x_zero) * (w - w_zero)`` unless the accumulator overflows.

    ``centred`` operands subtract the zero points before they multiply, and nothing is left to
    correct; ``stored`` operands multiply as they are, and the correction is
    ``x_zero * sum(w) + w_zero * sum(x) - K * x_zero * w_zero``; a stored input meets centred
    weights, and the correction is ``x_zero * sum(w - w_zero)`` (N11).
    """
    x, w = x.astype(np.int64), w.astype(np.int64)
    if rules.operands == "stored" and rules.stored != "both":
        w, w_zero = w - w_zero, np.zeros_like(w_zero)
    if rules.operands == "centred":
        return dot(x - x_zero, w - w_zero, rules), np.zeros((1, 1), np.int64)
    correction = (
        x_zero * w.sum(axis=-2, keepdims=True)
        + w_zero * x.sum(axis=-1, keepdims=True)
        - x.shape[-1] * x_zero * w_zero
    )
    return dot(x, w, rules), correction

"""MatMul and Gemm."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chipdrift.numerics.accumulate import product_sums
from chipdrift.numerics.products import channel_zero, finish
from chipdrift.numerics.tensors import OpSpec

Array = np.ndarray[Any, Any]


def matmul(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """A (..., M, K) x B (..., K, N) -> (..., M, N); either may be an activation."""
    a, b = arrays[0], arrays[1]
    assert a is not None and b is not None
    return finish(spec, *_sums(spec, a, b), None)


def gemm(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """A (M, K) x B (K, N) + optional int32 bias (N,) -> (M, N); alpha and beta must be 1."""
    a, b, bias = arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None
    assert a is not None and b is not None
    if spec.attributes.get("transA", 0):
        a = a.T
    if spec.attributes.get("transB", 0):
        b = b.T
    return finish(spec, *_sums(spec, a, b), bias)


def _sums(spec: OpSpec, a: Array, b: Array) -> tuple[Array, Array]:
    return product_sums(
        a,
        b,
        int(spec.quant(0).zero_point),
        channel_zero(spec.quant(1)),
        spec.rules.accumulator,
    )


OPS = {"MatMul": matmul, "Gemm": gemm}

"""Gemm: a MatMul with a bias."""

from __future__ import annotations

from collections.abc import Sequence

from chipdrift.numerics.ops.matmul import limit as product_limit
from chipdrift.numerics.ops.matmul import matrix_products
from chipdrift.numerics.tensors import Array, OpSpec


def gemm(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """A (M, K) x B (K, N) + optional bias (N,) -> (M, N); alpha and beta must be 1."""
    a, b, bias = arrays[0], arrays[1], arrays[2] if len(arrays) > 2 else None
    assert a is not None and b is not None
    if spec.attributes.get("transA", 0):
        a = a.T
    return matrix_products(spec, a, b.T if spec.attributes.get("transB", 0) else b, bias)


def _limit(spec: OpSpec) -> str | None:
    if any(spec.attributes.get(key, 1.0) != 1.0 for key in ("alpha", "beta")):
        return "alpha and beta other than 1 have no integer form"
    reason = _bias_limit(spec, bool(spec.attributes.get("transB", 0)))
    return reason or product_limit(spec)


def _bias_limit(spec: OpSpec, turned: bool) -> str | None:
    bias = spec.operands[2] if len(spec.operands) > 2 else None
    if bias is None or (bias.constant is None and bias.quant is None):
        return None
    if bias.constant is None:
        return "its bias comes at run time"
    held = spec.operands[1].constant
    outputs = 0 if held is None else held.shape[0 if turned else 1]
    if bias.constant.size not in (1, outputs):
        return f"its bias has {bias.constant.size} values, not one for each output channel"
    return None


OPS = {"Gemm": gemm}
LIMITS = {"Gemm": _limit}
TABLES = ("accumulator", "requantize")

"""MatMul, and what it shares with Gemm."""

from __future__ import annotations

from collections.abc import Sequence

from chipdrift.numerics.accumulate import fit, product_sums
from chipdrift.numerics.blockwise import block_products, why_not
from chipdrift.numerics.narrow import narrow, narrowed, narrows
from chipdrift.numerics.products import channel_zero, finish
from chipdrift.numerics.tensors import Array, OpSpec


def matmul(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """A (..., M, K) x B (..., K, N) -> (..., M, N); either may be an activation, or a vector."""
    a, b = arrays[0], arrays[1]
    assert a is not None and b is not None
    spec, b = second_operand(spec, b)
    dropped = tuple(axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1)
    a, b = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    return matrix_products(spec, a, b, None).squeeze(dropped)


def second_operand(spec: OpSpec, b: Array) -> tuple[OpSpec, Array]:
    """The product and its second operand as they are multiplied: brought to 8 bits or not (N16)."""
    if not narrows(spec) or spec.rules.narrow is None:
        return spec, b
    small = narrowed(spec)
    return small, narrow(b, spec.quant(1), small.quant(1), spec.rules.narrow)


def accumulators(spec: OpSpec, a: Array, b: Array) -> Array:
    """The sums of A (..., M, K) x B (..., K, N) of integers, as the accumulator holds them."""
    rules, zeros = spec.rules.accumulator, channel_zero(spec.quant(1))
    products, taken = product_sums(a, b, int(spec.quant(0).zero_point), zeros, rules)
    return fit(products - taken, rules.width, rules.overflow)


def matrix_products(spec: OpSpec, a: Array, b: Array, bias: Array | None) -> Array:
    """A (..., M, K) x B (..., K, N) of integers with a bias (N,), to the output's integers."""
    w = spec.quant(1)
    if w.block_size:
        turned = bool(spec.attributes.get("transB", 0))
        scale, zero = (w.scale.T, w.zero_point.T) if turned else (w.scale, w.zero_point)
        return block_products(spec, a, b, scale, zero)
    x_zero = int(spec.quant(0).zero_point)
    sums = product_sums(a, b, x_zero, channel_zero(w), spec.rules.accumulator)
    return finish(spec, *sums, bias)


def limit(spec: OpSpec) -> str | None:
    """Why this product has no integer form, or None."""
    x, w = spec.operands[0].quant, spec.operands[1].quant
    turned = spec.op == "Gemm" and bool(spec.attributes.get("transB", 0))
    if x is None or w is None:
        return f"input {0 if x is None else 1} has no quantizer"
    if not x.per_tensor:
        return "its first input has more than one scale"
    if w.block_size:
        return why_not(spec, 1 if turned else 0)
    if w.axis is not None:
        held = spec.operands[1].constant
        if held is None or w.axis % held.ndim != (0 if turned else held.ndim - 1):
            return f"its weights have scales along axis {w.axis}, not along the output's channels"
    return None


OPS = {"MatMul": matmul}
LIMITS = {"MatMul": limit}
TABLES = ("accumulator", "requantize", "narrow")

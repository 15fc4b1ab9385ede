"""MatMul, and what it shares with Gemm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chipdrift.numerics.accumulate import fit, product_sums
from chipdrift.numerics.blockwise import block_products, why_not
from chipdrift.numerics.narrow import narrow, narrowed, narrows
from chipdrift.numerics.products import channel_zero, finish
from chipdrift.numerics.signed import fits_signed, signed_weights
from chipdrift.numerics.tensors import Array, Operand, OpSpec


def matmul(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """A (..., M, K) x B (..., K, N) -> (..., M, N); either may be an activation, or a vector."""
    a, b = arrays[0], arrays[1]
    assert a is not None and b is not None
    spec, b = second_operand(spec, b)
    dropped = tuple(axis for axis, x in ((-2, a), (-1, b)) if x.ndim == 1)
    a, b = (a[None] if a.ndim == 1 else a), (b[:, None] if b.ndim == 1 else b)
    if leaves_signed(spec, b):
        return _each_signed(spec, a, b).squeeze(dropped)
    return matrix_products(spec, a, b, None).squeeze(dropped)


def leaves_signed(spec: OpSpec, b: Array) -> bool:
    """Whether a second activation of 8 bits must be quantized again to be signed (N17)."""
    rules, operand = spec.rules.accumulator, spec.operands[1]
    return (
        (rules.operands, rules.stored) == ("stored", "signed")
        and operand.constant is None
        and spec.quant(1).bits == 8
        and not fits_signed(b, spec.quant(1))
    )


def _each_signed(spec: OpSpec, a: Array, b: Array) -> Array:
    """The product of every pair of matrices, each with the channels' scales of its own B."""
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = np.empty((*lead, a.shape[-2], b.shape[-1]), spec.output.storage)
    a, b = np.broadcast_to(a, (*lead, *a.shape[-2:])), np.broadcast_to(b, (*lead, *b.shape[-2:]))
    for place in np.ndindex(*lead):
        w, held, _ = signed_weights(b[place], spec.quant(1), 1)
        operands = (spec.operands[0], Operand(held))
        out[place] = matrix_products(replace(spec, operands=operands), a[place], w, None)
    return out


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

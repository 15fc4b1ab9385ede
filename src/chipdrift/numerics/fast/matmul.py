"""MatMul and Gemm, with constant weights or between two activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chipdrift.numerics.fast.ending import Ending, channels_of
from chipdrift.numerics.fast.gemm import free_product
from chipdrift.numerics.fast.requantize import Sums
from chipdrift.numerics.fast.sums import summation
from chipdrift.numerics.fast.weights import Weights, roomy, unsigned
from chipdrift.numerics.narrow import narrow, narrowed, narrows
from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.ops.matmul import leaves_signed
from chipdrift.numerics.products import channel_zero
from chipdrift.numerics.rounding import Rounding, divide
from chipdrift.numerics.tensors import Array, Kernel, OpSpec, Quant


def compile_matmul(spec: OpSpec) -> Kernel | None:
    """A kernel of A, or of A and B; None where the reference must do it."""
    a, b = spec.operands[0], spec.operands[1]
    if a.constant is not None or a.quant is None or not a.quant.per_tensor or b.quant is None:
        return None
    if b.quant.block_size or any(operand.live for operand in spec.operands):
        return None
    if b.constant is None:
        if spec.op != "MatMul" or not b.quant.per_tensor:
            return None
        return _narrowed(spec) if narrows(spec) else _between(spec)
    w = b.constant.T if spec.op == "Gemm" and spec.attributes.get("transB", 0) else b.constant
    if w.ndim != 2 or w.size == 0:
        return None
    bias = spec.operands[2].constant if len(spec.operands) > 2 else None
    count = w.shape[1]
    bias = None if bias is None else np.broadcast_to(bias.reshape(-1), (count,))
    channels = channels_of(spec, bias, count)
    addends = np.array([c.addend for c in channels], np.int64)
    zero = np.broadcast_to(channel_zero(b.quant), (count,))
    weights = Weights(roomy(w, b.quant), zero, b.quant, np.arange(w.shape[0]))
    made = summation(spec, weights, addends)
    if made is None or made.run is None:
        return None
    end, run = Ending(spec, bias, channels, made.sums), made.run
    turned = spec.op == "Gemm" and bool(spec.attributes.get("transA", 0))

    def kernel(arrays: Sequence[Array], seed: int | None = None) -> Array:
        x = arrays[0].T if turned else arrays[0]
        flat = unsigned(x).reshape(-1, x.shape[-1])
        lead = x.shape[:-1]
        return end.run(flat.shape[0], count, lead, lambda i, n: run(flat[i : i + n]), seed)

    return kernel


def _narrowed(spec: OpSpec) -> Kernel:
    """As :func:`_between`, B from 16 bits to 8 by a table of all its integers (N16)."""
    rules, quant, small = spec.rules.narrow, spec.quant(1), narrowed(spec)
    assert rules is not None
    kernel = _between(small)
    patterns = np.arange(1 << 16, dtype=np.uint16)
    table = narrow(patterns.view(quant.storage), quant, small.quant(1), rules)

    def run(arrays: Sequence[Array], seed: int | None = None) -> Array:
        x, y = arrays
        return kernel([x, table[np.ascontiguousarray(y).view(np.uint16)]], seed)

    return run


def _between(spec: OpSpec) -> Kernel:
    """A (..., M, K) x B (..., K, N), both at run time; what the sums can reach depends on K."""
    endings: dict[int, Ending | None] = {}
    reference = reference_ops()[spec.op]
    a, b = spec.quant(0), spec.quant(1)

    def kernel(arrays: Sequence[Array], seed: int | None = None) -> Array:
        x, y = arrays
        depth = x.shape[-1]
        if depth not in endings:
            endings[depth] = _ending(spec, depth)
        end = endings[depth]
        empty = 0 in (*x.shape, *y.shape)
        if end is None or min(x.ndim, y.ndim) < 2 or empty or leaves_signed(spec, y):
            return reference(spec if seed is None else replace(spec, seed=seed), arrays)
        if spec.rules.requantize.parts == "apart":
            total = _apart(spec, x, y)
        else:
            total = _exact(x, y, int(a.zero_point), int(b.zero_point))
        flat = total.reshape(-1, total.shape[-1])
        return end.run(*flat.shape, total.shape[:-1], lambda i, n: flat[i : i + n], seed)

    return kernel


def _exact(a: Array, b: Array, a_zero: int, b_zero: int) -> Array:
    """``(a - a_zero) @ (b - b_zero)``: int32 for bytes, int64 of exact float64 sums for more."""
    if a.dtype.itemsize == b.dtype.itemsize == 1:
        flips = (128 if v.dtype.kind == "i" else 0 for v in (a, b))
        return free_product(unsigned(a), unsigned(b), a_zero + next(flips), b_zero + next(flips))
    total: Array = (a.astype(np.float64) - a_zero) @ (b.astype(np.float64) - b_zero)
    return total.astype(np.int64)


def _apart(spec: OpSpec, a: Array, b: Array) -> Array:
    """What is left of the products when they and the correction have lost ``drop`` bits, int64.

    In units of the accumulator, so that dropping them again changes nothing (N29).
    """
    rules, zeros = spec.rules.requantize, [int(spec.quant(i).zero_point) for i in (0, 1)]
    both = spec.rules.accumulator.stored == "both"
    products = _exact(a, b, 0, 0 if both else zeros[1]).astype(np.int64)
    wide = b.astype(np.int64) - (0 if both else zeros[1])
    correction = zeros[0] * wide.sum(axis=-2, keepdims=True)
    if both:
        rows = a.astype(np.int64).sum(axis=-1, keepdims=True)
        correction = correction + zeros[1] * rows - a.shape[-1] * zeros[0] * zeros[1]
    taken = divide(correction, 1 << rules.drop, Rounding(rules.correction_drop))
    left: Array = ((products >> rules.drop) - taken) << rules.drop
    return left


def _ending(spec: OpSpec, depth: int) -> Ending | None:
    """What ends the sums, if they provably stay inside the accumulator."""
    rules = spec.rules.accumulator
    a, b = spec.quant(0), spec.quant(1)
    centred = [_reach(q, int(q.zero_point)) for q in (a, b)]
    reach = depth * centred[0] * centred[1]
    stored = [_reach(a, 0), _reach(b, 0) if rules.stored == "both" else centred[1]]
    walked = reach if rules.operands == "centred" else depth * stored[0] * stored[1]
    channels = channels_of(spec, None, 1)
    final = reach + abs(channels[0].addend)
    if spec.rules.requantize.parts == "apart":
        # Three roundings by less than a unit each: of the products, both zero points' share.
        final = reach + (4 << spec.rules.requantize.drop)
    widths = [rules.width, *([rules.block_width] if rules.block else [])]
    small = a.storage.itemsize == b.storage.itemsize == 1
    if max(walked, final) >= 1 << min(*widths, 54) - 1 or (small and reach >= 2**31):
        return None
    row = [np.array([v], np.int64) for v in (0, 0, -final, final)]
    return Ending(spec, None, channels, Sums(*row))


def _reach(quant: Quant, zero: int) -> int:
    return max(abs(quant.low - zero), abs(quant.high - zero))

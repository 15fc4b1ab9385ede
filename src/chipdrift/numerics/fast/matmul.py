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
from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.products import channel_zero
from chipdrift.numerics.tensors import Array, Kernel, OpSpec, Quant


def compile_matmul(spec: OpSpec) -> Kernel | None:
    """A kernel of A, or of A and B; None where the reference must do it."""
    a, b = spec.operands[0], spec.operands[1]
    if a.constant is not None or a.quant is None or not a.quant.per_tensor or b.quant is None:
        return None
    if b.quant.block_size or any(operand.live for operand in spec.operands):
        return None
    if b.constant is None:
        return _between(spec) if spec.op == "MatMul" and b.quant.per_tensor else None
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


def _between(spec: OpSpec) -> Kernel | None:
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
        if end is None or min(x.ndim, y.ndim) < 2 or 0 in (*x.shape, *y.shape):
            return reference(spec if seed is None else replace(spec, seed=seed), arrays)
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


def _ending(spec: OpSpec, depth: int) -> Ending | None:
    """What ends the sums, if they provably stay inside the accumulator."""
    rules = spec.rules.accumulator
    if spec.rules.requantize.parts == "apart":
        return None
    a, b = spec.quant(0), spec.quant(1)
    centred = [_reach(q, int(q.zero_point)) for q in (a, b)]
    reach = depth * centred[0] * centred[1]
    walked = reach if rules.operands == "centred" else depth * _reach(a, 0) * _reach(b, 0)
    channels = channels_of(spec, None, 1)
    final = reach + abs(channels[0].addend)
    widths = [rules.width, *([rules.block_width] if rules.block else [])]
    narrow = a.storage.itemsize == b.storage.itemsize == 1
    if max(walked, final) >= 1 << min(*widths, 54) - 1 or (narrow and reach >= 2**31):
        return None
    row = [np.array([v], np.int64) for v in (0, 0, -final, final)]
    return Ending(spec, None, channels, Sums(*row))


def _reach(quant: Quant, zero: int) -> int:
    return max(abs(quant.low - zero), abs(quant.high - zero))

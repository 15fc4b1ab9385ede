"""Products whose weights have a scale per block of the inner dimension. Rules N37 and N38."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from chipdrift.numerics.accumulate import fit, product_sums
from chipdrift.numerics.products import clamp_limits
from chipdrift.numerics.requantize import represent
from chipdrift.numerics.rounding import Rounding, divide, noise_of, round_float
from chipdrift.numerics.tensors import Array, OpSpec

_FAR = 2**33


def block_products(spec: OpSpec, x: Array, w: Array, scale: Array, zero: Array) -> Array:
    """X (..., M, K) x W (K, N) -> (..., M, N) integers; ``scale``, ``zero``: (blocks, N).

    Every block has an accumulator of its own, under the profile's rules (N37). Their sum, each
    times its own S, and the bias in real numbers is exact and rounded once (N38); under multiplier
    ``float32`` every factor, product and sum is rounded to float32, from left to right.
    """
    rules, size = spec.rules.requantize, spec.quant(1).block_size
    x_zero = int(spec.quant(0).zero_point)
    sums = []
    for j in range(scale.shape[0]):
        inner = slice(j * size, (j + 1) * size)
        rules_of = spec.rules.accumulator
        products, taken = product_sums(x[..., inner], w[inner], x_zero, zero[j], rules_of)
        sums.append(fit(products - taken, rules_of.width, rules_of.overflow))
    step = Fraction(float(spec.quant(0).scale)) / Fraction(float(spec.output.scale))
    factors = [[Fraction(float(s)) * step for s in row] for row in scale]
    added = _bias(spec, scale.shape[1])
    shape, noise = sums[0].shape, None
    if rules.rounding is Rounding.STOCHASTIC:
        noise = noise_of(spec.seed, spec.stream, np.arange(sums[0].size).reshape(shape))
    if rules.multiplier == "float32":
        total = np.zeros(shape, np.float32)
        for acc, row in zip(sums, factors, strict=True):
            total += acc.astype(np.float32) * np.array([np.float32(float(f)) for f in row])
        total += np.array([np.float32(float(b)) for b in added])
        out = round_float(np.clip(total, -_FAR, _FAR).astype(np.float32), rules.rounding, noise)
    else:
        held = [[represent(f, rules) for f in row] for row in factors]
        out = np.empty(shape, np.int64)
        for n, bias in enumerate(added):
            whole = bias + sum(
                a[..., n].astype(object) * row[n] for a, row in zip(sums, held, strict=True)
            )
            over, under = _parts(whole)
            drawn = None if noise is None else noise[..., n]
            out[..., n] = np.clip(divide(over, under, rules.rounding, drawn), -_FAR, _FAR)
    out = out.astype(np.int64) + int(spec.output.zero_point)
    return np.clip(out, *clamp_limits(spec)).astype(spec.output.storage)


def _bias(spec: OpSpec, channels: int) -> list[Fraction]:
    """The real bias in output steps, one for each channel; 0 where there is none."""
    if len(spec.operands) < 3 or spec.operands[2].constant is None:
        return [Fraction(0)] * channels
    values = np.broadcast_to(spec.operands[2].constant.reshape(-1), (channels,))
    return [Fraction(float(v)) / Fraction(float(spec.output.scale)) for v in values]


def _parts(values: Array) -> tuple[Array, Array]:
    pairs = [Fraction(v).as_integer_ratio() for v in values.reshape(-1)]
    over, under = np.empty(len(pairs), object), np.empty(len(pairs), object)
    over[:], under[:] = [p for p, _ in pairs], [q for _, q in pairs]
    return over.reshape(values.shape), under.reshape(values.shape)


def why_not(spec: OpSpec, axis: int) -> str | None:
    """Why blocks along ``axis`` of input 1 have no integer form under these rules."""
    w, rules = spec.operands[1], spec.rules.requantize
    if w.quant is None or w.constant is None:
        return "blockwise scales need weights that the model holds"
    if (w.quant.axis or 0) % w.constant.ndim != axis:
        return f"its weights have blocks along axis {w.quant.axis}, not along the inner dimension"
    if rules.drop or rules.keep is not None or rules.steps == "double":
        return "the profile drops accumulator bits or rounds twice, which blocks do not define"
    if rules.zero_point == "accumulator":
        return "the profile adds the zero point to the accumulator, of which blocks have many"
    return None

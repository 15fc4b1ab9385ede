"""Softmax and LogSoftmax (N44, N45)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from chipdrift.numerics.functions import arithmetic_of, real, to_output
from chipdrift.numerics.limits import needs
from chipdrift.numerics.tensors import Array, OpSpec


def softmax(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """``exp(x - max) / sum(exp(x - max))`` along ``axis``, or its logarithm.

    Before opset 13 all dimensions from ``axis`` on are one.
    """
    x = arrays[0]
    assert x is not None
    m = arithmetic_of(spec)
    old = spec.attributes.get("opset", 13) < 13
    axis = int(spec.attributes.get("axis", 1 if old else -1)) % x.ndim
    axes = tuple(range(axis, x.ndim)) if old else (axis,)
    with np.errstate(all="ignore"):
        # Of the integers: what all inputs share drops out, and the difference is exact.
        steps = x.astype(np.int64) - x.max(axis=axes, keepdims=True).astype(np.int64)
        low = real(steps + int(spec.quant(0).zero_point), spec.quant(0), m)
        grown = m.exp(low)
        total = m.total(grown, axes)
        found = low - m.log(total) if spec.op == "LogSoftmax" else grown / total
    return to_output(_whole_steps(spec), found)


def _whole_steps(spec: OpSpec) -> OpSpec:
    """onnxruntime's 8-bit Softmax multiplies by ``floor(1 / scale)``, a whole number (N44).

    Found by comparing: with a scale of 1/256 nothing differs, with others up to a tenth.
    """
    out = spec.output
    kernel = spec.op == "Softmax" and out.bits == 8 and spec.quant(0).dtype == out.dtype
    if spec.rules.function.arithmetic != "float32" or not kernel or out.scale > 1:
        return spec
    scale = np.float32(1) / np.floor(np.float32(1) / np.asarray(out.scale, np.float32))
    return replace(spec, output=replace(out, scale=np.asarray(scale)))


OPS = {"Softmax": softmax, "LogSoftmax": softmax}
LIMITS = {op: needs(0) for op in OPS}

"""LayerNorm, RMSNorm, GroupNorm, InstanceNorm, BatchNorm, LpNorm (N44, N45)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.numerics.functions import Floats, arithmetic_of, real, to_output
from chipdrift.numerics.limits import Limit, both, fixed, narrow
from chipdrift.numerics.tensors import Array, OpSpec


def _inputs(spec: OpSpec, arrays: Sequence[Array | None], m: Floats) -> list[Array | None]:
    pairs = zip(arrays, spec.operands, strict=True)
    return [None if x is None else real(x, operand.quant, m) for x, operand in pairs]


def _unit(x: Array, axes: tuple[int, ...], epsilon: float, m: Floats, centre: bool) -> Array:
    """``(x - mean) / sqrt(variance + epsilon)``; without ``centre`` the mean counts as 0."""
    count = m.of(float(np.prod([x.shape[axis] for axis in axes])))
    if centre:
        x = x - m.total(x, axes) / count
    return x / m.sqrt(m.total(x * x, axes) / count + m.of(epsilon))


def layer_norm(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X normalized over the dimensions from ``axis`` on, times scale, plus an optional bias."""
    m = arithmetic_of(spec)
    x, scale, *more = _inputs(spec, arrays, m)
    assert x is not None and scale is not None
    axis = int(spec.attributes.get("axis", -1)) % x.ndim
    epsilon = float(spec.attributes.get("epsilon", 1e-5))
    centre = spec.op == "LayerNormalization"
    with np.errstate(all="ignore"):
        y = _unit(x, tuple(range(axis, x.ndim)), epsilon, m, centre) * scale
        if more and more[0] is not None:
            y = y + more[0]
    return to_output(spec, y)


def group_norm(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, *spatial) normalized over groups of channels; InstanceNorm has one in a group.

    ``scale`` and ``bias`` have one value for each channel or, before opset 21, for each group.
    """
    m = arithmetic_of(spec)
    x, scale, bias = _inputs(spec, arrays, m)
    assert x is not None and scale is not None and bias is not None
    channels = x.shape[1]
    groups = channels if spec.op == "InstanceNormalization" else int(spec.attributes["num_groups"])
    each = channels // groups * int(np.prod(x.shape[2:]))
    epsilon = float(spec.attributes.get("epsilon", 1e-5))
    shape = [1, channels, *[1] * (x.ndim - 2)]
    scale, bias = (np.repeat(v, channels // v.size).reshape(shape) for v in (scale, bias))
    with np.errstate(all="ignore"):
        unit = _unit(x.reshape(x.shape[0], groups, each), (2,), epsilon, m, True)
        y = unit.reshape(x.shape) * scale + bias
    return to_output(spec, y)


def batch_norm(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X (N, C, ...): ``x * g + (bias - mean * g)``, ``g = scale / sqrt(variance + epsilon)``."""
    m = arithmetic_of(spec)
    x, *rest = _inputs(spec, arrays, m)
    assert x is not None
    shape = [1, -1, *[1] * (x.ndim - 2)]
    scale, bias, mean, variance = (np.asarray(v).reshape(shape) for v in rest)
    epsilon = m.of(float(spec.attributes.get("epsilon", 1e-5)))
    with np.errstate(all="ignore"):
        gain = scale / m.sqrt(variance + epsilon)
        y = x * gain + (bias - mean * gain)
    return to_output(spec, y)


def lp_norm(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X divided by its length along ``axis``; 0 where the length is 0."""
    m = arithmetic_of(spec)
    (x,) = _inputs(spec, arrays, m)
    assert x is not None
    axes = (int(spec.attributes.get("axis", -1)) % x.ndim,)
    with np.errstate(all="ignore"):
        if int(spec.attributes.get("p", 2)) == 1:
            length = m.total(np.abs(x), axes)
        else:
            length = m.sqrt(m.total(x * x, axes))
        y = np.where(length == 0, m.of(0), x / length)
    return to_output(spec, y)


def _inference(spec: OpSpec) -> str | None:
    more = spec.attributes.get("output_index", 0) or spec.attributes.get("training_mode", 0)
    return "more than its first output is asked for" if more else None


def _parameters(spec: OpSpec) -> str | None:
    """Scales per channel are taken along the one axis of a parameter, blocks are not."""
    for index, operand in enumerate(spec.operands[1:], 1):
        if operand.quant is not None and operand.quant.block_size:
            return f"input {index} has scales per block"
    return None


_LIMIT: Limit = both(narrow(0), fixed(1, 2, 3, 4), _parameters, _inference)
OPS = {
    **dict.fromkeys(("LayerNormalization", "SimplifiedLayerNormalization"), layer_norm),
    "RMSNormalization": layer_norm,
    "GroupNormalization": group_norm,
    "InstanceNormalization": group_norm,
    "BatchNormalization": batch_norm,
    "LpNormalization": lp_norm,
}
LIMITS = dict.fromkeys(OPS, _LIMIT)
TABLES = ("elementwise", "function")

"""The second activation of a product, brought from 16 bits to 8. Rule N16 of docs/numerics.md."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from chipdrift.numerics.profile import Narrow
from chipdrift.numerics.tensors import Array, Operand, OpSpec, Quant

# 65535 / 255: a step of 8 bits in steps of 16 bits.
_STEP = 257


def narrows(spec: OpSpec) -> bool:
    """Whether the rules bring input 1 to 8 bits: a 16-bit tensor that comes at run time."""
    operand = spec.operands[1] if len(spec.operands) > 1 else Operand()
    quant = operand.quant
    return (
        spec.rules.narrow is not None
        and spec.rules.narrow.arithmetic != "none"
        and operand.constant is None
        and quant is not None
        and quant.per_tensor
        and quant.bits == 16
    )


def narrowed(spec: OpSpec) -> OpSpec:
    """The product of input 0 and 8-bit integers, which :func:`narrow` makes of input 1."""
    quant = spec.quant(1)
    # Zero points are rounded to the nearest step; the scale once, to float32.
    zero = (int(quant.zero_point) - quant.low + _STEP // 2) // _STEP
    scale = np.asarray(np.float32(quant.scale) * np.float32(_STEP))
    small = Quant(scale, np.asarray(zero, np.int64), "uint8")
    operands = (spec.operands[0], Operand(small), *spec.operands[2:])
    return replace(spec, operands=operands, rules=spec.rules.model_copy(update={"narrow": None}))


def narrow(values: Array, quant: Quant, small: Quant, rules: Narrow) -> Array:
    """16-bit integers of ``quant`` as uint8 integers of ``small``, any shape (N16)."""
    q = values.astype(np.int64) - quant.low
    z, zero = int(quant.zero_point) - quant.low, int(small.zero_point)
    if rules.fraction is None:
        # floor((q - z) / 257 + 1/2): the divisor is odd, so there are no ties.
        steps = (2 * (q - z) + _STEP) // (2 * _STEP)
    else:
        units = _units(q, rules) - _units(np.asarray(z, np.int64), rules)
        steps = (units + (1 << rules.fraction >> 1)) >> rules.fraction
    out: Array = np.clip(steps + zero, small.low, small.high).astype(small.storage)
    return out


def _units(q: Array, rules: Narrow) -> Array:
    """``q * 255 / 65536`` in units of ``2**-fraction``, rounded."""
    assert rules.fraction is not None
    shift = 16 - rules.fraction
    added = {"UP": (1 << shift) - 1, "HALF_UP": 1 << shift >> 1, "FLOOR": 0}[rules.rounding]
    out: Array = (q * 255 + added) >> shift
    return out

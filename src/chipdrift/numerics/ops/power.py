"""Pow with a constant exponent: a function of one value (N40 to N43)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from chipdrift.numerics.functions import apply
from chipdrift.numerics.limits import both, fixed, narrow
from chipdrift.numerics.tensors import Array, OpSpec


def _power(x: Any, m: Any, exponent: float) -> Any:
    """``x`` to a constant power; squares and cubes by multiplication, as onnxruntime does."""
    if exponent == 2:
        return x * x
    return x * x * x if exponent == 3 else m.power(x, exponent)


def power(spec: OpSpec, arrays: Sequence[Array | None]) -> Array:
    """X to a constant power, one for all."""
    x, exponent, quant = arrays[0], arrays[1], spec.operands[1].quant
    assert x is not None and exponent is not None
    value = float(exponent.reshape(-1)[0])
    if quant is not None:
        value = (value - float(quant.zero_point)) * float(quant.scale)
    return apply(spec, x, spec.quant(0), lambda v, m: _power(v, m, value))


def _one_power(spec: OpSpec) -> str | None:
    constant = spec.operands[1].constant
    many = constant is not None and constant.size != 1
    return "its exponent is not one number" if many else None


OPS = {"Pow": power}
LIMITS = {"Pow": both(narrow(0), fixed(1), _one_power)}
TABLES = ("elementwise", "function")

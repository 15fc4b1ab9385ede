"""Integers with their quantizer, and an op as the engine sees it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from chipdrift.numerics.profile import Rules

Array = np.ndarray[Any, Any]

_RANGES = {
    "int4": (-8, 7),
    "uint4": (0, 15),
    "int8": (-128, 127),
    "uint8": (0, 255),
    "int16": (-(2**15), 2**15 - 1),
    "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1),
}


@dataclass(frozen=True, eq=False)
class Quant:
    """A quantizer: ``real = (integer - zero_point) * scale``.

    ``scale`` (float32) and ``zero_point`` (int64) have shape () per tensor, (C,) per channel along
    ``axis``, or the tensor's own shape with ``axis`` divided by ``block_size`` in blocks.
    """

    scale: Array
    zero_point: Array
    dtype: str
    axis: int | None = None
    block_size: int = 0

    @property
    def low(self) -> int:
        """The least integer."""
        return _RANGES[self.dtype][0]

    @property
    def high(self) -> int:
        """The greatest integer."""
        return _RANGES[self.dtype][1]

    @property
    def bits(self) -> int:
        """The width of an integer."""
        return (self.high - self.low).bit_length()

    @property
    def storage(self) -> np.dtype[Any]:
        """NumPy's type of the integers: 4-bit ones lie in 8 bits."""
        return np.dtype({"int4": "int8", "uint4": "uint8"}.get(self.dtype, self.dtype))

    @property
    def per_tensor(self) -> bool:
        """Whether there is one scale."""
        return self.scale.size == 1

    def same_as(self, other: Quant) -> bool:
        """Whether both give the same number for every integer."""
        return (
            self.dtype == other.dtype
            and self.axis == other.axis
            and self.block_size == other.block_size
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
        )


@dataclass(frozen=True, eq=False)
class Operand:
    """One input of an op.

    ``quant`` is None for what has no quantizer (axes, shapes, an absent input). ``constant`` holds
    the integers, or the plain values, that the model itself gives; None where they come at run
    time. ``live`` marks what comes at run time without a quantizer: indices, a shape, a condition.
    """

    quant: Quant | None = None
    constant: Array | None = None
    live: bool = False


@dataclass(frozen=True, eq=False)
class OpSpec:
    """One op between its quantizers.

    ``clamp`` is the fused Relu or Clip in real numbers, None where open; ``stream`` tells this node
    from others in the noise of STOCHASTIC rounding; ``output`` is the quantizer of its one output.
    """

    op: str
    node: str
    operands: tuple[Operand, ...]
    attributes: Mapping[str, Any]
    output: Quant
    rules: Rules = field(default_factory=Rules)
    clamp: tuple[float | None, float | None] = (None, None)
    seed: int = 0
    stream: int = 0

    def quant(self, index: int) -> Quant:
        """The quantizer of an input that must have one."""
        found = self.operands[index].quant if index < len(self.operands) else None
        if found is None:
            raise ValueError(f"node {self.node} ({self.op}): input {index} has no quantizer")
        return found


# A reference op: the integers of every operand (None where absent) to the output's integers.
Reference = Callable[[OpSpec, Sequence[Array | None]], Array]


class Kernel(Protocol):
    """A compiled op: the integers of the operands that are not constant, in order, to the output's.

    ``seed`` is what STOCHASTIC noise begins with, in the place of the spec's own.
    """

    def __call__(self, arrays: Sequence[Array], seed: int | None = None) -> Array:
        """The output's integers."""

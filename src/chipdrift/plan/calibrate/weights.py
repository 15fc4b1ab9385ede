"""What the quantized model holds as weights: their integers, scales and zero points."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.graph.program import Program

Array = np.ndarray[Any, Any]
_LIMITS = {"int8": 127.0, "int4": 7.5, "uint8": 127.5, "uint4": 7.5}


@dataclass(frozen=True, eq=False)
class Held:
    """A node's weight. ``scale`` and ``zero`` are () or (C,); ``limit`` is the largest integer,
    counted from the zero point, that a symmetric range has."""

    integers: Array
    scale: Array
    zero: Array
    dtype: str

    @property
    def limit(self) -> float:
        """How many steps of the scale a magnitude is."""
        return _LIMITS[self.dtype]

    @property
    def per_channel(self) -> bool:
        """Whether every output channel has a scale of its own."""
        return self.scale.ndim == 1


def read_weights(program: Program) -> dict[str, Held]:
    """By node, the weights with one scale or one per channel; those in blocks are left out."""
    makers = {out: step for step in program.steps for out in step.outputs}
    found: dict[str, Held] = {}
    for step in program.steps:
        if step.op not in ("Conv", "ConvTranspose", "Gemm", "MatMul") or len(step.inputs) < 2:
            continue
        maker = makers.get(step.inputs[1])
        if maker is None or maker.op != "DequantizeLinear" or len(maker.inputs) < 3:
            continue
        values, scale, zero = (program.constants.get(name) for name in maker.inputs[:3])
        if values is None or scale is None or zero is None or scale.ndim > 1:
            continue
        dtype = program.dtypes.get(maker.inputs[0], values.dtype.name)
        if dtype in _LIMITS:
            found[step.name] = Held(values, scale, zero, dtype)
    return found

"""The quantizers of a program: scales, zero points and types of its Q and DQ nodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chipdrift.errors import ModelError
from chipdrift.graph.program import Step
from chipdrift.numerics.tensors import Quant

Array = np.ndarray[Any, Any]

QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"


class Quantizers:
    """Reads each Q or DQ node once; ``constants`` and ``dtypes`` are the program's, by tensor."""

    def __init__(self, constants: Mapping[str, Array], dtypes: Mapping[str, str]) -> None:
        self._constants, self._dtypes = constants, dtypes
        self._read_so_far: dict[tuple[str, str], Quant] = {}

    def of(self, step: Step, tensor: str) -> Quant:
        """The quantizer of a Q or DQ node; ``tensor`` is its integer side.

        Raises ModelError where the model does not hold its scale, or the engine does not know it.
        """
        key = (step.name, tensor)
        if key not in self._read_so_far:
            self._read_so_far[key] = self._read(step, tensor)
        return self._read_so_far[key]

    def _read(self, step: Step, tensor: str) -> Quant:
        scale = self._constants.get(step.inputs[1])
        if scale is None:
            raise ModelError(
                f"Node {step.name} ({step.op}): its scale is computed at run time; the engine "
                "needs scales that the model holds. Quantize the model statically."
            )
        if scale.dtype != np.float32:
            raise ModelError(
                f"Node {step.name} ({step.op}): its scale is {scale.dtype}; the engine knows "
                "float32 scales. Quantize the float32 model."
            )
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            raise ModelError(
                f"Node {step.name} ({step.op}): a scale is {float(scale.min()):g}; scales are "
                "finite and above 0. Calibrate the model again."
            )
        zero_name = step.inputs[2] if len(step.inputs) > 2 else ""
        zero = self._constants.get(zero_name) if zero_name else np.zeros_like(scale)
        dtype = self._dtypes.get(zero_name or tensor, "uint8")
        if not zero_name and step.op == QUANTIZE:
            kind = step.attributes.get("output_dtype", 0)
            dtype = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}.get(kind, dtype)
        if zero is None or dtype not in (
            "uint8", "int8", "uint16", "int16", "int32", "uint4", "int4",
        ):  # fmt: skip
            raise ModelError(
                f"Node {step.name} ({step.op}): integers of type {dtype}; the engine knows int4, "
                "uint4, int8, uint8, int16, uint16 and int32."
            )
        scale = np.asarray(scale, np.float32)
        axis = int(step.attributes.get("axis", 1))
        single = scale.size == 1
        return Quant(
            scale=scale.reshape(()) if single else scale,
            zero_point=(zero.reshape(()) if single else zero).astype(np.int64),
            dtype=dtype,
            axis=None if single else axis,
            block_size=0 if single else int(step.attributes.get("block_size", 0)),
        )

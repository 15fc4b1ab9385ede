"""The layers that multiply by weights, and what stands around them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.graph.program import Program, Step

Array = np.ndarray[Any, Any]
_BIAS = 2
_CONVOLUTIONS = frozenset({"Conv", "ConvTranspose"})


@dataclass(frozen=True, eq=False)
class Product:
    """A node that sums over a constant weight, in the float model that is quantized.

    ``weight`` is float32; its output channels lie along ``axis`` (for a ConvTranspose those of one
    group). ``source`` is the tensor it reads, ``output`` what it makes, ``end`` what the clamp
    behind it makes (``output`` where there is none): there its quantizer stands. ``clamp`` is that
    clamp. ``channels`` is the axis of the channels in both. ``bias`` is (C,) or None, and
    ``bias_key`` the NODE#SLOT that holds it or may; None where the op takes none.
    """

    node: str
    op: str
    weight: Array
    axis: int
    groups: int
    source: str
    output: str
    end: str
    clamp: Step | None
    channels: int
    bias: Array | None
    bias_key: str | None
    step: Step

    @property
    def weight_key(self) -> str:
        """The weight's NODE#SLOT."""
        return f"{self.node}#1"

    @property
    def count(self) -> int:
        """How many output channels it has."""
        grouped = self.groups if self.op == "ConvTranspose" else 1
        return int(self.weight.shape[self.axis]) * grouped

    def columns(self, values: Array) -> Array:
        """``values`` of the weight's shape as (output channels, all that each sums over)."""
        return np.moveaxis(values, self.axis, 0).reshape(values.shape[self.axis], -1)

    def uncolumns(self, values: Array) -> Array:
        """The inverse of :meth:`columns`."""
        moved = np.moveaxis(self.weight, self.axis, 0).shape
        return np.moveaxis(values.reshape(moved), 0, self.axis)


def find_products(program: Program) -> tuple[Product, ...]:
    """All of a float model's, in order."""
    readers: dict[str, list[Step]] = {}
    for step in program.steps:
        for name in step.inputs:
            readers.setdefault(name, []).append(step)
    found = []
    for step in program.steps:
        axis = _channel_axis(step, program.constants)
        if axis is None:
            continue
        weight = program.constants[step.inputs[1]]
        output = step.outputs[0]
        key, bias = _bias(step, program.constants)
        alone = readers.get(output, [])
        if len(alone) == 1 and output not in program.outputs and key is None:
            # A MatMul's bias is an Add of its own; its sum has a quantizer before it, too.
            key, bias = _added(alone[0], output, program.constants, weight.shape[axis])
        clamp = None
        if len(alone) == 1 and output not in program.outputs and alone[0].op in ("Relu", "Clip"):
            clamp = alone[0]
        found.append(
            Product(
                node=step.name,
                op=step.op,
                weight=weight,
                axis=axis,
                groups=int(step.attributes.get("group", 1)),
                source=step.inputs[0],
                output=output,
                end=clamp.outputs[0] if clamp is not None else output,
                clamp=clamp,
                channels=1 if step.op in _CONVOLUTIONS else -1,
                bias=bias,
                bias_key=key,
                step=step,
            )
        )
    return tuple(found)


def clamp_bounds(product: Product, program: Program) -> tuple[float, float]:
    """What the clamp behind ``product`` holds its values between; infinite where nothing does.

    A bound that is no constant of one element counts as infinite.
    """
    clamp, bounds = product.clamp, [-np.inf, np.inf]
    if clamp is None:
        return bounds[0], bounds[1]
    if clamp.op == "Relu":
        return 0.0, np.inf
    for slot in (1, 2):
        held = program.constants.get(clamp.inputs[slot]) if len(clamp.inputs) > slot else None
        if held is not None and held.size == 1:
            bounds[slot - 1] = float(held.reshape(()))
    return bounds[0], bounds[1]


def _channel_axis(step: Step, constants: Mapping[str, Array]) -> int | None:
    if len(step.inputs) < 2 or step.inputs[1] not in constants or step.inputs[0] in constants:
        return None
    weight = constants[step.inputs[1]]
    if weight.dtype != np.float32:
        return None
    if step.op == "Conv":
        return 0
    if step.op == "ConvTranspose" or (step.op == "MatMul" and weight.ndim == 2):
        return 1
    if step.op == "Gemm":
        return 0 if step.attributes.get("transB") else 1
    return None


def _bias(step: Step, constants: Mapping[str, Array]) -> tuple[str | None, Array | None]:
    """Where the bias is, or may be put; and what it is."""
    if step.op == "MatMul" or float(step.attributes.get("beta", 1.0)) != 1.0:
        return None, None
    held = step.inputs[_BIAS] if len(step.inputs) > _BIAS else ""
    if not held:
        return f"{step.name}#{_BIAS}", None
    bias = constants.get(held)
    if bias is None or bias.ndim != 1 or bias.dtype != np.float32 or bias.size == 1:
        return None, None
    return f"{step.name}#{_BIAS}", bias


def _added(
    step: Step, output: str, constants: Mapping[str, Array], count: int
) -> tuple[str | None, Array | None]:
    if step.op != "Add":
        return None, None
    slot = 1 - list(step.inputs).index(output)
    bias = constants.get(step.inputs[slot])
    if bias is None or bias.shape != (count,) or bias.dtype != np.float32:
        return None, None
    return f"{step.name}#{slot}", bias

"""By what a profile's rules are chosen: a node's width, its kernel, its least scale."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from chipdrift.graph.program import Step
from chipdrift.numerics.tensors import Operand, Quant

# Ops of two numbers that have kernels for a constant of one element.
_PAIRED = frozenset({"Add", "Sub", "Mul", "Div", "Min", "Max"})


def activation_bits(operands: Sequence[Operand], output: Quant) -> int:
    """The width of the first input, or of the output where that has no quantizer."""
    first = operands[0].quant if operands else None
    return (first or output).bits


def kernel_of(step: Step, operands: Sequence[Operand]) -> str | None:
    """The kernel of ``step`` as a profile's rules name it, or None."""
    if step.op in _PAIRED and len(operands) == 2:
        return _paired(step.op, operands)
    if step.op == "MatMul" and len(operands) == 2:
        both = all(operand.constant is None for operand in operands)
        return "dynamic" if both else None
    if step.op not in ("Conv", "ConvTranspose") or len(operands) < 2:
        return None
    weights = operands[1].constant
    group = int(step.attributes.get("group", 1))
    if weights is None:
        return "plain"
    if group > 1 and weights.shape[1] == 1 and weights.shape[0] == group:
        wide = all(k >= 3 for k in weights.shape[2:])
        strided = list(step.attributes.get("strides", [])) == [2, 2]
        return "depthwise_stride2" if wide and strided else "depthwise"
    if group > 1:
        return "grouped"
    return "pointwise" if all(k == 1 for k in weights.shape[2:]) else "plain"


def least_scale(operands: Sequence[Operand], output: Quant) -> Fraction | None:
    """The least S of a product's output channels, exactly (N20); None where there is no S."""
    if len(operands) < 2 or not output.per_tensor:
        return None
    x, w = operands[0].quant, operands[1].quant
    if x is None or w is None or not x.per_tensor:
        return None
    scales = (Fraction(float(q.scale.reshape(-1)[0])) for q in (x, output))
    return next(scales) * Fraction(float(w.scale.min())) / next(scales)


def _paired(op: str, operands: Sequence[Operand]) -> str | None:
    """The kernel of an element-wise op with a constant of one element, or None."""
    numbers = [o.constant is not None and o.constant.size == 1 for o in operands]
    if sum(numbers) != 1:
        return None
    index = numbers.index(True)
    if op in ("Sub", "Div") and index == 0:
        return "constant_first"
    held, quant = operands[index].constant, operands[index].quant
    if op in ("Mul", "Div") and held is not None and quant is not None and quant.per_tensor:
        below = int(held.reshape(-1)[0]) < int(quant.zero_point)
        return "negative_constant" if below else "constant"
    return "constant"

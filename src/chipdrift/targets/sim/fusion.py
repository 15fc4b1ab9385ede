"""Ops that become one: a BatchNormalization and its product (N71), an attention's Softmax (N74)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chipdrift.graph.program import Step
from chipdrift.numerics.tensors import Operand

Array = np.ndarray[Any, Any]


def fold_batch_norm(
    operands: list[Operand], parameters: list[Array], epsilon: float
) -> list[Operand] | str:
    """The operands of a Conv or Gemm (output channels first) with the normalization in them.

    ``parameters`` are gamma, beta, mean and variance, each (C,). With ``g = gamma / sqrt(variance +
    epsilon)``: the weight scale becomes ``scale * abs(g)``, the weights take the sign of g, and the
    bias is ``(bias - mean) * g + beta`` in steps of the new scale, HALF_EVEN. Returns the reason
    where it cannot be done.
    """
    x, w = operands[0].quant, operands[1]
    if x is None or w.quant is None or w.constant is None or w.quant.block_size:
        return "a BatchNormalization is fused into constant weights with plain scales only"
    gamma, beta, mean, variance = (values.astype(np.float64).reshape(-1) for values in parameters)
    gain = gamma / np.sqrt(variance + epsilon)
    if not np.all(np.isfinite(gain)) or np.any(gain == 0):
        return "its BatchNormalization has a factor that is 0 or not finite"
    old = float(x.scale) * np.broadcast_to(w.quant.scale.astype(np.float64), gain.shape)
    scale = (np.broadcast_to(w.quant.scale, gain.shape) * np.abs(gain)).astype(np.float32)
    bias = operands[2].constant if len(operands) > 2 else None
    real = 0.0 if bias is None else bias.astype(np.float64) * old
    moved = (real - mean) * gain + beta
    shape = (-1, *[1] * (w.constant.ndim - 1))
    zero = np.broadcast_to(w.quant.zero_point, gain.shape)
    sign = np.sign(gain).astype(np.int64)
    centred = w.constant.astype(np.int64) - zero.reshape(shape)
    # 16 bits hold the negative of -128, and what an asymmetric weight is from its zero point.
    weights = Operand(
        replace(
            w.quant, scale=scale, zero_point=np.zeros(gain.shape, np.int64), dtype="int16", axis=0
        ),
        (centred * sign.reshape(shape)).astype(np.int16),
    )
    steps = np.rint(moved / (float(x.scale) * scale.astype(np.float64))).astype(np.int64)
    return [operands[0], weights, Operand(None, steps)]


@dataclass(frozen=True, eq=False)
class Attention:
    """A Softmax between two MatMuls.

    ``steps`` are what stands between the first MatMul and the Softmax, in order: a node with the
    index of the input that carries the scores. ``alone``: nobody else reads what is on the way.
    """

    product: Step
    steps: tuple[tuple[Step, int], ...]
    alone: bool


def attention_of(
    softmax: Step,
    makers: Mapping[str, Step],
    readers: Mapping[str, Sequence[Step]],
    constants: Mapping[str, Any],
) -> Attention | None:
    """The attention that ``softmax`` is part of, seen through quantizers, or None."""
    if softmax.op != "Softmax" or softmax.domain or not _feeds_matmul(softmax, readers):
        return None
    found = _scores(softmax.inputs[0], makers, constants)
    if found is None:
        return None
    product, steps = found
    names = [product.outputs[0], *(step.outputs[0] for step, _ in steps)]
    alone = all(_read_once(name, readers) for name in names)
    return Attention(product, tuple(steps), alone)


def _feeds_matmul(softmax: Step, readers: Mapping[str, Sequence[Step]]) -> bool:
    pending, behind = [softmax.outputs[0]], []
    while pending:
        for step in readers.get(pending.pop(), ()):
            if step.op in ("QuantizeLinear", "DequantizeLinear"):
                pending.append(step.outputs[0])
            else:
                behind.append(step.op)
    return "MatMul" in behind


def _scores(
    name: str, makers: Mapping[str, Step], constants: Mapping[str, Any]
) -> tuple[Step, list[tuple[Step, int]]] | None:
    """The MatMul behind ``name``, with the Mul, Div and Add on the way, the first first."""
    step = makers.get(name)
    if step is None:
        return None
    if step.op in ("QuantizeLinear", "DequantizeLinear"):
        return _scores(step.inputs[0], makers, constants)
    if step.op == "MatMul" and not step.domain:
        return step, []
    if step.op not in ("Mul", "Div", "Add"):
        return None
    for side in (0,) if step.op == "Div" else (0, 1):
        if step.op != "Add" and not _is_number(step.inputs[1 - side], makers, constants):
            continue
        found = _scores(step.inputs[side], makers, constants)
        if found is not None:
            return found[0], [*found[1], (step, side)]
    return None


def _is_number(name: str, makers: Mapping[str, Step], constants: Mapping[str, Any]) -> bool:
    """Whether ``name`` is one number that the model holds, through a DequantizeLinear or not."""
    maker = makers.get(name)
    if maker is not None and maker.op == "DequantizeLinear":
        name = maker.inputs[0]
    return name in constants and constants[name].size == 1


def _read_once(name: str, readers: Mapping[str, Sequence[Step]]) -> bool:
    """Whether one node reads ``name``, and one what its quantizers make of it."""
    while len(found := readers.get(name, ())) == 1:
        if found[0].op not in ("QuantizeLinear", "DequantizeLinear"):
            return True
        name = found[0].outputs[0]
    return False

"""One op between quantizers, asked: the model that is made of it and the answer's integers."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from chipdrift.graph.single import OneOp, Side, integers, one_op_model, real
from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.tensors import Quant
from chipdrift.probe.ask import Asker
from chipdrift.probe.elementsearch import Asked


def quant_of(dtype: str, scale: Any, zero: int) -> Quant:
    """A quantizer with one scale, held as float32."""
    return Quant(np.asarray(scale, np.float32), np.asarray(zero, np.int64), dtype)


def answered(asker: Asker, entry: Asked) -> Asked:
    """``entry`` with the target's integers; raises NoAnswerError.

    An operand with a quantizer is fed, or part of the model where it is constant; one without is a
    plain constant (axes, a shape).
    """
    sides, plain, feed = [], {}, {}
    for index, (operand, values) in enumerate(zip(entry.spec.operands, entry.arrays, strict=True)):
        assert values is not None
        if operand.quant is None:
            plain[index] = values
            continue
        fed = operand.constant is None
        sides.append(_side(operand.quant, values.shape))
        if fed:
            feed[f"x{index}"] = real(values, sides[-1])
        else:
            sides[-1] = replace(sides[-1], integers=values)
    shape = np.shape(reference_ops()[entry.spec.op](entry.spec, entry.arrays))
    out = _side(entry.spec.output, shape)
    one = OneOp(entry.spec.op, sides, out, entry.spec.attributes, plain=plain)
    (made,) = asker.ask(one_op_model(one), [feed])
    return replace(entry, answer=integers(made, out))


def _side(quant: Quant, shape: tuple[int, ...]) -> Side:
    return Side(quant.dtype, np.float32(float(quant.scale)), int(quant.zero_point), shape=shape)

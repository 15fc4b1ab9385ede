"""Softmax inputs whose step is too coarse for probabilities: the loss stands before the op."""

from __future__ import annotations

import math

from chipdrift.diagnose.exam import Exam
from chipdrift.numerics.tensors import Quant

# What half a step of the input may change in the ratio of two probabilities. 8 bits over scores of
# -12 to 12 change it by 5 %, with a mask of -30 by some 10 %; 16 bits by far less than 0.1 %.
_RATIO = 0.15


def coarse_scores(exam: Exam) -> dict[str, Quant]:
    """The input's quantizer of each Softmax, by node, whose half step changes too much.

    No way to compute the Softmax itself helps there, in float on the CPU neither.
    """
    found = {}
    for name, spec in exam.specs.items():
        if spec.op != "Softmax" or "scores" in spec.attributes:
            continue
        quant = spec.operands[0].quant
        if quant is not None and quant.per_tensor and moved(quant) > _RATIO:
            found[name] = quant
    return found


def moved(quant: Quant) -> float:
    """What half a step changes in the ratio of two probabilities."""
    return math.expm1(min(700.0, float(quant.scale) / 2))

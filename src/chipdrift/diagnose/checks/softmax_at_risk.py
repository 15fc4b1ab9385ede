"""A Softmax whose input or output is too coarse for probabilities.

What it finds: a Softmax, or an attention, whose input's step is so large that rounding alone
changes the ratio of two probabilities by 15 %; and one whose output's step swallows the
probabilities of long rows, so that they no longer sum to 1.

Why it hurts: a Softmax turns a difference of inputs into a ratio of outputs: half a step of s is a
factor of exp(s / 2). A mask of -10000 in the range of the scores makes the step of 8 bits 39: all
that is attended to gets the same probability.

Example: a transformer's attention in w8a8 with its mask added as -10000 before the quantizer.

Fix: keep the scores in 16 bits (w8a16_pc); write the mask as a small number, say -30, so that it
does not set the range. The Softmax in float on the CPU changes nothing: its input is what is lost.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import more_bits, scores_remedy
from chipdrift.diagnose.scores import coarse_scores, moved
from chipdrift.findings import Finding
from chipdrift.graph import Piece
from chipdrift.numerics.tensors import OpSpec, Quant

Array = np.ndarray[Any, Any]

# How far a row of output probabilities may sum from 1, on average over the rows.
_LOST = 0.1


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for all that read coarse scores, one for each that loses probability."""
    pieces = {piece.name: piece for piece in exam.anatomy.cut.pieces}
    coarse = coarse_scores(exam)
    for name, spec in exam.specs.items():
        if spec.op != "Softmax" or "scores" in spec.attributes or name in coarse:
            continue
        quant = spec.operands[0].quant
        if quant is None or not quant.per_tensor:
            continue
        lost = _unsummed(exam, spec, pieces.get(name))
        if lost is not None and lost > _LOST:
            yield _swallowed(exam, name, spec, lost)
    if coarse:
        yield _coarse(exam, coarse)


def _coarse(exam: Exam, found: Mapping[str, Quant]) -> Finding:
    nodes = sorted(found, key=lambda name: -float(found[name].scale))
    quant, others = found[nodes[0]], len(nodes) - 1
    step, zero, ratio = float(quant.scale), int(quant.zero_point), moved(quant)
    span = f"{(quant.low - zero) * step:.4g} to {(quant.high - zero) * step:.4g}"
    changes = f"by up to {100 * ratio:.0f} %" if ratio < 10 else "more than tenfold"
    fix, command = scores_remedy(exam)
    return Finding(
        check="softmax-at-risk",
        severity="warning",
        title=f"{nodes[0]}"
        + (f" and {others} other Softmax read" if others else " (Softmax) reads")
        + f" scores in steps of {step:.3g}",
        words=f"its input's {quant.bits} bits span {span}: rounding alone changes the ratio of two "
        f"probabilities {changes}",
        nodes=tuple(nodes),
        targets=exam.targets,
        experiment=f"the input's quantizer: half a step of {step:.4g} is a factor of "
        f"exp({step / 2:.4g})",
        fix=fix,
        command=command,
        weight=min(1.0, ratio),
    )


def _swallowed(exam: Exam, name: str, spec: OpSpec, lost: float) -> Finding:
    return Finding(
        check="softmax-at-risk",
        severity="warning",
        title=f"{name} (Softmax) gives probabilities that do not sum to 1",
        words=f"its output's step of {float(spec.output.scale):.3g} is of the size of the "
        f"probabilities themselves: a row's sum is off by {100 * lost:.0f} % on average",
        nodes=(name,),
        targets=exam.targets[:1],
        experiment=f"the rows of this tensor on {exam.targets[0]}, summed up",
        fix="keep the probabilities in 16 bits",
        command=more_bits(exam),
        weight=min(1.0, lost),
    )


def _unsummed(exam: Exam, spec: OpSpec, piece: Piece | None) -> float | None:
    """How far the rows of output probabilities sum from 1, on average."""
    if piece is None or len(piece.outputs) != 1 or not spec.output.per_tensor:
        return None
    away: list[Array] = []
    for entry in exam.tensors_a:
        held = entry.get(piece.outputs[0])
        if held is None or held.dtype.kind == "f" or not held.ndim:
            return None
        steps = held.astype(np.float64) - int(spec.output.zero_point)
        real = steps * float(spec.output.scale)
        opset = int(spec.attributes.get("opset", 13))
        axis = int(spec.attributes.get("axis", -1 if opset >= 13 else 1))
        if opset < 13:  # all axes from this one on are one
            axis %= held.ndim
            real = real.reshape(*held.shape[:axis], -1)
            axis = -1
        away.append(np.abs(real.sum(axis=axis) - 1).reshape(-1))
    return float(np.concatenate(away).mean()) if away else None

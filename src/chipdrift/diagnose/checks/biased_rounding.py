"""Rounding that leans to one side.

What it finds: nodes whose answer, alone and on the same integers, lies on one side of the other
target's on average: the mean difference is many standard errors from zero and at least a twentieth
of a step (of an 8-bit one, where the output has 16 bits). Where the whole model carries it on, so
that it grows along the depth, it is a warning.

Why it hurts: differences of rounding cancel from value to value, a bias does not: every layer adds
its own, and a sum over many inputs adds them all. A tenth of a step in each layer moves the logits.

Example: a target that cuts off instead of rounding (FLOOR) lies half a step low in every node.

Fix: none where nothing is lost. Else add the mean difference, in steps of the accumulator, to the
node's bias in the model, use 16-bit activations, whose step is 256 times smaller (w8a16_pc), or
keep the node on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chipdrift.counts import besides, counted
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import NONE_NEEDED, WIDE, harmless, more_bits, on_cpu
from chipdrift.diagnose.replay import Replay
from chipdrift.findings import Finding, Own
from chipdrift.numerics.profile import Profile

# Halves up against halves to even on 3 bits below the step lean by 1/16 at most, and only where
# all of them tie; cutting off leans by 1/2.
_LEAST = 0.05
_LEVELS = 256  # of 16 bits, 256 steps are one of 8 bits: what is less than that harms nobody
# Rounding moves a value by a few steps; what moves one further is an overflow or a fault.
_FAR = 32.0
_NOT_ROUNDING = frozenset(
    {"accumulator_overflow", "block_scales", "float16_range", "float16_order", "fallback", "layout"}
)
# Values of a sample hang together, so that a standard error from their number is too small: eight
# of them are still beyond chance at a sixteenth of that number, where two decide.
_ERRORS = 8.0
# The whole model carries the bias on where its later half leans by so much more than its first.
_GROWS = 1.25


@dataclass(frozen=True)
class _Lean:
    own: Own
    bias: float
    errors: float


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for all nodes that lean, the worst first."""
    if exam.case.b is None:
        return
    leans = [lean for own in exam.diagnosis.own if (lean := _lean(exam, own)) is not None]
    if not leans:
        return
    leans.sort(key=lambda lean: -abs(lean.bias))
    a, b = exam.targets
    worst, low = leans[0], leans[0].bias < 0
    first, last = _halves(exam)
    grows = last >= _GROWS * first and last >= _LEAST
    others = besides(len(leans) - 1)
    moved = (
        f"In place the mean shift grows from {first:.2f} steps in the first half of the model to "
        f"{last:.2f} in the second."
        if grows
        else f"In place it does not add up: {first:.2f} steps in the first half of the model, "
        f"{last:.2f} in the second."
    )
    nodes = tuple(lean.own.node for lean in leans)
    command = None if harmless(exam) else more_bits(exam)
    wider = f", or use 16-bit activations ({WIDE})" if command else ""
    yield Finding(
        check="biased-rounding",
        severity="warning" if grows else "note",
        title=f"{b} rounds {'lower' if low else 'higher'} than {a} in {worst.own.node}{others}",
        words=f"on the same integers {b} lies {abs(worst.bias):.2f} steps "
        f"{'below' if low else 'above'} {a} on average, {worst.errors:.0f} standard errors from "
        f"none{_against_exact(exam, worst.own)}. {moved}",
        nodes=nodes,
        targets=(a, b),
        experiment=f"each node cut out with its quantizers and fed with {a}'s integers on both, "
        f"{counted(exam.diagnosis.own_samples, 'sample')}",
        fix=NONE_NEEDED
        if harmless(exam)
        else f"add the mean difference to the node's bias for {b}{wider}, or {on_cpu(nodes)}",
        command=command,
        weight=min(1.0, abs(worst.bias)),
    )


def _lean(exam: Exam, own: Own) -> _Lean | None:
    """A node's mean difference, where it is no chance and not tiny."""
    bias = None if own.distance is None else own.distance.bias_lsb
    if bias is None or abs(bias) < _LEAST or _otherwise(exam, own):
        return None
    steps = [
        b[own.tensor].astype(np.int64) - a[own.tensor].astype(np.int64)
        for a, b in zip(exam.alone_a, exam.alone_b, strict=True)
        if own.tensor in a and own.tensor in b and a[own.tensor].dtype.kind != "f"
    ]
    quantizer = exam.anatomy.quantizers.get(own.tensor)
    if not steps or quantizer is None:
        return None
    low, high = range_of(quantizer.dtype)
    coarse = max(1.0, (high - low + 1) / _LEVELS)
    if abs(bias) < _LEAST * coarse:
        return None
    values = np.concatenate([s.reshape(-1) for s in steps]).astype(np.float64)
    # One value that moves is a spread, too: a node without any would be sure of itself.
    spread = max(float(values.std()), 0.5 / np.sqrt(values.size))
    errors = abs(float(values.mean())) / (spread / np.sqrt(values.size))
    return _Lean(own, bias, errors) if errors >= _ERRORS else None


def _otherwise(exam: Exam, own: Own) -> bool:
    """Whether the node parts by something else than rounding."""
    distance, explanation = own.distance, exam.explanation(own.node)
    if distance is None or own.together or (distance.max_lsb or 0.0) > _FAR:
        return True
    first = explanation.mechanisms[:1] if explanation is not None else ()
    return any(mechanism.mechanism in _NOT_ROUNDING for mechanism in first)


def _halves(exam: Exam) -> tuple[float, float]:
    """The mean shift of the activations in place, in steps, in either half of the model."""
    shifts = [
        abs(a.distance.bias_lsb)
        for a in exam.diagnosis.activations
        if a.distance.bias_lsb is not None
    ]
    half = len(shifts) // 2
    if not half:
        return 0.0, abs(shifts[0]) if shifts else 0.0
    return float(np.mean(shifts[:half])), float(np.mean(shifts[half:]))


def _against_exact(exam: Exam, own: Own) -> str:
    """Which of the two leans against the real number rounded once, in words."""
    piece = next((p for p in exam.anatomy.cut.pieces if p.name == own.node), None)
    count = len(exam.alone_a)
    fed = [{**f, **k} for f, k in zip(exam.feeds[:count], exam.tensors_a, strict=True)]
    if piece is None or not fed or not all(name in fed[0] for name in piece.inputs):
        return ""
    replay = Replay(exam.case.model, piece, fed)
    exact = replay.answers(Profile(name="exact")) if len(piece.outputs) == 1 else None
    if exact is None or exact.dtype.kind == "f":
        return ""
    leans = []
    for target, alone in zip(exam.targets, (exam.alone_a, exam.alone_b), strict=True):
        made = np.concatenate([entry[own.tensor].reshape(-1) for entry in alone])
        if made.shape != exact.shape:
            return ""
        leans.append(f"{target} by {float((made.astype(np.int64) - exact).mean()):+.2f}")
    return f" (against the exact sum, rounded once: {', '.join(leans)})"

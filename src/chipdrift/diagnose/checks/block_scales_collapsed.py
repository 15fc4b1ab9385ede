"""Weights quantized in blocks, computed with one scale per channel.

What it finds: nodes whose weights have a scale for every block of inputs in the model, and which a
target answers as if each output channel had one scale only: the largest of its blocks'.

Why it hurts: the block scales are the reason why 4 bits are enough. With one scale for all blocks
the small ones keep only a few of their 16 levels, or none; the loss is of the size of the model's
quantization, and no layer before shows it.

Example: a MatMul with weights in blocks of 32 (w4a16_b32); the converter has no form for blocks and
takes the largest scale of each channel.

Fix: quantize per channel for this chip, so that the scales are chosen for what it computes
(w4a16_pc, or w8a16_pc where 4 bits do not suffice), or keep these nodes off the chip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chipdrift.counts import besides
from chipdrift.diagnose.exam import Exam, Feed
from chipdrift.diagnose.remedies import matrix_command
from chipdrift.diagnose.replay import Replay, flat
from chipdrift.errors import ModelError
from chipdrift.findings import Finding
from chipdrift.graph import Piece
from chipdrift.numerics.profile import Profile
from chipdrift.targets.sim.plan import IntegerUnit, make_plan

Array = np.ndarray[Any, Any]

# Collapsed weights must bring the engine this much nearer to the target's answers: rounding and
# other rules move answers by a step, collapsing by far more, so half is no near miss.
_NEARER = 0.5
# A mean distance, in steps, below which the two forms of the weights cannot be told apart.
_VISIBLE = 0.05


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target that collapses blocks, with its nodes."""
    named = _in_blocks(exam)
    blocks = [piece for piece in exam.anatomy.cut.pieces if piece.name in named]
    if not blocks or not exam.tensors_a:
        return
    fed = [{**f, **t} for f, t in zip(exam.feeds, exam.tensors_a, strict=False)]
    sides = [(exam.targets[0], exam.alone_a or exam.tensors_a)]
    if exam.case.b is not None:
        sides.append((exam.targets[1], exam.alone_b))
    for target, answers in sides:
        profile = exam.case.profiles.get(target, Profile(name="plain"))
        found = {
            piece.name: apart
            for piece in blocks
            if (apart := _collapsed(exam.case.model, piece, fed, answers, profile)) is not None
        }
        if not found:
            continue
        worst = max(found, key=lambda name: found[name][0])
        written, nearer = found[worst]
        others = len(found) - 1
        yield Finding(
            check="block-scales-collapsed",
            severity="warning",
            title=f"{target} computes {worst}"
            + besides(others)
            + " without the scales of its blocks",
            words=f"the weights have a scale for every block in the model; {target} answers as "
            "with the largest of each channel: the answers are off by "
            f"{written:.3g} steps on average",
            nodes=tuple(sorted(found, key=lambda name: -found[name][0])),
            targets=(target,),
            experiment=f"replayed {worst} in the engine: {written:.3g} steps from {target}'s "
            f"answers with a scale per block, {nearer:.3g} with one per channel",
            fix="quantize per channel for this chip: its scales are then chosen for what it "
            "computes",
            command=matrix_command(exam, "w4a16_pc", "w8a16_pc"),
            weight=min(1.0, written),
        )


def _in_blocks(exam: Exam) -> set[str]:
    """The nodes whose weights have a scale per block in the model, whatever A makes of them."""
    try:
        units = make_plan(exam.program, Profile(name="plain")).units
    except ModelError:
        return set()
    found = set()
    for unit in units:
        if isinstance(unit, IntegerUnit) and len(unit.spec.operands) > 1:
            quant = unit.spec.operands[1].quant
            if quant is not None and quant.block_size:
                found.add(unit.step.name)
    return found


def _collapsed(
    model: bytes, piece: Piece, fed: Sequence[Feed], answers: Sequence[Feed], profile: Profile
) -> tuple[float, float] | None:
    """Mean steps from the answers to the engine with blocks and without; None: not collapsed."""
    names = piece.outputs
    if not answers or not all(n in entry for entry in answers for n in names):
        return None
    if not all(n in entry for entry in fed for n in piece.inputs):
        return None
    replay = Replay(model, piece, fed[: len(answers)])
    told = flat([[entry[name] for name in names] for entry in answers])
    distances = []
    for collapse in (None, "per_channel"):
        made = replay.answers(_with(profile, collapse))
        if made is None or made.shape != told.shape:
            return None
        distances.append(float(np.abs(made.astype(np.float64) - told).mean()))
    written, nearer = distances
    if written < _VISIBLE or nearer > _NEARER * written:
        return None
    return written, nearer


def _with(profile: Profile, collapse: str | None) -> Profile:
    """``profile`` with its blocks collapsed, or not, at every node."""
    change = {"collapse": collapse}
    rules = tuple(
        rule.model_copy(update={"weights": rule.weights.model_copy(update=change)})
        if rule.weights is not None
        else rule
        for rule in profile.rule
    )
    weights = profile.weights.model_copy(update=change)
    return profile.model_copy(update={"weights": weights, "rule": rules})

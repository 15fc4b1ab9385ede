"""Low bits of the accumulator that are dropped before the scale is applied.

What it finds: products in which a target drops low accumulator bits, and in which that changes a
large part of the outputs. Where the target's rules are known the node is computed with and without
the drop; where they are not, the experiment's explanation of the node counts.

Why it hurts: the bits that go are rounded by themselves, before the output's own rounding: outputs
near the middle between two steps fall to the other side. Where the drop is coarser than the
output's step the answer is off by several steps, and the calibration knew nothing of it.

Example: Hexagon v69 keeps 3 bits below the output's step in 8 bits; with 16-bit activations it
drops 8 bits of the sum, of the correction and of the bias, each by itself.

Fix: a wider output range or 16-bit activations leave the dropped bits further below the step; keep
the nodes named in another scheme, or calibrate on this chip's numerics.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.mechanisms import altered
from chipdrift.diagnose.replay import Replay
from chipdrift.findings import Finding, Severity
from chipdrift.numerics.profile import Override, Profile, Rules

# Two bits kept below the output's step move one output in eight by a step, three one in 16: what
# chips do that were measured (Hexagon keeps 3 and 7). More than this is a drop that is too coarse.
_LARGE = 0.15
_NONE = {"drop": 0, "keep": None, "parts": "together", "drop_rounding": "FLOOR"}


@dataclass(frozen=True)
class _Drop:
    """A node, the share of its outputs that the drop changes and, where known, by how much."""

    node: str
    changed: float
    steps: float | None
    rule: str
    bits: int

    @property
    def severity(self) -> Severity:
        """A warning where 8 bits would show it: most drops of 16-bit outputs are below that."""
        return "warning" if (self.steps or 0.0) >= 2.0 ** (self.bits - 8) else "note"


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target that drops bits, its nodes worst first."""
    for place, target in enumerate(exam.targets):
        if place and exam.case.b is None:
            continue
        profile = exam.case.profiles.get(target)
        drops = list(_replayed(exam, profile) if profile else _explained(exam, place))
        drops = sorted((d for d in drops if d.changed >= _LARGE), key=lambda d: -d.changed)
        if not drops:
            continue
        drops.sort(key=lambda d: (d.severity != "warning", -d.changed))
        worst = drops[0]
        others = f", {len(drops) - 1} other nodes" if len(drops) > 1 else ""
        steps = (
            ""
            if worst.steps is None
            else (f", by up to {worst.steps:.3g} of the output's {2**worst.bits} steps")
        )
        yield Finding(
            check="dropped-bits",
            severity=worst.severity,
            title=f"{target} drops accumulator bits that matter in {worst.node}{others}",
            words=f"{worst.rule}: that changes {100 * worst.changed:.0f} % of {worst.node}'s "
            f"outputs{steps}",
            nodes=tuple(drop.node for drop in drops),
            targets=(target,),
            experiment=f"each node computed with and without the drop under {profile.name}, on the "
            f"integers of {len(exam.tensors_a)} samples"
            if profile
            else "the rule by which the engine's answers become this target's",
            fix="keep the nodes named in 16-bit activations, or widen their output's range"
            if worst.bits <= 8
            else "calibrate on this chip's numerics, or keep the nodes named on the CPU",
            command="chipdrift matrix MODEL --data DATA --calibration CAL --scheme w8a8,w8a16_pc "
            f"--target {target} -o runs/w8a16"
            if worst.bits <= 8
            else None,
            weight=worst.changed,
        )


def _replayed(exam: Exam, profile: Profile) -> Iterator[_Drop]:
    """Every product whose rules drop bits, with and without."""
    pieces = {piece.name: piece for piece in exam.anatomy.cut.pieces}
    tensors = [{**feed, **kept} for feed, kept in zip(exam.feeds, exam.tensors_a, strict=False)]
    for name, spec in exam.specs.items():
        if name not in pieces or spec.op not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue
        if not tensors or not all(t in tensors[0] for t in pieces[name].inputs):
            continue
        replay = Replay(exam.case.model, pieces[name], tensors)
        rules = replay.rules(profile)
        if rules is None or (not rules.requantize.drop and rules.requantize.keep is None):
            continue
        plain = altered(rules.requantize, _NONE)
        if plain is None:
            continue
        override = Override.model_validate({"requantize": plain})
        without = profile.model_copy(update={"rule": (*profile.rule, override)})
        mine, whole = replay.answers(profile), replay.answers(without)
        if mine is None or whole is None or not mine.size or mine.dtype.kind == "f":
            continue
        steps = np.abs(mine.astype(np.int64) - whole.astype(np.int64))
        yield _Drop(
            name, float((steps > 0).mean()), float(steps.max()), _rule(rules), spec.output.bits
        )


def _rule(rules: Rules) -> str:
    table = rules.requantize
    parts = []
    if table.drop:
        parts.append(f"the lowest {table.drop} bits of the sum are dropped")
    if table.keep is not None:
        parts.append(f"{table.keep} bits below the output's step are kept")
    return f"{' and '.join(parts)}, the rest {table.drop_rounding}"


def _explained(exam: Exam, place: int) -> Iterator[_Drop]:
    """What the explanations say of a target without known rules: B's rules only are named there."""
    if place == 0:
        return
    for explanation in exam.diagnosis.explanations:
        own = exam.own(explanation.node)
        if own is None or own.distance is None:
            continue
        for mechanism in explanation.mechanisms:
            if mechanism.mechanism == "dropped_bits":
                changed = own.distance.differing * mechanism.closes
                spec = exam.specs.get(explanation.node)
                bits = 8 if spec is None else spec.output.bits
                steps = own.distance.max_lsb
                yield _Drop(explanation.node, changed, steps, mechanism.b, bits)

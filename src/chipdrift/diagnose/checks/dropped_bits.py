"""Low bits of the accumulator that are dropped before the scale is applied.

What it finds: products in which a target drops low accumulator bits, and in which that changes a
large part of the outputs. Where the target's rules are known the node is computed with and without
the drop; where they are not, the experiment's explanation of the node counts, if nothing of the
difference is left. It is set against the difference that the node itself makes, to B or to the
float model (not what drifts in from before): what is small against that is a note.

Why it hurts: the bits that go are rounded by themselves, before the output's own rounding: outputs
near the middle between two steps fall to the other side. Where the drop is coarser than the
output's step the answer is off by several steps, and the calibration knew nothing of it.

Example: Hexagon v69 keeps 3 bits below the output's step in 8 bits; with 16-bit activations it
drops 8 bits of the sum, of the correction and of the bias, each by itself.

Fix: none where it is small against the difference at hand, or nothing is lost. Else 16-bit
activations (w8a16_pc), or the nodes named on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.counts import besides, counted
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.mechanisms import altered
from chipdrift.diagnose.remedies import NONE_NEEDED, remedy
from chipdrift.diagnose.replay import Replay, share_equal
from chipdrift.diagnose.wording import dropped, share
from chipdrift.errors import ModelError
from chipdrift.findings import Finding, Severity
from chipdrift.metrics.intervals import wilson
from chipdrift.numerics.profile import Override, Profile, Rules
from chipdrift.numerics.tensors import Quant
from chipdrift.records import Record
from chipdrift.targets.sim.plan import IntegerUnit, make_plan

Array = np.ndarray[Any, Any]

# Two bits kept below the output's step move one output in eight by a step, three one in 16: what
# chips do that were measured (Hexagon keeps 3 and 7). More than this is a drop that is too coarse.
_LARGE = 0.15
# Of the difference that the node itself makes: what is less is not why the two part there.
_SMALL = 0.1
# An explanation that leaves as much open as that does not tell the drop's part.
_UNEXPLAINED = 0.25
_NONE = {"drop": 0, "keep": None, "parts": "together", "drop_rounding": "FLOOR"}


@dataclass(frozen=True)
class _Drop:
    """A node, the share of its outputs that the drop changes, by how many steps at most.

    ``least`` is what that share is at least, as far as the outputs counted tell. ``part`` is the
    drop's in the difference that the node itself makes, as the experiment shows it or (``shown`` is
    False) by size alone; ``apart`` the most steps of that (0: none). ``gives`` is the share of the
    target's answers that its profile gives in the node.
    """

    node: str
    changed: float
    least: float
    steps: float
    rule: str
    bits: int
    part: float = 1.0
    apart: float = 0.0
    shown: bool = True
    gives: float = 1.0

    @property
    def small(self) -> bool:
        """Whether something else makes the difference at hand."""
        return self.part < _SMALL

    @property
    def weight(self) -> float:
        """The share of outputs that it changes, less where others change them, too."""
        return self.changed * self.part

    @property
    def severity(self) -> Severity:
        """A warning where 8 bits would show it: most drops of 16-bit outputs are below that."""
        return "warning" if not self.small and self.steps >= 2.0 ** (self.bits - 8) else "note"


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target that drops bits, its nodes worst first."""
    for place, target in enumerate(exam.targets):
        if place and exam.case.b is None:
            continue
        profile = exam.case.profiles.get(target)
        drops = list(_replayed(exam, place, profile) if profile else _explained(exam, place))
        drops = [drop for drop in drops if drop.least >= _LARGE]
        if drops:
            drops.sort(key=lambda d: (d.small, d.severity != "warning", -d.weight))
            # What something else makes is told only where it is all that there is.
            yield _finding(exam, target, profile, [d for d in drops if d.small == drops[0].small])


def _finding(exam: Exam, target: str, profile: Profile | None, drops: Sequence[_Drop]) -> Finding:
    worst = drops[0]
    nodes = tuple(drop.node for drop in drops)
    fix, command = (NONE_NEEDED, None) if worst.small else remedy(exam, "dropped_bits", nodes)
    named, gives = target, ""
    if profile is not None and worst.gives < 1:  # the profile is near to the target, not all of it
        named = f"Under {profile.name}, {target}"
        gives = f", by a profile that gives {share(worst.gives)} of its answers there"
    steps = f"up to {worst.steps:,.0f} of {2**worst.bits} steps"
    against = ""
    if worst.apart:
        against = f", where the node itself adds up to {worst.apart:,.0f} steps"
    title = f"{named} drops bits in {worst.node}{besides(len(drops) - 1)}: {steps}{against}"
    if worst.severity == "warning":
        others = besides(len(drops) - 1)
        title = f"{named} drops accumulator bits that matter in {worst.node}{others}"
    part = f", of which this makes {100 * worst.part:.0f} %" if worst.apart else ""
    if not worst.shown:
        part = "; what part of that it makes is not known"
    return Finding(
        check="dropped-bits",
        severity=worst.severity,
        title=title,
        words=f"{named} {worst.rule}{gives}: that changes {100 * worst.changed:.0f} % of "
        f"{worst.node}'s outputs that do not clip, by {steps}{against}"
        + (": something else makes most of it" if worst.small else part),
        nodes=nodes,
        targets=(target,),
        experiment=f"each node computed with and without the drop under {profile.name}, on the "
        f"integers of {counted(len(exam.tensors_a), 'sample')}"
        if profile
        else "the rule by which the engine's answers become this target's",
        fix=fix,
        command=command,
        weight=worst.weight,
    )


def _part(exam: Exam, node: str, mean: float) -> tuple[float, float, bool]:
    """The drop's part in the difference that ``node`` itself makes, to B or to the float model, the
    most steps of that difference, and whether that part is shown; 1 and 0 where it makes none.

    ``mean`` are the steps by which the drop moves an output on average. Where the experiment
    explains the node, the part is what it says; else it is no more than a comparison of sizes, of
    which another target may drop the same bits.
    """
    own = exam.own(node)
    distance = None if own is None else own.distance
    if distance is None or not distance.mean_lsb or not distance.max_lsb:
        return 1.0, 0.0, True
    explanation = exam.explanation(node)
    if explanation is not None and explanation.unexplained < _UNEXPLAINED:
        said = [m.closes for m in explanation.mechanisms if m.mechanism == "dropped_bits"]
        return min(1.0, max(0.0, sum(said))), distance.max_lsb, True
    return min(1.0, mean / distance.mean_lsb), distance.max_lsb, exam.case.b is None


def _replayed(exam: Exam, place: int, profile: Profile) -> Iterator[_Drop]:
    """Every product whose rules drop bits, with and without."""
    pieces = {piece.name: piece for piece in exam.anatomy.cut.pieces}
    tensors = [{**feed, **kept} for feed, kept in zip(exam.feeds, exam.tensors_a, strict=False)]
    try:
        units = make_plan(exam.program, profile).units
    except ModelError:
        return
    for unit in units:
        name = unit.step.name
        if not isinstance(unit, IntegerUnit) or name not in pieces:
            continue
        spec, rules = unit.spec, unit.spec.rules
        if spec.op not in ("Conv", "ConvTranspose", "MatMul", "Gemm"):
            continue
        if not rules.requantize.drop and rules.requantize.keep is None:
            continue
        if not tensors or not all(t in tensors[0] for t in pieces[name].inputs):
            continue
        replay = Replay(exam.case.model, pieces[name], tensors)
        plain = altered(rules.requantize, _NONE)
        if plain is None:
            continue
        mine, whole = (
            replay.answers(_with(profile, rules, table)) for table in (rules.requantize, plain)
        )
        if mine is None or whole is None or not mine.size or mine.dtype.kind == "f":
            continue
        seen = _changed(mine, whole, spec.output)
        mean = float(np.abs(mine.astype(np.int64) - whole.astype(np.int64)).mean())
        parts, gives = _part(exam, name, mean), _gives(exam, place, name, mine)
        yield _Drop(name, *seen, dropped(rules.requantize), spec.output.bits, *parts, gives)


def _gives(exam: Exam, place: int, node: str, mine: Array) -> float:
    """The share of what A (or B) answers alone in ``node`` that is ``mine``; 1 where none is known.

    What is computed together with others answers otherwise alone.
    """
    own, alone = exam.own(node), (exam.alone_a, exam.alone_b)[place]
    if own is None or own.together or not alone or any(own.tensor not in e for e in alone):
        return 1.0
    answers = np.concatenate([entry[own.tensor].reshape(-1) for entry in alone])
    return share_equal(mine, answers) if answers.shape == mine.shape else 1.0


def _with(profile: Profile, rules: Rules, requantize: Record) -> Profile:
    """The profile with a node's own rules for all: alone, the node has another name."""
    tables = {"accumulator": rules.accumulator, "requantize": requantize}
    override = Override.model_validate(tables)
    return profile.model_copy(update={"rule": (*profile.rule, override)})


def _changed(mine: Array, other: Array, output: Quant) -> tuple[float, float, float]:
    """The share of outputs that differ, its lower limit (95 %), and the most steps.

    Outputs that both clip have no bits to lose, and are not counted.
    """
    clipped = (mine == other) & ((mine == output.low) | (mine == output.high))
    steps = np.abs(mine.astype(np.int64) - other.astype(np.int64))[~clipped]
    if not steps.size:
        return 0.0, 0.0, 0.0
    count = int((steps > 0).sum())
    return count / steps.size, wilson(count, steps.size)[0], float(steps.max())


def _explained(exam: Exam, place: int) -> Iterator[_Drop]:
    """What the explanations say of a target without known rules: B's rules only are named there."""
    if place == 0:
        return
    for explanation in exam.diagnosis.explanations:
        own, spec = exam.own(explanation.node), exam.specs.get(explanation.node)
        # A rule that leaves a part of the difference is not what the target does.
        if own is None or spec is None or explanation.unexplained > 0:
            continue
        made = [
            np.concatenate([entry[own.tensor].reshape(-1) for entry in side if own.tensor in entry])
            for side in (exam.alone_a, exam.alone_b)
        ]
        differing, least, steps = _changed(made[0], made[1], spec.output)
        for mechanism in explanation.mechanisms:
            if mechanism.mechanism == "dropped_bits":
                changed = differing * mechanism.closes
                low = least * mechanism.closes
                yield _Drop(explanation.node, changed, low, steps, mechanism.b, spec.output.bits)

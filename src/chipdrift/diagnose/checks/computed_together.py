"""A node that answers in the model otherwise than alone.

What it finds: nodes whose answer inside the model is not the one they give alone, fed with the same
values: the target computes them together with their neighbours.

Why it hurts: what is written between two nodes (a quantizer, a rounding to float16) does not happen
on this target, or happens elsewhere. A test of the node alone says nothing of the model, and
another target that keeps to the letter answers differently.

Example: a profile that fuses activations leaves out the rounding between a convolution and the Relu
behind it. In float16 the simulated v69 computes a depthwise convolution together with the
convolution and the Clip before it: half of its values are others than it gives alone. v73 does not.

Fix: none where nothing is lost. Else part the nodes: make the tensor between them an output of the
model, or keep one of them on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.diagnose.drift import same_as
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import NONE_NEEDED, harmless
from chipdrift.findings import Finding, Own


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target, with the neighbours of its first such node."""
    if exam.case.b is None:
        return
    a, b = exam.targets
    own = exam.diagnosis.own
    for target, those in (
        (a, [o for o in own if o.in_place_a is False]),
        (b, [o for o in own if o.in_place_b is False]),
    ):
        if not those or exam.case.by_chance(target):  # noise differs from place to place
            continue
        # The one whose neighbours are known shows it best.
        first = next((o for o in those if o.together), those[0])
        others = len(those) - 1
        quiet = all(_alike_alone(exam, o) for o in those)
        weight = _weight(exam, first, quiet)
        yield Finding(
            check="computed-together",
            severity="warning" if weight and _drifts(exam, first) else "note",
            title=f"{target} computes {first.node} ({first.op}) together with its neighbours"
            + (f", and {others} more node{'s' * (others > 1)} like it" if others else ""),
            words="inside the model these nodes answer otherwise than alone on the same values"
            + (
                f"; {first.node} run together with {' and '.join(first.together)} answers as in "
                "the model"
                if first.together
                else ""
            )
            + (
                f". Alone, both targets agree on {'it' if len(those) == 1 else 'them'}: a test of "
                "single nodes would not have seen it"
                if quiet
                else ""
            )
            + ".",
            nodes=tuple(o.node for o in those),
            targets=(target,),
            experiment="each node cut out, fed with the values that reach it inside the model; "
            "then cut out with what stands before and behind it",
            fix=NONE_NEEDED if harmless(exam) else _fix(first),
            weight=weight,
        )


def _fix(first: Own) -> str:
    if not first.together:
        return f"keep {first.node} on the CPU, or judge this target by the whole model alone"
    return (
        "part the nodes: make the tensor between them an output of the model, or keep one of them "
        "on the CPU"
    )


def _weight(exam: Exam, first: Own, quiet: bool) -> float:
    """What it does to the model; little where the rule behind it is named."""
    explanation = exam.explanation(first.node)
    if explanation is not None and explanation.mechanisms:
        return 0.0
    return 0.5 if quiet and _drifts(exam, first) else 0.1


def _drifts(exam: Exam, own: Own) -> bool:
    activation = next((a for a in exam.diagnosis.activations if a.tensor == own.tensor), None)
    return activation is not None and activation.distance.differing > 0.01


def _alike_alone(exam: Exam, own: Own) -> bool:
    """Whether A and B answer the same where the node is run alone."""
    return same_as(own.tensor, exam.alone_a, exam.alone_b) is not False

"""Nodes that answer differently and no rule that was tried explains it.

What it finds: nodes that, alone and on the same integers, answer differently on the two targets,
where the experiment names no mechanism: the engine does not know one of the targets well enough
there, or what differs is none of the rules that it can turn.

Why it hurts: what is not explained cannot be predicted. The attribution of the drift leaves it out
and says so as the unexplained share.

Example: LiteRT's two kernels divide the sum of an average pool differently; the engine has the
rules of one of them to within a step.

Fix: probe both targets (chipdrift probe) and give the profiles with --profile; where the node stays
unexplained, compare it on a third target to see which of the two is unusual.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.diagnose.checks.layout import permuted
from chipdrift.diagnose.exam import Exam
from chipdrift.findings import Finding, Own

# A node of whose difference a smaller part is left counts as explained.
_LEFT = 0.25


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for all of them."""
    if exam.case.b is None:
        return
    a, b = exam.targets
    found = []
    turned = permuted(exam.alone_a, exam.alone_b)
    for own in exam.diagnosis.own:
        if own.tensor in turned:  # another layout of the same values: see the check layout
            continue
        if own.distance is None or own.distance.differing == 0:
            continue
        explanation = exam.explanation(own.node)
        if explanation is None or explanation.unexplained > _LEFT:
            found.append((own, explanation))
    if not found:
        return
    found.sort(key=lambda entry: -(entry[0].distance.differing if entry[0].distance else 0))
    own, explanation = found[0]
    assert own.distance is not None
    others = len(found) - 1
    reason = "it was not among those that were tried, the worst first"
    if explanation is not None:
        left = f"{100 * explanation.unexplained:.0f} % of the difference is left"
        reason = explanation.words or left
    yield Finding(
        check="unexplained",
        severity="warning" if own.distance.differing >= 0.01 else "note",
        title=f"{own.node} ({own.op}) differs by itself, and why is not known"
        + (f"; {others} more" if others else ""),
        words=f"{100 * own.distance.differing:.2f} % of its values part on the same integers"
        + (f", by at most {own.distance.max_lsb:.0f} LSB" if own.distance.max_lsb else "")
        + f": {reason}.",
        nodes=tuple(o.node for o, _ in found),
        targets=(a, b),
        experiment=f"each node cut out with its quantizers, fed with {a}'s integers on both",
        fix="probe both targets and give their profiles with --profile",
        command=f"chipdrift probe {a} -o a.toml",
        weight=_weight(exam, [o for o, _ in found]),
    )


def _weight(exam: Exam, found: list[Own]) -> float:
    """The part of the drift at the output that is unexplained, where the engine could tell it;
    else the part of all noise that nodes add themselves which these nodes add."""
    if exam.diagnosis.unexplained is not None and all(
        part.at == "output" for part in exam.diagnosis.attributions
    ):
        return max(0.0, exam.diagnosis.unexplained)

    def power(own: Own) -> float:
        decibels = None if own.distance is None else own.distance.sqnr_db
        return 0.0 if decibels is None else float(10 ** (-decibels / 10))

    whole = sum(power(own) for own in exam.diagnosis.own)
    return sum(power(own) for own in found) / whole if whole else 0.0

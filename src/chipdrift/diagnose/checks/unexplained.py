"""Nodes that answer differently and no rule that was tried explains it.

What it finds: nodes that, alone and on the same integers, answer differently on the two targets,
where the experiment names no mechanism: the engine does not know one of the targets well enough
there, or what differs is none of the rules that it can turn.

Why it hurts: what is not explained cannot be predicted. The attribution of the drift leaves it out
and says so as the unexplained share.

Example: LiteRT's two kernels divide the sum of an average pool differently; the engine has the
rules of one of them to within a step.

Fix: probe the target that is not known well enough (chipdrift probe) and give its profile with
--profile; where the node stays unexplained, compare it on a third target to see which of the two is
unusual. The probe does not
cover float16 convolutions (but single ones of 1x1): for those see computed-together first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from chipdrift.diagnose.checks.layout import permuted
from chipdrift.diagnose.distance import noise_power
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import (
    NONE_NEEDED,
    WIDE,
    harmless,
    matrix_command,
    on_cpu,
    probe_command,
)
from chipdrift.diagnose.wording import share
from chipdrift.findings import Explanation, Finding, Own, Severity

# A node of whose difference a smaller part is left counts as explained.
_LEFT = 0.25
# Below the least weight of computed-together, which stands before it.
_BEHIND = 0.05
# A profile that gives as many of A's integers as that is A's in this node.
_KNOWN = 0.999
_ENGINE = "sim:"
# What has rules for small floats in the engine.
_SMALL = frozenset({"Conv", "MatMul", "Gemm"})


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
    severity: Severity = "warning" if own.distance.differing >= 0.01 else "note"
    weight = _weight(exam, [o for o, _ in found])
    if own.tensor in exam.anatomy.quantizers:
        words, fix, command = _integers(exam, own, explanation)
    else:
        together = _together(exam, own)
        words, fix, command = _floats(exam, own, explanation, together)
        if together:  # that is the likelier reason, and is told first
            severity, weight = "note", min(weight, _BEHIND)
    yield Finding(
        check="unexplained",
        severity=severity,
        title=f"{own.node} ({own.op}) differs {_how(own)}, and why is not known"
        + (f"; {others} more" if others else ""),
        words=words,
        nodes=tuple(o.node for o, _ in found),
        targets=(a, b),
        experiment=f"each node cut out, fed with {a}'s values on both",
        fix=fix,
        command=command,
        weight=weight,
    )


def _how(own: Own) -> str:
    if own.together:
        return f"where it is run with {' and '.join(own.together[:3])}"
    return "by itself"


def _integers(exam: Exam, own: Own, explanation: Explanation | None) -> tuple[str, str, str | None]:
    """What is said of a node of integers, what to do, and the command."""
    assert own.distance is not None
    reason = "it was not among those that were tried, the worst first"
    if explanation is not None:
        left = f"{share(explanation.unexplained)} of the difference is left by the best rules tried"
        reason = explanation.words or left
    most = f", by at most {own.distance.max_lsb:.0f} LSB" if own.distance.max_lsb else ""
    words = f"{100 * own.distance.differing:.2f} % of its values part on the same integers{most}"
    asked = _unknown(exam, explanation)
    # A profile that was given is what a probe makes: another probe finds the same.
    given = [name for name in asked if exam.case.given.get(name)]
    unknown = [name for name in asked if name not in given]
    if given:
        reason += f", under the profile given for {' and '.join(given)}, too"
    if not unknown:
        third = "compare it on a third target to see which of the two is unusual"
        return f"{words}: {reason}.", NONE_NEEDED if harmless(exam) else third, None
    profiles = "their profiles" if len(unknown) > 1 else "its profile"
    probe = f"probe {' and '.join(unknown)} and give {profiles} with --profile"
    return (
        f"{words}: {reason}.",
        f"{NONE_NEEDED}; to learn the rule, {probe}" if harmless(exam) else probe,
        probe_command(exam, unknown),
    )


def _unknown(exam: Exam, explanation: Explanation | None) -> list[str]:
    """The targets of which the engine does not know enough here.

    Where a profile gives A's answers it is B; else A, and B too where it has no profile. A target
    of the engine has nothing to learn.
    """
    a, b = exam.targets
    if explanation is None:
        found = [name for name in (a, b) if name not in exam.case.profiles] or [b]
    elif explanation.basis_share >= _KNOWN:
        found = [b]
    else:
        found = [a, *([b] if b not in exam.case.profiles else [])]
    return [name for name in found if not name.startswith(_ENGINE)]


def _floats(
    exam: Exam, own: Own, explanation: Explanation | None, together: Sequence[str]
) -> tuple[str, str, str | None]:
    """What is said of a node in float, which no rule of integers is about."""
    assert own.distance is not None
    reason = "the engine has no rules for this op in float"
    if own.op in _SMALL and explanation is not None:
        left = f"{share(explanation.unexplained)} of the difference is left by the best rules tried"
        reason = explanation.words or left
    if own.together:
        reason = f"of what it is with {' and '.join(own.together)} the engine has no rule"
    words = (
        f"{100 * own.distance.differing:.2f} % of its values part on the same values, by at most "
        f"{own.distance.max_abs:.3g}: {reason}"
    )
    if together:
        joined = f"{' and '.join(together[:2])} {'is' if len(together) == 1 else 'are'}"
        words += f". {joined} computed together with neighbours, which explains a difference"
    if harmless(exam):
        return f"{words}.", NONE_NEEDED, None
    if together:
        return f"{words}.", "see computed-together", None
    return (
        f"{words}.",
        f"{on_cpu([own.node])}, or use integers ({WIDE})",
        matrix_command(exam, WIDE),
    )


def _together(exam: Exam, own: Own) -> list[str]:
    """The node and those beside it, as far as a target computes them with their neighbours."""
    return [
        other.node
        for other in exam.diagnosis.own
        if False in (other.in_place_a, other.in_place_b)
        and (other.node == own.node or other.tensor in own.inputs or own.tensor in other.inputs)
    ]


def _weight(exam: Exam, found: list[Own]) -> float:
    """The part of the drift at the output that is unexplained, where the engine could tell it;
    else the part of all noise that nodes add themselves which these nodes add."""
    if exam.diagnosis.unexplained is not None and all(
        part.at == "output" for part in exam.diagnosis.attributions
    ):
        return max(0.0, exam.diagnosis.unexplained)

    whole = sum(noise_power(own.distance) for own in exam.diagnosis.own)
    return sum(noise_power(own.distance) for own in found) / whole if whole else 0.0

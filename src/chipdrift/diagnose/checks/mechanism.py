"""Nodes that answer differently on B, with the rule that does it.

What it finds: nodes that, alone and fed with the same integers, answer differently on the two
targets, gathered by the mechanism that the experiment names: rounding, dropped accumulator bits, an
accumulator that overflows, the precision of the scale, and so on.

Why it hurts: every such node adds an error that the model was not calibrated for, and what follows
carries it on. One step here and there is normal between chips; many, or a bias, is not.

Example: on Hexagon v69 a convolution multiplies by a scale of 11 bits, on v73 of 12 bits, and drops
low accumulator bits by another rounding: a tenth of the outputs part by 1. Where the best rule that
was tried leaves a part of a node's difference, it is said so, and that rule is no target's own.

Fix: none where nothing is lost. Else 16-bit activations (w8a16_pc) or the worst nodes on the CPU;
where an accumulator overflows also weights of 7 bits, and with onnxruntime on x86
session.x64quantprecision.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.counts import counted
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.mechanisms import CLOSES
from chipdrift.diagnose.remedies import remedy
from chipdrift.diagnose.wording import clause, nearest, share, titled
from chipdrift.findings import WORDS, Attribution, Explanation, Finding, Mechanism, Severity

# Where no node shows it so, the model's output must: this share of the drift there.
_MATTERS = 0.05
_SHOWN = 0.005


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each mechanism, by its part in the drift of the whole model."""
    parts = {part.mechanism: part for part in exam.diagnosis.attributions}
    by_name: dict[str, list[tuple[Explanation, Mechanism]]] = {}
    for explanation in exam.diagnosis.explanations:
        for mechanism in explanation.mechanisms:
            by_name.setdefault(mechanism.mechanism, []).append((explanation, mechanism))
    for name, found in by_name.items():
        part = parts.get(name)
        acting = [entry for entry in found if entry[1].closes >= CLOSES]
        at_output = part is not None and part.at == "output" and abs(part.drift) >= _MATTERS
        if not acting and not at_output:
            continue
        shown = acting or found
        shown.sort(
            key=lambda entry: (
                entry[0].unexplained >= CLOSES,
                -round(entry[1].closes, 3),
                -_weight(exam, entry[0]),
            )
        )
        yield _finding(exam, name, shown, part)


def _finding(
    exam: Exam,
    name: str,
    found: list[tuple[Explanation, Mechanism]],
    part: Attribution | None,
) -> Finding:
    a, b = exam.targets
    explanation, mechanism = found[0]
    nodes = tuple(entry.node for entry, _ in found)
    others = len(nodes) - 1
    where = nodes[0] + (f" and {others} other node{'s' * (others > 1)}" if others else "")
    weight = mechanism.closes if part is None else part.drift
    words = _rules(exam, explanation, mechanism)
    if part is not None and weight >= _SHOWN:
        at = "the drift at the model's output" if part.at == "output" else "what nodes add"
        words += f" It makes {100 * weight:.0f} % of {at}."
    left = [entry.unexplained for entry, _ in found[1:] if entry.unexplained >= CLOSES]
    if left and explanation.unexplained < CLOSES:
        words += (
            f" In {len(left)} of these {len(nodes)} nodes the best rules tried leave up to "
            f"{share(max(left))} of the difference."
        )
    if mechanism.rivals:
        words += f" {' or '.join(WORDS[r] for r in mechanism.rivals)} would explain as much."
    other = exam.case.b
    no_npu = exam.diagnosis.b.evidence == "host-runtime" or not (other and other.has_npu)
    by_design = name == "fallback" and no_npu
    if by_design:
        words += f" {b} has no NPU to keep it on: that is by design."
    fix, command = ("", None) if by_design else remedy(exam, name, nodes)
    title = titled(mechanism)
    return Finding(
        check="mechanism",
        severity="note" if by_design else _severity(exam, weight),
        title=f"{title[0].upper()}{title[1:]} in {where}"
        + ("" if explanation.unexplained < CLOSES else ", in part"),
        words=words,
        nodes=nodes,
        targets=(a, b),
        experiment=_experiment(exam, explanation, mechanism),
        fix=fix,
        command=command,
        weight=max(0.0, weight),
    )


def _rules(exam: Exam, explanation: Explanation, mechanism: Mechanism) -> str:
    """What the two do, as far as the rules give their answers in the node."""
    a, b = exam.targets
    mine = clause(a, mechanism.a)
    if explanation.basis_share < 1:
        mine += f" (by {explanation.basis}, with {share(explanation.basis_share)} of its answers)"
    if not explanation.unexplained:
        return f"{mine}; {clause(b, mechanism.b)}."
    others = len(explanation.mechanisms) - 1
    beside = f"with {counted(others, 'other rule')} " if others else ""
    return (
        f"{mine}; {nearest(b, mechanism.b)}: {beside}it leaves {share(explanation.unexplained)} of "
        f"the difference in {explanation.node}."
    )


def _severity(exam: Exam, weight: float) -> Severity:
    """An error where the chip costs accuracy beyond chance and this is a part of why."""
    if weight < _MATTERS:
        return "note"
    return "error" if exam.diagnosis.verdict.cause in ("chip", "both") else "warning"


def _experiment(exam: Exam, explanation: Explanation, mechanism: Mechanism) -> str:
    """What was done in the node that shows it best."""
    a, b = exam.targets
    own = exam.own(explanation.node)
    whole = own is None or own.tensor in exam.anatomy.quantizers
    values = "integers" if whole else "values"
    beside = f", run with {' and '.join(own.together)}," if own is not None and own.together else ""
    told = (
        f"replayed {explanation.node}{beside} in the engine under {explanation.basis} "
        f"({100 * explanation.basis_share:.1f} % of {a}'s {values})"
    )
    if len(explanation.mechanisms) == 1:
        return (
            f"{told}: turning this rule takes the {values} equal to {b}'s from "
            f"{100 * mechanism.before:.2f} % to {100 * mechanism.after:.2f} %"
        )
    together = 1 - explanation.unexplained
    undone = mechanism.closes > together + 0.005
    return (
        f"{told}: {len(explanation.mechanisms)} rules turned together explain "
        f"{100 * together:.0f} % of the {100 * (1 - mechanism.before):.2f} % of its {values} that "
        f"part; this one's share is {100 * mechanism.closes:.0f} %"
        + (", of which another undoes a part" if undone else "")
    )


def _weight(exam: Exam, explanation: Explanation) -> float:
    own = exam.own(explanation.node)
    return 0.0 if own is None or own.distance is None else own.distance.differing

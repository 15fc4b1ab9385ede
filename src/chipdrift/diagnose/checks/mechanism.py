"""Nodes that answer differently on B, with the rule that does it.

What it finds: nodes that, alone and fed with the same integers, answer differently on the two
targets, gathered by the mechanism that the experiment names: rounding, dropped accumulator bits, an
accumulator that overflows, the precision of the scale, and so on.

Why it hurts: every such node adds an error that the model was not calibrated for, and what follows
carries it on. One step here and there is normal between chips; many, or a bias, is not.

Example: on Hexagon v69 a convolution multiplies by a scale of 11 bits, on v73 of 12 bits, and drops
low accumulator bits by another rounding: a tenth of the outputs part by 1.

Fix: calibrate and choose the scheme on the numerics of the chip you ship to; keep the worst nodes
in 16 bits (w8a16_pc) or on the CPU; for 16-bit saturation on x86 use 7-bit weights or
session.x64quantprecision.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.mechanisms import FIXES, MORE_BITS
from chipdrift.findings import WORDS, Attribution, Explanation, Finding, Mechanism

# A mechanism with a smaller part in the drift, and in its node, is not told apart from none.
_PART = 0.005
_MATTERS = 0.05
_MORE_BITS = {"dropped_bits", "scale_precision", "rounding"}


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each mechanism, by its part in the drift of the whole model."""
    parts = {part.mechanism: part for part in exam.diagnosis.attributions}
    by_name: dict[str, list[tuple[Explanation, Mechanism]]] = {}
    for explanation in exam.diagnosis.explanations:
        for mechanism in explanation.mechanisms:
            by_name.setdefault(mechanism.mechanism, []).append((explanation, mechanism))
    for name, found in by_name.items():
        found.sort(key=lambda entry: -_weight(exam, entry[0]) * entry[1].closes)
        part = parts.get(name)
        effect = max(entry[1].closes for entry in found)
        if effect < _PART and (part is None or abs(part.drift) < _PART):
            continue
        yield _finding(exam, name, found, part)


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
    share = mechanism.closes if part is None else part.drift
    words = f"{a} {mechanism.a}; {b} {mechanism.b}."
    if part is not None and share >= _PART:
        at = "the drift at the model's output" if part.at == "output" else "what nodes add"
        words += f" {100 * share:.0f} % of {at}."
    if mechanism.rivals:
        words += f" {' or '.join(WORDS[r] for r in mechanism.rivals)} would explain as much."
    narrow = name in _MORE_BITS and "a16" not in exam.case.scheme
    command = MORE_BITS.format(scheme=exam.case.scheme, targets=",".join((a, b)))
    return Finding(
        check="mechanism",
        severity="warning" if share >= _MATTERS else "note",
        title=f"{WORDS[name][0].upper()}{WORDS[name][1:]} in {where}",
        words=words,
        nodes=nodes,
        targets=(a, b),
        experiment=_experiment(explanation, mechanism, a, b),
        fix=FIXES.get(name, ""),
        command=command if narrow and exam.case.scheme != "asis" else None,
        weight=max(0.0, share),
    )


def _experiment(explanation: Explanation, mechanism: Mechanism, a: str, b: str) -> str:
    """What was done in the node that shows it best."""
    told = (
        f"replayed {explanation.node} in the engine under {explanation.basis} "
        f"({100 * explanation.basis_share:.1f} % of {a}'s integers)"
    )
    if len(explanation.mechanisms) == 1:
        return (
            f"{told}: turning this rule takes the integers equal to {b}'s from "
            f"{100 * mechanism.before:.2f} % to {100 * mechanism.after:.2f} %"
        )
    return (
        f"{told}: of the {100 * (1 - mechanism.before):.2f} % of its integers that part, "
        f"{len(explanation.mechanisms)} rules turned together explain "
        f"{100 * (1 - explanation.unexplained):.0f} %, this one {100 * mechanism.closes:.0f} %"
    )


def _weight(exam: Exam, explanation: Explanation) -> float:
    own = exam.own(explanation.node)
    return 0.0 if own is None or own.distance is None else own.distance.differing

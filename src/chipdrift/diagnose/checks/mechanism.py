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
from chipdrift.diagnose.mechanisms import FIXES
from chipdrift.findings import WORDS, Explanation, Finding, Mechanism


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each mechanism, by its part in the drift of the whole model."""
    a, b = exam.targets
    parts = {part.mechanism: part for part in exam.diagnosis.attributions}
    by_name: dict[str, list[tuple[Explanation, Mechanism]]] = {}
    for explanation in exam.diagnosis.explanations:
        for mechanism in explanation.mechanisms:
            by_name.setdefault(mechanism.mechanism, []).append((explanation, mechanism))
    for name, found in by_name.items():
        found.sort(key=lambda entry: -_weight(exam, entry[0]) * entry[1].closes)
        nodes = tuple(explanation.node for explanation, _ in found)
        part = parts.get(name)
        explanation, mechanism = found[0]
        share = part.drift if part is not None else mechanism.closes
        doubt = (
            f" {' or '.join(WORDS[r] for r in mechanism.rivals)} would explain as much."
            if mechanism.rivals
            else ""
        )
        others = len(nodes) - 1
        where = nodes[0] + (f" and {others} other node{'s' * (others > 1)}" if others else "")
        fix, command = FIXES.get(name, ("", None))
        yield Finding(
            check="mechanism",
            severity="warning" if share >= 0.05 else "note",
            title=f"{WORDS[name][0].upper()}{WORDS[name][1:]} in {where}",
            words=f"{a} {mechanism.a}; {b} {mechanism.b}. "
            + (f"{100 * share:.0f} % of the drift at the model's output." if part else "")
            + doubt,
            nodes=nodes,
            targets=(a, b),
            experiment=f"replayed {explanation.node} in the engine under {explanation.basis} "
            f"({100 * explanation.basis_share:.1f} % of {a}'s integers): turning this rule alone "
            f"takes the integers equal to {b}'s from {100 * mechanism.before:.2f} % to "
            f"{100 * mechanism.after:.2f} %",
            fix=fix,
            command=command,
            weight=share,
        )


def _weight(exam: Exam, explanation: Explanation) -> float:
    own = exam.own(explanation.node)
    return 0.0 if own is None or own.distance is None else own.distance.differing

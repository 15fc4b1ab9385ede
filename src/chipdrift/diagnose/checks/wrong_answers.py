"""A node that answers nonsense on one target.

What it finds: a node whose answer, alone and fed with the same integers, bears no relation to the
other target's: the noise is as large as the signal, and no rule of arithmetic explains it.

Why it hurts: this is no rounding. The target computes something else: a fault of the runtime or of
its compiler, or a layout or a scale taken wrongly.

Example: weights in blocks of 32 with a float bias in a 1x1 convolution run on the simulated NPU
and answer nonsense.

Fix: keep the node on the CPU, or write it another way (another scheme, a bias of its own, another
op), and report it to the vendor with the one-op model.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.diagnose.checks.layout import permuted
from chipdrift.diagnose.exam import Exam
from chipdrift.findings import Finding

# Rounding of 4 bits gives 20 dB and more; below this nothing of the signal is left.
_NONSENSE_DB = 6.0


def look(exam: Exam) -> Iterator[Finding]:
    """Every node whose own noise is within 6 dB of its signal and stays unexplained."""
    a, b = exam.targets
    if exam.case.b is None:
        return
    turned = permuted(exam.alone_a, exam.alone_b)
    for own in exam.diagnosis.own:
        if own.tensor in turned:  # another layout of the same values: see the check layout
            continue
        if own.distance is None or own.distance.sqnr_db is None:
            continue
        explanation = exam.explanation(own.node)
        explained = explanation is not None and explanation.unexplained < 0.5
        if own.distance.sqnr_db >= _NONSENSE_DB or explained:
            continue
        yield Finding(
            check="wrong-answers",
            severity="error",
            title=f"{own.node} ({own.op}) is wrong on {a} or on {b}",
            words=f"alone, on the same integers, the two part by up to {own.distance.max_abs:.3g} "
            f"in {100 * own.distance.differing:.0f} % of the values: the noise is as large as the "
            f"signal ({own.distance.sqnr_db:.0f} dB). No rule of rounding or precision does that",
            nodes=(own.node,),
            targets=(a, b),
            experiment=f"{own.node} cut out with its quantizers, fed with {a}'s integers on both",
            fix="keep this node on the CPU or in another scheme, and report it with the one-op "
            "model; set both against ort:cpu to see which of the two is wrong",
            weight=2.0,
        )

"""Sums of products near the end of the accumulator.

What it finds: convolutions and matrix products whose sums, of the integers that the target fed to
them, come within one bit of what its accumulator holds, or pass it. The width is that of the
target's known rules, 32 bits where none are known. Where a sum saturates, or is made of blocks that
do, the partial sums count, in the worst order; where it wraps, only the whole sum does.
ConvTranspose and weights in blocks are left out.

Why it hurts: a sum that wraps changes its sign, one that saturates stays too small. It happens on
the inputs with the strongest activations, so that few samples show it and averages hide it.

Example: onnxruntime on x86 without VNNI adds pairs of uint8 x int8 products in 16 bits: 255 x 127
twice is 64770, and 32767 is the end. A product of 16-bit activations with 300 inputs may pass 32
bits.

Fix: on a chip 16-bit activations where it sums those in a wider accumulator (measure it), or the
node on the CPU; weights of 7 bits (reduce_range); where it is onnxruntime on x86 that overflows,
session.x64quantprecision=1 there.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.counts import counted
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import overflow_remedy
from chipdrift.diagnose.sums import NEAR, Sums, measure_sums, products_of
from chipdrift.findings import Finding
from chipdrift.numerics.profile import Rules

_WIDTHS = (16, 24, 32)


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target and width, its nodes worst first."""
    if not exam.tensors_a:
        return
    names = [exam.case.a.name] + ([exam.case.b.name] if exam.case.b is not None else [])
    measured: dict[tuple[str, Rules], Sums | None] = {}
    found: dict[tuple[int, tuple[Sums, ...]], list[str]] = {}
    for target in names:
        near: dict[int, list[Sums]] = {}
        for unit in products_of(exam, target):
            key = (unit.step.name, unit.spec.rules)
            if key not in measured:
                measured[key] = measure_sums(exam, unit)
            sums = measured[key]
            if sums is not None and sums.ratio >= NEAR:
                near.setdefault(sums.width, []).append(sums)
        for width, sums_near in near.items():
            sums_near.sort(key=lambda s: -s.ratio)
            found.setdefault((width, tuple(sums_near)), []).append(target)
    for (width, listed), targets in found.items():
        yield _finding(exam, width, listed, targets)


def _finding(exam: Exam, width: int, listed: tuple[Sums, ...], targets: list[str]) -> Finding:
    worst, over = listed[0], listed[0].ratio >= 1
    where = " and ".join(targets)
    others = counted(len(listed) - 1, "other node")
    beside = (
        f"; {others} come{'s' * (len(listed) == 2)} near it or pass it" if len(listed) > 1 else ""
    )
    shares = ", ".join(f"{_times(worst.largest / 2 ** (w - 1))} of {w} bits" for w in _WIDTHS)
    known = [target in exam.case.profiles for target in targets]
    nodes = tuple(sums.node for sums in listed)
    fix, command = overflow_remedy(exam, nodes, targets)
    basis = "its known rules" if all(known) else "32 bits, as no rules of it are known"
    return Finding(
        check="accumulator-near-limit",
        severity="warning" if over else "note",
        title=f"Sums in {worst.node} {'pass' if over else 'come near'} the end of "
        f"{where}'s accumulator ({width} bits)",
        words=f"the largest is {worst.largest}: {shares}{beside}. "
        + (f"{100 * worst.beyond:.2g} % of its sums pass the end. " if over else "")
        + f"Inputs at the ends of their range could reach {worst.possible}.",
        nodes=nodes,
        targets=tuple(targets),
        experiment=f"exact sums of the integers that {exam.targets[0]} fed to each node in "
        f"{counted(len(exam.tensors_a), 'sample')}, set against {basis}",
        fix=fix if over else f"none yet; if it passes the end: {fix}",
        command=command if over else None,
        weight=min(1.0, worst.beyond if over else 0.01),
    )


def _times(ratio: float) -> str:
    return f"{ratio:.1f} times the end" if ratio >= 1 else f"{100 * ratio:.2g} % of the end"

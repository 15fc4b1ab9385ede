"""Float16 asked of a chip whose NPU has none.

What it finds: nodes that compute in float16 or float (a float16 scheme, or float nodes in a
quantized model) on a chip whose NPU has no float16: they ran on the CPU. Some models the
runtime refuses instead (those with convolutions): then the cell of the matrix says so.

Why it hurts: on the next chip the same file runs on the NPU, so nobody expects the difference: here
it is many times slower, and the CPU computes float16 in float32, so the answers differ too.

Example: SM7550 and SM8550 are both Hexagon v73, but SM7550 has no float16: 232 of 233 nodes of
MiniLM in float16 ran on its CPU.

Fix: ship integers to this chip (w8a16_pc keeps the most of float16's accuracy), and float16 to
those that have it. `chipdrift chips NAME` says which do.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.chips import get_chip
from chipdrift.counts import counted
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import WIDE, matrix_command
from chipdrift.diagnose.walk import float_islands, share
from chipdrift.errors import UnknownNameError
from chipdrift.findings import Finding
from chipdrift.targets import Target


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target that says so of itself and on which such nodes left the NPU."""
    program = exam.program
    halves = "float16" in program.dtypes.values()
    floats = {name for island in float_islands(program) for name in island}
    sides = ((exam.case.a, exam.diagnosis.a), (exam.case.b, exam.diagnosis.b))
    for target, side in sides:
        if target is None or side.placement is None or "float16" not in target.cautions:
            continue
        left = [p.node for p in side.placement.fallback if halves or p.node in floats]
        if not left:
            continue
        count = side.placement.npu + side.placement.cpu
        work = share(program, left)
        what = "the float16 model" if halves else "the float nodes of the quantized model"
        yield Finding(
            check="fp16-not-on-chip",
            severity="warning",
            title=f"{target.name} has no float16: {len(left)} of {counted(count, 'node')} ran on "
            "the CPU",
            words=f"{target.cautions['float16']} ({_catalogue(target)}), so {what} ran on the CPU"
            + (f", with {100 * work:.1f} % of the multiply-accumulates." if work else "."),
            nodes=tuple(left),
            targets=(target.name,),
            experiment="the runtime's own record of the processor that ran each node, beside the "
            "catalogue's entry of the chip",
            fix="ship a quantized model to this chip (w8a16_pc comes nearest to float16)"
            if halves
            else "give these nodes quantizers: this chip has no float16 to run them in",
            command=matrix_command(exam, WIDE) if halves else None,
            weight=min(1.0, work or len(left) / max(1, count)),
        )


def _catalogue(target: Target) -> str:
    try:
        return get_chip(target.name.partition(":")[2]).fp16_words
    except UnknownNameError:
        return "the target says so"

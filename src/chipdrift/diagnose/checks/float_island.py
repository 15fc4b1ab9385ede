"""Float nodes between integer ops, for want of quantizers.

What it finds: nodes of a quantized model that compute in real numbers although integers come in and
integers go out: some tensor among them has no quantizer. Nodes before the first quantizer or behind
the last one are not meant, nor what runtimes fuse (a Relu behind a convolution).

Why it hurts: an NPU runs them in float16, if it has float16, or leaves them to the CPU: each border
costs a conversion, and the model no longer has the speed or the numerics of its scheme. It is the
model's fault, not the chip's, so it happens on all of them.

Example: a quantizer that does not know Erf leaves a Gelu of five nodes in float in every layer.

Fix: quantize the tensors named (a newer quantizer, all op types, calibration that reaches them), or
fuse the nodes into one op that has an integer form (Gelu, LayerNormalization).
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.counts import counted
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.walk import borders_of, float_islands, share
from chipdrift.findings import Finding

_NAMED = 4


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each kind of island: those of the same ops are one mistake, made often."""
    program = exam.program
    ops = {step.name: step.op for step in program.steps}
    kinds: dict[tuple[str, ...], list[tuple[str, ...]]] = {}
    for island in float_islands(program):
        kinds.setdefault(tuple(ops[name] for name in island), []).append(island)
    for kind, islands in kinds.items():
        nodes = tuple(name for island in islands for name in island)
        borders, work = borders_of(program, nodes), share(program, nodes)
        first = islands[0]
        listed = ", ".join(first[:_NAMED]) + (" ..." if len(first) > _NAMED else "")
        more = f", and {len(islands) - 1} more like it" if len(islands) > 1 else ""
        along = f" {100 * work:.1f} % of the multiply-accumulates are in float." if work else ""
        yield Finding(
            check="float-island",
            severity="warning",
            title=f"{listed} ({', '.join(dict.fromkeys(kind))}) compute in float between integer "
            f"ops{more}",
            words=f"no quantizer stands on what joins them or on what they read. Integers become "
            f"real numbers and back at {counted(borders.count, 'place')}: "
            f"{', '.join(f'{a} -> {b}' for a, b in (*borders.into, *borders.out)[:_NAMED])}."
            f"{along}",
            nodes=nodes,
            targets=exam.targets,
            experiment="the model read node by node: which tensors have a quantizer",
            fix="quantize the tensors between these nodes, or fuse the nodes into one op that has "
            "an integer form",
            weight=min(1.0, work or 0.0),
        )

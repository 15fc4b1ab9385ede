"""Nodes that left the NPU for the CPU.

What it finds: nodes of a target with an NPU that ran on its CPU, with the reason in the target's
own words, where data crosses between the two, and how much of the model's multiply-accumulates
goes along.

Of a model without quantizers (fp32, fp16) on a target of the engine (sim:) it says nothing: such a
target computes integers, and the model has none.

Why it hurts: the runtime says nothing and the answers look right, but every border costs a
conversion and a copy, the CPU is slower by an order of magnitude, and it rounds in another way than
the NPU.

Example: a target that leaves every LayerNormalization of a transformer to the CPU makes its data
cross twice for each of them.

Fix: write the op in a form that the NPU takes (another opset, a fixed shape, simpler ops), quantize
what runs in float, or choose another scheme: then look at the placement again.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.counts import besides
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import WIDE, matrix_command
from chipdrift.diagnose.walk import Borders, borders_of, share
from chipdrift.findings import Finding, Side

# Work on the CPU is worth a warning from a hundredth of the model's on: NPUs are 10 to 100 times
# faster, so that it may cost as much time as all the rest.
_WORK = 0.01
_NAMED = 3
_ENGINE = "sim:"


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each op and reason; targets on which both are the same share it."""
    found: dict[tuple[str, str, tuple[str, ...]], list[Side]] = {}
    border = _border(exam)
    for side in (exam.diagnosis.a, exam.diagnosis.b):
        if side.placement is None or _of_integers(exam, side):
            continue
        nodes: dict[tuple[str, str], list[str]] = {}
        for place in side.placement.fallback:
            if place.node in border:
                continue
            reason = place.reason or "the target gives no reason"
            nodes.setdefault((place.op, reason), []).append(place.node)
        for (op, reason), listed in nodes.items():
            found.setdefault((op, reason, tuple(listed)), []).append(side)
    for (op, reason, names), sides in found.items():
        yield _finding(exam, op, reason, names, sides)


def _of_integers(exam: Exam, side: Side) -> bool:
    """Whether the engine, which computes integers, was given a model that has none."""
    return side.target.startswith(_ENGINE) and not exam.anatomy.quantizers


def _border(exam: Exam) -> set[str]:
    """Casts of the graph's own inputs and outputs, which run on the CPU by design."""
    inputs, outputs = {spec.name for spec in exam.program.inputs}, set(exam.program.outputs)
    return {
        step.name
        for step in exam.program.steps
        if step.op == "Cast" and (step.inputs[0] in inputs or step.outputs[0] in outputs)
    }


def _finding(
    exam: Exam, op: str, reason: str, names: tuple[str, ...], sides: list[Side]
) -> Finding:
    borders, work = borders_of(exam.program, names), share(exam.program, names)
    targets = tuple(side.target for side in sides)
    where = " and ".join(targets)
    returns = bool(borders.into and borders.out)
    heavy = work is not None and work >= _WORK
    counts = ", ".join(
        f"{s.placement.cpu} of {s.placement.npu + s.placement.cpu}"
        for s in sides
        if s.placement is not None
    )
    along = (
        "" if not work else (f" {100 * work:.1f} % of the model's multiply-accumulates go along.")
    )
    float16 = "float16" in exam.program.dtypes.values()
    same = _same(exam, names)
    fix = f"write {op} in a form that the NPU takes, or accept its time on the CPU"
    if float16:
        fix = f"quantize the model ({WIDE}): this target runs integers on the NPU"
    elif same:
        fix = f"none is needed for accuracy; for speed, write {op} in a form that the NPU takes"
    return Finding(
        check="silent-fallback",
        severity="warning" if (returns or heavy) and not same else "note",
        title=f"{op} ran on the CPU of {where}: " + f"{names[0]}{besides(len(names) - 1, 'other')}",
        words=f"{reason}. {_borders(borders)}{along} Nodes on the CPU in all: {counts}."
        + (" Their answers are bit-identical on both targets." if same else ""),
        nodes=names,
        targets=targets,
        experiment="the runtime's own record of the processor that ran each node, kept in the run",
        fix=fix,
        command=matrix_command(exam, WIDE) if float16 else None,
        weight=min(1.0, max(work or 0.0, borders.count / max(1, len(exam.program.steps)))),
    )


def _same(exam: Exam, names: tuple[str, ...]) -> bool:
    """Whether every one of the nodes, alone, gives the same bits on A and B."""
    if exam.case.b is None:
        return False
    held = {name: own for own in exam.diagnosis.own for name in own.nodes}
    distances = [held[name].distance if name in held else None for name in names]
    return all(d is not None and d.differing == 0 for d in distances)


def _borders(borders: Borders) -> str:
    if not borders.count:
        return "No other node stands beside them: nothing is converted on the way."
    pairs = [f"{a} -> {b}" for a, b in (*borders.into, *borders.out)]
    more = f" and {len(pairs) - _NAMED} more" if len(pairs) > _NAMED else ""
    times = "once" if borders.count == 1 else f"{borders.count} times"
    return f"Data crosses between NPU and CPU {times}: {', '.join(pairs[:_NAMED])}{more}."

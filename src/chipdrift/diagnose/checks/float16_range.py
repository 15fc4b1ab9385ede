"""Values that float16 cannot hold.

What it finds: in a float16 model, tensors at or beyond float16's largest number (65504), and
tensors that lie so low that its subnormal numbers (below 2^-14) cut them off or nothing is left; in
any model, a NaN or an infinity that one target has and the other has not, and weights that hold
one in the file.

Why it hurts: beyond 65504 there is infinity, and from infinity NaN; a chip that saturates instead
gives a plausible wrong answer. Below 2^-14 each halving loses a bit, down to zero at 2^-25.

Example: sums of squares in a normalization pass 65504 in the second layer; a product of two small
probabilities becomes 0, and a division by it infinite.

Fix: scale inside the model (divide before squaring, move a factor from one layer into the next),
keep the nodes named in float32, or use integers with 16-bit activations (w8a16_pc).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.counts import agreeing, counted
from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.exam import Exam, Feed
from chipdrift.diagnose.remedies import WIDE, matrix_command
from chipdrift.findings import Finding

Array = np.ndarray[Any, Any]

_LARGEST = 65504.0
_PRODUCTS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm"})
# Float16's least normal number. A tensor whose root mean square lies below has fewer bits than
# float16 promises in most of its energy; single values below are normal (a Softmax has many).
_SMALLEST = 2.0**-14


@dataclass(frozen=True)
class _Seen:
    """One tensor on one target: shares of its values, and its root mean square."""

    nan: float
    infinite: float
    high: float
    low: float
    rms: float

    @property
    def broken(self) -> bool:
        return self.nan + self.infinite > 0


def look(exam: Exam) -> Iterator[Finding]:
    """Overflow, underflow and what only one target breaks, each with all its nodes in order."""
    broken = list(_broken_weights(exam))
    if broken:  # whatever else is not finite comes from there
        yield from broken
        return
    names = _floats(exam.tensors_a)
    seen_a = {name: _seen(exam.tensors_a, name) for name in names}
    seen_b = {name: _seen(exam.tensors_b, name) for name in _floats(exam.tensors_b)}
    halves = "float16" in exam.program.dtypes.values()
    if halves:
        yield from _overflow(exam, exam.targets[0], seen_a)
        if exam.case.b is not None:
            yield from _overflow(exam, exam.targets[1], seen_b)
        yield from _underflow(exam, seen_a, seen_b)
    yield from _apart(exam, seen_a, seen_b)


def _integers(exam: Exam) -> str | None:
    """The command that tries integers, where the model computes in float16."""
    if "float16" not in exam.program.dtypes.values():
        return None
    return matrix_command(exam, WIDE)


def _floats(tensors: Sequence[Feed]) -> list[str]:
    return [n for n, v in (tensors[0] if tensors else {}).items() if v.dtype.kind == "f"]


def _seen(tensors: Sequence[Feed], name: str) -> _Seen:
    values = np.concatenate([entry[name].reshape(-1) for entry in tensors]).astype(np.float64)
    finite = values[np.isfinite(values)]
    return _Seen(
        nan=float(np.isnan(values).mean()) if values.size else 0.0,
        infinite=float(np.isinf(values).mean()) if values.size else 0.0,
        high=float((values >= _LARGEST).mean()) if values.size else 0.0,
        low=float((values <= -_LARGEST).mean()) if values.size else 0.0,
        rms=float(np.sqrt(np.square(finite).mean())) if finite.size else 0.0,
    )


def _nodes(exam: Exam, tensors: Sequence[str]) -> tuple[str, ...]:
    """Who makes these tensors, in the model's order."""
    makers = makers_of(exam.anatomy.cut)
    casts = {s.outputs[0]: s.inputs[0] for s in exam.program.steps if s.op == "Cast"}
    made = [casts[name] if casts.get(name) in makers else name for name in tensors]
    known = sorted((makers[name][2], makers[name][0]) for name in made if name in makers)
    return tuple(dict.fromkeys(node for _, node in known))


def _broken_weights(exam: Exam) -> Iterator[Finding]:
    """Weights that are not finite: no range helps there. An infinite mask in an Add is none."""
    for step in exam.program.steps:
        for name in step.inputs:
            values = exam.program.constants.get(name)
            if values is None or values.dtype.kind != "f":
                continue
            nan, infinite = int(np.isnan(values).sum()), int(np.isinf(values).sum())
            if not nan and not (infinite and step.op in _PRODUCTS):
                continue
            held = [counted(nan, "NaN")] if nan else []
            held += [f"{infinite} infinite value{'s' * (infinite != 1)}"] if infinite else []
            yield Finding(
                check="float16-range",
                severity="error",
                title=f"The weights of {step.name} hold {' and '.join(held)}",
                words=f"{name}, which {step.name} ({step.op}) reads, is broken in the file itself: "
                "no target answers anything of use",
                nodes=(step.name,),
                experiment="read in the model",
                fix="mend the model: train or export it again",
                weight=1.0,
            )


def _overflow(exam: Exam, target: str, seen: dict[str, _Seen]) -> Iterator[Finding]:
    over = [name for name, s in seen.items() if s.high + s.low > 0]
    nans = [name for name, s in seen.items() if s.nan > 0]
    finals = exam.anatomy.tensors[: exam.anatomy.finals]
    # A mask is as negative as can be, on purpose: what only pushes down and harms nothing is one.
    harm = nans or any(name in seen and seen[name].broken for name in finals)
    if not any(seen[name].high > 0 for name in over) and not harm:
        return
    nodes = _nodes(exam, [*over, *nans])
    if not nodes:
        return
    worst = max((seen[name].high + seen[name].low for name in over), default=0.0)
    yield Finding(
        check="float16-range",
        severity="error" if harm else "warning",
        title=f"{nodes[0]} passes the end of float16 on {target}",
        words=f"up to {100 * worst:.2g} % of a tensor's values are at 65504 or beyond"
        + (f"; {counted(len(nans), 'tensor')} with NaN" if nans else "")
        + f". {counted(len(nodes), 'node')} in all, first {nodes[0]}.",
        nodes=nodes,
        targets=(target,),
        experiment=f"every activation of {counted(len(exam.tensors_a), 'sample')} on {target}, in "
        "the order of the model",
        fix=f"scale down before {nodes[0]}, or keep it in float32, or use integers",
        command=_integers(exam),
        weight=1.0 if harm else min(1.0, worst),
    )


def _underflow(exam: Exam, a: dict[str, _Seen], b: dict[str, _Seen]) -> Iterator[Finding]:
    """Tensors that lie below float16's normal numbers, or have become zero on one target."""
    low = [
        name
        for name, mine in a.items()
        if 0 < mine.rms < _SMALLEST
        or (mine.rms == 0 and not mine.broken and name in b and b[name].rms > 0)
    ]
    nodes = _nodes(exam, low)
    if not nodes:
        return
    target = exam.targets[0]
    yield Finding(
        check="float16-range",
        severity="warning",
        title=f"{nodes[0]} lies below float16's normal numbers on {target}",
        words=f"the root mean square of what {counted(len(nodes), 'node')} "
        f"{agreeing(len(nodes), 'makes', 'make')} is {min(a[name].rms for name in low):.2g} or "
        f"little more; below {_SMALLEST:.2g} float16 loses a bit with every halving, and "
        "below 3e-8 everything",
        nodes=nodes,
        targets=(target,),
        experiment=f"every activation of {counted(len(exam.tensors_a), 'sample')} on {target}",
        fix=f"scale up before {nodes[0]}, or keep it in float32, or use integers",
        command=_integers(exam),
        weight=0.5,
    )


def _apart(exam: Exam, a: dict[str, _Seen], b: dict[str, _Seen]) -> Iterator[Finding]:
    """A NaN or an infinity on one target only."""
    for target, other, mine, theirs in (
        (*exam.targets, a, b),
        (*exam.targets[::-1], b, a),
    ):
        alone = [n for n, s in mine.items() if s.broken and n in theirs and not theirs[n].broken]
        nodes = _nodes(exam, alone)
        if not nodes:
            continue
        seen = mine[next(n for n in alone if _nodes(exam, [n]) == nodes[:1])]
        yield Finding(
            check="float16-range",
            severity="error",
            title=f"{nodes[0]} is not finite on {target}, and finite on {other}",
            words=f"{100 * seen.nan:.2g} % NaN and {100 * seen.infinite:.2g} % infinite values "
            f"where {other} has numbers; {counted(len(nodes), 'node')} in all, first {nodes[0]}",
            nodes=nodes,
            targets=(target, other),
            experiment=f"every activation of {counted(len(mine), 'tensor')} compared in "
            f"{counted(len(exam.tensors_a), 'sample')}",
            fix=f"look at what {nodes[0]} reads on {target}: scale it down, or run the node in "
            "float32 or in integers",
            command=_integers(exam),
            weight=1.0,
        )

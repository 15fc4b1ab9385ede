"""A node that answers in the model otherwise than alone.

What it finds: nodes whose answer inside the model is not the one they give alone, fed with the same
values: the target computes them together with their neighbours.

Why it hurts: what is written between two nodes (a quantizer, a rounding to float16) does not happen
on this target, or happens elsewhere. A test of the node alone says nothing of the model, and
another target that keeps to the letter answers differently.

Example: in float16 the simulated v69 computes a convolution and the Clip behind it in one: even the
convolution's own output is then another than the convolution gives alone. v73 does not.

Fix: none where nothing is lost. Else part the nodes: make the tensor between them an output of the
model, or keep one of them on the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import NONE_NEEDED, harmless
from chipdrift.findings import Finding, Own
from chipdrift.graph import Piece, cut_pieces
from chipdrift.probe.ask import Asker, NoAnswerError

Array = np.ndarray[Any, Any]


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target, with the neighbours of its first such node."""
    if exam.case.b is None:
        return
    sides: list[tuple[str, list[Own], Asker | None, Sequence[Mapping[str, Array]]]] = [
        (
            exam.case.a.name,
            [o for o in exam.diagnosis.own if o.in_place_a is False],
            exam.asker_a,
            exam.tensors_a,
        ),
        (
            exam.case.b.name,
            [o for o in exam.diagnosis.own if o.in_place_b is False],
            exam.asker_b,
            exam.tensors_b,
        ),
    ]
    for target, own, asker, tensors in sides:
        if not own or asker is None:
            continue
        first = own[0]
        neighbours = _neighbours(exam, first, asker, tensors)
        others = len(own) - 1
        quiet = all(o.distance is None or o.distance.differing == 0 for o in own)
        yield Finding(
            check="computed-together",
            severity="warning" if _drifts(exam, first) else "note",
            title=f"{target} computes {first.node} ({first.op}) together with its neighbours"
            + (f", and {others} more nodes like it" if others else ""),
            words="inside the model these nodes answer otherwise than alone on the same values"
            + (
                f"; {first.node} run together with {neighbours} answers as in the model"
                if neighbours
                else ""
            )
            + (". Alone, both targets agree on them" if quiet else "")
            + ".",
            nodes=tuple(o.node for o in own),
            targets=(target,),
            experiment="each node cut out, fed with the values that reach it inside the model; "
            "then cut out with what stands before and behind it",
            fix=NONE_NEEDED
            if harmless(exam)
            else "part the nodes: make the tensor between them an output of the model, or keep "
            "one of them on the CPU",
            weight=0.5 if quiet and _drifts(exam, first) else 0.1,
        )


def _drifts(exam: Exam, own: Own) -> bool:
    activation = next((a for a in exam.diagnosis.activations if a.tensor == own.tensor), None)
    return activation is not None and activation.distance.differing > 0.01


def _neighbours(
    exam: Exam, own: Own, asker: Asker, tensors: Sequence[Mapping[str, Array]]
) -> str | None:
    """What the node must be joined with to answer as it does in place; None where that is open."""
    pieces = {piece.name: piece for piece in exam.anatomy.cut.pieces}
    piece = pieces[own.node]
    before = [p for p in pieces.values() if set(p.outputs) & set(piece.inputs)]
    behind = [p for p in pieces.values() if set(piece.outputs) & set(p.inputs)]
    for joined in (before, behind, [*before, *behind]):
        if joined and _as_in_place(exam, piece, joined, asker, tensors):
            return " and ".join(p.name for p in joined)
    return None


def _as_in_place(
    exam: Exam,
    piece: Piece,
    joined: Sequence[Piece],
    asker: Asker,
    tensors: Sequence[Mapping[str, Array]],
) -> bool:
    names = [piece.name, *(p.name for p in joined)]
    leads = {p.name for p in exam.anatomy.cut.pieces if p.name in names}
    first = next(p.name for p in exam.anatomy.cut.pieces if p.name in leads)
    cut = cut_pieces(exam.case.model, [first], [names])
    if len(cut.pieces) != 1:
        return False
    (whole,) = cut.pieces
    held = [{**feed, **kept} for feed, kept in zip(exam.feeds, tensors, strict=False)]
    feeds = [
        {fed: entry[name] for fed, name in zip(whole.fed, whole.inputs, strict=True)}
        for entry in held
    ]
    try:
        answers = asker.ask_all(cut.model, feeds)
    except NoAnswerError:
        return False
    place = [i for i, name in enumerate(whole.outputs) if name in piece.outputs]
    return all(
        np.array_equal(answer[i], entry[whole.outputs[i]])
        for answer, entry in zip(answers, held, strict=True)
        for i in place
    )

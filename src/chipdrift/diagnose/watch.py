"""See the activations of both targets without changing what they answer.

Activations are made outputs. A runtime may answer otherwise then: it must show what it would have
merged. So the final answers are held against the run's. Where they changed, the outputs of nodes
that only move data are taken back; where that does not help either, models that end in one
activation are asked in their place, by bisection. Against a B that holds outputs alone it is those
that the run has of A that are compared.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chipdrift.diagnose.case import FLOAT, Case
from chipdrift.diagnose.distance import Tally
from chipdrift.diagnose.drift import Alone, Drift, Feed, makers_of, measure_drift
from chipdrift.diagnose.floating import float_tensors
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Activation, Watched
from chipdrift.graph import Anatomy, computing_only, ending_in
from chipdrift.matrix import cell_outputs
from chipdrift.probe.ask import Asker, NoAnswerError

Array = np.ndarray[Any, Any]

# Samples whose tensors are all kept, to run every piece alone.
_KEPT = 4


@dataclass(eq=False)
class Watching:
    """What was seen, and whether watching changed the final answers of A and of B."""

    drift: Drift
    how: Watched
    changed: tuple[bool | None, bool | None]
    notes: list[str] = field(default_factory=list)


def watch(
    case: Case,
    anatomy: Anatomy,
    chosen: Sequence[int],
    feeds: Sequence[Feed],
    askers: tuple[Asker, Asker | None],
    alone: tuple[Alone, Alone | None],
    tell: Callable[[str], None],
) -> Watching:
    """The drift between A and B, by the least intrusive way that leaves their answers alone."""
    first = _once(case, anatomy, chosen, feeds, askers)
    if not any(first.changed) or case.outputs_only:  # of outputs alone nothing inside is compared
        return first
    guilty = [n for n, c in zip((case.a.name, case.b_name), first.changed, strict=True) if c]
    tell(f"all activations as outputs change the answer of {' and '.join(guilty)}: fewer of them")
    fewer = computing_only(case.model, anatomy)
    second = _once(case, fewer, chosen, feeds, askers)
    if not any(second.changed):
        for side, kept in zip(alone, (second.drift.kept_a, second.drift.kept_b), strict=True):
            if side is not None:
                _fill(side, anatomy, feeds, kept)
        return Watching(
            second.drift,
            "computing",
            first.changed,
            [
                f"{' and '.join(guilty)}: all activations as outputs would have changed the final "
                "answer; those of nodes that compute do not"
            ],
        )
    tell("models cut off behind one activation")
    drift = first.drift
    note = (
        f"{' and '.join(guilty)}: activations as outputs change the final answer, so the drift "
        "was found by models cut off behind one activation each"
    )
    if askers[1] is not None:
        drift.activations = _bisected(case, anatomy, feeds, askers[0], askers[1])
    else:
        note = f"{guilty[0]}: activations as outputs change the final answer a little"
    return Watching(drift, "cut", first.changed, [note])


def _once(
    case: Case,
    anatomy: Anatomy,
    chosen: Sequence[int],
    feeds: Sequence[Feed],
    askers: tuple[Asker, Asker | None],
) -> Watching:
    a, b = askers
    if b is None:
        other = float_tensors(case, feeds)
    elif case.outputs_only:
        other = _finals(case, case.b_name, anatomy, chosen)
    else:
        other = _tapped(b, anatomy, feeds)
    try:
        drift = measure_drift(anatomy, _tapped(a, anatomy, feeds), other, min(_KEPT, len(feeds)))
    except NoAnswerError as error:
        raise ChipdriftError(
            f"The model with all its activations as outputs does not run: {error}"
        ) from error
    changed = (
        _changed(case, case.a.name, chosen, drift.finals_a),
        None if b is None else _changed(case, case.b_name, chosen, drift.finals_b),
    )
    if not case.outputs_only:
        return Watching(drift, "all", changed)
    notes = []
    if changed[0]:
        # What its activations as outputs change is A's own and no difference to B.
        run_a, run_b = (_finals(case, n, anatomy, chosen) for n in (case.a.name, case.b_name))
        untapped = measure_drift(anatomy, run_a, run_b, 0)
        drift.outputs, drift.parted = untapped.outputs, untapped.parted
        notes = [
            f"{case.a.name}: activations as outputs change its final answer, so the outputs "
            "compared are those of the run, which were measured without"
        ]
    return Watching(drift, "outputs", changed, notes)


def _tapped(asker: Asker, anatomy: Anatomy, feeds: Sequence[Feed]) -> Iterator[Feed]:
    for answer in asker.ask_each(anatomy.tapped, feeds):
        yield dict(zip(anatomy.tensors, answer, strict=True))


def _finals(case: Case, target: str, anatomy: Anatomy, chosen: Sequence[int]) -> Iterator[Feed]:
    """The outputs that the run holds of a target, which of some is all that there is."""
    arrays, _ = cell_outputs(case.run.folder, case.scheme, target)
    names = anatomy.tensors[: anatomy.finals]
    for index in chosen:
        yield dict(zip(names, (whole[index] for whole in arrays.values()), strict=True))


def _changed(
    case: Case, target: str, chosen: Sequence[int], finals: Sequence[Sequence[Array]]
) -> bool | None:
    """Whether the model answered otherwise with all its activations as outputs than in the run."""
    if target == FLOAT:
        return None
    try:
        arrays, _ = cell_outputs(case.run.folder, case.scheme, target)
    except ChipdriftError:  # the run has no such cell
        return None
    return any(
        not np.array_equal(whole[index], answer[place], equal_nan=True)
        for place, whole in enumerate(arrays.values())
        for index, answer in zip(chosen, finals, strict=True)
    )


def _fill(
    alone: Alone, anatomy: Anatomy, feeds: Sequence[Feed], kept: Sequence[dict[str, Array]]
) -> None:
    """Add what was not watched to ``kept``, from what was: each node run alone on the target."""
    while True:
        lacking = [
            piece.name
            for piece in anatomy.cut.pieces
            if not all(name in kept[0] for name in piece.outputs)
            and all(name in kept[0] or name in feeds[0] for name in piece.inputs)
        ]
        if not lacking or not kept:
            return
        held = [{**feed, **entry} for feed, entry in zip(feeds, kept, strict=False)]
        made = alone.run(held, lacking)
        before = len(kept[0])
        for entry, new in zip(kept, made, strict=True):
            entry.update(new)
        if len(kept[0]) == before:
            return


def _bisected(
    case: Case, anatomy: Anatomy, feeds: Sequence[Feed], a: Asker, b: Asker
) -> list[Activation]:
    """The activations around the first that differs, each seen as the end of a model of its own."""
    makers = makers_of(anatomy.cut)
    names = [name for name in anatomy.tensors if name in makers]
    names.sort(key=lambda name: makers[name][2])
    seen: dict[int, Activation] = {}

    def differs(index: int) -> bool:
        if index not in seen:
            model, tally = (
                ending_in(case.model, names[index]),
                Tally(anatomy.quantizers.get(names[index])),
            )
            for mine, theirs in zip(
                a.ask_each(model, feeds), b.ask_each(model, feeds), strict=True
            ):
                tally.add(mine[0], theirs[0])
            node, op, depth = makers[names[index]]
            seen[index] = Activation(
                tensor=names[index], node=node, op=op, depth=depth, distance=tally.distance()
            )
        return seen[index].distance.differing > 0

    low, high = 0, len(names) - 1
    try:
        while low < high:
            middle = (low + high) // 2
            if differs(middle):
                high = middle
            else:
                low = middle + 1
        if names:
            differs(low)
    except NoAnswerError:  # what was seen until then stands
        pass
    return [seen[index] for index in sorted(seen)]

"""Every activation of A against B, through extra outputs; and each piece alone on both.

The first question shows where the two part in the whole model, the second which nodes part by
themselves: fed with the same integers, A's.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from chipdrift.diagnose.distance import Tally
from chipdrift.findings import Activation, Distance, Own
from chipdrift.graph import Anatomy, Cut, Piece, cut_pieces
from chipdrift.probe.ask import Asker, NoAnswerError

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]


@dataclass(eq=False)
class Drift:
    """The activations of both, compared.

    ``kept_a`` and ``kept_b`` are all tensors of the first samples, by name; ``finals_a`` and
    ``finals_b`` the model's own outputs for every sample; ``parted`` tells of every sample whether
    anything in it differs.
    """

    outputs: list[Activation] = field(default_factory=list)
    activations: list[Activation] = field(default_factory=list)
    kept_a: list[dict[str, Array]] = field(default_factory=list)
    kept_b: list[dict[str, Array]] = field(default_factory=list)
    finals_a: list[list[Array]] = field(default_factory=list)
    finals_b: list[list[Array]] = field(default_factory=list)
    parted: list[bool] = field(default_factory=list)

    @property
    def first(self) -> Activation | None:
        """The first activation that differs at all."""
        return next((a for a in self.activations if a.distance.differing > 0), None)


def measure_drift(anatomy: Anatomy, a: Iterator[Feed], b: Iterator[Feed], keep: int) -> Drift:
    """Compare what two models make of the same samples, one after the other, in one pass.

    ``a`` and ``b`` give the tensors of one sample by name, in the order of :attr:`Anatomy.tensors`;
    what only one of them has is left out. The first ``keep`` samples' tensors are kept.
    """
    drift = Drift()
    finals = anatomy.tensors[: anatomy.finals]
    tallies: dict[str, Tally] = {}
    for index, (mine, theirs) in enumerate(zip(a, b, strict=True)):
        before = sum(tally.differing for tally in tallies.values())
        for name in anatomy.tensors:
            if name in mine and name in theirs:
                tally = tallies.setdefault(name, Tally(anatomy.quantizers.get(name)))
                tally.add(mine[name], theirs[name])
        drift.parted.append(sum(tally.differing for tally in tallies.values()) > before)
        drift.finals_a.append([mine[name] for name in finals])
        drift.finals_b.append([theirs[name] for name in finals])
        if index < keep:
            drift.kept_a.append(dict(mine))
            drift.kept_b.append(dict(theirs))
    makers = makers_of(anatomy.cut)
    for name, tally in tallies.items():
        node, op, depth = makers.get(name, (name, "output", len(anatomy.cut.pieces)))
        seen = Activation(tensor=name, node=node, op=op, depth=depth, distance=tally.distance())
        (drift.outputs if name in anatomy.tensors[: anatomy.finals] else drift.activations).append(
            seen
        )
    drift.activations.sort(key=lambda activation: activation.depth)
    return drift


def makers_of(cut: Cut) -> dict[str, tuple[str, str, int]]:
    """The node, its op and its depth for every tensor that a piece makes."""
    return {
        tensor: (piece.name, piece.op, depth)
        for depth, piece in enumerate(cut.pieces)
        for tensor in piece.outputs
    }


class Alone:
    """The pieces of a model, side by side, on one target.

    A target that cannot run them all in one session is asked for halves, until each piece that it
    refuses stands alone: :attr:`refused` then has its words.
    """

    def __init__(self, asker: Asker, data: bytes, cut: Cut) -> None:
        self._asker, self._data, self._cut = asker, data, cut
        self.refused: dict[str, str] = {}

    def run(
        self, tensors: Sequence[Feed], only: Iterable[str] | None = None
    ) -> list[dict[str, Array]]:
        """What every piece, or those called ``only``, makes of ``tensors``, by tensor.

        ``tensors`` are arrays by name, one entry a sample.
        """
        made: list[dict[str, Array]] = [{} for _ in tensors]
        cut = self._cut if only is None else cut_pieces(self._data, only)
        if tensors and cut.pieces:
            self._some(cut, tensors, made)
        return made

    def together(
        self, tensors: Sequence[Feed], groups: Sequence[Sequence[str]]
    ) -> list[dict[str, Array]]:
        """What the pieces make of ``tensors`` where those of each group are run as one.

        Groups are names of pieces and share none. A group that the target refuses is left out.
        """
        made: list[dict[str, Array]] = [{} for _ in tensors]
        if not tensors or not groups:
            return made
        cut = cut_pieces(self._data, [name for group in groups for name in group], groups)
        if all(name in tensors[0] for piece in cut.pieces for name in piece.inputs):
            feeds = [_feed(cut.pieces, entry) for entry in tensors]
            try:
                answers = self._asker.ask_all(cut.model, feeds)
            except NoAnswerError:
                pass
            else:
                names = [name for piece in cut.pieces for name in piece.outputs]
                for entry, answer in zip(made, answers, strict=True):
                    entry.update(zip(names, answer, strict=True))
                return made
        if len(groups) > 1:
            for group in groups:
                for entry, new in zip(made, self.together(tensors, [group]), strict=True):
                    entry.update(new)
        return made

    def _some(self, cut: Cut, tensors: Sequence[Feed], made: list[dict[str, Array]]) -> None:
        ready = [p for p in cut.pieces if all(name in tensors[0] for name in p.inputs)]
        for piece in cut.pieces:
            if piece not in ready:
                self.refused.setdefault(piece.name, "what feeds it cannot be had as an output")
        if not ready:
            return
        if len(ready) < len(cut.pieces):
            cut = cut_pieces(self._data, [p.name for p in ready])
        try:
            answers = self._asker.ask_all(
                cut.model, [_feed(cut.pieces, entry) for entry in tensors]
            )
        except NoAnswerError as error:
            if len(cut.pieces) == 1:
                self.refused[cut.pieces[0].name] = str(error)
                return
            half = len(cut.pieces) // 2
            for part in (cut.pieces[:half], cut.pieces[half:]):
                self._some(cut_pieces(self._data, [p.name for p in part]), tensors, made)
            return
        names = [name for piece in cut.pieces for name in piece.outputs]
        for entry, answer in zip(made, answers, strict=True):
            entry.update(zip(names, answer, strict=True))


def _feed(pieces: Sequence[Piece], tensors: Feed) -> dict[str, Array]:
    return {
        fed: tensors[name]
        for piece in pieces
        for fed, name in zip(piece.fed, piece.inputs, strict=True)
    }


def measure_own(
    anatomy: Anatomy, drift: Drift, feeds: Sequence[Feed], a: Alone, b: Alone
) -> tuple[list[Own], list[dict[str, Array]], list[dict[str, Array]]]:
    """What every piece adds itself: B against A on A's integers; and both against themselves.

    Gives the findings, and what A and B made of A's integers, by tensor.
    """
    count = len(drift.kept_a)
    on_a = [{**feed, **kept} for feed, kept in zip(feeds[:count], drift.kept_a, strict=True)]
    on_b = [{**feed, **kept} for feed, kept in zip(feeds[:count], drift.kept_b, strict=True)]
    alone_a, alone_b, home_b = a.run(on_a), b.run(on_a), b.run(on_b)
    found = []
    for depth, piece in enumerate(anatomy.cut.pieces):
        for tensor in piece.outputs:
            words = a.refused.get(piece.name) or b.refused.get(piece.name)
            distance = None
            if words is None:
                distance = distance_of(anatomy, tensor, alone_a, alone_b)
            seen = own_of(piece, tensor, depth, distance, words)
            places = {
                "in_place_a": same_as(tensor, alone_a, drift.kept_a),
                "in_place_b": same_as(tensor, home_b, drift.kept_b),
            }
            found.append(seen.model_copy(update=places))
    return found, alone_a, alone_b


def own_of(
    piece: Piece, tensor: str, depth: int, distance: Distance | None, words: str | None
) -> Own:
    """What a piece adds at one of its outputs."""
    return Own(
        node=piece.name,
        op=piece.op,
        nodes=tuple(name for name, _ in piece.nodes),
        tensor=tensor,
        depth=depth,
        distance=distance,
        words=words,
        inputs=piece.inputs,
    )


def distance_of(anatomy: Anatomy, tensor: str, a: Sequence[Feed], b: Sequence[Feed]) -> Distance:
    """How far B's answers of one tensor are from A's."""
    tally = Tally(anatomy.quantizers.get(tensor))
    for left, right in zip(a, b, strict=True):
        tally.add(left[tensor], right[tensor])
    return tally.distance()


def same_as(tensor: str, alone: Sequence[Feed], in_place: Sequence[Feed]) -> bool | None:
    """Whether a tensor is the same in both, in all samples; None where one of them lacks it."""
    pairs = [
        (one[tensor], other[tensor])
        for one, other in zip(alone, in_place, strict=True)
        if tensor in one and tensor in other
    ]
    if not pairs:
        return None
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)

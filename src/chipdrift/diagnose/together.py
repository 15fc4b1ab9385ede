"""Nodes that answer in the model otherwise than alone: with which neighbours do they answer so?

A target may compute an op and what stands before or behind it in one. Alone, nothing of that is
seen. So such a node is run with its neighbours, those of each pattern at a time, on both targets,
until both answer as they do inside the model; what parts them then is what the node adds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.diagnose.drift import Alone, Drift, Feed, distance_of, same_as
from chipdrift.findings import Own
from chipdrift.graph import Anatomy, Piece

Array = np.ndarray[Any, Any]

# Of many such nodes the first are looked into: a target that fuses does so everywhere.
_MOST = 64
# Groups that share a node are asked one after the other; what is left then stays open.
_ROUNDS = 2
# Nodes between the first MatMul of an attention and its Softmax.
_SCORES = frozenset({"Mul", "Div", "Add"})
_DEEP = 4


@dataclass(frozen=True, eq=False)
class Joined:
    """A piece with the others that it was run with, and what A and B made of A's tensors so."""

    others: tuple[str, ...]
    made_a: Sequence[Feed]
    made_b: Sequence[Feed]


def rejoin(
    anatomy: Anatomy,
    drift: Drift,
    own: Sequence[Own],
    feeds: Sequence[Feed],
    a: Alone,
    b: Alone,
) -> tuple[list[Own], dict[str, Joined]]:
    """What pieces add that answer otherwise alone: run with neighbours, on both targets.

    Gives ``own`` with the distances of those for which neighbours were found, and these by the
    piece's name.
    """
    count = len(drift.kept_a)
    on_a = [{**feed, **kept} for feed, kept in zip(feeds[:count], drift.kept_a, strict=True)]
    on_b = [{**feed, **kept} for feed, kept in zip(feeds[:count], drift.kept_b, strict=True)]
    graph = _Neighbours(anatomy.cut.pieces)
    otherwise = {o.node for o in own if False in (o.in_place_a, o.in_place_b)}
    open_pieces = [p for p in anatomy.cut.pieces if p.name in otherwise][:_MOST]
    found: dict[str, Joined] = {}
    for pattern in (graph.before, graph.behind, graph.around, graph.attention, graph.two_before):
        for groups in _disjoint(open_pieces, pattern):
            names = [[piece.name, *others] for piece, others in groups]
            made_a, made_b, home_b = (
                side.together(held, names) for side, held in ((a, on_a), (b, on_a), (b, on_b))
            )
            for piece, others in groups:
                tensors = piece.outputs
                settled = all(
                    same_as(name, made_a, drift.kept_a) and same_as(name, home_b, drift.kept_b)
                    for name in tensors
                )
                if settled and all(name in entry for name in tensors for entry in made_b):
                    found[piece.name] = Joined(
                        tuple(others), _only(tensors, made_a), _only(tensors, made_b)
                    )
        open_pieces = [piece for piece in open_pieces if piece.name not in found]
        if not open_pieces:
            break
    return [_with(anatomy, entry, found.get(entry.node)) for entry in own], found


def _only(names: Sequence[str], made: Sequence[Feed]) -> list[dict[str, Array]]:
    return [{name: entry[name] for name in names} for entry in made]


def _with(anatomy: Anatomy, own: Own, joined: Joined | None) -> Own:
    """What a piece adds in company."""
    if joined is None:
        return own
    distance = distance_of(anatomy, own.tensor, joined.made_a, joined.made_b)
    return own.model_copy(update={"distance": distance, "together": joined.others})


_Pattern = Callable[[Piece], Sequence[str]]


def _disjoint(
    pieces: Sequence[Piece], pattern: _Pattern
) -> Iterator[list[tuple[Piece, Sequence[str]]]]:
    """The pieces with their neighbours, in rounds in which no two share a piece."""
    left: list[tuple[Piece, Sequence[str]]]
    left = [(piece, others) for piece in pieces if (others := pattern(piece))]
    for _ in range(_ROUNDS):
        taken: set[str] = set()
        chosen: list[tuple[Piece, Sequence[str]]] = []
        later: list[tuple[Piece, Sequence[str]]] = []
        for piece, others in left:
            names = {piece.name, *others}
            (later if names & taken else chosen).append((piece, others))
            if not names & taken:
                taken |= names
        if not chosen:
            return
        yield chosen
        left = later


class _Neighbours:
    """Who feeds whom, by the names of pieces in the model's order."""

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces: Mapping[str, Piece] = {piece.name: piece for piece in pieces}
        self._order = {piece.name: index for index, piece in enumerate(pieces)}
        makers = {tensor: piece.name for piece in pieces for tensor in piece.outputs}
        self._before: dict[str, list[str]] = {}
        self._behind: dict[str, list[str]] = {piece.name: [] for piece in pieces}
        for piece in pieces:
            found = dict.fromkeys(makers[name] for name in piece.inputs if name in makers)
            self._before[piece.name] = list(found)
            for name in found:
                self._behind[name].append(piece.name)

    def before(self, piece: Piece) -> list[str]:
        """What feeds it."""
        return self._sorted(self._before[piece.name])

    def behind(self, piece: Piece) -> list[str]:
        """What it feeds."""
        return self._sorted(self._behind[piece.name])

    def around(self, piece: Piece) -> list[str]:
        """Both."""
        before, behind = self.before(piece), self.behind(piece)
        return self._sorted([*before, *behind]) if before and behind else []

    def two_before(self, piece: Piece) -> list[str]:
        """What feeds it, and what feeds that."""
        before = self._before[piece.name]
        further = [name for other in before for name in self._before[other]]
        return self._sorted([*before, *further]) if further else []

    def attention(self, piece: Piece) -> list[str]:
        """From the MatMul before a Softmax to the one behind it."""
        if piece.op != "Softmax":
            return []
        scores = self._back(piece.name, _DEEP)
        products = [n for n in self._behind[piece.name] if self._pieces[n].op == "MatMul"]
        return self._sorted([*scores, *products]) if scores and products else []

    def _back(self, name: str, depth: int) -> list[str]:
        """The pieces on the way to the MatMul before ``name``; [] where there is none."""
        for other in self._before[name]:
            op = self._pieces[other].op
            if op == "MatMul":
                return [other]
            if op in _SCORES and depth:
                found = self._back(other, depth - 1)
                if found:
                    return [*found, other]
        return []

    def _sorted(self, names: Sequence[str]) -> list[str]:
        return sorted(set(names), key=self._order.__getitem__)

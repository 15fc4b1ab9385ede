"""The experiments of a diagnosis: every node that parts by itself explained, then the whole."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.diagnose.attribute import attribute
from chipdrift.diagnose.case import Case
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.drift import Alone, Drift, Feed
from chipdrift.diagnose.explain import Trial, explain
from chipdrift.diagnose.mechanisms import Variation
from chipdrift.diagnose.replay import Replay, flat
from chipdrift.findings import Attribution, Explanation, Own
from chipdrift.graph import Anatomy, Piece
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.profiles import builtin_profiles

Array = np.ndarray[Any, Any]

# Pieces for which the whole catalogue is tried, the worst first; for the others only B's own rules
# and what explained another piece.
_SEARCHED = 12
_RANDOM = 2


def explain_pieces(
    case: Case,
    anatomy: Anatomy,
    drift: Drift,
    own: Sequence[Own],
    feeds: Sequence[Feed],
    alone: tuple[Alone, Alone],
    made: tuple[Sequence[Feed], Sequence[Feed]],
    tell: Callable[[str], None],
) -> tuple[list[Explanation], list[Attribution], float | None]:
    """Explain the pieces that part by themselves, and what each mechanism does to the whole model.

    ``made`` is what A and B made of A's integers, ``alone`` asks them further. Gives explanations
    in the model's order, attributions worst first, and the share of the drift that is unexplained.
    """
    worst = [o for o in own if o.distance is not None and o.distance.differing > 0]
    worst.sort(key=lambda o: -_size(o))
    chosen = list(dict.fromkeys(o.node for o in worst))
    if not chosen:
        return [], [], None
    pieces = {piece.name: piece for piece in anatomy.cut.pieces}
    kept = [
        {**feed, **tensors}
        for feed, tensors in zip(feeds[: len(drift.kept_a)], drift.kept_a, strict=True)
    ]
    drawn = [_drawn(anatomy, chosen, kept[0], index) for index in range(_RANDOM)]
    drawn_a, drawn_b = (side.run(drawn, chosen) for side in alone)
    profile_a = case.profiles.get(case.a.name)
    profile_b = case.profiles.get(case.b_name)
    others = [
        p for p in (profile_b, *builtin_profiles().values()) if p is not None and p != profile_a
    ]
    others = [p for p in others if p.evidence == "prediction" or p == profile_b]
    explanations: list[Explanation] = []
    found: dict[str, tuple[tuple[Variation, ...], Profile]] = {}
    known: list[tuple[Variation, ...]] = []
    for number, name in enumerate(chosen):
        if number % 10 == 0:
            tell(f"why nodes part: {name}, {number + 1} of {len(chosen)}")
        piece = pieces[name]
        trial = _trial(case, piece, kept, made, drawn, (drawn_a, drawn_b))
        if trial is None:
            continue
        explanation, variations, basis = explain(
            trial, profile_a, profile_b, others, known, search=number < _SEARCHED
        )
        explanations.append(explanation)
        if variations and basis is not None:
            found[name] = (variations, basis)
            if variations not in known:
                known.append(variations)
    depth = {piece.name: index for index, piece in enumerate(anatomy.cut.pieces)}
    explanations.sort(key=lambda e: depth[e.node])
    tell("what each mechanism does to the whole model")
    attributions, unexplained = attribute(case, drift, feeds, found, own, explanations)
    return explanations, attributions, unexplained


def _size(own: Own) -> float:
    """How much a piece adds: by its noise where that is known."""
    assert own.distance is not None
    decibels = own.distance.sqnr_db
    return own.distance.differing if decibels is None else 10 ** (-decibels / 20)


def _drawn(anatomy: Anatomy, nodes: Sequence[str], like: Feed, index: int) -> dict[str, Array]:
    """Random integers over the whole range for the inputs of ``nodes``, seeded by tensor.

    Half of them near the quantizer's zero point, as activations are.
    """
    drawn: dict[str, Array] = {}
    for piece in anatomy.cut.pieces:
        if piece.name not in nodes:
            continue
        for name in piece.inputs:
            held, quantizer = like[name], anatomy.quantizers.get(name)
            rng = np.random.default_rng([zlib.crc32(name.encode()), index])
            if quantizer is None or held.dtype.kind == "f":
                drawn[name] = (held * rng.uniform(0.5, 1.5, held.shape)).astype(held.dtype)
                continue
            low, high = range_of(quantizer.dtype)
            wide = rng.integers(low, high + 1, held.shape)
            near = rng.normal(quantizer.zero_point[0], (high - low) / 16, held.shape)
            near = np.clip(np.rint(near), low, high).astype(np.int64)
            values = np.where(rng.random(held.shape) < 0.5, wide, near)
            drawn[name] = values.astype(held.dtype)
    return drawn


def _trial(
    case: Case,
    piece: Piece,
    kept: Sequence[Feed],
    made: tuple[Sequence[Feed], Sequence[Feed]],
    drawn: Sequence[Feed],
    made_drawn: tuple[Sequence[Feed], Sequence[Feed]],
) -> Trial | None:
    a, b = (_of(piece, side) for side in made)
    if a is None or b is None:
        return None
    random_a, random_b = (_of(piece, side) for side in made_drawn)
    random = None
    if random_a is not None and random_b is not None:
        random = Replay(case.model, piece, drawn)
    return Trial(Replay(case.model, piece, kept), a, b, random, random_a, random_b)


def _of(piece: Piece, tensors: Sequence[Mapping[str, Array]]) -> Array | None:
    if not all(name in entry for entry in tensors for name in piece.outputs):
        return None
    return flat([[entry[name] for name in piece.outputs] for entry in tensors])

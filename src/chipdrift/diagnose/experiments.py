"""The experiments of a diagnosis: every node that parts by itself explained, then the whole."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.diagnose.attribute import Attributed, attribute, rules_of, with_variations
from chipdrift.diagnose.case import Case
from chipdrift.diagnose.distance import noise_power, range_of
from chipdrift.diagnose.drift import Alone, Drift, Feed
from chipdrift.diagnose.explain import Trial, explain
from chipdrift.diagnose.mechanisms import Variation
from chipdrift.diagnose.replay import Replay, flat
from chipdrift.diagnose.together import Joined
from chipdrift.findings import Explanation, Own
from chipdrift.graph import Anatomy, Piece
from chipdrift.graph.program import parse_program
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.profiles import builtin_profiles

Array = np.ndarray[Any, Any]

# Pieces for which the whole catalogue is tried, the worst first; for the others only B's own rules
# and what explained another piece.
_SEARCHED = 12
_RANDOM = 2
# Powers of two by which random floats are spread.
_BINADES = 6


def explain_pieces(
    case: Case,
    anatomy: Anatomy,
    drift: Drift,
    own: Sequence[Own],
    feeds: Sequence[Feed],
    alone: tuple[Alone, Alone],
    made: tuple[Sequence[Feed], Sequence[Feed]],
    joined: Mapping[str, Joined],
    tell: Callable[[str], None],
) -> tuple[list[Explanation], Attributed]:
    """Explain the pieces that part by themselves, and what each mechanism does to the whole model.

    ``made`` is what A and B made of A's integers, ``joined`` the pieces that they compute together
    with others, ``alone`` asks them further. Gives explanations in the model's order, and the
    shares of mechanisms and layers.
    """
    worst = [o for o in own if o.distance is not None and o.distance.differing > 0]
    # What is computed together comes last: what its neighbours add by themselves is known then.
    worst.sort(key=lambda o: (bool(o.together), -_size(o)))
    chosen = list(dict.fromkeys(o.node for o in worst))
    if not chosen:
        return [], Attributed()
    pieces = {piece.name: piece for piece in anatomy.cut.pieces}
    kept = [
        {**feed, **tensors}
        for feed, tensors in zip(feeds[: len(drift.kept_a)], drift.kept_a, strict=True)
    ]
    company = [name for name in chosen for name in _names(name, joined)]
    drawn = [_drawn(anatomy, company, kept[0], index) for index in range(_RANDOM)]
    drawn_a, drawn_b = (side.run(drawn, [n for n in chosen if n not in joined]) for side in alone)
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
        if name in joined:
            trial = _in_company(case, piece, joined[name], kept, drawn, alone)
        else:
            trial = _trial(case, piece, kept, made, drawn, (drawn_a, drawn_b))
        if trial is None:
            continue
        explanation, variations, basis = explain(
            trial,
            profile_a,
            profile_b,
            others,
            known,
            search=number < _SEARCHED,
            turned=_turner(case, own, found, joined.get(name)),
        )
        explanations.append(explanation)
        if variations and basis is not None:
            found[name] = (variations, basis)
            if variations not in known:
                known.append(variations)
    depth = {piece.name: index for index, piece in enumerate(anatomy.cut.pieces)}
    explanations.sort(key=lambda e: depth[e.node])
    tell("what each mechanism does to the whole model")
    return explanations, attribute(case, drift, feeds, found, own, explanations)


def _names(name: str, joined: Mapping[str, Joined]) -> list[str]:
    return [name, *joined[name].others] if name in joined else [name]


def _turner(
    case: Case,
    own: Sequence[Own],
    found: Mapping[str, tuple[tuple[Variation, ...], Profile]],
    joined: Joined | None,
) -> Callable[[Profile], Profile]:
    """Gives a profile that has the variations found in a piece's company."""

    def turn(basis: Profile) -> Profile:
        names = [n for n in (joined.others if joined else ()) if n in found]
        chosen = [{n: found[n][0]} for n in names if found[n][1] == basis]
        if not chosen:
            return basis
        rules = rules_of(parse_program(case.model), basis) or {}
        return with_variations(basis, rules, chosen, {o.node: o.nodes for o in own})

    return turn


def _in_company(
    case: Case,
    piece: Piece,
    joined: Joined,
    kept: Sequence[Feed],
    drawn: Sequence[Feed],
    alone: tuple[Alone, Alone],
) -> Trial | None:
    """A piece that is computed with others: run with them, on real and on random integers."""
    group = [[piece.name, *joined.others]]
    random_a, random_b = (_of(piece, side.together(drawn, group)) for side in alone)
    random = None
    if random_a is not None and random_b is not None:
        random = Replay(case.model, piece, drawn, joined.others)
    a, b = _of(piece, joined.made_a), _of(piece, joined.made_b)
    assert a is not None and b is not None
    return Trial(Replay(case.model, piece, kept, joined.others), a, b, random, random_a, random_b)


def _size(own: Own) -> float:
    """How much a piece adds: by its noise where that is known."""
    assert own.distance is not None
    return noise_power(own.distance) ** 0.5 or own.distance.differing


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
            if held.dtype.kind == "f":
                drawn[name] = _floats(held, rng, wide=index > 0)
                continue
            if quantizer is None:  # indices, say: what they may be is not known
                drawn[name] = rng.permutation(held.reshape(-1)).reshape(held.shape)
                continue
            low, high = range_of(quantizer.dtype)
            wide = rng.integers(low, high + 1, held.shape)
            near = rng.normal(quantizer.zero_point[0], (high - low) / 16, held.shape)
            near = np.clip(np.rint(near), low, high).astype(np.int64)
            values = np.where(rng.random(held.shape) < 0.5, wide, near)
            drawn[name] = values.astype(held.dtype)
    return drawn


def _floats(held: Array, rng: np.random.Generator, wide: bool) -> Array:
    """Numbers like ``held``; ``wide``: of all sizes and either sign, so that sums cancel."""
    values = held.astype(np.float64) * rng.uniform(0.5, 1.5, held.shape)
    if wide:
        values = np.ldexp(values, rng.integers(-_BINADES, _BINADES + 1, held.shape))
        values *= rng.choice([-1.0, 1.0], held.shape)
    most = float(np.finfo(held.dtype).max)
    return np.clip(values, -most, most).astype(held.dtype)


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

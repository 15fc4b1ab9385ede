"""Why one piece answers differently on B: turn one rule of the engine at a time until it does.

The engine stands for A under a profile that gives A's answers. Then rules are turned, those of B's
profile where B has one, else those of a catalogue, and each is scored by the share of B's integers
that come out: on the model's own data, and on seeded random integers, where rules that agree on
quiet data part.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np

from chipdrift.diagnose.catalogue import catalogue, fusions, narrowings
from chipdrift.diagnose.mechanisms import Tables, Variation, between
from chipdrift.diagnose.refine import nearby
from chipdrift.diagnose.replay import Replay, share_equal
from chipdrift.diagnose.shapley import shapley
from chipdrift.diagnose.wording import said
from chipdrift.findings import WORDS, Explanation, Mechanism
from chipdrift.numerics.ops import tables_of
from chipdrift.numerics.profile import Fallback, Profile, Rules

Array = np.ndarray[Any, Any]

# Below this share of A's integers the engine does not know A well enough to explain anything.
_KNOWN = 0.9
# A second mechanism must take this part of what the first leaves.
_WORTH = 0.15
_SINGLES = 10
# So many of the best are tried at strengths that the catalogue leaves out.
_REFINED = 6


@dataclass(frozen=True, eq=False)
class Trial:
    """A piece with what A and B made of the same integers: the model's data, and random ones.

    ``random`` may be absent (None) where the piece has no integers to draw.
    """

    real: Replay
    a: Array
    b: Array
    random: Replay | None = None
    random_a: Array | None = None
    random_b: Array | None = None

    def score(self, profile: Profile, to_a: bool = False) -> tuple[float, float]:
        """The shares of B's (or A's) integers on the model's data, and on both kinds of data."""
        real = share_equal(self.real.answers(profile), self.a if to_a else self.b)
        wanted = self.random_a if to_a else self.random_b
        if self.random is None or wanted is None:
            return real, real
        return real, (real + share_equal(self.random.answers(profile), wanted)) / 2


def explain(
    trial: Trial,
    profile_a: Profile | None,
    profile_b: Profile | None,
    others: Iterable[Profile],
    known: Sequence[tuple[Variation, ...]] = (),
    search: bool = True,
    turned: Callable[[Profile], Profile] = lambda profile: profile,
) -> tuple[Explanation, tuple[Variation, ...], Profile | None]:
    """The mechanisms by which B's answers of a piece part from A's.

    ``others`` are profiles to try for A where its own does not give its answers; ``known`` what
    explained other pieces, tried first; without ``search`` the catalogue is left alone. ``turned``
    gives a profile that has what was found in the neighbours with which the piece is computed
    together: of what parts it from B, that is not the piece's own. Gives the explanation, the
    variations, and the profile that stands for A (None where none does).
    """
    piece = trial.real.piece
    basis, basis_share = _basis(trial, profile_a, others)
    if basis_share < _KNOWN:
        words = trial.real.floats(basis) or "no profile gives what A answers here"
        return _nothing(trial, basis, basis_share, words), (), None
    start = turned(basis)
    before = trial.score(start)[0]
    chosen: tuple[Variation, ...] = ()
    rivals: dict[Variation, tuple[str, ...]] = {}
    tables = trial.real.tables(start)
    for tried in known:
        made = _apply(start, tables, tried)
        if made is not None and trial.score(made)[1] == 1.0:
            chosen = tried
            break
    if not chosen:
        chosen = _turned(trial, start, tables, profile_b)
    if not chosen or (search and not _gives_all(trial, start, tables, chosen)):
        listed, told = _search(trial, start, tables) if search else ((), {})
        if _score(trial, start, tables, listed) > _score(trial, start, tables, chosen):
            chosen, rivals = listed, told
    if not chosen:
        return (
            _nothing(trial, basis, basis_share, "no rule that was tried gives B's answers"),
            (),
            basis,
        )

    def value(members: frozenset[int]) -> float:
        made = _apply(start, tables, [chosen[i] for i in sorted(members)])
        return before if made is None else trial.score(made)[0]

    lost = max(1e-12, 1 - before)
    parts = shapley(len(chosen), value)
    mechanisms = []
    for index, (variation, part) in enumerate(zip(chosen, parts, strict=True)):
        spoken_a, spoken_b = said(variation, tables)
        mechanisms.append(
            Mechanism(
                mechanism=variation.mechanism,
                words=WORDS[variation.mechanism],
                rule=variation.rule,
                a=spoken_a,
                b=spoken_b,
                before=before,
                after=value(frozenset([index])),
                closes=part / lost,
                certain=not rivals.get(variation),
                rivals=rivals.get(variation, ()),
            )
        )
    mechanisms.sort(key=lambda m: -m.closes)
    after = value(frozenset(range(len(chosen))))
    found = Explanation(
        node=piece.name,
        op=piece.op,
        basis=basis.name,
        basis_share=basis_share,
        mechanisms=tuple(mechanisms),
        unexplained=(1 - after) / lost,
    )
    return found, chosen, basis


def _nothing(trial: Trial, basis: Profile, share: float, words: str) -> Explanation:
    piece = trial.real.piece
    return Explanation(
        node=piece.name,
        op=piece.op,
        basis=basis.name,
        basis_share=share,
        mechanisms=(),
        unexplained=1.0,
        words=words,
    )


def _basis(
    trial: Trial, profile_a: Profile | None, others: Iterable[Profile]
) -> tuple[Profile, float]:
    """The profile that gives most of A's integers: its own if that gives all."""
    best: tuple[float, Profile] | None = None
    for profile in chain([profile_a] if profile_a is not None else [], others):
        score = trial.score(profile, to_a=True)[1]
        if best is None or score > best[0]:
            best = (score, profile)
        if best[0] == 1.0:
            break
    if best is None:
        best = (0.0, Profile(name="exact"))
    return best[1], trial.score(best[1], to_a=True)[0]


def _apply(basis: Profile, tables: Tables, variations: Iterable[Variation]) -> Profile | None:
    """``basis`` with all the variations, one on top of the other."""
    made = basis
    for variation in variations:
        if variation.part == "fallback":
            away = Fallback(ops=dict(variation.changes)["ops"])
            made = made.model_copy(update={"fallback": away})
            continue
        step = variation.apply(made, tables)
        if step is None:
            return None
        made, tables = step
    return made


def _score(trial: Trial, basis: Profile, tables: Tables, variations: Sequence[Variation]) -> float:
    made = _apply(basis, tables, variations)
    return 0.0 if made is None else trial.score(made)[1]


def _gives_all(
    trial: Trial, basis: Profile, tables: Tables, variations: Sequence[Variation]
) -> bool:
    return _score(trial, basis, tables, variations) == 1.0


def _turned(
    trial: Trial, basis: Profile, tables: Tables, profile_b: Profile | None
) -> tuple[Variation, ...]:
    """What B's own rules differ in, less what makes no difference; () where they do not help."""
    if profile_b is None:
        return ()
    turned = tuple(between(tables, trial.real.tables(profile_b)))
    reached = _score(trial, basis, tables, turned)
    if not turned or reached <= trial.score(basis)[1]:
        return ()
    kept = list(turned)
    for variation in reversed(turned):
        rest = [v for v in kept if v is not variation]
        if rest and _score(trial, basis, tables, rest) == reached:
            kept = rest
    return tuple(kept)


def _search(
    trial: Trial, basis: Profile, tables: Tables
) -> tuple[tuple[Variation, ...], dict[Variation, tuple[str, ...]]]:
    """The fewest variations of the catalogue that give B's answers, or more than A's rules do."""
    before = trial.score(basis)[1]
    listed = _listed(trial, tables)
    scored: list[tuple[float, Variation]] = []
    for variation in listed:
        made = _apply(basis, tables, [variation])
        if made is not None:
            scored.append((trial.score(made)[1], variation))
    scored.sort(key=lambda entry: -entry[0])  # stable: the plain stay before the strange
    if not scored or scored[0][0] <= before:
        return (), {}
    best, first = scored[0]
    if best == 1.0:
        return (first,), {first: _rivals(scored, first)}
    for variation in [other for _, v in scored[:_REFINED] for other in nearby(v)]:
        made = _apply(basis, tables, [variation])
        if made is not None and trial.score(made)[1] > best:
            best, first = trial.score(made)[1], variation
            scored.insert(0, (best, variation))
        if best == 1.0:
            return (first,), {first: _rivals(scored, first)}
    pair = _pair(trial, basis, tables, [v for _, v in scored[:_SINGLES]], listed, best)
    if pair is not None:
        return pair, {}
    if best - before < _WORTH * (1 - before):
        return (), {}
    return (first,), {first: _rivals(scored, first)}


def _listed(trial: Trial, tables: Tables) -> list[Variation]:
    """What to try in a piece."""
    piece = trial.real.piece
    if not piece.nodes:  # a quantizer
        return list(catalogue(tables))
    listed: list[Variation] = []
    if trial.real.fuses:
        listed += fusions()
    listed.append(Variation("fallback", "fallback", (("ops", (piece.op,)),)))
    if trial.real.narrows:
        listed += narrowings()
    if tables.rules is not None or tables.floats is not None or tables.halves:
        obeyed = {table for _, op in piece.nodes for table in tables_of(op)}
        idle = {*Rules.model_fields, *(() if "accumulator" in obeyed else ("weights",))} - obeyed
        listed += [v for v in catalogue(tables) if v.part not in idle]
    return listed


def _rivals(scored: Sequence[tuple[float, Variation]], chosen: Variation) -> tuple[str, ...]:
    """Other mechanisms that explain as much."""
    best = scored[0][0]
    names = [v.mechanism for s, v in scored if s == best and v.mechanism != chosen.mechanism]
    return tuple(dict.fromkeys(names))


def _pair(
    trial: Trial,
    basis: Profile,
    tables: Tables,
    singles: Sequence[Variation],
    listed: Sequence[Variation],
    best: float,
) -> tuple[Variation, ...] | None:
    """Two mechanisms that explain more than the best one does, by what is worth a second one."""
    found: tuple[float, tuple[Variation, ...]] | None = None
    for first in singles:
        for second in listed:
            if second.mechanism == first.mechanism:
                continue
            made = _apply(basis, tables, [first, second])
            if made is None:
                continue
            score = trial.score(made)[1]
            if found is None or score > found[0]:
                found = (score, (first, second))
            if score == 1.0:
                return found[1]
    if found is not None and found[0] - best >= _WORTH * (1 - best):
        return found[1]
    return None

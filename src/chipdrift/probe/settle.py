"""Tell the rivals apart: rules that explain everything asked so far but are not the same.

The rivals are all rules that are reached from the ones found through rules that explain as much.
Each round asks at the edges of the plainest: it falls, or those fall that part from it there. An
answer that fits none sends the search back to work.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from chipdrift.numerics.profile import Accumulator, Requantize
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.probe.edges import sharpest
from chipdrift.probe.predict import Evidence, Pool
from chipdrift.probe.search import Found, cost, find_requantize, neighbours, refine
from chipdrift.probe.settings import Kind, answers, evidence_of

_ROUNDS = 24
# So many questions in a row that part no rivals and refute nothing, and all is settled.
_CALM = 3
# Rules whose neighbours are looked at, in a round and in all.
_GROWN = 4
_GROWN_IN_ALL = 48
# Rivals that are compared at a time.
_COMPARED = 160


class Rivals:
    """The rules that explain every answer, as far as they are known, the plainest first."""

    def __init__(self, evidence: Sequence[Evidence], rules: Sequence[Requantize]) -> None:
        self._sample = Pool(evidence, limit=400)
        self._pools = [Pool([entry], everything=True) for entry in evidence]
        self._grown: set[Requantize] = set()
        self._seen = set(rules)
        self.rules = sorted((r for r in rules if self._explains(r)), key=cost)

    def learn(self, entry: Evidence) -> None:
        """Drop the rules that do not explain ``entry``."""
        pool = Pool([entry], everything=True)
        self._pools.append(pool)
        self.rules = [rules for rules in self.rules if pool.score(rules) == pool.size]

    def grow(self, limit: int) -> int:
        """Add what explains everything beside the plainest ``limit`` rules not yet looked at."""
        fresh = [rules for rules in self.rules if rules not in self._grown][:limit]
        for rules in fresh:
            self._grown.add(rules)
            others = dict.fromkeys(other for other in neighbours(rules) if other not in self._seen)
            self._seen.update(others)
            self.rules += [other for other in others if self._explains(other)]
        self.rules.sort(key=cost)
        return len(fresh)

    def _explains(self, rules: Requantize) -> bool:
        # The newest first: they were made to tell such rules apart.
        return self._sample.score(rules) == self._sample.size and all(
            pool.score(rules) == pool.size for pool in reversed(self._pools)
        )


def settle(
    asker: Asker,
    rng: np.random.Generator,
    kinds: Sequence[Kind],
    bits: int,
    accumulator: Accumulator,
    evidence: list[Evidence],
    found: Found,
) -> tuple[Found, tuple[Kind, str] | None]:
    """What is left of the rules ``found`` after more questions; their answers join ``evidence``.

    Also the last kind that the target refused, with its words; the others are asked on. Of the
    rules that are left the reference confirms the first on everything.
    """
    rivals = Rivals(evidence, [found.rules, *found.equal])
    refused: tuple[Kind, str] | None = None
    calm, grown = 0, 0
    kinds = list(kinds)
    for _ in range(_ROUNDS):
        if not rivals.rules:  # sums that overflow: the reference follows them, pools do not
            return found, refused
        if grown < _GROWN_IN_ALL:
            grown += rivals.grow(_GROWN)
        kind = kinds[int(rng.integers(len(kinds)))]
        setting, parted = sharpest(rng, kind, bits, rivals.rules[:_COMPARED], accumulator)
        try:
            entry = evidence_of(setting, answers(asker, setting), accumulator)
        except NoAnswerError as error:
            refused = kind, str(error)
            kinds.remove(kind)
            if not kinds:
                break
            continue
        evidence.append(entry)
        last = rivals.rules[:6]
        rivals.learn(entry)
        calm = 0 if parted or not rivals.rules else calm + 1
        if not rivals.rules:
            found = _again(evidence, last)
            if found.explained < found.asked:
                return found, refused
            rivals = Rivals(evidence, [found.rules, *found.equal])
        if calm == _CALM:
            break
    return _confirmed(found, rivals.rules, evidence), refused


def _again(evidence: Sequence[Evidence], seeds: Sequence[Requantize]) -> Found:
    """Search from what held until now; where that leads nowhere, from the beginning."""
    found = refine(evidence, seeds)
    if found.explained < found.asked:
        found = find_requantize(evidence, [found.rules, *seeds])
    return found


def _confirmed(found: Found, rules: Sequence[Requantize], evidence: Sequence[Evidence]) -> Found:
    """``found`` with the rules that are left, from the first that the reference confirms."""
    asked = sum(entry.answer.size for entry in evidence)
    for index, candidate in enumerate(rules):
        if all(entry.confirmed(candidate) == entry.answer.size for entry in evidence):
            return Found(candidate, asked, asked, tuple(rules[index + 1 :]), found.others)
    return refine(evidence, rules[:6]) if rules else found

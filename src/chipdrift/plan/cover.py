"""Which candidates are shipped: one for each chip, or no more than a number of them in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

# Sets of variants that are tried one by one; beyond it they are chosen greedily.
_MOST = 200_000


def choose_variants(
    costs: Mapping[str, Mapping[str, float]], most: int | None
) -> dict[str, str | None]:
    """Each chip's candidate; ``costs`` has for each chip those that hold its budget.

    Without ``most`` each chip gets its cheapest. With it at most so many different ones are chosen,
    such that as few chips as can be are left without, and the sum of each chip's cost as a multiple
    of its own cheapest is least: chips' units need not be alike. Exact up to 200,000 sets, greedy
    beyond. A chip without any gets None. Ties go to the name that sorts first.
    """
    best = {chip: _cheapest(held, held) for chip, held in costs.items()}
    names = sorted({name for held in costs.values() for name in held})
    needed = {name for name in best.values() if name is not None}
    if most is None or len(needed) <= most:
        return best
    sets: Sequence[tuple[str, ...]]
    if comb(len(names), most) <= _MOST:
        sets = list(combinations(names, most))
    else:
        sets = [_greedy(costs, names, most)]
    chosen = min(sets, key=lambda some: (*_toll(costs, some), some))
    return {chip: _cheapest(held, chosen) for chip, held in costs.items()}


def _cheapest(held: Mapping[str, float], some: Sequence[str] | Mapping[str, float]) -> str | None:
    return min((n for n in some if n in held), key=lambda n: (held[n], n), default=None)


def _toll(costs: Mapping[str, Mapping[str, float]], some: Sequence[str]) -> tuple[int, float]:
    """(chips without any, the sum of each chip's cost as a multiple of its cheapest)."""
    without, total = 0, 0.0
    for held in costs.values():
        if not held:
            continue
        name = _cheapest(held, some)
        if name is None:
            without += 1
        else:
            least = min(held.values())
            total += held[name] / least if least > 0 else 1.0
    return without, total


def _greedy(
    costs: Mapping[str, Mapping[str, float]], names: Sequence[str], most: int
) -> tuple[str, ...]:
    chosen: tuple[str, ...] = ()
    for _ in range(most):
        rest = [name for name in names if name not in chosen]
        chosen += (min(rest, key=lambda n: (*_toll(costs, (*chosen, n)), n)),)
    return tuple(sorted(chosen))

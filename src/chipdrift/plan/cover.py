"""Which candidates are shipped: one for each chip, or no more than a number of them in all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from math import comb

# Sets of variants that are tried one by one; beyond it they are chosen greedily.
_MOST = 20_000
# Costs that differ by less are one.
_SAME = 1e-6


def choose_variants(
    costs: Mapping[str, Mapping[str, float]],
    most: int | None,
    worth: Mapping[str, Mapping[str, float]] | None = None,
) -> dict[str, str | None]:
    """Each chip's candidate; ``costs`` has for each chip those that hold its budget.

    Without ``most`` each chip gets one that costs it no more than its cheapest, and the fewest
    different ones are chosen that do so. With it at most so many are chosen, such that as few chips
    as can be are left without, and the sum of each chip's cost as a multiple of its own cheapest is
    least: chips' units need not be alike. Exact up to 20,000 sets, greedy beyond. A chip without
    any gets None. Ties go to the higher sum of ``worth`` (nearness to the float model), then to the
    name that sorts first.
    """
    worth = worth or {}
    cheapest = {chip: _least_cost(held) for chip, held in costs.items()}
    names = sorted({name for held in cheapest.values() for name in held})
    chips = [chip for chip, held in costs.items() if held]
    for count in range(1, len(chips) + 1 if most is None else min(most, len(chips)) + 1):
        found = _best_set(cheapest, names, count, worth)
        if not _toll(cheapest, found)[0]:
            return _given(cheapest, found, worth)
    if most is None:
        return dict.fromkeys(costs)
    every = sorted({name for held in costs.values() for name in held})
    return _given(costs, _best_set(costs, every, most, worth), worth)


def _least_cost(held: Mapping[str, float]) -> dict[str, float]:
    """Those that cost no more than the cheapest."""
    least = min(held.values(), default=0.0)
    return {name: cost for name, cost in held.items() if cost <= least * (1 + _SAME)}


def _best_set(
    costs: Mapping[str, Mapping[str, float]],
    names: Sequence[str],
    count: int,
    worth: Mapping[str, Mapping[str, float]],
) -> tuple[str, ...]:
    count = min(count, len(names))
    if comb(len(names), count) > _MOST:
        return _greedy(costs, names, count)

    def rank(some: tuple[str, ...]) -> tuple[int, float, float, tuple[str, ...]]:
        without, total = _toll(costs, some)
        given = _given(costs, some, worth)
        near = sum(worth.get(chip, {}).get(name or "", 0.0) for chip, name in given.items())
        return without, round(total, 9), -near, some

    return min(combinations(names, count), key=rank)


def _given(
    costs: Mapping[str, Mapping[str, float]],
    some: Sequence[str],
    worth: Mapping[str, Mapping[str, float]],
) -> dict[str, str | None]:
    """Each chip's cheapest of ``some``."""
    found: dict[str, str | None] = {}
    for chip, held in costs.items():
        near = worth.get(chip, {})
        least = _least_cost({name: held[name] for name in some if name in held})
        found[chip] = min(least, key=lambda n, near=near: (-near.get(n, 0.0), n), default=None)  # type: ignore[misc]
    return found


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

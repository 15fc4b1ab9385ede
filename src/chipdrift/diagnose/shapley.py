"""Shapley values over a few players, exactly."""

from __future__ import annotations

from collections.abc import Callable
from itertools import combinations
from math import factorial


def shapley(players: int, value: Callable[[frozenset[int]], float]) -> list[float]:
    """Each player's mean contribution to ``value`` over all orders of joining.

    Source: L. S. Shapley, "A Value for n-Person Games" (1953): the sum over coalitions S without i
    of |S|! (n - |S| - 1)! / n! (v(S with i) - v(S)). The values sum to v(all) - v(none). ``value``
    is asked once for each of the ``2**players`` coalitions.
    """
    everyone = range(players)
    known = {
        frozenset(members): value(frozenset(members))
        for size in range(players + 1)
        for members in combinations(everyone, size)
    }
    parts = []
    for player in everyone:
        total = 0.0
        for members, worth in known.items():
            if player in members:
                continue
            weight = factorial(len(members)) * factorial(players - len(members) - 1)
            total += weight * (known[members | {player}] - worth)
        parts.append(total / factorial(players))
    return parts

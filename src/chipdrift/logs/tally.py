"""What many lines say alike, counted once: tables that a hostile log cannot make grow for ever."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

LIMIT = 100_000
"""Distinct entries that a table keeps; further ones are counted, not kept."""


@dataclass
class Seen(Generic[V]):
    """A value with the number of lines that said it, and the first of them."""

    value: V
    line: int
    count: int = 0


class Tally(Generic[K, V]):
    """Values by key, in the order they came; ``dropped`` counts keys beyond the limit."""

    def __init__(self, limit: int = LIMIT) -> None:
        self._seen: dict[K, Seen[V]] = {}
        self._limit = limit
        self.dropped = 0

    def add(self, key: K, line: int, make: Callable[[], V], count: int = 1) -> V | None:
        """Count ``key``; its value, made by ``make`` the first time, or None beyond the limit."""
        seen = self._seen.get(key)
        if seen is None:
            if len(self._seen) >= self._limit:
                self.dropped += 1
                return None
            seen = self._seen[key] = Seen(make(), line)
        seen.count += count
        return seen.value

    def __iter__(self) -> Iterator[tuple[K, Seen[V]]]:
        return iter(self._seen.items())

    def __len__(self) -> int:
        return len(self._seen)

    def get(self, key: K) -> Seen[V] | None:
        """What was seen of ``key``, or None."""
        return self._seen.get(key)

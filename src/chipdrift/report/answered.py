"""Who gives the same answers throughout: the first thing to say of outputs without labels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from chipdrift.counts import counted
from chipdrift.records import Matrix, Pair
from chipdrift.report.figures import differing, listing
from chipdrift.report.finding import Finding

_NAMED = 4


def answered_alike(matrix: Matrix) -> list[Finding]:
    """One sentence per scheme with two targets or more; the most that answer alike come first."""
    many = len({pair.scheme for pair in matrix.pairs}) > 1
    found = []
    for scheme in matrix.schemes:
        pairs = [pair for pair in matrix.pairs if pair.scheme == scheme.name]
        if pairs:
            under = f"{scheme.name}: " if many else ""
            kind, text = _told(matrix, pairs)
            found.append(Finding(kind, under + text, "agreement"))
    return found


def _told(matrix: Matrix, pairs: list[Pair]) -> tuple[Literal["calm", "note"], str]:
    targets = list(dict.fromkeys(name for pair in pairs for name in (pair.a, pair.b)))
    apart = {frozenset((pair.a, pair.b)): differing(pair) for pair in pairs}
    groups = [[name, *_alike(name, targets, apart)] for name in targets]
    most = max(groups, key=len)
    same = f"the same {matrix.metric.answer} on all {counted(matrix.data.samples, 'sample')}"
    if len(most) == len(targets):
        return "calm", f"{'Both' if len(most) == 2 else f'All {len(most)}'} targets give {same}."
    if len(most) == 1:
        return "note", f"No two of {len(targets)} targets give {same}."
    others = [name for name in targets if name not in most]
    counts = [apart[frozenset((most[0], name))] for name in others]
    size = f"{max(counts):,}" if len(set(counts)) == 1 else f"{min(counts):,} to {max(counts):,}"
    who = listing(others) if len(others) <= _NAMED else f"the other {len(others)}"
    verb = "differs" if len(others) == 1 else "differ"
    text = f"{len(most)} of {len(targets)} targets give {same}; {who} {verb} from them on {size}."
    return "note", text


def _alike(name: str, targets: list[str], apart: dict[frozenset[str], int]) -> Iterator[str]:
    return (other for other in targets if apart.get(frozenset((name, other))) == 0)

"""Chip against chip: one table per scheme, targets with identical bits in one line."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import final

from chipdrift.records import Group, Matrix, Pair
from chipdrift.report.figures import differing, number, percent


@final
@dataclass(frozen=True)
class PairCell:
    """Two groups of targets: their figures hold for each target of one with each of the other."""

    agreement: str
    tint: str
    differing: int
    identical: str
    lsb: str | None
    max_abs: str | None
    measured: int
    title: str


@final
@dataclass(frozen=True)
class Alike:
    """A group of targets, by its letter; ``cells`` is a row, None on the diagonal and above it."""

    letter: str
    targets: tuple[str, ...]
    measured: int
    samples: int
    cells: tuple[PairCell | None, ...]


@final
@dataclass(frozen=True)
class Agreement:
    """One scheme's table. ``lowest`` is the lowest agreement in it, ``open`` whether to show it."""

    scheme: str
    groups: tuple[Alike, ...]
    lowest: str
    lsb: str | None
    open: bool


def agreements(matrix: Matrix) -> list[Agreement]:
    """Every scheme with two or more results; those that agree least are shown unfolded."""
    by_scheme: dict[str, list[Pair]] = defaultdict(list)
    for pair in matrix.pairs:
        by_scheme[pair.scheme].append(pair)
    least = min((pair.agreement for pair in matrix.pairs), default=1.0)
    return [
        _agreement(matrix, scheme, pairs, min(p.agreement for p in pairs) == least)
        for scheme, pairs in by_scheme.items()
    ]


def _agreement(matrix: Matrix, scheme: str, pairs: list[Pair], shown: bool) -> Agreement:
    found = {frozenset((pair.a, pair.b)): pair for pair in pairs}
    groups = [group for group in matrix.groups if group.scheme == scheme]
    grouped = {target for group in groups for target in group.targets}
    for target in dict.fromkeys(t for pair in pairs for t in (pair.a, pair.b)):
        if target not in grouped:
            alone = pairs[0].samples
            groups.append(Group(scheme=scheme, targets=(target,), samples=alone, measured=alone))
    rows = tuple(
        Alike(
            letter=_letter(i),
            targets=row.targets,
            measured=row.measured,
            samples=row.samples,
            cells=tuple(
                _between(matrix, found, row, column) if j < i else None
                for j, column in enumerate(groups)
            ),
        )
        for i, row in enumerate(groups)
    )
    lowest = min(pair.agreement for pair in pairs)
    largest = max((pair.lsb.max for pair in pairs if pair.lsb is not None), default=None)
    return Agreement(
        scheme=scheme,
        groups=rows,
        lowest=percent(lowest),
        lsb=f"{largest:,}" if largest is not None else None,
        open=shown,
    )


def _between(
    matrix: Matrix, found: dict[frozenset[str], Pair], row: Group, column: Group
) -> PairCell | None:
    """The figures of two groups: the least agreement, the most samples measured on both."""
    pairs = [
        pair
        for a in row.targets
        for b in column.targets
        if (pair := found.get(frozenset((a, b)))) is not None
    ]
    if not pairs:
        return None
    least = min(pairs, key=lambda pair: pair.agreement)
    words = [f"{least.a} and {least.b}: same {matrix.metric.answer} on {percent(least.agreement)}"]
    if least.agreement_low is not None and least.agreement_high is not None:
        low, high = percent(least.agreement_low), percent(least.agreement_high)
        words.append(f"95 % interval {low} to {high}")
    return PairCell(
        agreement=percent(least.agreement),
        tint=tint(least.agreement),
        differing=differing(least),
        identical=percent(least.identical),
        lsb=f"{least.lsb.max:,} / {number(least.lsb.mean)}" if least.lsb is not None else None,
        max_abs=number(least.max_abs) if least.max_abs is not None else None,
        measured=max(pair.measured for pair in pairs),
        title="; ".join(words),
    )


def tint(agreement: float) -> str:
    """Full agreement has no tint; then below 1, 2 and 5 % of samples that differ, and beyond."""
    apart = 1 - agreement
    if apart <= 0:
        return "apart0"
    return "apart1" if apart < 0.01 else "apart2" if apart < 0.05 else "apart3"


def _letter(index: int) -> str:
    """A, B, ... Z, AA, AB, ..."""
    text = ""
    index += 1
    while index:
        index, rest = divmod(index - 1, 26)
        text = chr(ord("A") + rest) + text
    return text

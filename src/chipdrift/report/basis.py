"""All figures of every cell, and what the whole rests on: versions, hashes, definitions."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from chipdrift.records import Cell, Matrix
from chipdrift.report.evidence import EXPLAINED, kinds
from chipdrift.report.figures import Figures, listing, name_targets, number, p_value, percent


@final
@dataclass(frozen=True)
class Numbers:
    """One cell's figures, written out; "" where there is none."""

    scheme: str
    target: str
    status: str
    value: str
    span: str
    change: str
    change_span: str
    significant: bool
    p: str
    p_holm: str
    agreement: str
    sqnr: str
    lsb: str
    measured: str
    seconds: str
    shares: str


def numbers(matrix: Matrix) -> list[Numbers]:
    """The cells in the matrix's own order."""
    figures = Figures.of(matrix)
    tested = not matrix.metric.against_baseline
    return [_numbers(figures, cell, tested) for cell in matrix.cells]


def _numbers(figures: Figures, cell: Cell, tested: bool) -> Numbers:
    metric, delta = cell.metric, cell.delta
    agreement = "" if cell.agreement is None else percent(cell.agreement)
    if agreement and cell.agreement_low is not None and cell.agreement_high is not None:
        agreement += f" ({percent(cell.agreement_low)} to {percent(cell.agreement_high)})"
    return Numbers(
        scheme=cell.scheme,
        target=cell.target,
        status=cell.status,
        value=figures.value(metric.value) if metric else "",
        span=(figures.span(metric) or "none") if metric else "",
        change=figures.change(delta.value) if delta else "",
        change_span=(figures.change_span(delta) or "none") if delta else "",
        significant=delta is not None and delta.significant,
        p=p_value(delta.p_value) if delta and tested else "",
        p_holm="not tested" if not tested else p_value(delta.p_holm) if delta else "",
        agreement=agreement,
        sqnr="" if cell.sqnr_db is None else f"{cell.sqnr_db:.1f}",
        lsb="" if cell.lsb is None else f"{cell.lsb.max:,} / {number(cell.lsb.mean)}",
        measured=f"{cell.measured:,} / {cell.samples:,}" if cell.samples else "",
        seconds="" if cell.seconds is None else f"{cell.seconds:.2f}",
        shares=cell.copied_from or "",
    )


def evidence(matrix: Matrix) -> list[tuple[str, str, str]]:
    """Kind, its targets, and what it is worth."""
    return [
        (kind, name_targets(matrix, targets, most=30), EXPLAINED[kind])
        for kind, targets in kinds(matrix).items()
    ]


def settings(matrix: Matrix) -> list[tuple[str, str, str]]:
    """Targets that share versions and options, in one row: targets, versions, options."""
    seen: dict[str, dict[str, dict[str, None]]] = {}
    for cell in matrix.cells:
        mine = seen.setdefault(cell.target, {"versions": {}, "options": {}})
        mine["versions"].update(dict.fromkeys(_pairs(cell.versions)))
        mine["options"].update(dict.fromkeys(_pairs(cell.options)))
    rows: dict[tuple[str, str], list[str]] = defaultdict(list)
    for target, words in seen.items():
        rows["; ".join(words["versions"]), "; ".join(words["options"])].append(target)
    return [(listing(targets), versions, options) for (versions, options), targets in rows.items()]


def _pairs(words: dict[str, str]) -> Iterator[str]:
    return (f"{key} {value}" for key, value in words.items())

"""Simulator against silicon as rows of a table: every check, those of the same chip first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from chipdrift.records import Matrix, SiliconCheck
from chipdrift.report.agreement import tint
from chipdrift.report.figures import Figures, number, p_value, percent
from chipdrift.report.silicon import not_checked, relation_words


@final
@dataclass(frozen=True)
class Row:
    """One check, written out; "" where there is nothing to say."""

    relation: str
    tint: str
    scheme: str
    simulator: str
    silicon: str
    own: str
    its: str
    sdks: str
    same: str
    agreement: str
    span: str
    identical: str
    apart: str
    predicted: str
    observed: str
    change: str
    change_span: str
    p: str
    significant: bool
    side: str
    evidence: str
    cautions: tuple[str, ...]


@final
@dataclass(frozen=True)
class Section:
    """Rows of the same chip, all others, cautions on every row of a silicon, words for no rows."""

    same: tuple[Row, ...]
    others: tuple[Row, ...]
    notes: tuple[tuple[str, str], ...]
    instead: str


def section(matrix: Matrix) -> Section | None:
    """The page's section; None where a run has no simulator, or nothing to hold it to."""
    notes = _notes(matrix)
    rows = [(c.relation == "same-chip", row(matrix, c, notes)) for c in matrix.silicon]
    instead = " ".join(finding.text for finding in not_checked(matrix))
    if not rows and not instead:
        return None
    return Section(
        same=tuple(found for same, found in rows if same),
        others=tuple(found for same, found in rows if not same),
        notes=tuple(notes),
        instead=instead,
    )


def _notes(matrix: Matrix) -> list[tuple[str, str]]:
    """The cautions that all checks of a silicon share, by silicon: said once, below the table."""
    found = []
    for silicon in dict.fromkeys(check.silicon for check in matrix.silicon):
        mine = [check for check in matrix.silicon if check.silicon == silicon]
        for caution in mine[0].cautions:
            if len(mine) > 1 and all(caution in check.cautions for check in mine):
                found.append((silicon, caution))
    return found


def row(matrix: Matrix, check: SiliconCheck, notes: Sequence[tuple[str, str]] = ()) -> Row:
    """A check in words and figures, without the cautions among ``notes``."""
    figures = Figures.of(matrix)
    same = round(check.agreement * check.samples)
    span = ""
    if check.agreement_low is not None and check.agreement_high is not None:
        low, high = percent(check.agreement_low), percent(check.agreement_high)
        span = f"{low.removesuffix(' %')} to {high}"
    change = check.difference
    own, its = (
        ", ".join(filter(None, (chip, generation)))
        for chip, generation in (
            (check.simulator_chip, check.simulator_generation),
            (check.silicon_chip, check.silicon_generation),
        )
    )
    sdks = ""
    if check.simulator_sdk or check.silicon_sdk:
        sdks = f"SDK {check.silicon_sdk or 'not said'}, simulated "
        sdks += check.simulator_sdk or "not said"
        if check.same_sdk is not None:
            sdks += " (the same release)" if check.same_sdk else " (another release)"
    return Row(
        relation=relation_words(check),
        tint=tint(check.agreement),
        scheme=check.scheme,
        simulator=check.simulator,
        silicon=check.silicon,
        own=own or "no chip named",
        its=its or "no chip named",
        sdks=sdks,
        same=f"{same:,} of {check.samples:,}",
        agreement=percent(check.agreement),
        span=span,
        identical=percent(check.identical),
        apart=_far(check),
        predicted=figures.value(check.predicted.value),
        observed=figures.value(check.observed.value),
        change=figures.change(change.value),
        change_span=figures.change_span(change) or "",
        p=p_value(change.p_holm),
        significant=change.significant,
        side="worse2" if figures.worse(change.value) > 0 else "better2",
        evidence="measured" if check.silicon_evidence == "device" else "reported",
        cautions=tuple(c for c in check.cautions if (check.silicon, c) not in notes),
    )


def _far(check: SiliconCheck) -> str:
    if check.lsb is not None:
        return f"{check.lsb.max:,} / {number(check.lsb.mean)}"
    return "" if check.max_abs is None else f"up to {number(check.max_abs)}"

"""The diagnoses of a run as the report shows them: why two targets part, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from chipdrift.findings import Diagnosis, Finding
from chipdrift.records import Matrix
from chipdrift.report.curve import Chart, charts
from chipdrift.report.figures import counted
from chipdrift.report.finding import Finding as Sentence
from chipdrift.report.network import Network, network
from chipdrift.report.told import (
    alike,
    at_the_output,
    left_npu,
    mechanisms_of,
    pair_of,
    where_from,
    where_they_part,
)

_ORDER = {"error": 0, "warning": 1, "note": 2}
# Pairs that get a sentence at the head of the report.
_SAID = 4


@final
@dataclass(frozen=True)
class Part:
    """A piece of the bar: its share in words, its width in percent, its colour's number."""

    share: str
    cause: str
    nodes: int | None
    width: float
    number: int | None


@final
@dataclass(frozen=True)
class Case:
    """One pair under one scheme. ``caution`` says why it may not fit the run it lies in."""

    anchor: str
    title: str
    sides: tuple[tuple[str, str, str, str], ...]
    verdict: str
    where: tuple[str, ...]
    parts: tuple[Part, ...]
    parts_of: str
    findings: tuple[Finding, ...]
    nodes: Network
    notes: tuple[str, ...]
    caution: str | None
    alike: bool
    made: str


@final
@dataclass(frozen=True)
class Diagnosed:
    """All of a run's diagnoses, those with the worst findings first.

    ``fault`` says why they cannot be shown, where one of their files is broken.
    """

    cases: tuple[Case, ...]
    charts: tuple[Chart, ...]
    fault: str | None = None


def diagnosed(
    matrix: Matrix, diagnoses: Sequence[Diagnosis], fault: str | None = None
) -> Diagnosed:
    """Lay the diagnoses out; ``fault`` is what went wrong when they were read."""
    ordered = sorted(diagnoses, key=_badness)
    cases = tuple(_case(matrix, number, found) for number, found in enumerate(ordered, 1))
    return Diagnosed(cases, tuple(charts([d for d in diagnoses if not alike(d)])), fault)


def sentences(diagnoses: Sequence[Diagnosis]) -> list[Sentence]:
    """What the head of the report says of them: each pair's worst finding, and a chip's loss."""
    found = []
    for diagnosis in sorted(diagnoses, key=_badness)[:_SAID]:
        worst = diagnosis.findings[0] if diagnosis.findings else None
        words = f"Diagnosed, {pair_of(diagnosis)}: "
        if worst is not None:
            more = len(diagnosis.findings) - 1
            words += worst.title.rstrip(".") + (
                f", and {counted(more, 'more finding')}" if more else ""
            )
        else:
            words += "identical to the bit" if alike(diagnosis) else "no finding"
        words += "."
        if diagnosis.verdict.cause in ("chip", "both"):
            words += f" {diagnosis.verdict.words}"
        serious = worst is not None and worst.severity == "error"
        found.append(Sentence("caution" if serious else "note", words, "diagnosis"))
    return found


def _badness(diagnosis: Diagnosis) -> tuple[int, float, str]:
    """Errors first, then by how much of the output differs."""
    severity = min((_ORDER[f.severity] for f in diagnosis.findings), default=len(_ORDER))
    apart = max((o.distance.differing for o in diagnosis.outputs), default=0.0)
    return severity, -apart, pair_of(diagnosis)


def _case(matrix: Matrix, number: int, diagnosis: Diagnosis) -> Case:
    caution = None
    if diagnosis.model_sha256 != matrix.model.sha256:
        caution = "Made of another model file than this run's: run chipdrift diagnose again."
    return Case(
        anchor=f"diagnosis-{number}",
        title=pair_of(diagnosis),
        sides=tuple(
            (letter, side.target, "" if side.name == side.target else side.name, tail)
            for letter, side in (("A", diagnosis.a), ("B", diagnosis.b))
            for tail in [f"{side.evidence}{left_npu(side)}"]
        ),
        verdict=diagnosis.verdict.words,
        where=tuple(filter(None, (where_they_part(diagnosis), at_the_output(diagnosis)))),
        parts=_parts(diagnosis),
        parts_of=where_from(diagnosis),
        findings=diagnosis.findings,
        nodes=network(diagnosis),
        notes=diagnosis.notes,
        caution=caution,
        alike=alike(diagnosis),
        made=diagnosis.created,
    )


def _parts(diagnosis: Diagnosis) -> tuple[Part, ...]:
    """The bar's pieces; shares below nothing get no width, and all widths together are 100."""
    found = mechanisms_of(diagnosis)
    whole = max(1.0, sum(max(0.0, share) for *_, share in found))
    return tuple(
        Part(
            share=words,
            cause=cause,
            nodes=nodes,
            width=round(100 * max(0.0, share) / whole, 2),
            number=number if nodes is not None else None,
        )
        for number, (words, cause, nodes, share) in enumerate(found, 1)
    )

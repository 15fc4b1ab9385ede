"""The diagnoses of a run as the report shows them: why two targets part, pair by pair."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import final

from chipdrift.counts import counted
from chipdrift.findings import Diagnosis, Finding
from chipdrift.records import Matrix
from chipdrift.report.curve import Chart, charts
from chipdrift.report.finding import Finding as Sentence
from chipdrift.report.finding import Kind
from chipdrift.report.network import Network, network
from chipdrift.report.told import (
    FLOAT,
    alike,
    at_the_output,
    briefly,
    calm,
    commanded,
    layers_of,
    left_npu,
    left_over,
    mechanisms_of,
    pair_of,
    stepped,
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
    """One pair under one scheme. ``caution`` says why it may not fit the run it lies in.

    ``same_command`` has for each finding the number of an earlier one with the same command;
    ``calm`` is said before the finding numbered ``first_note``. ``stepped``: tensors are integers.
    """

    anchor: str
    title: str
    sides: tuple[tuple[str, str, str, str], ...]
    verdict: str
    where: tuple[str, ...]
    parts: tuple[Part, ...]
    parts_of: str
    layers: str | None
    findings: tuple[Finding, ...]
    same_command: tuple[int | None, ...]
    calm: str | None
    first_note: int | None
    stepped: bool
    nodes: Network
    notes: tuple[str, ...]
    caution: str | None
    alike: bool
    made: str


@final
@dataclass(frozen=True)
class Diagnosed:
    """A run's diagnoses: targets before the float model, a chip's loss and bad findings first.

    Cards and charts are in the same order, and of a pair both ways round the newer one is shown.
    ``fault`` says why they cannot be shown, where one of their files is broken.
    """

    cases: tuple[Case, ...]
    charts: tuple[Chart, ...]
    fault: str | None = None


def diagnosed(
    matrix: Matrix, diagnoses: Sequence[Diagnosis], fault: str | None = None
) -> Diagnosed:
    """Lay the diagnoses out; ``fault`` is what went wrong when they were read."""
    ordered = shown(diagnoses)
    left = {_pair(d): d for d in diagnoses if d not in ordered}
    cases = tuple(
        _case(matrix, number, found, left.get(_pair(found)))
        for number, found in enumerate(ordered, 1)
    )
    return Diagnosed(cases, tuple(charts([d for d in ordered if not alike(d)])), fault)


def shown(diagnoses: Sequence[Diagnosis]) -> list[Diagnosis]:
    """Those that the report shows, in its order: of A against B and B against A the newer."""
    newest: dict[tuple[str, frozenset[str]], Diagnosis] = {}
    for diagnosis in diagnoses:
        kept = newest.get(_pair(diagnosis))
        if kept is None or _made(diagnosis) >= _made(kept):
            newest[_pair(diagnosis)] = diagnosis
    return sorted(newest.values(), key=_badness)


def _pair(diagnosis: Diagnosis) -> tuple[str, frozenset[str]]:
    return diagnosis.scheme, frozenset((diagnosis.a.target, diagnosis.b.target))


def _made(diagnosis: Diagnosis) -> datetime:
    try:
        made = datetime.fromisoformat(diagnosis.created)
    except ValueError:  # written by someone else: anything is newer
        made = datetime.min
    return made if made.tzinfo is not None else made.replace(tzinfo=UTC)


def sentences(diagnoses: Sequence[Diagnosis]) -> list[Sentence]:
    """What the head of the report says of them: a chip's loss first, verdict and worst finding."""
    found = []
    for diagnosis in shown(diagnoses)[:_SAID]:
        worst = diagnosis.findings[0] if diagnosis.findings else None
        words = f"Diagnosed, {pair_of(diagnosis)}: {briefly(diagnosis)}. Found: "
        if worst is not None:
            more = len(diagnosis.findings) - 1
            words += worst.title.rstrip(".") + (
                f", and {counted(more, 'more finding')}" if more else ""
            )
        else:
            words += "identical to the bit" if alike(diagnosis) else "nothing to mend"
        words += "."
        found.append(Sentence(_mark(diagnosis), words, "diagnosis"))
    return found


def _mark(diagnosis: Diagnosis) -> Kind:
    """By the worst of its findings and by its verdict: what asks for something is a caution."""
    asks = any(finding.severity != "note" for finding in diagnosis.findings)
    lost = diagnosis.verdict.cause in ("chip", "both", "quantization")
    return "caution" if asks or lost else "note"


def _is_chip(diagnosis: Diagnosis) -> bool:
    return diagnosis.verdict.cause in ("chip", "both")


def _badness(diagnosis: Diagnosis) -> tuple[bool, bool, int, float, str]:
    """A chip's loss first, the float model last; then by severity and how much differs."""
    severity = min((_ORDER[f.severity] for f in diagnosis.findings), default=len(_ORDER))
    apart = max((o.distance.differing for o in diagnosis.outputs), default=0.0)
    floating = diagnosis.b.target == FLOAT
    return not _is_chip(diagnosis), floating, severity, -apart, pair_of(diagnosis)


def _case(matrix: Matrix, number: int, diagnosis: Diagnosis, older: Diagnosis | None) -> Case:
    caution = None
    if diagnosis.model_sha256 != matrix.model.sha256:
        caution = "Made of another model file than this run's: run chipdrift diagnose again."
    made = diagnosis.created
    if older is not None:
        made += f", later than {older.a.target} against {older.b.target}, which is not shown"
    severities = [finding.severity for finding in diagnosis.findings]
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
        layers=" ".join(filter(None, (left_over(diagnosis), layers_of(diagnosis)))) or None,
        findings=diagnosis.findings,
        same_command=tuple(commanded(diagnosis)),
        calm=calm(diagnosis),
        first_note=severities.index("note") + 1 if "note" in severities else None,
        stepped=stepped(diagnosis),
        nodes=network(diagnosis),
        notes=diagnosis.notes,
        caution=caution,
        alike=alike(diagnosis),
        made=made,
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

"""What a search tried, as rows: techniques, layers that matter, candidates."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import final

from chipdrift.counts import counted
from chipdrift.plan.records import Plan, Sensitivity, Tried
from chipdrift.report.figures import listing
from chipdrift.report.plan_words import KINDS, TYPES

_TOP = 8
_FEW_NODES = 4


@final
@dataclass(frozen=True)
class TriedRow:
    """A technique: the figure before and after, and whether it stayed."""

    technique: str
    target: str
    base: str
    made: str
    before: str
    after: str
    gain: str
    samples: str
    kept: bool
    words: str


@final
@dataclass(frozen=True)
class Layer:
    """Layers that were raised as one; ``width`` is of its bar, in percent."""

    nodes: tuple[str, ...]
    more: tuple[str, ...]
    gain: str
    width: float
    borders: str


@final
@dataclass(frozen=True)
class Layers:
    """The layers of one base on one numerics, raised to one type, the most sensitive first."""

    title: str
    about: str
    rows: tuple[Layer, ...]
    rest: str


@final
@dataclass(frozen=True)
class CandidateRow:
    """A candidate: what sets it apart, and its exact size."""

    scheme: str
    words: str
    kind: str
    base: str
    size: str
    borders: str
    raised: tuple[str, ...]
    more: tuple[str, ...]
    techniques: str
    sha256: str
    model_sha256: str
    gets: str


def tried_rows(plan: Plan) -> tuple[list[TriedRow], list[TriedRow]]:
    """The techniques that were kept or changed a figure, and those that did not; in order."""
    told: list[TriedRow] = []
    nothing: list[TriedRow] = []
    for tried in plan.tried:
        row = _tried(tried)
        changes = bool(row.before and row.after) and row.before != row.after
        (told if tried.kept or changes else nothing).append(row)
    return told, nothing


def _tried(tried: Tried) -> TriedRow:
    gain = None
    if tried.before is not None and tried.after is not None:
        gain = tried.after - tried.before
    return TriedRow(
        technique=tried.technique,
        target=tried.target,
        base=tried.base,
        made=tried.scheme or "",
        before=_figure(tried.before, tried.unit),
        after=_figure(tried.after, tried.unit),
        gain="" if gain is None else _signed(gain, tried.unit),
        samples=f"{counted(tried.samples, 'sample')} not used to make it" if tried.samples else "",
        kept=tried.kept,
        words=tried.words,
    )


def layers(plan: Plan) -> list[Layers]:
    """A table for each base, numerics and type; the bars of all are on one scale."""
    stands: dict[str, list[str]] = defaultdict(list)
    for chip in plan.chips:
        stands[chip.searcher].append(chip.name)
    groups: dict[tuple[str, str, str], list[Sensitivity]] = defaultdict(list)
    for entry in dict.fromkeys(plan.sensitivity):  # groups of chips may have asked the same
        groups[entry.target, entry.base or "", entry.to].append(entry)
    top = max((entry.gain_db for entry in plan.sensitivity), default=0.0)
    return [_layers(key, found, stands[key[0]], top) for key, found in groups.items()]


def _layers(
    key: tuple[str, str, str], found: list[Sensitivity], chips: list[str], top: float
) -> Layers:
    target, base, to = key
    ranked = sorted(found, key=lambda entry: -entry.gain_db)
    helpful = [entry for entry in ranked if entry.gain_db > 0]
    shown, more = helpful[:_TOP], helpful[_TOP:]
    said = []
    if more:
        said.append(f"{len(more)} more gain at most {_signed(more[0].gain_db, 'dB')}")
    if len(found) > len(helpful):
        said.append(f"{len(found) - len(helpful)} gain nothing or lose")
    stand = f"For {listing(chips, 8)}. " if chips else ""
    samples = sorted({entry.samples for entry in found})
    return Layers(
        title=f"{base + ' ' if base else ''}raised to {TYPES.get(to, to)}, on {target}",
        about=(
            f"{stand}On {listing([f'{n:,}' for n in samples])} of the choosing samples; "
            f"{len(found)} tried, one at a time."
        ),
        rows=tuple(_layer(entry, top) for entry in shown),
        rest="; ".join(said),
    )


def _layer(entry: Sensitivity, top: float) -> Layer:
    return Layer(
        nodes=entry.nodes[:_FEW_NODES],
        more=entry.nodes[_FEW_NODES:],
        gain=_signed(entry.gain_db, "dB"),
        width=round(100 * entry.gain_db / top, 1) if top > 0 else 0.0,
        borders=str(entry.borders),
    )


def candidate_rows(plan: Plan) -> list[CandidateRow]:
    """All candidates in the order in which they were tried."""
    gets: dict[str, list[str]] = defaultdict(list)
    for choice in plan.choices:
        if choice.variant is not None:
            gets[choice.variant].append(choice.chip)
    found = []
    for entry in plan.candidates:
        cpu = f", {entry.cpu_borders} of them to or from the CPU" if entry.cpu_borders else ""
        found.append(
            CandidateRow(
                scheme=entry.scheme,
                words=entry.words,
                kind=KINDS[entry.how],
                base=entry.base or "",
                size=f"{entry.size:,}",
                borders=f"{entry.borders}{cpu}",
                raised=entry.raised[:_FEW_NODES],
                more=entry.raised[_FEW_NODES:],
                techniques=", ".join(entry.techniques),
                sha256=entry.sha256,
                model_sha256=entry.model_sha256,
                gets=", ".join(gets.get(entry.scheme, [])),
            )
        )
    return found


def _figure(value: float | None, unit: str) -> str:
    return "" if value is None else f"{value:.4g} {unit}".rstrip()


def _signed(value: float, unit: str) -> str:
    text = f"{abs(value):.2f}" if abs(value) >= 0.005 else f"{abs(value):.1g}"
    sign = "-" if value < 0 else "+" if value > 0 else ""
    return f"{sign}{text} {unit}".rstrip()

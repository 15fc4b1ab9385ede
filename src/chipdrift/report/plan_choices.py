"""What each chip gets, as rows: the choices, the variants, and on whom the plan rests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from chipdrift.plan.records import Choice, Cost, Plan, PlanChip, Score
from chipdrift.report.evidence import EXPLAINED
from chipdrift.report.figures import Figures, listing
from chipdrift.report.plan_words import (
    STANDINGS,
    changed,
    cost_basis,
    cost_detail,
    cost_line,
    cost_range,
    cost_value,
    one_line,
    rests,
    room,
)


@final
@dataclass(frozen=True)
class PlanRow:
    """One chip's choice in words; "" where there is nothing to say.

    ``tint``, ``mark`` and ``standing`` say how it stands to the budget, ``room`` by how much.
    ``full`` is the whole reason where ``why`` had to be cut.
    """

    chip: str
    about: str
    variant: str
    words: str
    notes: tuple[str, ...]
    value: str
    span: str
    change: str
    change_span: str
    agreement: str
    rests: str
    level: str
    cost: str
    cost_span: str
    cost_basis: str
    cost_detail: str
    tint: str
    mark: str
    standing: str
    room: str
    why: str
    full: str


@final
@dataclass(frozen=True)
class VariantRow:
    """A model file that is shipped."""

    name: str
    scheme: str
    words: str
    file: str
    size: str
    sha256: str
    chips: str
    safe: bool


@final
@dataclass(frozen=True)
class Basis:
    """Who searched for a chip and who confirmed, and why."""

    chip: str
    about: str
    confirmed: str
    searched: str
    why: str
    mates: str
    models: str


def choice_rows(plan: Plan, figures: Figures) -> list[PlanRow]:
    """The chips in the plan's order."""
    chips = {chip.name: chip for chip in plan.chips}
    words = {candidate.scheme: candidate.words for candidate in plan.candidates}
    words |= {variant.name: variant.words for variant in plan.variants}
    return [_row(plan, figures, c, chips.get(c.chip), words) for c in plan.choices]


def _row(
    plan: Plan,
    figures: Figures,
    choice: Choice,
    chip: PlanChip | None,
    words: Mapping[str, str],
) -> PlanRow:
    metric, cost = choice.metric, choice.cost
    # A metric that compares with the float model's own outputs has no change to tell beside it.
    own = plan.metric.against_baseline or choice.loss is None
    change = None if own or choice.loss is None else changed(choice.loss, figures.higher_is_better)
    why = one_line(choice.why) if choice.standing == "none" else choice.why
    tint, mark, standing = STANDINGS[choice.standing]
    target = chip.target if chip is not None else choice.chip
    return PlanRow(
        chip=choice.chip,
        about=chip.words if chip is not None else "",
        variant=choice.variant or "",
        words=_new(words.get(choice.variant or "", ""), choice.why),
        notes=tuple(_notes(plan, choice)),
        value=figures.value(metric.value) if metric is not None else "",
        span=(figures.span(metric) or "no interval") if metric is not None else "",
        change="" if change is None else _with_unit(figures, figures.change(change.value)),
        change_span="" if change is None else figures.change_span(change) or "no interval",
        agreement=""
        if choice.agreement is None or plan.metric.against_baseline
        else f"same {plan.metric.answer} as float: {_percent(choice.agreement.value)}",
        rests=rests(target, choice.evidence, choice.samples, "confirming"),
        level="" if choice.looks < 2 else _level(choice.looks),
        cost=cost_value(cost) if cost is not None else "",
        cost_span=(cost_range(cost) or "") if cost is not None else "",
        cost_basis=cost_basis(cost) if cost is not None else "",
        cost_detail=cost_detail(cost) if cost is not None else "",
        tint=tint,
        mark=mark,
        standing=standing,
        room=room(plan, figures, choice),
        why=why,
        full=choice.why if why != choice.why else "",
    )


def _new(words: str, why: str) -> str:
    """What sets a variant apart, unless the reason beside it begins with that."""
    return "" if why.startswith(words) else words


def _with_unit(figures: Figures, text: str) -> str:
    return text if text == "0" else f"{text} {figures.change_unit}".rstrip()


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share in (0.0, 1.0) else f"{100 * share:.2f} %"


def _level(looks: int) -> str:
    return f"interval widened for {looks} looks at these samples"


def _notes(plan: Plan, choice: Choice) -> list[str]:
    """What must be known beside the choice: layers that left the NPU, the cap, the options."""
    found = []
    if choice.fallback:
        noun = "node" if choice.fallback == 1 else "nodes"
        found.append(f"⚠ {choice.fallback} {noun} left the NPU")
    if plan.max_variants is not None and choice.alone not in (None, choice.variant):
        cost = f" ({cost_line(choice.alone_cost)})" if choice.alone_cost is not None else ""
        found.append(f"Without the cap on variants: {choice.alone}{cost}")
    if choice.options:
        pairs = (f"{key}={value}" for key, value in choice.options.items())
        found.append(f"options: {', '.join(pairs)}")
    return found


def variant_rows(plan: Plan) -> list[VariantRow]:
    """The model files, and who gets each."""
    return [
        VariantRow(
            name=variant.name,
            scheme=variant.scheme,
            words=variant.words,
            file=variant.file,
            size=f"{variant.size:,} bytes",
            sha256=variant.sha256,
            chips=", ".join(variant.chips),
            safe=variant.name == plan.safe,
        )
        for variant in plan.variants
    ]


def basis_rows(plan: Plan) -> list[Basis]:
    """Each chip: its own target, and what stood for it while the search went on."""
    found = []
    for chip in plan.chips:
        mates = [c.name for c in plan.chips if c.group == chip.group and c.name != chip.name]
        found.append(
            Basis(
                chip=chip.name,
                about=chip.words,
                confirmed=rests(chip.target, chip.evidence, plan.confirming, "confirming"),
                searched=chip.searcher,
                why=chip.why,
                mates=listing(mates, 12),
                models=", ".join(chip.ro_soc_models),
            )
        )
    return found


def evidence_rows(plan: Plan) -> list[tuple[str, str, str]]:
    """Kind of evidence, what rests on it here, and what it is worth."""
    chosen: dict[str, dict[str, None]] = {}
    records: tuple[PlanChip | Score, ...] = (*plan.chips, *plan.scores)
    for record in records:
        role = "choosing" if isinstance(record, Score) else "confirming"
        chosen.setdefault(record.evidence, {})[f"{record.target} ({role})"] = None
    return [
        (kind, listing(list(targets), 30), words)
        for kind, words in EXPLAINED.items()
        if (targets := chosen.get(kind)) is not None
    ]


def by_model(costs: list[Cost | None]) -> bool:
    """Whether a cost among these rests on the cost model."""
    return any(cost is not None and cost.basis == "model" for cost in costs)

"""What a search found, as a plan: choices with their reasons, candidates, figures, sentences."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from chipdrift.plan.ask import Asked
from chipdrift.plan.confirm import Confirmed, Seen, spent
from chipdrift.plan.desk import Desk
from chipdrift.plan.judge import Figures
from chipdrift.plan.pricing import Pricer
from chipdrift.plan.records import Candidate, Choice, Cost, Plan, Score, Variant
from chipdrift.plan.search import GroupSearch, frontier
from chipdrift.plan.sides import Side
from chipdrift.plan.wording import cap_words, plan_words, why
from chipdrift.records import Host, MetricInfo, MetricResult
from chipdrift.schemes import Scheme

# What is no nearer to the float model than this may miss for the same reason.
_STEP_DB = 1.0


@dataclass(eq=False)
class Found:
    """All that the search knows when it ends.

    ``alone`` is each chip's choice without a cap; ``seen`` has what the confirming samples were
    asked about for each chip, in that order, and their figures; ``refused`` says what does not run.
    """

    asked: Asked
    sides: tuple[Side, ...]
    desk: Desk
    pricer: Pricer
    groups: Mapping[str, GroupSearch]
    alone: Mapping[str, str | None] = field(default_factory=dict)
    seen: Seen = field(default_factory=dict)
    refused: tuple[str, ...] = ()
    baseline: MetricResult | None = None
    metric: MetricInfo | None = None

    def group(self, side: Side) -> GroupSearch:
        """The search that the chip belongs to."""
        return self.groups[side.chip.group]

    def spent(self, side: Side) -> bool:
        """Whether the confirming samples are asked about no further candidate of the chip."""
        return spent(self._seen(side))

    def missed(self, side: Side) -> set[str]:
        """What missed the budget on the chip's confirming samples."""
        return {
            scheme.name
            for scheme, figures in self._seen(side)
            if figures.loss is not None and not self.desk.holds(figures)
        }

    def failed(self, side: Side) -> set[str]:
        """What did not run on the chip's confirming samples."""
        return {scheme.name for scheme, figures in self._seen(side) if figures.loss is None}

    def costs(self, side: Side) -> dict[str, float]:
        """What may serve the chip, and what it costs there.

        It holds the budget on the choosing samples, and the confirming ones have not spoken against
        it: it ran there and did not miss, and where others did it is nearer to the float model than
        they are, or so far within the budget that losing as much would leave it there. A chip
        without a look left has what they were asked about alone.
        """
        near, missed, seen = self.nearness(side), self.missed(side), self._names(side)
        # Under a cap a chip may have been given what its own search has no figures of.
        known = [near[name] for name in missed if name in near]
        least = max(known, default=float("-inf")) + _STEP_DB
        out = missed | self.failed(side)
        scores, lost = self.group(side).scores, self._lost(side)
        return {
            name: self._cost(name, side)
            for name in self.held(side)
            if name not in out
            and (name in seen or not self.spent(side))
            and (name in seen or near[name] > least or self.desk.holds(scores[name], lost))
        }

    def _lost(self, side: Side) -> float:
        """The most that one lost from the choosing to the confirming samples and so missed."""
        scores, missed = self.group(side).scores, self.missed(side)
        lost = [
            self.desk.excess(figures) - self.desk.excess(scores[scheme.name])
            for scheme, figures in self._seen(side)
            if scheme.name in missed and scheme.name in scores
        ]
        return max(lost, default=0.0)

    def distances(self, side: Side) -> dict[str, float]:
        """What has figures, and how far each is beyond the budget.

        What the confirming samples were asked about has theirs; a chip without a look left has no
        other.
        """
        asked = {scheme.name: figures for scheme, figures in self._seen(side)}
        figures = asked if self.spent(side) else {**self.group(side).scores, **asked}
        return {name: self.desk.excess(f) for name, f in figures.items() if f.loss is not None}

    def nearness(self, side: Side) -> dict[str, float]:
        """The SQNR of every candidate against the float model."""
        return {name: f.sqnr_db or 0.0 for name, f in self.group(side).scores.items()}

    def queue(
        self, side: Side, allowed: Container[str] | None = None, first: str | None = None
    ) -> list[Scheme]:
        """The chip's candidates in the order in which they are to be confirmed.

        ``first`` comes first, then the cheaper; at one cost the nearer to the float model. Where
        none may serve, the nearest to the budget. Only those that are ``allowed``, where that is
        given.
        """
        held = {n: c for n, c in self.costs(side).items() if allowed is None or n in allowed}
        if not held:
            away = {n: d for n, d in self.distances(side).items() if not allowed or n in allowed}
            ranked = sorted(away, key=lambda n: (away[n], self._cost(n, side)))
            return [self.desk.entries[name].scheme for name in ranked]
        near = self.nearness(side)
        ranked = sorted(held, key=lambda n: (n != first, held[n], -near[n], n))
        return [self.desk.entries[name].scheme for name in ranked]

    def surest(self, side: Side, allowed: Container[str] | None = None) -> Scheme | None:
        """What is the likeliest to hold where the confirming samples spoke against the others.

        Of those that held on the choosing samples the cheapest with room for twice what was lost
        from the ones to the others; where none has as much, the one with the most.
        """
        scores, out = self.group(side).scores, self._names(side)
        left = [
            name
            for name in self.held(side)
            if name not in out and (allowed is None or name in allowed)
        ]
        lost = 2 * self._lost(side)
        sure = [name for name in left if self.desk.holds(scores[name], lost)]
        best: str | None
        if sure:
            best = min(sure, key=lambda name: (self._cost(name, side), name))
        else:
            near = self.nearness(side)
            ranked = sorted(left, key=lambda n: (self.desk.excess(scores[n]), -near[n], n))
            best = ranked[0] if ranked else None
        return None if best is None else self.desk.entries[best].scheme

    def singles(self) -> list[Scheme]:
        """The simple schemes that hold the budget on every chip, cheapest first.

        What a chip's confirming samples were asked about holds there or not; all else on the
        choosing samples.
        """
        held = []
        for side in self.sides:
            asked = {scheme.name: figures for scheme, figures in self._seen(side)}
            there = {name for name, figures in asked.items() if self.desk.holds(figures)}
            held.append((self.held(side) - asked.keys()) | there)
        simple = [s for s in self.asked.choosing.schemes if all(s.name in some for some in held)]

        def rank(scheme: Scheme) -> tuple[float, float]:
            noise = [self.group(side).scores[scheme.name].sqnr_db for side in self.sides]
            cost = sum(self._cost(scheme.name, side) for side in self.sides)
            return cost, -sum(db or 0.0 for db in noise)

        return sorted(simple, key=rank)

    def held(self, side: Side) -> set[str]:
        """What holds the budget on the choosing samples."""
        scores = self.group(side).scores
        return {name for name, figures in scores.items() if self.desk.holds(figures)}

    def _seen(self, side: Side) -> list[tuple[Scheme, Figures]]:
        return self.seen.get(side.chip.name, [])

    def _names(self, side: Side) -> set[str]:
        return {scheme.name for scheme, _ in self._seen(side)}

    def _cost(self, name: str, side: Side) -> float:
        return self.desk.cost(self.desk.entries[name].scheme, side)


def tell_plan(
    found: Found,
    confirmed: Mapping[str, Confirmed],
    files: Mapping[str, Path],
    *,
    max_variants: int | None,
    single: Scheme | None,
    chipdrift: str,
    created: str,
    seconds: float,
    host: Host,
) -> Plan:
    """The plan's record."""
    asked, judge = found.asked, found.desk.judge
    assert found.metric is not None
    capped = max_variants is not None
    choices = tuple(_choice(found, s, confirmed[s.chip.name], capped) for s in found.sides)
    variants = _variants(found, choices, files, judge.request.baseline)
    saved = _saved(found, choices, single)
    plan = Plan(
        chipdrift=chipdrift,
        created=created,
        model=asked.choosing.model.info,
        data=asked.confirming.samples.info(),
        calibration=asked.choosing.calibration_info,
        metric=found.metric,
        baseline=found.baseline,
        budget=asked.budget,
        objective=asked.objective,
        choosing=len(asked.choosing.samples),
        confirming=len(asked.confirming.samples),
        chips=tuple(side.chip for side in found.sides),
        candidates=tuple(_candidates(found)),
        scores=tuple(score for side in found.sides for score in _scores(found, side)),
        sensitivity=tuple(dict.fromkeys(found.desk.sensitivity)),
        tried=tuple(dict.fromkeys(found.desk.tried)),
        choices=choices,
        variants=variants,
        safe=judge.request.baseline.name,
        max_variants=max_variants,
        single=single.name if single is not None else None,
        saved=saved,
        warnings=(*asked.warnings, *found.refused),
        seconds=seconds,
        host=host,
    )
    plan = plan.model_copy(update={"cap_words": cap_words(plan)})
    return plan.model_copy(update={"words": plan_words(plan)})


def _choice(found: Found, side: Side, done: Confirmed, capped: bool) -> Choice:
    scheme, figures = done.scheme, done.figures
    name = found.alone.get(side.chip.name)
    alone = found.desk.entries[name].scheme if name is not None else None
    held = scheme is not None and scheme.name in found.held(side)
    return Choice(
        chip=side.chip.name,
        variant=scheme.name if scheme is not None else None,
        standing=done.standing,
        why=why(side.chip, found.desk.entries, done, held, capped),
        cost=_price(found, scheme, side),
        metric=figures.metric,
        loss=figures.loss,
        agreement=figures.agreement,
        samples=figures.samples,
        looks=done.looks,
        evidence=side.chip.evidence,
        fallback=0 if side.engine else figures.fallback,
        options=dict(side.target.options),
        alone=alone.name if alone is not None else None,
        alone_cost=_price(found, alone, side),
    )


def _price(found: Found, scheme: Scheme | None, side: Side) -> Cost | None:
    return None if scheme is None else found.pricer(scheme, side)


def _candidates(found: Found) -> Sequence[Candidate]:
    judged = {name for group in found.groups.values() for name in group.scores}
    made = []
    for name, entry in found.desk.entries.items():
        if name not in judged:  # only its cost was asked for, or it was only ranked
            continue
        variant = found.desk.judge.variant(entry.scheme)
        if variant.sha256 is None:
            continue
        borders = variant.mixed.borders if variant.mixed is not None else ()
        made.append(
            Candidate(
                scheme=name,
                how=entry.how,
                words=entry.words,
                sha256=entry.scheme.sha256,
                model_sha256=variant.sha256,
                size=variant.size,
                base=entry.base,
                raised=entry.raised,
                borders=len(borders),
                cpu_borders=sum("float32" in border[1:] for border in borders),
                techniques=entry.techniques,
            )
        )
    return made


def _scores(found: Found, side: Side) -> Sequence[Score]:
    group = found.group(side)
    costs = {name: found.desk.cost(found.desk.entries[name].scheme, side) for name in group.scores}
    best = set(frontier(costs, group.scores))
    made = []
    for name, figures in group.scores.items():
        scheme = found.desk.entries[name].scheme
        target = group.side.judge_of(scheme)
        made.append(
            Score(
                chip=side.chip.name,
                scheme=name,
                target=target.name,
                evidence=target.evidence,
                samples=figures.samples,
                cost=found.pricer(scheme, side),
                metric=figures.metric,
                loss=figures.loss,
                sqnr_db=figures.sqnr_db,
                fallback=len(found.pricer.left.get((name, side.chip.name), ())),
                within=found.desk.holds(figures),
                frontier=name in best,
                error=figures.error,
            )
        )
    return made


def _variants(
    found: Found, choices: Sequence[Choice], files: Mapping[str, Path], safe: Scheme
) -> tuple[Variant, ...]:
    made = []
    for name, file in files.items():
        data = file.read_bytes()
        entry = found.desk.entries.get(name)
        words = entry.words if entry is not None else "the float model on the CPU: the safe one"
        made.append(
            Variant(
                name=name,
                scheme=name,
                file=f"models/{file.name}",
                sha256=hashlib.sha256(data).hexdigest(),
                size=len(data),
                words=words,
                chips=tuple(c.chip for c in choices if c.variant == name),
            )
        )
    return tuple(made)


def _saved(found: Found, choices: Sequence[Choice], single: Scheme | None) -> float | None:
    """The share of the mean cost that is saved against the best single scheme."""
    if single is None or any(c.standing in ("missed", "none") for c in choices):
        return None
    own = [c.cost.value for c in choices if c.cost is not None]
    same = [found.desk.cost(single, side) for side in found.sides]
    return 1 - sum(own) / sum(same) if len(own) == len(same) and sum(same) > 0 else None

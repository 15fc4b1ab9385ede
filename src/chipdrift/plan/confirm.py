"""Confirm on data that was not used to choose: a chip's candidates in the order of cost."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass

from chipdrift.plan.budget import excess, standing
from chipdrift.plan.judge import Figures, Judge
from chipdrift.plan.records import Budget, Standing
from chipdrift.plan.sides import Side
from chipdrift.schemes import Scheme

# Candidates of one chip that the confirming data are asked about; each further one widens the
# interval, and with many the data would choose.
LOOKS = 3


@dataclass(frozen=True)
class Confirmed:
    """A chip's candidate as the confirming data see it, after ``looks`` candidates."""

    scheme: Scheme | None
    standing: Standing
    figures: Figures
    looks: int
    passed_over: tuple[tuple[str, float], ...] = ()


def confirm(
    judge: Judge,
    budget: Budget,
    sides: Sequence[Side],
    queues: Mapping[str, Sequence[Scheme]],
    seen: dict[str, list[tuple[Scheme, Figures]]] | None = None,
    allowed: Container[str] | None = None,
) -> dict[str, Confirmed]:
    """Each chip's first candidate that holds the budget, by the chip's own target.

    ``queues`` has a chip's candidates, first choice first. All chips are asked together, round by
    round; the interval of a chip that needed k looks is that of the level 1 - 0.05 / k
    (Bonferroni). Where none of the looks holds, the nearest is told as "missed". ``seen`` has what
    was asked about before, which counts as looks, and takes what is asked now. Under a cap only
    what is ``allowed`` is given, and a chip that was asked about none of it has one look more.
    """
    seen = {} if seen is None else seen
    found: dict[str, Confirmed] = {}
    for side in sides:
        held = _held(judge, budget, seen.setdefault(side.chip.name, []), allowed)
        if held is not None:
            found[side.chip.name] = held
    while True:
        asked: dict[int, list[tuple[Side, Scheme]]] = {}
        for side in sides:
            name = side.chip.name
            before = seen[name]
            rest = [s for s in queues[name] if s.name not in {old.name for old, _ in before}]
            may = looks_of(before) < LOOKS or not _among(before, allowed)
            if name not in found and rest and may:
                asked.setdefault(looks_of(before) + 1, []).append((side, rest[0]))
        if not asked:
            break
        for look, some in asked.items():
            figures = judge.measure([(s, side.target) for side, s in some], level=1 - 0.05 / look)
            for (side, scheme), one in zip(some, figures, strict=True):
                seen[side.chip.name].append((scheme, one))
                held = _held(judge, budget, seen[side.chip.name], allowed)
                if held is not None:
                    found[side.chip.name] = held
    for side in sides:
        name = side.chip.name
        if name not in found:
            found[name] = _nearest(judge, budget, side, seen[name], allowed)
    return found


def look(
    judge: Judge,
    budget: Budget,
    side: Side,
    scheme: Scheme,
    seen: list[tuple[Scheme, Figures]],
) -> Confirmed | None:
    """One more candidate of a chip, behind those that were ``seen``; None where it misses."""
    level = 1 - 0.05 / (looks_of(seen) + 1)
    figures = judge.measure([(scheme, side.target)], level=level)[0]
    passed = tuple(
        (old.name, _over(budget, judge, before))
        for old, before in seen
        if before.loss is not None and _standing(budget, judge, before) == "missed"
    )
    seen.append((scheme, figures))
    state = _standing(budget, judge, figures)
    if state not in ("confirmed", "within"):
        return None
    return Confirmed(scheme, state, figures, looks_of(seen), passed)


def looks_of(seen: Sequence[tuple[Scheme, Figures]]) -> int:
    """How many candidates the confirming data were asked about: what did not run told nothing."""
    return sum(figures.loss is not None for _, figures in seen)


def _among(
    seen: Sequence[tuple[Scheme, Figures]], allowed: Container[str] | None
) -> list[tuple[Scheme, Figures]]:
    """Those that may be given."""
    return [one for one in seen if allowed is None or one[0].name in allowed]


def _held(
    judge: Judge,
    budget: Budget,
    seen: Sequence[tuple[Scheme, Figures]],
    allowed: Container[str] | None,
) -> Confirmed | None:
    """The first candidate that holds the budget, with those that did not before it."""
    passed: list[tuple[str, float]] = []
    for index, (scheme, figures) in enumerate(seen):
        state = _standing(budget, judge, figures)
        if state in ("confirmed", "within"):
            if not _among([(scheme, figures)], allowed):
                continue
            looks = looks_of(seen[: index + 1])
            return Confirmed(scheme, state, figures, looks, tuple(passed))
        if figures.loss is not None:
            passed.append((scheme.name, _over(budget, judge, figures)))
    return None


def _nearest(
    judge: Judge,
    budget: Budget,
    side: Side,
    seen: Sequence[tuple[Scheme, Figures]],
    allowed: Container[str] | None,
) -> Confirmed:
    asked = [(scheme, figures) for scheme, figures in seen if figures.loss is not None]
    ran = _among(asked, allowed)
    if not ran:
        figures = seen[0][1] if seen else Figures(error="no candidate runs on it")
        return Confirmed(None, "none", figures, 0)
    scheme, _ = min(ran, key=lambda item: _over(budget, judge, item[1]))
    figures = judge.measure([(scheme, side.target)], level=1 - 0.05 / len(asked))[0]
    others = tuple((s.name, _over(budget, judge, f)) for s, f in asked if s is not scheme)
    return Confirmed(scheme, "missed", figures, len(asked), others)


def _standing(budget: Budget, judge: Judge, figures: Figures) -> Standing:
    if figures.metric is None or figures.loss is None:
        return "none"
    return standing(budget, judge.metric, figures.metric, figures.loss)


def _over(budget: Budget, judge: Judge, figures: Figures) -> float:
    if figures.metric is None or figures.loss is None:
        return float("inf")
    return excess(budget, judge.metric, figures.metric, figures.loss)

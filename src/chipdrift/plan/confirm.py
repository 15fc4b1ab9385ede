"""Confirm on data that was not used to choose: a chip's candidates in the order of cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
) -> dict[str, Confirmed]:
    """Each chip's first candidate that holds the budget, by the chip's own target.

    ``queues`` has a chip's candidates, first choice first. All chips are asked together, round by
    round; the interval of a chip that needed k looks is that of the level 1 - 0.05 / k
    (Bonferroni). Where none of the looks holds, the nearest is told as "missed".
    """
    found: dict[str, Confirmed] = {}
    seen: dict[str, list[tuple[Scheme, Figures]]] = {side.chip.name: [] for side in sides}
    for look in range(LOOKS):
        asked = [
            (side, queues[side.chip.name][look])
            for side in sides
            if side.chip.name not in found and look < len(queues[side.chip.name])
        ]
        if not asked:
            break
        pairs = [(scheme, side.target) for side, scheme in asked]
        for (side, scheme), figures in zip(
            asked, judge.measure(pairs, level=1 - 0.05 / (look + 1)), strict=True
        ):
            name = side.chip.name
            seen[name].append((scheme, figures))
            state = _standing(budget, judge, figures)
            if state in ("confirmed", "within"):
                before = tuple((s.name, _over(budget, judge, f)) for s, f in seen[name][:-1])
                found[name] = Confirmed(scheme, state, figures, look + 1, before)
    for side in sides:
        name = side.chip.name
        if name not in found:
            found[name] = _nearest(judge, budget, side, seen[name])
    return found


def _nearest(
    judge: Judge, budget: Budget, side: Side, seen: Sequence[tuple[Scheme, Figures]]
) -> Confirmed:
    ran = [(scheme, figures) for scheme, figures in seen if figures.loss is not None]
    if not ran:
        figures = seen[0][1] if seen else Figures(error="no candidate runs on it")
        return Confirmed(None, "none", figures, len(seen))
    scheme, _ = min(ran, key=lambda item: _over(budget, judge, item[1]))
    level = 1 - 0.05 / max(1, len(seen))
    figures = judge.measure([(scheme, side.target)], level=level)[0]
    others = tuple((s.name, _over(budget, judge, f)) for s, f in ran if s is not scheme)
    return Confirmed(scheme, "missed", figures, len(seen), others)


def _standing(budget: Budget, judge: Judge, figures: Figures) -> Standing:
    if figures.metric is None or figures.loss is None:
        return "none"
    return standing(budget, judge.metric, figures.metric, figures.loss)


def _over(budget: Budget, judge: Judge, figures: Figures) -> float:
    if figures.metric is None or figures.loss is None:
        return float("inf")
    return excess(budget, judge.metric, figures.metric, figures.loss)

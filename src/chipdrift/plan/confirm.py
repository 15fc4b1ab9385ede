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

# What the confirming data were asked about for each chip, in that order.
Seen = dict[str, list[tuple[Scheme, Figures]]]


@dataclass(frozen=True)
class Confirmed:
    """A chip's candidate as the confirming data see it, after ``looks`` candidates.

    ``last``: it is the surest of what was left when these had missed.
    """

    scheme: Scheme | None
    standing: Standing
    figures: Figures
    looks: int
    passed_over: tuple[tuple[str, float], ...] = ()
    last: bool = False


def confirm(
    judge: Judge,
    budget: Budget,
    sides: Sequence[Side],
    choices: Mapping[str, Scheme | None],
    seen: Seen,
    allowed: Container[str] | None = None,
) -> dict[str, Confirmed]:
    """What each chip ships, once its choice was asked about on the chip's own target.

    ``choices`` has the chip's candidate, or None; one that was ``seen`` is not asked about again,
    nor is any where another holds already. The interval of a chip that needed k looks is that of
    the level 1 - 0.05 / k (Bonferroni). Where none of the looks holds, the nearest is told as
    "missed". Under a cap only what is ``allowed`` is given, and a chip that was asked about none of
    it has one look more.
    """
    asked = []
    for side in sides:
        choice, before = choices.get(side.chip.name), seen.setdefault(side.chip.name, [])
        may = not spent(before) or not _among(before, allowed)
        new = choice is not None and choice.name not in {scheme.name for scheme, _ in before}
        if choice is not None and new and may and not _held(judge, budget, before, allowed):
            asked.append((side, choice))
    _ask(judge, asked, seen)
    told = {}
    for side in sides:
        before = seen[side.chip.name]
        held = _held(judge, budget, before, allowed)
        told[side.chip.name] = held or _nearest(judge, budget, side, before, allowed)
    return told


def look(judge: Judge, budget: Budget, side: Side, scheme: Scheme, seen: Seen) -> Confirmed | None:
    """One more candidate of a chip, behind those that were ``seen``; None where it misses."""
    _ask(judge, [(side, scheme)], seen)
    before = seen[side.chip.name]
    return _told(judge, budget, before) if _holds(judge, budget, before[-1][1]) else None


def _ask(judge: Judge, asked: Sequence[tuple[Side, Scheme]], seen: Seen) -> None:
    """Measure these, chips that need the same number of looks together; ``seen`` takes them."""
    rounds: dict[int, list[tuple[Side, Scheme]]] = {}
    for side, scheme in asked:
        rounds.setdefault(looks_of(seen[side.chip.name]) + 1, []).append((side, scheme))
    for number, some in rounds.items():
        pairs = [(scheme, side.target) for side, scheme in some]
        figures = judge.measure(pairs, level=1 - 0.05 / number)
        for (side, scheme), one in zip(some, figures, strict=True):
            seen[side.chip.name].append((scheme, one))


def looks_of(seen: Sequence[tuple[Scheme, Figures]]) -> int:
    """How many candidates the confirming data were asked about: what did not run told nothing."""
    return sum(figures.loss is not None for _, figures in seen)


def spent(seen: Sequence[tuple[Scheme, Figures]]) -> bool:
    """Whether a chip has had all its looks, or as many did not run on it."""
    looks = looks_of(seen)
    return max(looks, len(seen) - looks) >= LOOKS


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
    """The first candidate that holds the budget and may be given."""
    for index, one in enumerate(seen):
        if _among([one], allowed) and _holds(judge, budget, one[1]):
            return _told(judge, budget, seen[: index + 1])
    return None


def _told(judge: Judge, budget: Budget, seen: Sequence[tuple[Scheme, Figures]]) -> Confirmed:
    """The last of what was seen, with those before it that did not hold."""
    passed = tuple(
        (scheme.name, _over(budget, judge, figures))
        for scheme, figures in seen[:-1]
        if figures.loss is not None and not _holds(judge, budget, figures)
    )
    scheme, figures = seen[-1]
    return Confirmed(scheme, _standing(budget, judge, figures), figures, looks_of(seen), passed)


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
        figures = seen[0][1] if seen else Figures(error="the warnings say why")
        return Confirmed(None, "none", figures, 0)
    scheme, _ = min(ran, key=lambda item: _over(budget, judge, item[1]))
    figures = judge.measure([(scheme, side.target)], level=1 - 0.05 / len(asked))[0]
    others = tuple((s.name, _over(budget, judge, f)) for s, f in asked if s is not scheme)
    return Confirmed(scheme, "missed", figures, len(asked), others)


def _holds(judge: Judge, budget: Budget, figures: Figures) -> bool:
    return _standing(budget, judge, figures) in ("confirmed", "within")


def _standing(budget: Budget, judge: Judge, figures: Figures) -> Standing:
    if figures.metric is None or figures.loss is None:
        return "none"
    return standing(budget, judge.metric, figures.metric, figures.loss)


def _over(budget: Budget, judge: Judge, figures: Figures) -> float:
    if figures.metric is None or figures.loss is None:
        return float("inf")
    return excess(budget, judge.metric, figures.metric, figures.loss)

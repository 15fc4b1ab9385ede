"""What a search works with: the judge, the recipes, the prices, the budget."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from chipdrift.metrics import evaluate
from chipdrift.plan.budget import ROUNDING, excess, within
from chipdrift.plan.judge import Figures, Judge
from chipdrift.plan.recipes import Recipes
from chipdrift.plan.records import Budget, Cost, How, Sensitivity, Tried
from chipdrift.plan.sides import Side
from chipdrift.records import Interval
from chipdrift.schemes import Scheme
from chipdrift.targets import Target

# Seconds between two notes on how a search gets on.
_EVERY = 10.0

Price = Callable[[Scheme, Side], Cost | None]
# About what a scheme costs on a chip with these nodes raised to a type; None: nobody knows.
Foresee = Callable[[Scheme, Side, Collection[str], str], float | None]


@dataclass(frozen=True)
class Entry:
    """A candidate of a search: what sets it apart, and the scheme that it was made from."""

    scheme: Scheme
    how: How
    words: str
    base: str | None = None
    raised: tuple[str, ...] = ()
    techniques: tuple[str, ...] = ()


@dataclass(eq=False)
class Desk:
    """Shared by the searches of all groups."""

    judge: Judge
    recipes: Recipes
    budget: Budget
    price: Price
    tell: Callable[[str], None]
    entries: dict[str, Entry] = field(default_factory=dict)
    sensitivity: list[Sensitivity] = field(default_factory=list)
    tried: list[Tried] = field(default_factory=list)
    foresee: Foresee = lambda *_: None
    _noted: float = field(default_factory=time.monotonic)

    def note(self, words: str) -> None:
        """Tell what is only worth a line where the search takes its time."""
        if time.monotonic() - self._noted >= _EVERY:
            self.tell(words)
            self._noted = time.monotonic()

    def add(self, entry: Entry) -> Scheme:
        """Remember a candidate; the first entry of a scheme stays."""
        self.entries.setdefault(entry.scheme.name, entry)
        return entry.scheme

    def holds(self, figures: Figures, margin: float = 0.0) -> bool:
        """Whether a candidate's figure is within the budget, by ``margin`` in the metric's unit."""
        if figures.metric is None or figures.loss is None:
            return False
        if margin > 0:
            return self.excess(figures) <= ROUNDING - margin
        return within(self.budget, self.judge.metric, figures.metric, figures.loss)

    def hopeless(self, figures: Figures) -> bool:
        """Whether it does not run, or even the good end of its interval is beyond the budget."""
        if figures.metric is None or figures.loss is None:
            return figures.error is not None
        best = figures.loss.low if figures.loss.low is not None else figures.loss.value
        metric = figures.metric
        top = metric.high if self.judge.metric.higher_is_better else metric.low
        return not within(
            self.budget,
            self.judge.metric,
            metric.model_copy(update={"value": metric.value if top is None else top}),
            figures.loss.model_copy(update={"value": best}),
        )

    def room(self) -> float:
        """How far within the budget the float model itself is on the choosing samples, at least 0.

        More than that no variant can be asked for.
        """
        base = evaluate(self.judge.metric, self.judge.baseline(self.judge.every))
        return max(0.0, -self.excess(Figures(metric=base, loss=Interval(value=0.0))))

    def excess(self, figures: Figures) -> float:
        """How far it is beyond the budget; infinite where it has no figure."""
        if figures.metric is None or figures.loss is None:
            return float("inf")
        return excess(self.budget, self.judge.metric, figures.metric, figures.loss)

    def ask(
        self, schemes: Sequence[Scheme], target: Target, indices: Sequence[int] | None = None
    ) -> list[Figures]:
        """Candidates on one target."""
        return self.judge.measure([(scheme, target) for scheme in schemes], indices)

    def glance(
        self, schemes: Sequence[Scheme], target: Target, few: Sequence[int]
    ) -> list[Figures]:
        """Candidates on a few samples, with their metric: for what a few rule out already."""
        return self.judge.measure([(scheme, target) for scheme in schemes], few, judged=True)

    def cost(self, scheme: Scheme, side: Side) -> float:
        """What a candidate costs on a chip; infinite where nothing can be said."""
        found = self.price(scheme, side)
        return float("inf") if found is None else found.value

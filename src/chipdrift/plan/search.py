"""The search for one group of chips: simple schemes, calibration, mixed precision, hybrids."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from chipdrift.data import Samples
from chipdrift.plan.desk import Desk, Entry
from chipdrift.plan.judge import Figures
from chipdrift.plan.mixed import MixedSearch
from chipdrift.plan.records import How
from chipdrift.plan.sides import Side
from chipdrift.schemes import Scheme

# Samples that rank layers: an SQNR settles with far fewer than an accuracy needs.
FEW = 48

Calibrate = Callable[[Desk, Side, Scheme], Entry | None]


@dataclass(eq=False)
class GroupSearch:
    """One group, searched on ``side``, its first chip.

    ``margin`` is how much better than the budget a set of layers must do, in the metric's unit.
    ``whole`` looks for sets of layers, too, that cost more than what holds already.
    ``runs`` are the schemes that this group's chips run at all. ``scores`` has the figures of every
    candidate on all the choosing samples, by its scheme.
    """

    desk: Desk
    side: Side
    runs: Sequence[Scheme]
    thorough: bool = False
    calibrate: Calibrate | None = None
    scores: dict[str, Figures] = field(default_factory=dict)
    margin: float = 0.0
    whole: bool = False

    def run(self) -> None:
        """Search in the order of cost; ``scores`` says what was found."""
        self._simple()
        self.run_on()

    def run_on(self) -> None:
        """What is dearer than the simple schemes, unless one of them is enough."""
        if self._enough():
            return
        self._dear()
        base = self._best([s.name for s in self.runs if eight_bits(s)])
        if base is None:
            return
        # What is calibrated already, or has tables of its own, is raised as it is.
        if self.calibrate is not None and not base.adjusted and not base.layer:
            self.desk.tell(f"{self._who}: calibrating {base.name} on {self.side.ranker.name}")
            entry = self.calibrate(self.desk, self.side, base)
            if entry is not None:
                made = self.desk.add(entry)
                self._score([made])
                if self._enough():
                    return
                base = self._best([base.name, made.name]) or base
        kinds = ["float16"] if self.side.chip.fp16 else []
        for to in ("uint16", *kinds, "float32"):
            self._climb(base, to)
        wide = self._best([s.name for s in self.runs if s.kind == "qdq" and not eight_bits(s)])
        if wide is not None and self._cost(wide.name) < self._cheapest():
            for to in (*kinds, "float32"):
                self._climb(wide, to)

    def _cheapest(self) -> float:
        """The cost of the cheapest that holds the budget."""
        held = [n for n, figures in self.scores.items() if self.desk.holds(figures, self.margin)]
        return min((self._cost(name) for name in held), default=float("inf"))

    def may_run(self, scheme: Scheme) -> bool:
        """Whether there is no reason known why this group's chips would not run it."""
        if scheme.kind != "qdq":
            return scheme.name in {other.name for other in self.runs}
        halves = any(layer.kind == "float16" for layer in scheme.layer)
        return self.side.chip.fp16 is True or not halves

    def score_on(self, schemes: Sequence[Scheme]) -> None:
        """Candidates that other groups found."""
        self._score([scheme for scheme in schemes if scheme.name not in self.scores])

    @property
    def _who(self) -> str:
        return self.side.chip.name

    def _simple(self) -> None:
        named = ", ".join(s.name for s in self.runs) or "no scheme runs on it"
        self.desk.tell(f"{self._who}: {named}")
        for scheme in self.runs:
            words = (scheme.description or scheme.name).rstrip(".")
            how: How = "float" if scheme.kind == "float16" else "scheme"
            self.desk.add(Entry(scheme, how, words))
        self._score([s for s in self.runs if eight_bits(s) or not self._is_dear(s)])

    def _dear(self) -> None:
        """The schemes whose judge takes minutes, where the others are not enough.

        In the order of cost, and among equals the nearer to the float model first: what costs as
        much as one that holds is not asked.
        """
        noise = self._hopeful([s for s in self.runs if s.name not in self.scores])
        for name in sorted(noise, key=lambda n: (self._cost(n), -noise[n])):
            if self.whole or self._cost(name) < self._cheapest():
                self._score([self.desk.entries[name].scheme])

    def _is_dear(self, scheme: Scheme) -> bool:
        """Whether its judge is not the engine: that takes minutes, not seconds."""
        return self.side.judge_of(scheme).name != self.side.ranker.name

    def _hopeful(self, schemes: Sequence[Scheme]) -> dict[str, float]:
        """Their SQNR on a few samples, but for those that these rule out, which keep them."""
        few = few_of(self.desk.judge.request.samples)
        left: dict[str, float] = {}
        for scheme, figures in zip(
            schemes, self.desk.glance(schemes, self.side.target, few), strict=True
        ):
            if self.desk.hopeless(figures):
                self.scores[scheme.name] = figures
            else:
                left[scheme.name] = figures.sqnr_db or 0.0
        return left

    def _score(self, schemes: Sequence[Scheme]) -> None:
        pairs = [(scheme, self.side.judge_of(scheme)) for scheme in schemes]
        for scheme, figures in zip(schemes, self.desk.judge.measure(pairs), strict=True):
            self.scores[scheme.name] = figures

    def _enough(self) -> bool:
        """Whether nothing that may still be tried could be cheaper than what holds already."""
        if self.thorough:
            return False
        held = [self._cost(name) for name, f in self.scores.items() if self.desk.holds(f)]
        plain = [self._cost(s.name) for s in self.runs if eight_bits(s) and s.name in self.scores]
        return bool(held and plain) and min(held) <= min(plain)

    def _best(self, names: Sequence[str]) -> Scheme | None:
        there = [
            (figures.sqnr_db, name)
            for name in names
            if (figures := self.scores.get(name)) is not None and figures.sqnr_db is not None
        ]
        return self.desk.entries[max(there)[1]].scheme if there else None

    def _climb(self, base: Scheme, to: str) -> None:
        """Raise layers of ``base``; what was tried is in ``scores``."""
        few = few_of(self.desk.judge.request.samples)
        ceiling = float("inf") if self.whole else self._cheapest()
        search = MixedSearch(self.desk, self.side, base, few, self.margin, ceiling=ceiling)
        self.desk.tell(f"{self._who}: which layers of {base.name} matter, raised to {to}")
        search.climb(to)
        for entry, figures in search.trail:
            self.scores[entry.scheme.name] = figures

    def _cost(self, name: str) -> float:
        return self.desk.cost(self.desk.entries[name].scheme, self.side)


def eight_bits(scheme: Scheme) -> bool:
    """Whether it quantizes activations to 8 bits: what is cheapest, and is raised from."""
    return scheme.kind == "qdq" and scheme.activations == "uint8"


def few_of(samples: Samples) -> tuple[int, ...]:
    """The samples that rank layers, drawn by their hashes: a file is often sorted by class."""
    drawn = _drawn(samples)
    return tuple(sorted(drawn[: min(FEW, len(drawn) // 2)]))


def held_of(samples: Samples) -> tuple[int, ...]:
    """As many others, as far as there are: what was found on the few is checked on them."""
    drawn = _drawn(samples)
    few = min(FEW, len(drawn) // 2)
    return tuple(sorted(drawn[few : few + FEW]))


def _drawn(samples: Samples) -> list[int]:
    """Every different sample once, in an order drawn by its hash."""
    first: dict[str, int] = {}
    for index, key in enumerate(samples.keys):
        first.setdefault(key, index)
    ranked = sorted(first, key=lambda key: hashlib.sha256(f"few|{key}".encode()).hexdigest())
    return [first[key] for key in ranked]


def frontier(costs: dict[str, float], scores: dict[str, Figures]) -> list[str]:
    """The candidates that none beats in both cost and accuracy, cheapest first.

    Accuracy is the loss, then the SQNR: many candidates tie on the few answers that change.
    """
    there = [
        (costs[name], figures.loss.value, -(figures.sqnr_db or 0.0), name)
        for name, figures in scores.items()
        if figures.loss is not None and costs[name] != float("inf")
    ]
    found: list[str] = []
    best: tuple[float, float] | None = None
    for _, loss, noise, name in sorted(there):
        if best is None or (loss, noise) < best:
            found.append(name)
            best = (loss, noise)
    return found

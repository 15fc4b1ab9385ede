"""Mixed precision and hybrids for one numerics: which layers matter, and what they are raised to.

An activation of 16 bits is one only where its writer and its readers have 16 bits: a raised layer
hands 8 bits on to a reader of 8 (docs/decisions/012). So what is tried first is an edge: the nodes
at both ends of a tensor. A layer whose weights suffer is raised alone, in float.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from chipdrift.counts import counted
from chipdrift.graph.units import Edge, Unit, find_units
from chipdrift.plan.budget import ROUNDING
from chipdrift.plan.desk import Desk, Entry
from chipdrift.plan.judge import Figures
from chipdrift.plan.recipes import Raise
from chipdrift.plan.records import How, Sensitivity
from chipdrift.plan.sides import Side
from chipdrift.schemes import Scheme
from chipdrift.targets import Target

# Gains below this are noise of the choice of samples; nothing is raised for them alone.
_LEAST_GAIN_DB = 0.05
# Sets that are tried whole, by the number of edges or nodes raised.
_STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64)
_MOST_DROPPED = 12
# Layers that are ranked at once.
_RANKED = 16
# Sets of one type of a base that a target is asked about which the engine leads to.
_ASKED = 4
_WORDS = {
    "uint16": "in 16-bit activations",
    "float16": "in float16",
    "float32": "in float32 on the CPU",
}
_HOW: dict[str, How] = {"uint16": "mixed", "float16": "mixed", "float32": "hybrid"}


@dataclass(frozen=True)
class Handle:
    """What can be raised as one: the nodes that compute, and those between them that only move."""

    key: str
    units: frozenset[int]
    nodes: frozenset[str]
    to: str


@dataclass(eq=False)
class MixedSearch:
    """Raises layers of ``base`` on one numerics until the budget holds, at the least cost.

    ``few`` are the samples that rank the layers; whole sets are judged on all, and must hold the
    budget by ``margin``. Where the engine is not near enough to judge, it leads the search and the
    target is asked about what it finds: ``offset`` is how much worse than on the engine the last of
    these was on the target, in the metric's unit. What costs ``ceiling`` or more is not tried: one
    that holds is there for as much. ``trail`` holds every candidate with its figures.
    """

    desk: Desk
    side: Side
    base: Scheme
    few: Sequence[int]
    margin: float = 0.0
    offset: float = 0.0
    ceiling: float = float("inf")
    trail: list[tuple[Entry, Figures]] = field(default_factory=list)

    def __post_init__(self) -> None:
        variant = self.desk.judge.variant(self.base)
        data = self.desk.judge.file(self.base).read_bytes()
        self.units, self.edges = find_units(data, variant.trace)

    def ranked(self, to: str, given: Sequence[Handle] = ()) -> list[tuple[Handle, float]]:
        """Every handle with the dB of SQNR that it brings if it alone is raised, best first.

        With ``given`` raised already: what one layer ruins hides what the others bring.
        """
        handles = [handle for handle in self.handles(to) if handle not in given]
        found: list[tuple[Handle, float]] = []
        # Some at a time: their models together would take gigabytes of the disk.
        for start in range(0, len(handles), _RANKED):
            ranked = f"{start} of {counted(len(handles), 'layer')} ranked"
            self.desk.note(f"{self.side.chip.name}: {self.base.name}, {ranked}")
            found += self._gains(to, given, handles[start : start + _RANKED])
        return sorted(found, key=lambda item: (-item[1], item[0].key))

    def _gains(
        self, to: str, given: Sequence[Handle], handles: Sequence[Handle]
    ) -> Iterator[tuple[Handle, float]]:
        """Those of ``handles`` that run and are not too dear, with what they bring."""
        handles = [h for h in handles if self._foreseen([*given, h]) < self.ceiling]
        if not handles:
            return
        schemes = [self.scheme([*given, handle]) for handle in handles]
        start = self.scheme(given) if given else self.base
        plain, *raised = self.desk.ask([start, *schemes], self.side.ranker, self.few)
        for handle, scheme, figures in zip(handles, schemes, raised, strict=True):
            if figures.sqnr_db is None or plain.sqnr_db is None:
                continue
            gain = figures.sqnr_db - plain.sqnr_db
            yield handle, gain
            mixed = self.desk.judge.variant(scheme).mixed
            self.desk.sensitivity.append(
                Sensitivity(
                    target=self.side.ranker.name,
                    base=start.name,
                    nodes=tuple(sorted(handle.nodes)),
                    to=to,
                    gain_db=round(gain, 3),
                    borders=0 if mixed is None else len(mixed.borders),
                    samples=len(self.few),
                )
            )

    def climb(self, to: str) -> list[Handle] | None:
        """Raise what matters most until the budget holds; None where all of it does not do.

        First doubling sets, then the least that still does, then each of them is tried without.
        Where what matters alone does not do, the others are ranked anew on top of it and follow.
        What the engine only led to is asked on the target; where that says otherwise, what it lost
        is asked of the engine on top, and the search is made again.
        """
        ranked = [handle for handle, gain in self.ranked(to) if gain > _LEAST_GAIN_DB]
        best: list[Handle] | None = None
        for _ in range(_ASKED):
            found, ranked = self._climbed(to, ranked)
            # Where even all of it does not do by the engine, the target may say otherwise.
            last = found or ranked
            if not last or self._judge(last).name == self.side.ranker.name:
                return found
            if found is None and self._cost(last) >= self.ceiling:
                return best
            holds = self._holds_there(last)
            best = last if holds else best
            if holds == (found is not None):
                return best
        return best

    def _climbed(self, to: str, ranked: list[Handle]) -> tuple[list[Handle] | None, list[Handle]]:
        """(the set that holds, by whoever leads; all that was ranked)."""
        found = self._least(ranked, 0) if ranked else None
        if found is None and len(ranked) < len(self.handles(to)):
            rest = [handle for handle, _ in self.ranked(to, ranked)]
            tried = len(ranked)
            ranked = [*ranked, *rest]
            found = self._least(ranked, tried) if rest else None
        return (None if found is None else self._pruned(found)), ranked

    def _least(self, ranked: list[Handle], tried: int) -> list[Handle] | None:
        """The shortest beginning that holds, beyond the first ``tried``, which do not."""
        steps = [step for step in _STEPS if tried < step < len(ranked)] + [len(ranked)]
        before = tried
        for step in steps:
            if self._cost(ranked[:step]) >= self.ceiling:
                return None
            if self._holds(ranked[:step]):
                break
            before = step
        else:
            return None
        low, high = before, step
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._holds(ranked[:middle]) else (middle, high)
        return ranked[:high]

    def _pruned(self, handles: list[Handle]) -> list[Handle]:
        """Without what is not needed: the least sensitive is tried first. Cheaper, or it stays."""
        kept = list(handles)
        for handle in handles[::-1][:_MOST_DROPPED]:
            rest = [other for other in kept if other is not handle]
            if rest and self._cost(rest) <= self._cost(kept) and self._holds(rest):
                kept = rest
        return self._filled(self._shrunk(kept))

    def _shrunk(self, handles: list[Handle]) -> list[Handle]:
        """With a part of a handle in its place where that does: what only a graph's input needs."""
        kept = list(handles)
        for handle in handles:
            for part in self.handles(handle.to):
                less = [part if other is handle else other for other in kept]
                if part.units < handle.units and self._cheaper(less, kept) and self._holds(less):
                    kept = less
                    break
        return kept

    def _filled(self, handles: list[Handle]) -> list[Handle]:
        """With what lies between two raised layers, where fewer borders make that cheaper."""
        kept = list(handles)
        for handle in self.handles(handles[0].to):
            units = frozenset().union(*(other.units for other in kept))
            if handle.units & units and not handle.units <= units:
                more = [*kept, handle]
                if self._cheaper(more, kept) and self._holds(more):
                    kept = more
        return kept

    def handles(self, to: str) -> list[Handle]:
        """All that can be raised, in the graph's order."""
        if to == "uint16":
            return list(_edges(self.units, self.edges, to))
        return [
            Handle(unit.name, frozenset({index}), frozenset(unit.nodes), to)
            for index, unit in enumerate(self.units)
        ]

    def scheme(self, handles: Sequence[Handle]) -> Scheme:
        """The base with these raised, all to the first one's type."""
        nodes: frozenset[str] = frozenset().union(*(handle.nodes for handle in handles))
        units = frozenset().union(*(handle.units for handle in handles))
        to = handles[0].to
        names = [self.units[index].nodes[0] for index in sorted(units)]
        shown = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        words = f"{self.base.name} with {counted(len(names), 'layer')} {_WORDS[to]}: {shown}"
        scheme = self.desk.recipes.raised(self.base, [Raise(nodes, to, len(names))], words)
        self.desk.add(
            Entry(scheme, _HOW[to], words, base=self.base.name, raised=tuple(sorted(nodes)))
        )
        return scheme

    def _holds(self, handles: Sequence[Handle]) -> bool:
        """Whether a set holds the budget, by who judges it or by the engine that leads there."""
        if self._judge(handles).name != self.side.ranker.name:
            holds = self._excess(handles) + self.offset <= ROUNDING - self.margin
        else:
            holds = self.desk.holds(self._asked(handles), self.margin)
        self._note(handles, holds)
        return holds

    def _holds_there(self, handles: Sequence[Handle]) -> bool:
        """Whether a set that the engine led to holds the budget by who judges it."""
        figures = self._asked(handles)
        self.offset = self.desk.excess(figures) - self._excess(handles)
        holds = self.desk.holds(figures, self.margin)
        self._note(handles, holds)
        return holds

    def _note(self, handles: Sequence[Handle], holds: bool) -> None:
        found = "holds" if holds else "not enough"
        self.desk.note(f"{self.side.chip.name}: {self.scheme(handles).name}: {found}")

    def _judge(self, handles: Sequence[Handle]) -> Target:
        return self.side.judge_of(self.scheme(handles))

    def _asked(self, handles: Sequence[Handle]) -> Figures:
        scheme = self.scheme(handles)
        figures = self.desk.ask([scheme], self._judge(handles))[0]
        self.trail.append((self.desk.entries[scheme.name], figures))
        return figures

    def _excess(self, handles: Sequence[Handle]) -> float:
        """How far a set is beyond the budget on the engine."""
        return self.desk.excess(self.desk.ask([self.scheme(handles)], self.side.ranker)[0])

    def _cost(self, handles: Sequence[Handle]) -> float:
        return self.desk.cost(self.scheme(handles), self.side)

    def _cheaper(self, some: Sequence[Handle], others: Sequence[Handle]) -> bool:
        """Whether one set costs less than another; what is foreseen to cost more is not made."""
        if self._foreseen(some) >= self._foreseen(others):
            return False
        return self._cost(some) < self._cost(others)

    def _foreseen(self, handles: Sequence[Handle]) -> float:
        """About what a set costs: to make hundreds of models only to price them takes minutes."""
        nodes: frozenset[str] = frozenset().union(*(handle.nodes for handle in handles))
        about = self.desk.foresee(self.base, self.side, nodes, handles[0].to)
        return self._cost(handles) if about is None else about


def _edges(units: Sequence[Unit], edges: Iterable[Edge], to: str) -> Iterable[Handle]:
    for edge in edges:
        ends = frozenset(edge.readers) | ({edge.writer} if edge.writer is not None else frozenset())
        if ends:
            nodes = {name for index in ends for name in units[index].nodes} | set(edge.nodes)
            yield Handle(edge.tensor, ends, frozenset(nodes), to)

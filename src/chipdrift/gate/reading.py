"""A run as the gate reads it, and what a limit has to say of one of its cells."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chipdrift.findings import Diagnosis
from chipdrift.gate.judge import Figure
from chipdrift.gate.records import Outcome
from chipdrift.gate.wording import diagnose_command
from chipdrift.records import Cell, Matrix, Pair


@dataclass(frozen=True)
class Judged:
    """What a limit has to say of a cell, before the policy's word on what is unproven.

    ``figure`` is None where the run has none, and ``fact`` says why; ``applies`` is False where a
    cell of this kind can have none. ``limit`` is the number that the figure is held against;
    ``shown`` is what was found in a word, where that is no number.
    """

    outcome: Outcome
    fact: str
    allowed: str
    figure: Figure | None = None
    limit: float = 0.0
    nodes: tuple[str, ...] = ()
    command: str | None = None
    todo: str = ""
    against: str | None = None
    applies: bool = True
    shown: str | None = None


Judgements = Iterator[Judged]


def missing(fact: str, allowed: str, **more: Any) -> Judged:
    """The run has no figure: unproven."""
    return Judged("unproven", fact, allowed, **more)


@dataclass(frozen=True, eq=False)
class Reading:
    """A run as the gate reads it. ``diagnoses`` are those that lie in its folder."""

    run: str
    matrix: Matrix
    diagnoses: Sequence[Diagnosis] = ()

    def pair(self, scheme: str, a: str, b: str) -> Pair | None:
        """Two targets under one scheme, in whatever order."""
        return self._pairs.get((scheme, frozenset((a, b))))

    @functools.cached_property
    def _pairs(self) -> dict[tuple[str, frozenset[str]], Pair]:
        return {(p.scheme, frozenset((p.a, p.b))): p for p in self.matrix.pairs}

    def diagnoses_of(self, cell: Cell) -> list[tuple[str, Diagnosis]]:
        """Those of this cell against another target, by its name: the float model is no chip."""
        return [(other, one) for other, one in self._of(cell) if other in self.matrix.targets]

    def suspects(self, cell: Cell, against: str | None = None) -> tuple[str, ...]:
        """The nodes that diagnoses of this cell name, also against the float model, worst first."""
        found: dict[str, None] = {}
        for other, one in self._of(cell):
            if against not in (None, other):
                continue
            for finding in one.findings:
                if finding.severity != "note":
                    found.update(dict.fromkeys(finding.nodes))
            for part in sorted(one.attributions, key=lambda part: -part.drift):
                found.update(dict.fromkeys(part.nodes))
        return tuple(found)

    def _of(self, cell: Cell) -> Iterator[tuple[str, Diagnosis]]:
        """The diagnoses of this cell, each with what it was set against."""
        for one in self.diagnoses:
            a, b = one.a.target, one.b.target
            same = (one.scheme, one.model_sha256) == (cell.scheme, self.matrix.model.sha256)
            if same and cell.target in (a, b):
                yield (b if a == cell.target else a), one

    def diagnose(self, cell: Cell, against: str | None) -> tuple[str | None, str]:
        """The command that looks into a cell, and the words that lead to it."""
        if self.matrix.imported is not None:
            return None, "to look inside, measure the model itself with chipdrift matrix"
        if against is None:
            return None, "the run has no second target under this scheme to set it against"
        command = diagnose_command(self.run, cell.scheme, cell.target, against)
        return command, f"{command} says why"

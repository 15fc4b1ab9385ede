"""All that a check may look at."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from chipdrift.diagnose.case import Case
from chipdrift.diagnose.floating import float_tensors
from chipdrift.errors import ChipdriftError, ModelError
from chipdrift.findings import Activation, Diagnosis, Explanation, Own
from chipdrift.graph import Anatomy
from chipdrift.graph.program import Program, parse_program
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.tensors import OpSpec
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.targets.sim.plan import FloatUnit, IntegerUnit, make_plan

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]


@dataclass(frozen=True, eq=False)
class Exam:
    """A diagnosis so far, with the tensors it was made from, and both targets still at hand.

    ``tensors_a`` and ``tensors_b`` hold every activation of the first samples by name, integers as
    they are; ``alone_a`` and ``alone_b`` what each node makes of A's tensors when it is run alone.
    ``asker_b`` is None where B is the float model; ``tensors_b`` are then its floats. All are empty
    or absent where a check is run on a model that no target ran.
    """

    case: Case
    anatomy: Anatomy
    diagnosis: Diagnosis
    feeds: Sequence[Feed]
    tensors_a: Sequence[Feed] = ()
    tensors_b: Sequence[Feed] = ()
    alone_a: Sequence[Feed] = ()
    alone_b: Sequence[Feed] = ()
    asker_a: Asker | None = None
    asker_b: Asker | None = None

    @cached_property
    def program(self) -> Program:
        """The quantized model as plain values."""
        return parse_program(self.case.model)

    @cached_property
    def specs(self) -> dict[str, OpSpec]:
        """Every node that has an integer form, by name: operands, quantizers, constants, clamps."""
        profile = self.case.profiles.get(self.case.a.name, Profile(name="plain"))
        try:
            units = make_plan(self.program, profile).units
        except ModelError:
            return {}
        return {u.step.name: u.spec for u in units if isinstance(u, IntegerUnit)}

    @cached_property
    def in_float(self) -> dict[str, str]:
        """Nodes without an integer form, with the reason."""
        try:
            units = make_plan(self.program, Profile(name="plain")).units
        except ModelError:
            return {}
        return {u.step.name: u.reason for u in units if isinstance(u, FloatUnit)}

    @cached_property
    def floats(self) -> Sequence[Feed]:
        """For each of the first samples the float model's values by the quantized tensor's name.

        They are what the integers of ``tensors_a`` stand for. Empty where the run has no float
        model, as of one that was quantized elsewhere.
        """
        if self.case.b is None:
            return self.tensors_b
        if not self.feeds:
            return ()
        try:
            return list(float_tensors(self.case, self.feeds[: max(1, len(self.tensors_a))]))
        except (ChipdriftError, NoAnswerError):
            return ()

    def own(self, node: str) -> Own | None:
        """What a node adds itself."""
        return next((o for o in self.diagnosis.own if o.node == node), None)

    def activation(self, node: str) -> Activation | None:
        """A node's output in place."""
        return next((a for a in self.diagnosis.activations if a.node == node), None)

    def explanation(self, node: str) -> Explanation | None:
        """Why a node answers differently."""
        return next((e for e in self.diagnosis.explanations if e.node == node), None)

    @property
    def targets(self) -> tuple[str, str]:
        """A's and B's names."""
        return self.case.a.name, self.case.b_name

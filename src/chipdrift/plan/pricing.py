"""What every candidate costs on every chip: measured, exact, or by the model."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from chipdrift.counts import counted
from chipdrift.plan.cost import CostModel, shipped_model
from chipdrift.plan.judge import Figures, Judge
from chipdrift.plan.records import Cost, Objective
from chipdrift.plan.sides import Side
from chipdrift.plan.work import NodeWork, VariantWork, model_work, variant_work
from chipdrift.schemes import Scheme


@dataclass(eq=False)
class Pricer:
    """Costs of candidates.

    ``schemes`` are those that were asked for, by name. ``left`` has the float model's nodes that
    left the NPU, by scheme and chip, as far as a session on the chip's own target told; ``timed``
    what a phone measured, or somebody else.
    """

    judge: Judge
    objective: Objective
    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    left: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict)
    timed: dict[tuple[str, str], Cost] = field(default_factory=dict)
    _model: CostModel = field(default_factory=shipped_model)
    _work: tuple[NodeWork, ...] = ()
    _variants: dict[str, VariantWork] = field(default_factory=dict)

    def __call__(self, scheme: Scheme, side: Side) -> Cost | None:
        """The cost of a candidate on a chip; None where the scheme makes no model."""
        variant = self.judge.variant(scheme)
        if variant.file is None:
            return None
        if self.objective == "size":
            return Cost(value=variant.size, unit="bytes", basis="exact", words="the model file")
        found = self.timed.get((scheme.name, side.chip.name))
        return found if found is not None else self._scaled(self._modelled(scheme, side), side)

    def foreseen(self, base: Scheme, side: Side, nodes: Collection[str], to: str) -> float | None:
        """About what ``base`` costs with ``nodes`` raised, without making it.

        None where it cannot be told: a size is the file's.
        """
        if self.objective == "size" or self.judge.variant(base).file is None:
            return None
        work = self._of(base).raised(nodes, to)
        return self._scaled(self._model.cost(work, side.silicon), side).value

    def saw(self, scheme: Scheme, side: Side, figures: Figures) -> None:
        """Take in where the nodes ran on the chip's own target, and how long a phone took."""
        placement, phone = figures.placement, figures.phone
        if placement is not None and not side.engine:
            nodes = {name for place in placement.fallback for name in place.source}
            self.left[(scheme.name, side.chip.name)] = frozenset(nodes)
        key = (scheme.name, side.chip.name)
        if side.chip.evidence != "device" or phone is None or phone.median_seconds is None:
            return  # an emulated phone's times say nothing of a phone
        self.timed[key] = Cost(
            value=phone.median_seconds * 1e3,
            unit="ms",
            basis="measured",
            words=f"median of {counted(phone.samples, 'sample')} on {side.target.name}",
        )

    def _scaled(self, modelled: Cost, side: Side) -> Cost:
        """The model's figure; in ms where the chip's time under another scheme is known."""
        known = [
            (name, cost)
            for (name, chip), cost in self.timed.items()
            if chip == side.chip.name and self._makes_a_model(name)
        ]
        if not known:
            return modelled
        name, cost = min(known)
        unit = cost.value / self._modelled(self.schemes[name], side).value

        def scaled(value: float | None) -> float | None:
            return None if value is None else value * unit

        return Cost(
            value=modelled.value * unit,
            unit="ms",
            basis="model",
            low=scaled(modelled.low),
            high=scaled(modelled.high),
            words=f"{modelled.words}; scaled to the time of {name}, {cost.words}",
        )

    def _makes_a_model(self, name: str) -> bool:
        return name in self.schemes and self.judge.variant(self.schemes[name]).file is not None

    def _modelled(self, scheme: Scheme, side: Side) -> Cost:
        left = self.left.get((scheme.name, side.chip.name), frozenset())
        return self._model.cost(self._of(scheme), side.silicon, left)

    def _of(self, scheme: Scheme) -> VariantWork:
        if scheme.name not in self._variants:
            if not self._work:
                self._work = model_work(self.judge.request.model)
            self._variants[scheme.name] = variant_work(self._work, self.judge.variant(scheme))
        return self._variants[scheme.name]

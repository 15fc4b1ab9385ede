"""What a variant costs on a chip: measured times, a model fitted to public ones, exact bytes.

The model (docs/decisions/014): a node's share of the time under w8a8 follows from its work; what
it takes in another type is its share times what that type costs whole models of the public table;
what crosses between types or processors is added. The figures are in ``cost.json``, which
``scripts/fit_costs.py`` makes of ``latency.csv`` and ``published_work.csv``.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from chipdrift.chips import Chip
from chipdrift.counts import counted
from chipdrift.errors import ChipdriftError
from chipdrift.plan.records import Cost
from chipdrift.plan.work import NodeWork, Runs, VariantWork

_NPU_FLOAT = frozenset({"fp16", "fp32"})
# 4-bit weights are half the bytes: at best a node takes half the time. The table has no pair.
_HALF = 0.5


@dataclass(frozen=True)
class Figure:
    """A factor with the range that held-out models fall into (80 % of them), and where from."""

    value: float
    low: float
    high: float
    where: str
    hypothesis: bool = False


@dataclass(frozen=True)
class Terms:
    """Milliseconds under w8a8 of a model, a layer, 1e9 MACs, 1e6 outputs and 1e6 weights."""

    model: float
    layer: float
    gmac: float
    mwrite: float
    mweight: float

    def node(self, work: NodeWork) -> float:
        """The time of one node in ms on the table's median device; 0 if it is no layer."""
        if not work.runs:
            return 0.0
        moved = work.writes * self.mwrite + work.weights * self.mweight
        return self.layer + work.macs * 1e-9 * self.gmac + moved * 1e-6


class CostModel:
    """The cost of a variant in units of the same model under ``w8a8`` on the same chip."""

    def __init__(self, fitted: Mapping[str, Any]) -> None:
        """``fitted`` is the content of ``cost.json``."""
        self._fitted = fitted
        time = fitted["time"]
        self._terms = Terms(**time["terms"])
        # What other models would have said of how time follows from work.
        self._others = tuple(Terms(**terms) for terms in time["left_out"].values())

    def cost(self, variant: VariantWork, chip: Chip | None, fallback: Collection[str] = ()) -> Cost:
        """What ``variant`` costs on ``chip`` (None: a chip that nobody has seen).

        ``fallback`` names nodes of the float model that run on the CPU there, beside those that
        the variant keeps there. Float runs on the CPU where the NPU has no FP16. ``low`` and
        ``high`` take all factors of the model at the end of their range at once, and the shares
        from every fit that left a model out. Raises ChipdriftError for a fallback node that the
        model does not hold, and for a model without layers.
        """
        variant = variant.falling_back(fallback)
        if chip is not None and chip.fp16 is False:
            pairs = zip(variant.nodes, variant.runs, strict=True)
            variant = variant.falling_back([n.name for n, how in pairs if how in _NPU_FLOAT])
        if not any(node.runs for node in variant.nodes):
            raise ChipdriftError("The model has no layer that computes: it has no cost to compare.")
        used = {how for node, how in zip(variant.nodes, variant.runs, strict=True) if node.runs}
        figures = {how: self.figure(how, chip) for how in sorted(used)}
        values = {how: f.value for how, f in figures.items()}
        visit = self._fitted["visit"]
        wrong = [math.exp(e) for e in self._fitted["time"]["log_error"]]
        speed = self._speed(chip)
        value = self._total(variant, values, self._terms, visit["ms"], speed)
        lows, highs = [value], [value]
        for terms in (self._terms, *self._others):
            low = {how: f.low for how, f in figures.items()}
            high = {how: f.high for how, f in figures.items()}
            lows.append(self._total(variant, low, terms, visit["low"], speed, wrong[2]))
            highs.append(self._total(variant, high, terms, visit["high"], speed, wrong[0]))
        return Cost(
            value=value,
            unit="x w8a8",
            basis="model",
            low=min(lows),
            high=max(highs),
            words=_words(figures, variant),
        )

    def figure(self, how: Runs, chip: Chip | None) -> Figure:
        """What a node that runs as ``how`` takes, times its time under w8a8 on ``chip``'s NPU."""
        if how == "w8a8":
            return Figure(1.0, 1.0, 1.0, "by definition")
        if how == "w4a8":
            return Figure(1.0, _HALF, 1.0, "as w8a8: the table has no 4-bit weights", True)
        if how == "w4a16":
            wide = self.figure("w8a16", chip)
            where = f"as w8a16 ({wide.where}): the table has no 4-bit weights"
            return Figure(wide.value, _HALF * wide.low, wide.high, where, True)
        if how == "cpu":
            integers = self._looked_up(self._fitted["cpu"]["w8a8"], chip)
            where = f"as w8a8 on the CPU ({integers.where}): the table has no pair in float"
            return Figure(integers.value, integers.low, integers.high, where, True)
        if how in ("cpu_w8a8", "cpu_w8a16"):
            return self._looked_up(self._fitted["cpu"][how.removeprefix("cpu_")], chip)
        table = self._fitted["kinds"]["float" if how in _NPU_FLOAT else how]
        return self._looked_up(table, chip)

    def _looked_up(self, table: Mapping[str, Any], chip: Chip | None) -> Figure:
        """The chip's own figure, or that of its generation, or that of all devices."""
        devices = [name for name in self._devices(chip) if name in table["devices"]]
        generation = chip.hexagon if chip is not None else None
        if devices:
            value, kind, where = table["devices"][devices[0]], "device", devices[0]
        elif generation in table["generations"]:
            value, kind = table["generations"][generation], "generation"
            where = f"devices of {generation}"
        else:
            value, kind, where = table["pooled"], "pooled", "all devices"
        low, _, high = table["log_error"][kind]
        return Figure(value, value * math.exp(min(low, 0)), value * math.exp(max(high, 0)), where)

    def _devices(self, chip: Chip | None) -> list[str]:
        """The table's devices that have this chip."""
        known = self._fitted["devices"]
        return [name for name, of in known.items() if chip is not None and of["soc"] == chip.soc]

    def _speed(self, chip: Chip | None) -> float:
        """The chip's time against the table's median device."""
        speeds = self._fitted["time"]["speeds"]
        for name in self._devices(chip):
            if name in speeds:
                return float(speeds[name])
        return 1.0

    def _total(
        self,
        variant: VariantWork,
        factors: Mapping[Runs, float],
        terms: Terms,
        visit: float,
        speed: float,
        wrong: float = 1.0,
    ) -> float:
        """The sum over layers and crossings; ``wrong`` multiplies the whole model's time."""
        times = [terms.node(node) for node in variant.nodes]
        layers = sum(times)
        if layers <= 0:  # a fit that gives this model's work no time: all layers alike
            times = [float(node.runs) for node in variant.nodes]
            layers = sum(times)
            whole = terms.model or self._terms.model
        else:
            whole = terms.model + layers
        pairs = zip(times, variant.runs, strict=True)
        computed = sum(time * factors[how] for time, how in pairs if time) / layers
        # By the mean of all fits: some of those that left a model out give a layer no time.
        converted = sum(
            self._terms.layer + crossing.elements * 1e-6 * self._terms.mwrite
            for crossing in variant.crossings
        )
        ways = sum(crossing.to_cpu for crossing in variant.crossings) / 2
        # A way to the CPU takes what it takes; a conversion is as fast as the chip.
        return computed + (converted / whole + ways * visit / (whole * speed)) / wrong


@cache
def shipped_model() -> CostModel:
    """The model that was fitted to the public table."""
    text = files("chipdrift.plan").joinpath("cost.json").read_text(encoding="utf-8")
    return CostModel(json.loads(text))


def _words(figures: Mapping[Runs, Figure], variant: VariantWork) -> str:
    parts = [
        f"{how} {figure.value:.3g}x ({'hypothesis: ' * figure.hypothesis}{figure.where})"
        for how, figure in figures.items()
        if how != "w8a8"
    ]
    crossings: Sequence[Any] = variant.crossings
    cpu = sum(crossing.to_cpu for crossing in crossings)
    if crossings:
        parts.append(f"{counted(len(crossings), 'border')}, a hypothesis")
    if cpu:
        parts.append(f"{cpu} of them to or from the CPU, which the table hardly tells")
    if variant.unknown:
        parts.append(f"{counted(len(variant.unknown), 'figure')} of its work not known, taken as 0")
    return "model: " + ("; ".join(parts) or "w8a8 throughout")

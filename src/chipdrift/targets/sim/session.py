"""Run a model under a profile: units in order, integers between quantizers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np

from chipdrift.graph.program import Program
from chipdrift.numerics.ops import reference_ops
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.quantize import dequantize, quantize
from chipdrift.targets.base import Opened, Session
from chipdrift.targets.sim.floats import FloatNode
from chipdrift.targets.sim.halves import HalfNode
from chipdrift.targets.sim.plan import (
    DequantizeUnit,
    FloatUnit,
    IntegerUnit,
    QuantizeUnit,
    Unit,
    make_plan,
)

Array = np.ndarray[Any, Any]
_Step = Callable[[dict[str, Array]], None]


class SimSession(Session):
    """The engine on one model. ``fast`` False runs every op's reference function."""

    def __init__(self, program: Program, profile: Profile, fast: bool = True) -> None:
        self._program, self._profile = program, profile
        self._plan = make_plan(program, profile)
        last: dict[str, int] = {}
        for index, unit in enumerate(self._plan.units):
            for name in (
                unit.inputs if isinstance(unit, IntegerUnit | FloatUnit) else (unit.source,)
            ):
                last[name] = index
        keep = {*self._plan.outputs}
        self._frees: list[list[str]] = [[] for _ in self._plan.units]
        for name, index in last.items():
            if name not in keep and name not in self._plan.constants:
                self._frees[index].append(name)
        self._steps = [self._compile(unit, fast) for unit in self._plan.units]

    def opened(self) -> Opened:
        """Integer units and products of small floats under rules are ``npu``, the rest ``cpu``."""
        nodes: list[tuple[str, str, str]] = []
        reasons: dict[str, str] = {}
        for unit in self._plan.units:
            if isinstance(unit, IntegerUnit):
                for step in (unit.step, *unit.fused):
                    if unit.spec.op != "Requantize":
                        nodes.append(("npu", step.name, step.op))
            else:
                small = isinstance(unit, FloatUnit) and unit.small
                nodes.append(("npu" if small else "cpu", unit.step.name, unit.step.op))
                if isinstance(unit, FloatUnit) and not small:
                    reasons[unit.step.name] = unit.reason
        return Opened(tuple(nodes), reasons=reasons)

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """One sample's outputs, in the order of the model's outputs."""
        values = {name: np.asarray(array) for name, array in feed.items()}
        for step, frees in zip(self._steps, self._frees, strict=True):
            step(values)
            for name in frees:
                values.pop(name, None)
        return [
            np.asarray(values[name] if name in values else self._plan.constants[name], order="C")
            for name in self._plan.outputs
        ]

    def _compile(self, unit: Unit, fast: bool) -> _Step:
        if isinstance(unit, IntegerUnit):
            return self._integer(unit, fast)
        constants = self._plan.constants
        if isinstance(unit, FloatUnit):
            floats = self._profile.floats
            node: HalfNode | FloatNode = FloatNode(unit.step, self._program, constants)
            if unit.small and floats is not None:
                node = HalfNode(unit.step, constants, floats)
            names = [name for name in unit.inputs if name not in constants]
            return lambda values: values.update(node.run({n: values[n] for n in names}))
        if isinstance(unit, QuantizeUnit):
            rules, quant, seed = self._profile.input, unit.quant, self._profile.seed
            quantized: Callable[[Array], Array] = partial(
                quantize, quant=quant, rules=rules, seed=seed
            )
            if fast:
                from chipdrift.numerics.fast import compile_quantize

                quantized = compile_quantize(quant, rules, seed)

            def to_integers(values: dict[str, Array]) -> None:
                source = values[unit.source] if unit.source in values else constants[unit.source]
                values[unit.output] = quantized(source)

            return to_integers

        def to_real(values: dict[str, Array], unit: DequantizeUnit = unit) -> None:
            source = values[unit.source] if unit.source in values else constants[unit.source]
            values[unit.output] = dequantize(source, unit.quant)

        return to_real

    def _integer(self, unit: IntegerUnit, fast: bool) -> _Step:
        spec = unit.spec
        if fast:
            from chipdrift.numerics.fast import compile_op

            kernel = compile_op(spec)
            if kernel is not None:

                def compiled(values: dict[str, Array]) -> None:
                    values[unit.output] = kernel([values[name] for name in unit.inputs])

                return compiled
        function = reference_ops()[spec.op]

        def plain(values: dict[str, Array]) -> None:
            names = iter(unit.inputs)
            arrays = [
                operand.constant
                if operand.constant is not None or not (operand.quant or operand.live)
                else values[next(names)]
                for operand in spec.operands
            ]
            values[unit.output] = function(spec, arrays)

        return plain

"""Run a model under a profile: units in order, integers between quantizers."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from chipdrift.graph.program import Program
from chipdrift.numerics.narrow import narrows
from chipdrift.numerics.ops import moves, places, reference_ops, tables_of
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.quantize import dequantize, quantize
from chipdrift.numerics.rounding import Rounding
from chipdrift.numerics.tensors import OpSpec
from chipdrift.targets.base import Opened, Session
from chipdrift.targets.sim.chance import draws, sample_seed
from chipdrift.targets.sim.floats import FloatNode
from chipdrift.targets.sim.halves import HalfNode
from chipdrift.targets.sim.plan import FloatUnit, IntegerUnit, QuantizeUnit, Unit, make_plan

Array = np.ndarray[Any, Any]
# What it does to the values; the number is what the sample's noise begins with.
_Step = Callable[[dict[str, Array], int], None]
# Equal quantizers keep these ops' integers, whatever the rules (N31).
_MOVES = frozenset({*moves.OPS, *places.OPS, "MaxPool", "GlobalMaxPool", "Concat", "Max", "Min"})


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
        self._draws = any(_by_chance(unit, profile) for unit in self._plan.units)

    def opened(self) -> Opened:
        """``npu`` are integer units and products of small floats under rules, known or not."""
        nodes: list[tuple[str, str, str]] = []
        reasons: dict[str, str] = {}
        for unit in self._plan.units:
            if isinstance(unit, IntegerUnit):
                for step in (unit.step, *unit.fused):
                    if unit.spec.op != "Requantize":
                        nodes.append(("npu", step.name, step.op))
                if not _known(unit.spec, self._profile):
                    bits = (unit.spec.operands[0].quant or unit.spec.output).bits
                    reasons[unit.step.name] = f"no rule for {unit.spec.op} at {bits} bits"
            else:
                small = isinstance(unit, FloatUnit) and unit.small is not None
                nodes.append(("npu" if small else "cpu", unit.step.name, unit.step.op))
                if isinstance(unit, FloatUnit) and not small:
                    reasons[unit.step.name] = unit.reason
        return Opened(tuple(nodes), reasons=reasons)

    def run(self, feed: Mapping[str, Array]) -> list[Array]:
        """One sample's outputs, in the order of the model's outputs."""
        values = {name: np.asarray(array) for name, array in feed.items()}
        seed = sample_seed(self._profile.seed, values) if self._draws else self._profile.seed
        for step, frees in zip(self._steps, self._frees, strict=True):
            step(values, seed)
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
            node: HalfNode | FloatNode = FloatNode(unit.step, unit.inputs, self._program, constants)
            if unit.small is not None:
                node = HalfNode(unit.step, constants, unit.small, fast)
            names = [name for name in unit.inputs if name not in constants]
            return lambda values, seed: values.update(node.run({n: values[n] for n in names}))
        if isinstance(unit, QuantizeUnit):
            return self._quantize(unit, fast)

        def to_real(values: dict[str, Array], seed: int) -> None:
            source = values[unit.source] if unit.source in values else constants[unit.source]
            values[unit.output] = dequantize(source, unit.quant)

        return to_real

    def _quantize(self, unit: QuantizeUnit, fast: bool) -> _Step:
        rules, quant, constants = self._profile.input, unit.quant, self._plan.constants
        # The node's part in the noise; an op between quantizers has it as its spec's ``stream``.
        own = zlib.crc32(unit.step.name.encode()) << 32
        compiled: Callable[[Array], Array] | None = None
        if fast and not _by_chance(unit, self._profile):
            from chipdrift.numerics.fast import compile_quantize

            compiled = compile_quantize(quant, rules, 0)

        def to_integers(values: dict[str, Array], seed: int) -> None:
            source = values[unit.source] if unit.source in values else constants[unit.source]
            made = compiled(source) if compiled else quantize(source, quant, rules, seed + own)
            values[unit.output] = made

        return to_integers

    def _integer(self, unit: IntegerUnit, fast: bool) -> _Step:
        spec, chance = unit.spec, _by_chance(unit, self._profile)
        if fast:
            from chipdrift.targets.sim.shelf import SHELF

            kernel = SHELF.kernel(spec)
            if kernel is not None:

                def compiled(values: dict[str, Array], seed: int) -> None:
                    arrays = [values[name] for name in unit.inputs]
                    values[unit.output] = kernel(arrays, seed)

                return compiled
        function = reference_ops()[spec.op]

        def plain(values: dict[str, Array], seed: int) -> None:
            names = iter(unit.inputs)
            arrays = [
                operand.constant
                if operand.constant is not None or not (operand.quant or operand.live)
                else values[next(names)]
                for operand in spec.operands
            ]
            values[unit.output] = function(replace(spec, seed=seed) if chance else spec, arrays)

        return plain


def _by_chance(unit: Unit, profile: Profile) -> bool:
    if isinstance(unit, IntegerUnit):
        return draws(unit.spec.op, unit.spec.rules)
    return isinstance(unit, QuantizeUnit) and profile.input.rounding is Rounding.STOCHASTIC


def _known(spec: OpSpec, profile: Profile) -> bool:
    """Whether the profile tells how ``spec`` is computed: a probed one leaves out the unknown.

    It does where it, or an override, gives a table that the op obeys.
    """
    quants = [operand.quant for operand in spec.operands if operand.quant is not None]
    if spec.op in _MOVES and all(quant.same_as(spec.output) for quant in quants):
        return True
    tables = set(tables_of(spec.op))
    if not narrows(spec):
        tables.discard("narrow")
    # What is not the profile's own object, an override gave.
    return bool(profile.model_fields_set & tables) or any(
        getattr(spec.rules, table) is not getattr(profile, table) for table in tables
    )

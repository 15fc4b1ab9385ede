"""Turn a QDQ program into units: what runs in integers, what in float, and why."""

from __future__ import annotations

import zlib
from dataclasses import replace
from typing import Any

import numpy as np

from chipdrift.graph.program import Program, Step
from chipdrift.graph.scopes import outer_reads
from chipdrift.numerics.ops import reference_ops, refusal
from chipdrift.numerics.profile import Fusion, Profile
from chipdrift.numerics.tensors import Operand, OpSpec, Quant
from chipdrift.targets.sim.fusion import Attention, attention_of, fold_batch_norm
from chipdrift.targets.sim.halves import takes
from chipdrift.targets.sim.kernels import activation_bits, kernel_of, least_scale
from chipdrift.targets.sim.operands import Operands
from chipdrift.targets.sim.quantizers import DEQUANTIZE, QUANTIZE, Quantizers
from chipdrift.targets.sim.units import (
    DequantizeUnit,
    FloatUnit,
    IntegerUnit,
    Plan,
    QuantizeUnit,
    Unit,
)
from chipdrift.targets.sim.weights import real_weights, signed, weight_axes

__all__ = [
    "DequantizeUnit",
    "FloatUnit",
    "IntegerUnit",
    "Plan",
    "QuantizeUnit",
    "Unit",
    "make_plan",
]

Array = np.ndarray[Any, Any]

_CLAMPS = ("Relu", "Clip")
# What a BatchNormalization behind it is fused into.
_NORMED = frozenset({"Conv", "Gemm"})
# What a Relu or Clip behind it is fused into.
_FUSES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul", "Sub"})


class _Planner:
    def __init__(self, program: Program, profile: Profile) -> None:
        self.program, self.profile = program, profile
        self.makers = {out: step for step in program.steps for out in step.outputs if out}
        self.readers: dict[str, list[Step]] = {}
        for step in program.steps:
            for name in (*step.inputs, *outer_reads(step.attributes)):
                self.readers.setdefault(name, []).append(step)
        self.constants = dict(program.constants)
        self.quantizers = Quantizers(self.constants, program.dtypes)
        self.operands = Operands(program, profile, self.makers, self.constants, self.quantizers)

    def plan(self) -> Plan:
        needed, made, units = list(self.program.outputs), set[str](), []
        by_output: dict[str, Unit] = {}
        while needed:
            name = needed.pop()
            if name in made or name in self.constants or name not in self.makers:
                continue
            unit = self._unit(self.makers[name], name)
            units.append(unit)
            outputs = unit.step.outputs if isinstance(unit, FloatUnit) else (unit.output,)
            made.update(out for out in outputs if out)
            by_output.update({out: unit for out in outputs if out})
            needed.extend(_reads(unit))
        position = {step.name: index for index, step in enumerate(self.program.steps)}
        units.sort(key=lambda unit: position[unit.step.name])
        inputs = tuple(spec.name for spec in self.program.inputs)
        return Plan(tuple(units), self.constants, self.program.outputs, inputs)

    def _unit(self, step: Step, name: str) -> Unit:
        if step.op == DEQUANTIZE:
            return DequantizeUnit(
                step, step.inputs[0], name, self.quantizers.of(step, step.inputs[0])
            )
        if step.op != QUANTIZE:
            return self._float(step)
        found = self._integer(step)
        if isinstance(found, IntegerUnit):
            return found
        return QuantizeUnit(step, step.inputs[0], name, self.quantizers.of(step, name))

    def _float(self, step: Step) -> FloatUnit:
        reason = self._why_float(step)
        away = self.profile.fallback.takes(step.op, step.name)
        small = None if away else self.profile.floats_for(step.op, step.name)
        refused = takes(step, self.program, small)
        kinds = {self.program.dtypes.get(name) for name in step.inputs if name}
        if small is not None and "float16" in kinds:
            reason = f"{refused}: onnxruntime's CPU kernel computes it in float16"
        self._encode(step)
        inputs = dict.fromkeys((*filter(None, step.inputs), *outer_reads(step.attributes)))
        return FloatUnit(step, tuple(inputs), reason, None if refused else small)

    def _encode(self, step: Step) -> None:
        """Give a product in float the weights that the profile says; who else reads them, too."""
        rules = self.profile.weights_for(step.op, step.name)
        name = step.inputs[1] if len(step.inputs) > 1 else ""
        maker = self.makers.get(name)
        if maker is None or maker.op != DEQUANTIZE or maker.inputs[0] not in self.constants:
            return
        values = self.constants[maker.inputs[0]]
        changes = rules.format is not None or rules.collapse is not None
        if changes and weight_axes(step.op, step.attributes, values.ndim) is not None:
            quant = self.quantizers.of(maker, maker.inputs[0])
            self.constants[name] = real_weights(values, quant, rules, step.op, step.attributes)

    def _why_float(self, step: Step) -> str:
        """Why a node whose real-valued output is asked for does not run in integers."""
        for reader in self.readers.get(step.outputs[0], []):
            if reader.op == QUANTIZE:
                found = self._integer(reader)
                if isinstance(found, str):
                    return found
        if step.outputs[0] in self.program.outputs:
            return "its output leaves the graph as real numbers, without a quantizer"
        return "its output is read as real numbers, without a quantizer"

    def _integer(self, quantize: Step) -> IntegerUnit | str:
        """The integer unit that ends in ``quantize``, or why there is none."""
        source = quantize.inputs[0]
        output = self.quantizers.of(quantize, quantize.outputs[0])
        if source not in self.makers:
            return "it quantizes what comes from outside"
        step = self.makers[source]
        clamp: tuple[float | None, float | None] = (None, None)
        fused: tuple[Step, ...] = ()
        if step.op == DEQUANTIZE:
            step = replace(quantize, op="Requantize", inputs=(source,))
        if step.op in _CLAMPS:
            limits = self.operands.clamp(step)
            if limits is None:
                return "its bounds are not known before it runs"
            clamp = limits
            before = self.makers.get(step.inputs[0])
            alone = len(self.readers[step.inputs[0]]) == 1
            fuses = _FUSES | ({"BatchNormalization"} if self._norms(before) else set())
            if before is not None and before.op in fuses and alone:
                step, fused = before, (step,)
            elif before is not None and self._fusion(step).activation == "fused":
                inner = self._behind(before)
                if inner is not None:
                    step, fused = inner, (step,)
        norm: Step | None = None
        if self._norms(step):
            inner = self.makers.get(step.inputs[0])
            if inner is not None and inner.op in _NORMED and len(self.readers[step.inputs[0]]) == 1:
                norm, step, fused = step, inner, (step, *fused)
        if self.profile.fallback.takes(step.op, step.name):
            return f"the profile sends {step.op} to the CPU"
        if step.op not in reference_ops() or step.domain not in ("", "com.microsoft"):
            return f"{step.op} has no integer form"
        attention = attention_of(step, self.makers, self.readers, self.constants)
        if attention is not None and self._fusion(step).attention_scores == "fused":
            unit = self._attention(step, attention, quantize.outputs[0], output)
            if unit is not None:
                return unit
        operands: list[Operand] = []
        names: list[str] = []
        inputs = step.inputs[:1] if step.op in _CLAMPS else step.inputs
        for index, name in enumerate(inputs):
            operand, runtime = self.operands.operand(step, index, name, operands, output)
            if isinstance(operand, str):
                return operand
            operands.append(operand)
            if runtime:
                names.append(runtime)
        if norm is not None:
            folded = self._folded(operands, norm, step)
            if isinstance(folded, str):
                return folded
            operands = folded
        bits = activation_bits(operands, output)
        if attention is not None:
            rules = self.profile.attention_rules(bits, step.name)
        else:
            kernel, least = kernel_of(step, operands), least_scale(operands, output)
            rules = self.profile.rules_for(step.op, bits, kernel, step.name, least)
        spec = OpSpec(
            op=step.op,
            node=step.name,
            operands=tuple(operands),
            attributes={
                **step.attributes,
                "output_index": _index(step, source, fused),
                "output_count": len(step.outputs),
                "opset": self.program.opsets.get(step.domain, 0),
            },
            output=output,
            rules=rules,
            clamp=clamp,
            seed=self.profile.seed,
            stream=zlib.crc32(step.name.encode()),
        )
        refused = refusal(spec)
        if refused is not None:
            return refused
        return IntegerUnit(step, signed(spec), tuple(names), quantize.outputs[0], fused)

    def _fusion(self, step: Step) -> Fusion:
        return self.profile.fusion_for(step.op, step.name)

    def _norms(self, step: Step | None) -> bool:
        """Whether ``step`` is a BatchNormalization that goes into the product before it."""
        is_norm = step is not None and step.op == "BatchNormalization"
        return step is not None and is_norm and self._fusion(step).batch_norm == "fused"

    def _attention(
        self, softmax: Step, found: Attention, name: str, output: Quant
    ) -> IntegerUnit | None:
        """A Softmax and its scores as one unit, or None where these cannot be fused (N75)."""
        product = found.product
        fused = (product, *(step for step, _ in found.steps))
        if not found.alone or any(self.profile.fallback.takes(s.op, s.name) for s in fused):
            return None
        operands: list[Operand] = []
        names: list[str] = []
        others = [step.inputs[1 - side] for step, side in found.steps]
        for index, inner in enumerate([*product.inputs, *others]):
            position = index if index < 2 else -1
            operand, runtime = self.operands.operand(product, position, inner, operands, output)
            if isinstance(operand, str) or operand.live:
                return None
            operands.append(operand)
            names += [runtime] if runtime else []
        bits = activation_bits(operands, output)
        # Its sums become real numbers: there is no S that rules could be chosen by.
        kernel = kernel_of(product, operands[:2])
        sums = self.profile.rules_for("MatMul", bits, kernel, product.name)
        spec = OpSpec(
            op="Softmax",
            node=softmax.name,
            operands=tuple(operands),
            attributes={
                **softmax.attributes,
                "opset": self.program.opsets.get("", 0),
                "scores": tuple((step.op, side) for step, side in found.steps),
            },
            output=output,
            rules=self.profile.attention_rules(bits, softmax.name).model_copy(
                update={
                    "accumulator": sums.accumulator,
                    "requantize": sums.requantize,
                    "narrow": sums.narrow,
                }
            ),
            seed=self.profile.seed,
            stream=zlib.crc32(softmax.name.encode()),
        )
        return None if refusal(spec) else IntegerUnit(softmax, spec, tuple(names), name, fused)

    def _folded(self, operands: list[Operand], norm: Step, step: Step) -> list[Operand] | str:
        """The operands of ``step`` with the BatchNormalization behind it in them, or why not."""
        parameters = [self.operands.real(name) for name in norm.inputs[1:5]]
        if any(values is None for values in parameters):
            return "its BatchNormalization's parameters are not constants"
        if step.op == "Gemm" and not step.attributes.get("transB", 0):
            return "its weights have the output channels last"
        known = [values for values in parameters if values is not None]
        return fold_batch_norm(operands, known, float(norm.attributes.get("epsilon", 1e-5)))

    def _behind(self, dequantize: Step) -> Step | None:
        """The op behind ``Q -> DQ`` that only one Relu or Clip reads, for a fusing profile."""
        if dequantize.op != DEQUANTIZE or len(self.readers[dequantize.outputs[0]]) != 1:
            return None
        quantize = self.makers.get(dequantize.inputs[0])
        if (
            quantize is None
            or quantize.op != QUANTIZE
            or len(self.readers[quantize.outputs[0]]) != 1
        ):
            return None
        step = self.makers.get(quantize.inputs[0])
        if step is None or step.op not in _FUSES or len(self.readers[step.outputs[0]]) != 1:
            return None
        return step


def make_plan(program: Program, profile: Profile) -> Plan:
    """What to run for ``program`` under ``profile``, in order; nothing that no output needs."""
    return _Planner(program, profile).plan()


def _reads(unit: Unit) -> tuple[str, ...]:
    if isinstance(unit, IntegerUnit | FloatUnit):
        return unit.inputs
    return (unit.source,)


def _index(step: Step, source: str, fused: tuple[Step, ...]) -> int:
    return 0 if fused or source not in step.outputs else step.outputs.index(source)

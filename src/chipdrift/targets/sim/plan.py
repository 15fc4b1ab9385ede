"""Turn a QDQ program into units: what runs in integers, what in float, and why."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from chipdrift.errors import ModelError
from chipdrift.graph.program import Program, Step
from chipdrift.graph.scopes import outer_reads
from chipdrift.numerics.ops import reference_ops, refusal
from chipdrift.numerics.profile import Profile
from chipdrift.numerics.quantize import dequantize
from chipdrift.numerics.tensors import Operand, OpSpec, Quant
from chipdrift.targets.sim.fusion import Attention, attention_of, fold_batch_norm
from chipdrift.targets.sim.halves import takes
from chipdrift.targets.sim.weights import bias_integers, real_weights, transformed, weight_axes

Array = np.ndarray[Any, Any]

_QUANTIZE, _DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_CLAMPS = ("Relu", "Clip")
# Indices, shapes and conditions: what needs no quantizer.
_PLAIN = frozenset({"int64", "int32", "bool"})
# What a BatchNormalization behind it is fused into.
_NORMED = frozenset({"Conv", "Gemm"})
# What a Relu or Clip behind it is fused into.
_FUSES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul", "Sub"})


@dataclass(frozen=True, eq=False)
class IntegerUnit:
    """An op between quantizers; ``inputs`` name the integer tensors that come at run time."""

    step: Step
    spec: OpSpec
    inputs: tuple[str, ...]
    output: str
    fused: tuple[Step, ...] = ()


@dataclass(frozen=True, eq=False)
class QuantizeUnit:
    """Real numbers to integers."""

    step: Step
    source: str
    output: str
    quant: Quant


@dataclass(frozen=True, eq=False)
class DequantizeUnit:
    """Integers to real numbers."""

    step: Step
    source: str
    output: str
    quant: Quant


@dataclass(frozen=True, eq=False)
class FloatUnit:
    """A node that runs in float, and why; ``small``: under the profile's rules for small floats."""

    step: Step
    inputs: tuple[str, ...]
    reason: str
    small: bool = False


Unit = IntegerUnit | QuantizeUnit | DequantizeUnit | FloatUnit


@dataclass(frozen=True, eq=False)
class Plan:
    """Units in order; ``constants`` are the tensors that the model holds and units read."""

    units: tuple[Unit, ...]
    constants: Mapping[str, Array]
    outputs: tuple[str, ...]
    inputs: tuple[str, ...]


class _Planner:
    def __init__(self, program: Program, profile: Profile) -> None:
        self.program, self.profile = program, profile
        self.makers = {out: step for step in program.steps for out in step.outputs if out}
        self.readers: dict[str, list[Step]] = {}
        for step in program.steps:
            for name in (*step.inputs, *outer_reads(step.attributes)):
                self.readers.setdefault(name, []).append(step)
        self.constants = dict(program.constants)
        self.quants: dict[tuple[str, str], Quant] = {}

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
        if step.op == _DEQUANTIZE:
            return DequantizeUnit(step, step.inputs[0], name, self._quant(step, step.inputs[0]))
        if step.op != _QUANTIZE:
            return self._float(step)
        found = self._integer(step)
        if isinstance(found, IntegerUnit):
            return found
        return QuantizeUnit(step, step.inputs[0], name, self._quant(step, name))

    def _float(self, step: Step) -> FloatUnit:
        reason = self._why_float(step)
        refused = takes(step, self.program, self.profile.floats)
        kinds = {self.program.dtypes.get(name) for name in step.inputs if name}
        if self.profile.floats is not None and "float16" in kinds:
            reason = f"{refused}: onnxruntime's CPU kernel computes it in float16"
        self._encode(step)
        inputs = dict.fromkeys((*filter(None, step.inputs), *outer_reads(step.attributes)))
        return FloatUnit(step, tuple(inputs), reason, refused is None)

    def _encode(self, step: Step) -> None:
        """Give a product in float the weights that the profile says; who else reads them, too."""
        rules = self.profile.weights_for(step.op, step.name)
        name = step.inputs[1] if len(step.inputs) > 1 else ""
        maker = self.makers.get(name)
        if maker is None or maker.op != _DEQUANTIZE or maker.inputs[0] not in self.constants:
            return
        values = self.constants[maker.inputs[0]]
        changes = rules.format is not None or rules.collapse is not None
        if changes and weight_axes(step.op, step.attributes, values.ndim) is not None:
            quant = self._quant(maker, maker.inputs[0])
            self.constants[name] = real_weights(values, quant, rules, step.op, step.attributes)

    def _why_float(self, step: Step) -> str:
        """Why a node whose real-valued output is asked for does not run in integers."""
        for reader in self.readers.get(step.outputs[0], []):
            if reader.op == _QUANTIZE:
                found = self._integer(reader)
                if isinstance(found, str):
                    return found
        if step.outputs[0] in self.program.outputs:
            return "its output leaves the graph as real numbers, without a quantizer"
        return "its output is read as real numbers, without a quantizer"

    def _integer(self, quantize: Step) -> IntegerUnit | str:
        """The integer unit that ends in ``quantize``, or why there is none."""
        source = quantize.inputs[0]
        output = self._quant(quantize, quantize.outputs[0])
        if source not in self.makers:
            return "it quantizes what comes from outside"
        step = self.makers[source]
        clamp: tuple[float | None, float | None] = (None, None)
        fused: tuple[Step, ...] = ()
        if step.op == _DEQUANTIZE:
            step = replace(quantize, op="Requantize", inputs=(source,))
        if step.op in _CLAMPS:
            limits = self._clamp(step)
            if limits is None:
                return "its bounds are not known before it runs"
            clamp = limits
            before = self.makers.get(step.inputs[0])
            alone = len(self.readers[step.inputs[0]]) == 1
            norms = self.profile.fusion.batch_norm == "fused" and before is not None
            fuses = _FUSES | ({"BatchNormalization"} if norms else set())
            if before is not None and before.op in fuses and alone:
                step, fused = before, (step,)
            elif before is not None and self.profile.fusion.activation == "fused":
                inner = self._behind(before)
                if inner is not None:
                    step, fused = inner, (step,)
        norm: Step | None = None
        if step.op == "BatchNormalization" and self.profile.fusion.batch_norm == "fused":
            inner = self.makers.get(step.inputs[0])
            if inner is not None and inner.op in _NORMED and len(self.readers[step.inputs[0]]) == 1:
                norm, step, fused = step, inner, (step, *fused)
        if self.profile.fallback.takes(step.op, step.name):
            return f"the profile sends {step.op} to the CPU"
        if step.op not in reference_ops() or step.domain not in ("", "com.microsoft"):
            return f"{step.op} has no integer form"
        attention = attention_of(step, self.makers, self.readers, self.constants)
        if attention is not None and self.profile.fusion.attention_scores == "fused":
            unit = self._attention(step, attention, quantize.outputs[0], output)
            if unit is not None:
                return unit
        operands: list[Operand] = []
        names: list[str] = []
        inputs = step.inputs[:1] if step.op in _CLAMPS else step.inputs
        for index, name in enumerate(inputs):
            operand, runtime = self._operand(step, index, name, operands, output)
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
        bits = _activation_bits(operands, output)
        if attention is not None:
            rules = self.profile.attention_rules(bits, step.name)
        else:
            rules = self.profile.rules_for(step.op, bits, _kernel(step, operands), step.name)
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
        return IntegerUnit(step, spec, tuple(names), quantize.outputs[0], fused)

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
            operand, runtime = self._operand(product, position, inner, operands, output)
            if isinstance(operand, str) or operand.live:
                return None
            operands.append(operand)
            names += [runtime] if runtime else []
        bits = _activation_bits(operands, output)
        sums = self.profile.rules_for("MatMul", bits, _kernel(product, operands[:2]), product.name)
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
                update={"accumulator": sums.accumulator, "requantize": sums.requantize}
            ),
            seed=self.profile.seed,
            stream=zlib.crc32(softmax.name.encode()),
        )
        return None if refusal(spec) else IntegerUnit(softmax, spec, tuple(names), name, fused)

    def _folded(self, operands: list[Operand], norm: Step, step: Step) -> list[Operand] | str:
        """The operands of ``step`` with the BatchNormalization behind it in them, or why not."""
        parameters = [self._real(name) for name in norm.inputs[1:5]]
        if any(values is None for values in parameters):
            return "its BatchNormalization's parameters are not constants"
        if step.op == "Gemm" and not step.attributes.get("transB", 0):
            return "its weights have the output channels last"
        known = [values for values in parameters if values is not None]
        return fold_batch_norm(operands, known, float(norm.attributes.get("epsilon", 1e-5)))

    def _real(self, name: str) -> Array | None:
        """A constant's real values, through its DequantizeLinear where it has one."""
        if name in self.constants:
            return self.constants[name]
        maker = self.makers.get(name)
        if maker is None or maker.op != _DEQUANTIZE or maker.inputs[0] not in self.constants:
            return None
        return dequantize(self.constants[maker.inputs[0]], self._quant(maker, maker.inputs[0]))

    def _behind(self, dequantize: Step) -> Step | None:
        """The op behind ``Q -> DQ`` that only one Relu or Clip reads, for a fusing profile."""
        if dequantize.op != _DEQUANTIZE or len(self.readers[dequantize.outputs[0]]) != 1:
            return None
        quantize = self.makers.get(dequantize.inputs[0])
        if (
            quantize is None
            or quantize.op != _QUANTIZE
            or len(self.readers[quantize.outputs[0]]) != 1
        ):
            return None
        step = self.makers.get(quantize.inputs[0])
        if step is None or step.op not in _FUSES or len(self.readers[step.outputs[0]]) != 1:
            return None
        return step

    def _operand(
        self, step: Step, index: int, name: str, before: list[Operand], output: Quant
    ) -> tuple[Operand | str, str | None]:
        """An operand, or why the node must run in float, with the name to feed at run time."""
        if not name:
            return Operand(), None
        maker = self.makers.get(name)
        if maker is not None and maker.op == _DEQUANTIZE:
            source = maker.inputs[0]
            quant = self._quant(maker, source)
            if source not in self.constants:
                return Operand(quant), source
            integers = self.constants[source]
            if index == 2 and step.op in ("Conv", "ConvTranspose", "Gemm"):
                return self._bias(integers, quant, before), None
            return self._weight(step, index, Operand(quant, integers)), None
        if name in self.constants:
            value = self.constants[name]
            if index == 2 and step.op in ("Conv", "ConvTranspose", "Gemm"):
                return self._bias(value, None, before), None
            return Operand(None, value), None
        if maker is not None and maker.op == "Transpose":
            inner = self._operand(step, -1, maker.inputs[0], before, output)
            if isinstance(inner[0], Operand) and inner[0].constant is not None:
                turned = _transpose(inner[0], maker.attributes.get("perm"))
                if turned is not None:
                    return self._weight(step, index, turned), None
        if self.program.dtypes.get(name) in _PLAIN:
            return Operand(live=True), name
        return "one of its inputs comes as real numbers, without a quantizer", None

    def _weight(self, step: Step, index: int, held: Operand) -> Operand | str:
        """Input 1 as the profile holds weights; any other input as it is."""
        if index != 1 or held.constant is None or held.quant is None:
            return held
        rules = self.profile.weights_for(step.op, step.name)
        made = transformed(held.constant, held.quant, rules, step.op, step.attributes)
        return made if isinstance(made, str) else Operand(made[1], made[0])

    def _bias(self, values: Array, quant: Quant | None, before: list[Operand]) -> Operand | str:
        x, w = before[0].quant, before[1].quant
        if x is None or w is None:
            return "its bias has no scale to be brought to"
        if w.block_size:  # a real number for each channel: its accumulators have many scales
            return Operand(None, values if quant is None else dequantize(values, quant))
        if not {x.scale.size, w.scale.size} <= {1, values.size}:
            return "its bias and its weights have scales along different axes"
        return Operand(None, bias_integers(values, quant, x, w))

    def _clamp(self, step: Step) -> tuple[float | None, float | None] | None:
        if step.op == "Relu":
            return (0.0, None)
        bounds: list[float | None] = []
        for index, key in ((1, "min"), (2, "max")):
            name = step.inputs[index] if index < len(step.inputs) else ""
            if not name:
                bounds.append(step.attributes.get(key))
                continue
            maker = self.makers.get(name)
            if name in self.constants:
                bounds.append(float(self.constants[name].reshape(-1)[0]))
            elif (
                maker is not None and maker.op == _DEQUANTIZE and maker.inputs[0] in self.constants
            ):
                quant = self._quant(maker, maker.inputs[0])
                raw = int(self.constants[maker.inputs[0]].reshape(-1)[0])
                bounds.append(
                    float(np.float32(raw - int(quant.zero_point)) * np.float32(quant.scale))
                )
            else:
                return None
        return bounds[0], bounds[1]

    def _quant(self, step: Step, tensor: str) -> Quant:
        """The quantizer of a Q or DQ node; ``tensor`` is its integer side."""
        key = (step.name, tensor)
        if key not in self.quants:
            self.quants[key] = self._read_quant(step, tensor)
        return self.quants[key]

    def _read_quant(self, step: Step, tensor: str) -> Quant:
        scale = self.constants.get(step.inputs[1])
        if scale is None:
            raise ModelError(
                f"Node {step.name} ({step.op}): its scale is computed at run time; the engine "
                "needs scales that the model holds. Quantize the model statically."
            )
        if scale.dtype != np.float32:
            raise ModelError(
                f"Node {step.name} ({step.op}): its scale is {scale.dtype}; the engine knows "
                "float32 scales. Quantize the float32 model."
            )
        if not np.all(np.isfinite(scale)) or np.any(scale <= 0):
            raise ModelError(
                f"Node {step.name} ({step.op}): a scale is {float(scale.min()):g}; scales are "
                "finite and above 0. Calibrate the model again."
            )
        zero_name = step.inputs[2] if len(step.inputs) > 2 else ""
        zero = self.constants.get(zero_name) if zero_name else np.zeros_like(scale)
        dtype = self.program.dtypes.get(zero_name or tensor, "uint8")
        if not zero_name and step.op == _QUANTIZE:
            kind = step.attributes.get("output_dtype", 0)
            dtype = {2: "uint8", 3: "int8", 4: "uint16", 5: "int16"}.get(kind, dtype)
        if zero is None or dtype not in (
            "uint8", "int8", "uint16", "int16", "int32", "uint4", "int4",
        ):  # fmt: skip
            raise ModelError(
                f"Node {step.name} ({step.op}): integers of type {dtype}; the engine knows int4, "
                "uint4, int8, uint8, int16, uint16 and int32."
            )
        scale = np.asarray(scale, np.float32)
        axis = int(step.attributes.get("axis", 1))
        single = scale.size == 1
        return Quant(
            scale=scale.reshape(()) if single else scale,
            zero_point=(zero.reshape(()) if single else zero).astype(np.int64),
            dtype=dtype,
            axis=None if single else axis,
            block_size=0 if single else int(step.attributes.get("block_size", 0)),
        )


def make_plan(program: Program, profile: Profile) -> Plan:
    """What to run for ``program`` under ``profile``, in order; nothing that no output needs."""
    return _Planner(program, profile).plan()


def _reads(unit: Unit) -> tuple[str, ...]:
    if isinstance(unit, IntegerUnit | FloatUnit):
        return unit.inputs
    return (unit.source,)


def _index(step: Step, source: str, fused: tuple[Step, ...]) -> int:
    return 0 if fused or source not in step.outputs else step.outputs.index(source)


def _activation_bits(operands: list[Operand], output: Quant) -> int:
    first = operands[0].quant if operands else None
    return (first or output).bits


def _kernel(step: Step, operands: list[Operand]) -> str | None:
    if step.op == "MatMul" and len(operands) == 2:
        both = all(operand.constant is None for operand in operands)
        return "dynamic" if both else None
    if step.op not in ("Conv", "ConvTranspose") or len(operands) < 2:
        return None
    weights = operands[1].constant
    group = int(step.attributes.get("group", 1))
    if weights is None:
        return "plain"
    if group > 1 and weights.shape[1] == 1 and weights.shape[0] == group:
        wide = all(k >= 3 for k in weights.shape[2:])
        strided = list(step.attributes.get("strides", [])) == [2, 2]
        return "depthwise_stride2" if wide and strided else "depthwise"
    if group > 1:
        return "grouped"
    return "pointwise" if all(k == 1 for k in weights.shape[2:]) else "plain"


def _transpose(operand: Operand, perm: Any) -> Operand | None:
    assert operand.constant is not None and operand.quant is not None
    axes = list(perm) if perm else list(range(operand.constant.ndim))[::-1]
    quant = operand.quant
    if quant.block_size:
        return None
    if quant.axis is not None:
        quant = replace(quant, axis=axes.index(quant.axis % operand.constant.ndim))
    return Operand(quant, np.ascontiguousarray(operand.constant.transpose(axes)))

"""What onnxruntime's quantizer must be told of a model whose nodes are not all of one type.

A node reads and writes integers of its own type. Where a tensor's maker and a reader differ, the
quantizer is asked for a conversion (Dequantize, Quantize) in front of that reader. onnxruntime's
own MixedPrecisionTensorQuantOverridesFixer asks the other way round, for tensors, and raises every
reader of one with it: "this node alone" cannot be said to it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import onnx
from onnxruntime.quantization import QuantType

from chipdrift.quantize.blockwise import reduced_axis
from chipdrift.quantize.layers import clamped
from chipdrift.schemes import Setting

Overrides = dict[str, list[dict[str, Any]]]

TYPES = {
    "uint8": QuantType.QUInt8,
    "uint16": QuantType.QUInt16,
    "int8": QuantType.QInt8,
    "int4": QuantType.QInt4,
}
# onnxruntime's QNN settings leave these ops as they are.
_UNTOUCHED = frozenset({"Cast"})
# Inputs that are weights and biases to the quantizer; all other constants get an activation's type.
_WEIGHTS = {
    "MatMul": (0, 1),
    **dict.fromkeys(("Conv", "ConvTranspose", "Gemm"), (1, 2)),
    **dict.fromkeys(("LayerNormalization", "InstanceNormalization", "BatchNormalization"), (1, 2)),
}


@dataclass(frozen=True)
class Mixture:
    """The overrides, and where types meet.

    ``source`` is the model to quantize: a Relu or Clip before a conversion is taken into the node
    before it, which the quantizer does elsewhere and not there. ``levels`` gives tensors that do
    not have the scheme's number of integers theirs; ``borders`` are (tensor, from, to).
    """

    source: onnx.ModelProto
    overrides: Overrides
    levels: dict[str, int] = field(default_factory=dict)
    borders: tuple[tuple[str, str, str], ...] = ()


def mix_types(source: onnx.ModelProto, settings: Mapping[str, Setting], base: Setting) -> Mixture:
    """The types of all activations; ``settings`` are by node, those in float left out of account.

    What comes from outside, or from a node in float, has the widest type among its readers'.
    """
    source = _copy(source)
    _part_constants(source, settings)
    kinds = _kinds(source, settings)
    makers = {out: node.name for node in source.graph.node for out in node.output}
    floats = _float_tensors(source)
    constants = {init.name for init in source.graph.initializer}
    readers: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for node in source.graph.node:
        for name in node.input:
            if node.name in kinds and name in floats and name not in constants:
                readers[name][kinds[node.name]].add(node.name)
    overrides: Overrides = {}
    levels: dict[str, int] = {}
    borders: list[tuple[str, str, str]] = []
    for name in sorted(floats - constants):
        read = readers.get(name, {})
        made = kinds.get(makers.get(name, ""))
        kind = made if made is not None else max(read, key=_bits, default=None)
        if kind is None or {kind, *read} == {base.activations}:
            continue
        override: dict[str, Any] = {"quant_type": TYPES[kind]}
        for other, nodes in read.items():
            if other != kind:
                override["convert"] = {"quant_type": TYPES[other], "recv_nodes": set(nodes)}
                borders.append((name, kind, other))
        overrides[name] = [override]
        levels[name] = 1 << _bits(kind)
    _constant_overrides(source, kinds, base, floats & constants, overrides)
    _absorb(source, kinds, {name for name, _, _ in borders})
    return Mixture(source, overrides, levels, tuple(borders))


def weight_overrides(
    source: onnx.ModelProto, settings: Mapping[str, Setting], base: Setting
) -> Overrides:
    """One symmetric scale, or one per output channel, for every weight that is summed over.

    onnxruntime's own settings would leave MatMul per tensor; the simulator takes it per channel.
    """
    weights = {init.name: init for init in source.graph.initializer}
    overrides: Overrides = {}
    for node in source.graph.node:
        axis = reduced_axis(node, weights)
        setting = settings.get(node.name, base)
        if axis is None or setting.kind != "qdq":
            continue
        per_channel = setting.granularity != "tensor"
        own = setting.weights_differ(base)
        if not (own or per_channel or setting.weights == "int4"):
            continue
        symmetric = per_channel or setting.weights != "uint8"
        override: dict[str, Any] = {"quant_type": TYPES[setting.weights], "symmetric": symmetric}
        overrides[node.input[1]] = [{**override, "axis": 1 - axis} if per_channel else override]
    return overrides


def _kinds(source: onnx.ModelProto, settings: Mapping[str, Setting]) -> dict[str, str]:
    """The type of the activations of every node that the quantizer touches."""
    return {
        node.name: settings[node.name].activations
        for node in source.graph.node
        if settings[node.name].kind == "qdq" and node.op_type not in _UNTOUCHED
    }


def _part_constants(source: onnx.ModelProto, settings: Mapping[str, Setting]) -> None:
    """Give readers of another type their own copy of a constant."""
    inits = {
        init.name: init
        for init in source.graph.initializer
        if init.data_type == onnx.TensorProto.FLOAT
    }
    owners: dict[str, str] = {}
    for node in source.graph.node:
        setting = settings[node.name]
        kind = setting.activations if setting.kind == "qdq" else setting.kind
        for slot, name in enumerate(node.input):
            if name not in inits or owners.setdefault(name, kind) == kind:
                continue
            copy = f"{name}_of_{kind}"
            if copy not in inits:
                init = source.graph.initializer.add()
                init.CopyFrom(inits[name])
                init.name = copy
                inits[copy] = init
            node.input[slot] = copy


def _constant_overrides(
    source: onnx.ModelProto,
    kinds: Mapping[str, str],
    base: Setting,
    constants: set[str],
    overrides: Overrides,
) -> None:
    """Constants that the quantizer takes for activations get the type of who reads them."""
    for node in source.graph.node:
        kind = kinds.get(node.name, base.activations)
        if kind == base.activations:
            continue
        for slot, name in enumerate(node.input):
            if name in constants and slot not in _WEIGHTS.get(node.op_type, ()):
                overrides[name] = [{"quant_type": TYPES[kind]}]


def _absorb(source: onnx.ModelProto, kinds: Mapping[str, str], converted: set[str]) -> None:
    """Take each Relu and Clip whose output is converted into the node before it."""
    nodes = {node.name: node for node in source.graph.node}
    for name, clamp in clamped(source):
        before, after = nodes[name], nodes[clamp]
        if name not in kinds or clamp not in kinds or after.output[0] not in converted:
            continue
        before.output[:] = [after.output[0] if o == after.input[0] else o for o in before.output]
        source.graph.node.remove(after)


def _float_tensors(source: onnx.ModelProto) -> set[str]:
    found = {i.name for i in source.graph.initializer if i.data_type == onnx.TensorProto.FLOAT}
    typed = onnx.shape_inference.infer_shapes(source).graph
    for value in (*typed.input, *typed.value_info, *typed.output):
        if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT:
            found.add(value.name)
    return found


def _bits(kind: str) -> int:
    return int(kind.removeprefix("uint"))


def _copy(proto: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return copy

"""QDQ models by onnxruntime's quantizer with its QNN settings; blockwise weights by our own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData, save_tensors_data
from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

from chipdrift.graph import name_nodes
from chipdrift.quantize.adjust import (
    adjust_weights,
    deciding,
    given_ranges,
    limit_weights,
    note_unused_ranges,
)
from chipdrift.quantize.blockwise import block_weights, blocked_nodes
from chipdrift.quantize.islands import Islands, make_islands
from chipdrift.quantize.layers import CLAMPS, layer_settings
from chipdrift.quantize.mixed import TYPES, Mixture, Overrides, mix_types, weight_overrides
from chipdrift.quantize.prepare import Preparation
from chipdrift.quantize.ranges import FeedReader, Range
from chipdrift.quantize.remember import remembering
from chipdrift.schemes import Scheme, Setting

Feed = Mapping[str, np.ndarray[Any, Any]]


@dataclass(frozen=True)
class Quantized:
    """A model as a scheme makes it.

    ``layers`` says in words what holds at nodes that the scheme treats otherwise; ``borders`` are
    (tensor, from, to) where an integer type changes, those of ``islands`` not among them.
    """

    proto: onnx.ModelProto
    layers: Mapping[str, str] = field(default_factory=dict)
    islands: Islands = field(default_factory=Islands)
    borders: tuple[tuple[str, str, str], ...] = ()


def quantize_qdq(
    proto: onnx.ModelProto,
    scheme: Scheme,
    calibration: Sequence[Feed],
    notes: list[str],
    preparation: Preparation,
) -> Quantized:
    """Quantize a float32 model; ``notes`` receives what could not be done as asked.

    Weights that a MatMul, Gemm or convolution reads get the scheme's type and granularity; what
    onnxruntime's QNN settings say of everything else (LayerNorm, Sigmoid, biases) stands. Nodes
    that a ``[[layer]]`` names get theirs.
    """
    base = scheme.setting()
    plain = float_source(proto, scheme, calibration, notes, preparation)
    source = plain
    if scheme.adjust:
        source = onnx.ModelProto()
        source.CopyFrom(plain)
        adjust_weights(source, scheme)
    settings: dict[str, Setting] = {}
    mixture = Mixture(source, {})
    if scheme.layer:
        named = onnx.ModelProto()
        named.CopyFrom(source)
        name_nodes(named.graph)
        found = layer_settings(proto, named, scheme, notes)
        settings = {name: s for name, s in found.items() if s != base}
        source = named if settings else source
    if settings:
        everywhere = {node.name: settings.get(node.name, base) for node in source.graph.node}
        mixture = mix_types(source, everywhere, base)
    overrides = {
        **mixture.overrides,
        **_norm_overrides(mixture.source),
        **weight_overrides(mixture.source, settings, base),
    }
    lengths = {n.name: settings.get(n.name, base).block_size for n in mixture.source.graph.node}
    blocked = {name: size for name, size in lengths.items() if size is not None}
    limit_weights(mixture.source, scheme, overrides, blocked_nodes(mixture.source, blocked), notes)
    in_float = {name: s.kind for name, s in settings.items() if s.kind != "qdq"}
    given = given_ranges(source, scheme, notes)
    quantized = _quantize(
        plain, source, given, mixture, overrides, sorted(in_float), scheme, calibration, preparation
    )
    note_unused_ranges(quantized, scheme, notes)
    sizes = {s.block_size for s in (base, *settings.values()) if s.block_size is not None}
    for size in sorted(sizes):
        nodes = {
            node.name
            for node in mixture.source.graph.node
            if settings.get(node.name, base).block_size == size
            and settings.get(node.name, base).kind == "qdq"
        }
        quantized = block_weights(quantized, mixture.source, size, notes, nodes)
    islands = make_islands(
        quantized,
        mixture.source,
        {name for name, kind in in_float.items() if kind == "float32"},
        {name for name, kind in in_float.items() if kind == "float16"},
    )
    _name_new_nodes(quantized)
    words = {name: s.words(base) for name, s in settings.items()}
    return Quantized(quantized, words, islands, mixture.borders)


def float_source(
    proto: onnx.ModelProto,
    scheme: Scheme,
    calibration: Sequence[Feed],
    notes: list[str],
    preparation: Preparation,
) -> onnx.ModelProto:
    """The float model as ``scheme`` quantizes it, without what it replaces; a copy of its own."""
    # DequantizeLinear takes an axis since opset 13 and blocks since 21.
    tables = [scheme.setting(), *(scheme.setting(layer) for layer in scheme.layer)]
    needed = max({"tensor": 0, "channel": 13, "block": 21}[s.granularity] for s in tables)
    source = preparation.source(
        proto, calibration[0], notes, preprocessed=scheme.preprocess, opset=needed
    )
    if scheme.adjusted:
        name_nodes(source.graph)
    return source


def _quantize(
    plain: onnx.ModelProto,
    source: onnx.ModelProto,
    given: Mapping[str, Range],
    mixture: Mixture,
    overrides: Overrides,
    in_float: Sequence[str],
    scheme: Scheme,
    calibration: Sequence[Feed],
    preparation: Preparation,
) -> onnx.ModelProto:
    """Ranges of ``source``'s activations, and onnxruntime's quantizer on the mixture's model.

    ``plain`` is ``source`` before the scheme replaced anything in it; ``given`` are ranges that
    are not measured.
    """
    base = scheme.setting()
    with tempfile.TemporaryDirectory(prefix="chipdrift-") as folder:
        mixed_path, out_path = Path(folder, "mixed.onnx"), Path(folder, "qdq.onnx")
        onnx.save_model(mixture.source, mixed_path)
        config = get_qnn_qdq_config(
            str(mixed_path),
            FeedReader(calibration[:1]),
            activation_type=TYPES[scheme.activations],
            # Weights of int4 come from the overrides: the quantizer's default also covers the
            # weights that have no 4-bit form (LayerNorm's, say).
            weight_type=QuantType.QInt8 if scheme.weights == "int4" else TYPES[scheme.weights],
            per_channel=scheme.granularity != "tensor",
            init_overrides=overrides,
            nodes_to_exclude=list(in_float) or None,
        )
        kinds = {node.op_type for node in source.graph.node} & CLAMPS
        measure = partial(
            preparation.ranges,
            feeds=calibration,
            method=scheme.calibration,
            percentile=scheme.percentile,
            levels=base.levels,
            others=mixture.levels,
            op_types=sorted({*config.op_types_to_quantize, *kinds}),
        )
        ranges = measure(plain)
        # Where all that count are given, none is measured for each new set of weights.
        if scheme.adjust and not deciding(plain, ranges, in_float) <= set(given):
            ranges = measure(source)
        ranges |= {tensor: given[tensor] for tensor in given if tensor in ranges}
        cache = Path(folder, "ranges.json")
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, dict(ranges)), cache)
        with remembering(preparation.weights):
            quantize_static(
                str(mixed_path),
                str(out_path),
                None,
                quant_format=config.quant_format,
                op_types_to_quantize=config.op_types_to_quantize,
                per_channel=config.per_channel,
                reduce_range=config.reduce_range,
                activation_type=config.activation_type,
                weight_type=config.weight_type,
                nodes_to_quantize=config.nodes_to_quantize,
                nodes_to_exclude=config.nodes_to_exclude,
                calibrate_method=CalibrationMethod.MinMax,
                extra_options=config.extra_options,
                calibration_cache_path=cache,
            )
        return onnx.load(out_path)


def _norm_overrides(proto: onnx.ModelProto) -> Overrides:
    """LayerNorm's scale as uint8: the HTP refuses the op with an int8 one, and it would fall back.

    Measured on onnxruntime-qnn 2.7.0: error 3110 from the backend's validation of the op.
    """
    weights = {init.name for init in proto.graph.initializer}
    return {
        node.input[1]: [{"quant_type": QuantType.QUInt8, "symmetric": False}]
        for node in proto.graph.node
        if node.op_type == "LayerNormalization" and node.input[1] in weights
    }


def _name_new_nodes(proto: onnx.ModelProto) -> None:
    taken = {node.name for node in proto.graph.node}
    for index, node in enumerate(proto.graph.node):
        if not node.name:
            name = f"{node.output[0]}_{node.op_type}"
            node.name = name if name not in taken else f"{name}#{index}"
            taken.add(node.name)

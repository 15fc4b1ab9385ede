"""QDQ models by onnxruntime's quantizer with its QNN settings; blockwise weights by our own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnxruntime.quantization import QuantType, quantize_static
from onnxruntime.quantization.calibrate import CalibrationMethod, TensorsData, save_tensors_data
from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

from chipdrift.quantize.blockwise import block_weights, reduced_axis, unshare_weights
from chipdrift.quantize.preprocess import preprocess, raise_opset
from chipdrift.quantize.ranges import FeedReader, activation_ranges
from chipdrift.schemes import Scheme

Feed = Mapping[str, np.ndarray[Any, Any]]
_ACTIVATIONS = {"uint8": QuantType.QUInt8, "uint16": QuantType.QUInt16}
_WEIGHTS = {"int8": QuantType.QInt8, "uint8": QuantType.QUInt8, "int4": QuantType.QInt4}


def quantize_qdq(
    proto: onnx.ModelProto, scheme: Scheme, calibration: Sequence[Feed], notes: list[str]
) -> onnx.ModelProto:
    """Quantize a float32 model; ``notes`` receives what could not be done as asked.

    Weights that a MatMul, Gemm or convolution reads get the scheme's type and granularity; what
    onnxruntime's QNN settings say of everything else (LayerNorm, Sigmoid, biases) stands.
    """
    source = proto
    if scheme.preprocess:
        source = preprocess(proto, calibration[0], notes)
    # DequantizeLinear takes an axis since opset 13 and blocks since 21.
    needed = {"tensor": 0, "channel": 13, "block": 21}[scheme.granularity]
    source = raise_opset(source, needed, calibration[0], notes)
    source = unshare_weights(source)
    weight_type = _WEIGHTS[scheme.weights]
    overrides = _norm_overrides(source)
    if scheme.granularity != "tensor" or scheme.weights == "int4":
        overrides.update(_weight_overrides(source, weight_type, scheme.granularity != "tensor"))
    with tempfile.TemporaryDirectory(prefix="chipdrift-") as folder:
        float_path, out_path = Path(folder, "float.onnx"), Path(folder, "qdq.onnx")
        onnx.save_model(source, float_path)
        config = get_qnn_qdq_config(
            str(float_path),
            FeedReader(calibration[:1]),
            activation_type=_ACTIVATIONS[scheme.activations],
            # Weights of int4 come from the overrides: the quantizer's default also covers the
            # weights that have no 4-bit form (LayerNorm's, say).
            weight_type=QuantType.QInt8 if scheme.weights == "int4" else weight_type,
            per_channel=scheme.granularity != "tensor",
            init_overrides=overrides,
        )
        ranges = activation_ranges(
            float_path,
            calibration,
            method=scheme.calibration,
            percentile=scheme.percentile,
            levels=2 ** (16 if scheme.activations == "uint16" else 8),
            op_types=config.op_types_to_quantize,
        )
        cache = Path(folder, "ranges.json")
        save_tensors_data(TensorsData(CalibrationMethod.MinMax, dict(ranges)), cache)
        quantize_static(
            str(float_path),
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
        quantized = onnx.load(out_path)
    if scheme.granularity == "block":
        assert scheme.block_size is not None
        quantized = block_weights(quantized, source, scheme.block_size, notes)
    _name_new_nodes(quantized)
    return quantized


def _norm_overrides(proto: onnx.ModelProto) -> dict[str, list[dict[str, Any]]]:
    """LayerNorm's scale as uint8: the HTP refuses the op with an int8 one, and it would fall back.

    Measured on onnxruntime-qnn 2.7.0: error 3110 from the backend's validation of the op.
    """
    weights = {init.name for init in proto.graph.initializer}
    return {
        node.input[1]: [{"quant_type": QuantType.QUInt8, "symmetric": False}]
        for node in proto.graph.node
        if node.op_type == "LayerNormalization" and node.input[1] in weights
    }


def _weight_overrides(
    proto: onnx.ModelProto, weight_type: QuantType, per_channel: bool
) -> dict[str, list[dict[str, Any]]]:
    """One symmetric scale, or one per output channel, for every weight that is summed over.

    onnxruntime's own settings would leave MatMul per tensor; the simulator takes it per channel.
    """
    weights = {init.name: init for init in proto.graph.initializer}
    overrides: dict[str, list[dict[str, Any]]] = {}
    for node in proto.graph.node:
        axis = reduced_axis(node, weights)
        if axis is None:
            continue
        override: dict[str, Any] = {"quant_type": weight_type, "symmetric": True}
        overrides[node.input[1]] = [{**override, "axis": 1 - axis} if per_channel else override]
    return overrides


def _name_new_nodes(proto: onnx.ModelProto) -> None:
    taken = {node.name for node in proto.graph.node}
    for index, node in enumerate(proto.graph.node):
        if not node.name:
            name = f"{node.output[0]}_{node.op_type}"
            node.name = name if name not in taken else f"{name}#{index}"
            taken.add(node.name)

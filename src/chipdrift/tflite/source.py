"""The QDQ model as the writer reads it: constants, shapes, quantizers, who uses what."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper, shape_inference

from chipdrift.tflite.errors import UnwritableError

Array = np.ndarray[Any, Any]

_QUANTIZE = "QuantizeLinear"
_DEQUANTIZE = "DequantizeLinear"


@dataclass(frozen=True)
class Grid:
    """Where an int8 tensor's integers lie: ``scale * (q - zero_point)``, both of the int8 tensor.

    ``shift`` is what was taken off the ONNX integers: 128 of uint8, 0 of int8.
    """

    scale: float
    zero_point: int
    shift: int

    def integer(self, value: float) -> int:
        """Round ``value`` half to even as QuantizeLinear does, and saturate."""
        q = int(np.rint(np.float32(value) / np.float32(self.scale))) if np.isfinite(value) else 0
        if not np.isfinite(value):
            return 127 if value > 0 else -128
        return max(-128, min(127, q + self.zero_point))


@dataclass(frozen=True)
class ConstantIntegers:
    """A weight: integers of an int8 (or int32, a bias) domain with their scales.

    ``scale`` and ``zero_point`` hold one entry, or one per index along ``axis``.
    """

    values: Array
    scale: Array
    zero_point: Array
    axis: int | None


class Source:
    """A parsed ONNX model; raises UnwritableError where a quantizer is of no kind TFLite has."""

    def __init__(self, proto: onnx.ModelProto) -> None:
        proto = shape_inference.infer_shapes(proto)
        graph = proto.graph
        self.nodes = list(graph.node)
        self.opset = max((e.version for e in proto.opset_import if not e.domain), default=13)
        self.inputs = list(graph.input)
        self.outputs = list(graph.output)
        self._shapes = {
            value.name: _dims(value) for value in [*graph.input, *graph.value_info, *graph.output]
        }
        self.constants = {init.name: numpy_helper.to_array(init) for init in graph.initializer}
        self._kinds = {init.name: init.data_type for init in graph.initializer}
        for node in self.nodes:
            if node.op_type == "Constant":
                self._read_constant(node)
        self.inputs = [value for value in self.inputs if value.name not in self.constants]
        self._makers = {name: node for node in self.nodes for name in node.output}
        self.users: dict[str, list[onnx.NodeProto]] = defaultdict(list)
        for node in self.nodes:
            for name in node.input:
                self.users[name].append(node)
        self.results = {value.name for value in self.outputs}

    def _read_constant(self, node: onnx.NodeProto) -> None:
        name = node.output[0]
        for key, value in attributes(node).items():
            if key == "value":
                self.constants[name] = numpy_helper.to_array(value)
                self._kinds[name] = value.data_type
            elif key in ("value_float", "value_floats"):
                self.constants[name] = np.asarray(value, np.float32)
            elif key in ("value_int", "value_ints"):
                self.constants[name] = np.asarray(value, np.int64)

    def shape(self, name: str, node: onnx.NodeProto) -> tuple[int, ...]:
        """The shape of a tensor that ``node`` makes or reads, in ONNX's order."""
        if name in self.constants:
            return tuple(self.constants[name].shape)
        found = self._shapes.get(name)
        if found is None:
            raise UnwritableError.at(
                node.name, node.op_type, f"the shape of {name!r} is not known or not fixed"
            )
        return found

    def grid(self, node: onnx.NodeProto) -> Grid:
        """The per-tensor 8-bit grid of a Quantize or Dequantize node."""
        scale, zero, kind = self._parameters(node)
        if scale.size != 1:
            raise UnwritableError.at(
                node.name, node.op_type, "activations are per tensor in TFLite, this one is not"
            )
        if kind in (TensorProto.UINT16, TensorProto.INT16):
            raise UnwritableError.at(
                node.name,
                node.op_type,
                "16-bit activations: TFLite's kernels take int16 only with the zero point in the "
                "middle, and this writer takes 8 bits only",
            )
        if kind not in (TensorProto.UINT8, TensorProto.INT8):
            raise UnwritableError.at(
                node.name, node.op_type, f"activations of {_name(kind)}; TFLite takes 8-bit ones"
            )
        shift = 128 if kind == TensorProto.UINT8 else 0
        return Grid(float(np.float32(scale.item())), int(zero.item()) - shift, shift)

    def weight(self, node: onnx.NodeProto) -> ConstantIntegers | None:
        """The constant that a Dequantize node makes, or None where it reads an activation."""
        scale, zero, kind = self._parameters(node)
        name, made_here = node.input[0], None
        if name not in self.constants:
            made_here = self._quantized_constant(name)
            if made_here is None:
                return None
        values = self.constants[name] if made_here is None else made_here
        shift = 128 if kind == TensorProto.UINT8 else 0
        narrow = np.int32 if kind == TensorProto.INT32 else np.int8
        eight_bits = (
            TensorProto.UINT8,
            TensorProto.INT8,
            TensorProto.INT4,
            TensorProto.UINT4,
            TensorProto.INT32,
        )
        if kind not in eight_bits:
            raise UnwritableError.at(
                node.name, node.op_type, f"a constant of {_name(kind)}; TFLite takes 8-bit ones"
            )
        if scale.ndim > 1 or attributes(node).get("block_size"):
            raise UnwritableError.at(
                node.name, node.op_type, "blockwise scales, which TFLite's kernels do not have"
            )
        axis = None
        if scale.size > 1:
            axis = int(attributes(node).get("axis", 1)) % values.ndim
        return ConstantIntegers(
            values=(values.astype(np.int64) - shift).astype(narrow),
            scale=scale.reshape(-1).astype(np.float32),
            zero_point=np.broadcast_to(zero.reshape(-1).astype(np.int64) - shift, scale.size),
            axis=axis,
        )

    def _quantized_constant(self, name: str) -> Array | None:
        """The integers of a float constant that a Quantize node makes integers of."""
        maker = self._makers.get(name)
        if maker is None or maker.op_type != _QUANTIZE or maker.input[0] not in self.constants:
            return None
        scale, zero, kind = self._parameters(maker)
        values = self.constants[maker.input[0]].astype(np.float32)
        if scale.size > 1:
            axis = int(attributes(maker).get("axis", 1)) % values.ndim
            along = [-1 if i == axis else 1 for i in range(values.ndim)]
            scale, zero = scale.reshape(along), zero.reshape(along)
        limits = np.iinfo(helper.tensor_dtype_to_np_dtype(kind))
        rounded = np.rint(values / scale.astype(np.float32)).astype(np.int64)
        return np.clip(rounded + zero.astype(np.int64), limits.min, limits.max)

    def _parameters(self, node: onnx.NodeProto) -> tuple[Array, Array, int]:
        """Scale, zero point (0 where it is left out) and the integers' ONNX type."""
        scale = self.constants.get(node.input[1])
        if scale is None:
            raise UnwritableError.at(node.name, node.op_type, "its scale is not a constant")
        zero_name = node.input[2] if len(node.input) > 2 else ""
        if zero_name:
            if zero_name not in self.constants:
                raise UnwritableError.at(node.name, node.op_type, "its zero point is not constant")
            zero = self.constants[zero_name]
            return scale, zero.astype(np.int64), self._kinds[zero_name]
        kind: int = self._kinds.get(node.input[0], TensorProto.UINT8)
        if node.op_type == _QUANTIZE:
            kind = int(attributes(node).get("output_dtype", 0)) or TensorProto.UINT8
        return scale, np.zeros(scale.shape, np.int64), kind


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    """The node's attributes as Python values; text as str."""
    found = {a.name: helper.get_attribute_value(a) for a in node.attribute}
    return {k: v.decode() if isinstance(v, bytes) else v for k, v in found.items()}


def _dims(value: onnx.ValueInfoProto) -> tuple[int, ...] | None:
    tensor = value.type.tensor_type
    if not tensor.HasField("shape") or any(not d.HasField("dim_value") for d in tensor.shape.dim):
        return None
    return tuple(d.dim_value for d in tensor.shape.dim)


def _name(kind: int) -> str:
    return str(TensorProto.DataType.Name(kind)).lower()

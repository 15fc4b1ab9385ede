"""A .tflite file in the making: tensors, constants and operators, then one flatbuffer.

The schema's objects come with LiteRT (``ai_edge_litert.schema_py_generated``), so what is written
is what the installed runtime reads.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

Array = np.ndarray[Any, Any]

_TYPES = {
    np.dtype(np.int8): schema.TensorType.INT8,
    np.dtype(np.int32): schema.TensorType.INT32,
    np.dtype(np.float32): schema.TensorType.FLOAT32,
}
# Kernels read constants in place as int32 or float32, and SIMD code wants 16 bytes.
_ALIGNMENT = 16


class _AlignedBuffer(schema.BufferT):  # type: ignore[misc]
    """The generated class aligns its bytes to 1."""

    def Pack(self, builder: Any) -> int:  # noqa: N802
        data = None
        if self.data is not None:
            raw = bytes(self.data)
            builder.StartVector(1, len(raw), _ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            data = builder.EndVector()
        schema.BufferStart(builder)
        if data is not None:
            schema.BufferAddData(builder, data)
        return int(schema.BufferEnd(builder))


class FlatModel:
    """One subgraph. Tensors and operators are known by their index, in the order they are added."""

    def __init__(self) -> None:
        self._tensors: list[Any] = []
        self._operators: list[Any] = []
        self._codes: dict[int, int] = {}
        # Buffer 0 is the empty one, by the format.
        self._buffers: list[Any] = [_AlignedBuffer()]

    def tensor(
        self,
        name: str,
        shape: Sequence[int],
        dtype: Any,
        *,
        scale: Iterable[float] = (),
        zero_point: Iterable[int] = (),
        axis: int = 0,
        data: Array | None = None,
    ) -> int:
        """Add a tensor of int8, int32 or float32; ``data`` makes it a constant.

        ``scale`` and ``zero_point`` hold one entry, or one for each index along ``axis``.
        """
        entry = schema.TensorT()
        entry.name = name
        entry.shape = np.asarray(shape, np.int32)
        entry.hasRank = True
        entry.type = _TYPES[np.dtype(dtype)]
        entry.buffer = 0
        if data is not None:
            assert data.dtype == dtype and data.shape == tuple(shape)
            buffer = _AlignedBuffer()
            buffer.data = np.ascontiguousarray(data).tobytes()
            entry.buffer = len(self._buffers)
            self._buffers.append(buffer)
        scales = np.asarray(list(scale), np.float32)
        if scales.size:
            quantization = schema.QuantizationParametersT()
            quantization.scale = scales
            quantization.zeroPoint = np.asarray(list(zero_point), np.int64)
            quantization.quantizedDimension = axis
            entry.quantization = quantization
        self._tensors.append(entry)
        return len(self._tensors) - 1

    def operator(
        self, op: str, inputs: Sequence[int], outputs: Sequence[int], **options: Any
    ) -> None:
        """Add builtin ``op`` (``CONV_2D``).

        ``options`` are the fields of its options table, whose name is given as ``table`` where the
        op has one (``table="Conv2DOptions"``). An input of -1 is one that is left out.
        """
        code = int(getattr(schema.BuiltinOperator, op))
        entry = schema.OperatorT()
        entry.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        entry.inputs = np.asarray(inputs, np.int32)
        entry.outputs = np.asarray(outputs, np.int32)
        table = options.pop("table", None)
        if table is not None:
            entry.builtinOptionsType = int(getattr(schema.BuiltinOptions, table))
            entry.builtinOptions = getattr(schema, f"{table}T")()
            for field, value in options.items():
                assert hasattr(entry.builtinOptions, field), f"{table}.{field}"
                setattr(entry.builtinOptions, field, value)
        self._operators.append(entry)

    def to_bytes(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """The file."""
        graph = schema.SubGraphT()
        graph.name = "main"
        graph.tensors = self._tensors
        graph.operators = self._operators
        graph.inputs = np.asarray(inputs, np.int32)
        graph.outputs = np.asarray(outputs, np.int32)
        model = schema.ModelT()
        model.version = 3
        model.description = "chipdrift"
        model.subgraphs = [graph]
        model.buffers = self._buffers
        model.operatorCodes = [_operator_code(code) for code in self._codes]
        builder = flatbuffers.Builder(1 << 16)
        builder.Finish(model.Pack(builder), b"TFL3")
        return bytes(builder.Output())


def _operator_code(code: int) -> Any:
    entry = schema.OperatorCodeT()
    entry.builtinCode = code
    # The field of old readers holds a byte; 127 says that the number is in the new one.
    entry.deprecatedBuiltinCode = min(code, 127)
    entry.version = 1
    return entry

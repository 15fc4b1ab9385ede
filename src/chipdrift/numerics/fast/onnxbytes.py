"""A one-node MatMulInteger model in ONNX's protobuf encoding, written by hand.

The ``onnx`` package has its rooms elsewhere (docs/decisions/008-int8-products.md); these few fields
do not change.
"""

from __future__ import annotations

import numpy as np

from chipdrift.numerics.tensors import Array

# TensorProto.DataType
_TYPES = {np.dtype(np.uint8): 2, np.dtype(np.int8): 3, np.dtype(np.int32): 6}


def matmul_integer(w: Array | None, zero: Array | None) -> bytes:
    """``y = x @ (w - z)``: x is uint8, y int32; ``w`` and ``z`` are initializers.

    The integers of ``w`` are not in the bytes: the session gets them as an external initializer,
    which it does not copy. Where ``w`` is None, it is an input, as are both zero points ``xz`` and
    ``wz``, all uint8.
    """
    uint8, int32 = np.dtype(np.uint8), np.dtype(np.int32)
    inputs = [_value("x", uint8)]
    constants = []
    names = ["x", "w"]
    if w is None:
        inputs += [_value(name, uint8) for name in ("w", "xz", "wz")]
        names += ["xz", "wz"]
    else:
        constants.append(_head("w", w) + _bytes(13, _LOCATION) + _number(14, _EXTERNAL))
        if zero is not None:
            constants.append(_tensor("z", zero))
            names += ["", "z"]
    node = b"".join(_bytes(1, name.encode()) for name in names)
    node += _bytes(2, b"y") + _bytes(3, b"product") + _bytes(4, b"MatMulInteger")
    graph = _bytes(1, node) + _bytes(2, b"product")
    graph += b"".join(_bytes(5, tensor) for tensor in constants)
    graph += b"".join(_bytes(11, value) for value in inputs)
    graph += _bytes(12, _value("y", int32))
    opset = _bytes(1, b"") + _number(2, 13)
    return _number(1, 8) + _bytes(7, graph) + _bytes(8, opset)


def _value(name: str, dtype: np.dtype[np.generic]) -> bytes:
    """A ValueInfoProto of unknown rank."""
    return _bytes(1, name.encode()) + _bytes(2, _bytes(1, _number(1, _TYPES[dtype])))


def _tensor(name: str, array: Array) -> bytes:
    """A TensorProto with raw data."""
    return _head(name, array) + _bytes(9, array.tobytes())


def _head(name: str, array: Array) -> bytes:
    """A TensorProto but for its data."""
    dims = b"".join(_number(1, length) for length in array.shape)
    return dims + _number(2, _TYPES[array.dtype]) + _bytes(8, name.encode())


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def _number(field: int, value: int) -> bytes:
    return _varint(field << 3) + _varint(value)


def _bytes(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | 2) + _varint(len(content)) + content


# Where external data lies: onnxruntime wants a name, and reads the initializer it is given.
_LOCATION = _bytes(1, b"location") + _bytes(2, b"w")
_EXTERNAL = 1

"""Weights that several model files have in common, kept once in a file beside them.

ONNX lets an initializer's bytes lie in another file (``external_data``: location, offset, length).
Quantized models of one float model often have the same integers as weights and differ in their
activations' quantizers only.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import onnx
from onnx import TensorProto

from chipdrift.graph.quantizers import output_quantizers
from chipdrift.records import Quantizer

# Smaller ones stay where they are: scales, zero points and shapes are read before any weight is.
LEAST_BYTES = 1024
# Enough for every type, so that a runtime that maps the file can use the bytes where they lie.
_ALIGNED = 64


@final
@dataclass(frozen=True)
class SharedWeights:
    """``files`` are the models by name, without the weights that ``data`` has of them in common.

    ``tensors`` counts the weights in it; ``readers`` names the models that read it.
    """

    files: Mapping[str, bytes]
    data: bytes
    tensors: int
    readers: frozenset[str]


def share_weights(models: Mapping[str, bytes], location: str) -> SharedWeights:
    """Move every weight that more than one of ``models`` has into one file.

    ``location`` is that file's path as the models, all in one folder, are to name it. Put together
    again (:func:`whole_again`) each model is what it was, byte for byte; one that would not be is
    left as it was.
    """
    protos = {name: onnx.load_from_string(data) for name, data in models.items()}
    counts = Counter(key for proto in protos.values() for key in {_key(t) for t in _weights(proto)})
    shared = {key for key, count in counts.items() if count > 1}
    parts = {
        _key(tensor): tensor.raw_data
        for proto in protos.values()
        for tensor in _weights(proto)
        if _key(tensor) in shared
    }
    data, offsets = _laid_out(parts)
    files = dict(models)
    readers = set()
    for name, proto in protos.items():
        moved = [tensor for tensor in _weights(proto) if _key(tensor) in shared]
        for tensor in moved:
            _move(tensor, location, offsets[_key(tensor)])
        written = proto.SerializeToString(deterministic=True)
        if moved and whole_again(written, data) == models[name]:
            files[name] = written
            readers.add(name)
    return SharedWeights(files, data, len(parts), frozenset(readers))


def whole_again(model: bytes, data: bytes) -> bytes:
    """The model with its outside weights taken from ``data``, the one file that it names."""
    proto = onnx.load_from_string(model)
    for tensor in proto.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            told = {entry.key: entry.value for entry in tensor.external_data}
            start = int(told["offset"])
            tensor.raw_data = data[start : start + int(told["length"])]
            tensor.ClearField("external_data")
            tensor.ClearField("data_location")
    return bytes(proto.SerializeToString(deterministic=True))


def _weights(proto: onnx.ModelProto) -> Iterator[TensorProto]:
    for tensor in proto.graph.initializer:
        if len(tensor.raw_data) >= LEAST_BYTES and not tensor.external_data:
            yield tensor


def _key(tensor: TensorProto) -> bytes:
    """Bytes alone: what they mean is the model's to say."""
    return hashlib.sha256(tensor.raw_data).digest()


def _laid_out(parts: Mapping[bytes, bytes]) -> tuple[bytes, dict[bytes, int]]:
    data, offsets = bytearray(), {}
    for key, part in parts.items():
        data += bytes(-len(data) % _ALIGNED)
        offsets[key] = len(data)
        data += part
    return bytes(data), offsets


def _move(tensor: TensorProto, location: str, offset: int) -> None:
    length = len(tensor.raw_data)
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        entry = tensor.external_data.add()
        entry.key, entry.value = key, str(value)


def quantizers_of(model: bytes) -> dict[str, Quantizer]:
    """The quantizers of a model file's outputs by name, of those that have one."""
    return output_quantizers(onnx.load_from_string(model))


def output_names(model: bytes) -> list[str]:
    """A model file's outputs in order."""
    return [value.name for value in onnx.load_from_string(model).graph.output]

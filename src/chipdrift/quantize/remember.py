"""onnxruntime's quantizer with a memory for weights.

A search quantizes the same weights hundreds of times, and the quantizer goes through them channel
by channel in Python. What it makes of a weight depends on the weight, its overrides and its scale
alone, so that equal questions get the answer of the first.
"""

from __future__ import annotations

import copy
import hashlib
import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import onnx
from onnxruntime.quantization import qdq_quantizer
from onnxruntime.quantization.qdq_quantizer import QDQQuantizer

from chipdrift.kept import Kept

# Bytes of quantized weights that are kept.
_MOST = 256 << 20


class WeightMemory:
    """What the quantizer made of the last weights, up to ``most`` bytes."""

    def __init__(self, most: int = _MOST) -> None:
        self._kept: Kept[bytes, Any] = Kept(most)

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: bytes) -> Any | None:
        """What was kept under ``key``; a copy, as the quantizer changes scales in place."""
        return copy.deepcopy(self._kept.get(key))

    def put(self, key: bytes, value: Any, size: int) -> None:
        """Keep a copy of ``value``, which takes ``size`` bytes."""
        self._kept.put(key, copy.deepcopy(value), size)


@contextmanager
def remembering(memory: WeightMemory) -> Iterator[None]:
    """While it lasts, onnxruntime's QDQ quantizer asks ``memory`` before it computes.

    Two steps of the quantizer are wrapped, whole tensors each: the scale and zero point of every
    constant, and its integers. Their answers are those of onnxruntime's own functions, bit for bit.
    """
    scales = QDQQuantizer._calc_initializer_quant_params
    integers = qdq_quantizer.quantize_onnx_initializer
    digests: dict[str, bytes] = {}  # no weight changes while one model is quantized

    def digest(tensor: onnx.TensorProto) -> bytes:
        if tensor.name not in digests:
            digests[tensor.name] = hashlib.sha256(tensor.SerializeToString()).digest()
        return digests[tensor.name]

    def remembered_scales(quantizer: Any) -> dict[str, Any]:
        options = {k: v for k, v in quantizer.extra_options.items() if k != "TensorQuantOverrides"}
        whole = pickle.dumps(
            (options, quantizer.weight_qType, quantizer.activation_qType, quantizer.reduce_range)
        )
        wanted = quantizer.tensors_to_quantize
        constants = {tensor.name: tensor for tensor in quantizer.model.initializer()}
        keys: dict[str, bytes] = {}
        found: dict[str, Any] = {}
        for name, info in wanted.items():
            if name not in constants:
                continue
            own = quantizer.tensor_quant_overrides.get(name, [{}])
            asked = pickle.dumps((own, info.tensor_type, info.axis))
            keys[name] = _key(b"scales", digest(constants[name]), asked, whole)
            known = memory.get(keys[name])
            if known is not None:
                found[name] = known
        quantizer.tensors_to_quantize = {n: i for n, i in wanted.items() if n not in found}
        try:
            made = scales(quantizer)
        finally:
            quantizer.tensors_to_quantize = wanted
        for name, parameters in made.items():
            memory.put(keys[name], parameters, parameters["scale"].nbytes)
        return {name: {**found, **made}[name] for name in keys}

    def remembered_integers(
        weight: onnx.TensorProto,
        quant_type: Any,
        zero_point: Any,
        scale: Any,
        *rest: Any,
        **more: Any,
    ) -> Any:
        asked = pickle.dumps((int(quant_type), zero_point, scale, rest, more))
        key = _key(b"integers", digest(weight), asked)
        known = memory.get(key)
        if known is not None:
            return known
        made = integers(weight, quant_type, zero_point, scale, *rest, **more)
        memory.put(key, made, made.ByteSize())
        return made

    QDQQuantizer._calc_initializer_quant_params = remembered_scales
    qdq_quantizer.quantize_onnx_initializer = remembered_integers
    try:
        yield
    finally:
        QDQQuantizer._calc_initializer_quant_params = scales
        qdq_quantizer.quantize_onnx_initializer = integers


def _key(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little") + part)
    return digest.digest()

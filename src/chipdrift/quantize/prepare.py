"""What quantizing one model under many schemes has in common, made once.

A search quantizes the same model on the same calibration samples dozens of times, with other
``[[layer]]`` tables. What precedes them, and what the activations' ranges are, is then the same.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import onnx

from chipdrift.kept import Kept
from chipdrift.quantize.blockwise import unshare_weights
from chipdrift.quantize.preprocess import preprocess, raise_opset
from chipdrift.quantize.ranges import Measured, Range, measure_activations
from chipdrift.quantize.remember import WeightMemory
from chipdrift.schemes import Calibration

Feed = Mapping[str, np.ndarray[Any, Any]]
T = TypeVar("T")


class Preparation:
    """Holds the last ``most`` prepared models and sets of measured ranges, and quantized weights.

    What is kept is found by content: a hash of the model, of the samples and of what was asked. It
    never changes what a scheme makes of a model. For one thread.
    """

    def __init__(self, most: int = 4) -> None:
        self._sources: Kept[str, tuple[bytes, tuple[str, ...]]] = Kept(most)
        self._measured: Kept[str, Measured] = Kept(most)
        self.weights = WeightMemory()

    def source(
        self,
        proto: onnx.ModelProto,
        sample: Feed,
        notes: list[str],
        *,
        preprocessed: bool,
        opset: int,
    ) -> onnx.ModelProto:
        """The float model as it is quantized; the caller's own copy.

        ``preprocessed`` folds and fuses, ``opset`` is the least one that will do; weights that
        several nodes sum over get a copy for each.
        """

        def make() -> tuple[bytes, tuple[str, ...]]:
            told: list[str] = []
            source = preprocess(proto, sample, told) if preprocessed else proto
            source = raise_opset(source, opset, sample, told)
            return unshare_weights(source).SerializeToString(deterministic=True), tuple(told)

        key = _digest(proto.SerializeToString(deterministic=True), [sample], preprocessed, opset)
        data, told = _kept(self._sources, key, make)
        notes.extend(told)
        return onnx.load_from_string(data)

    def ranges(
        self,
        source: onnx.ModelProto,
        feeds: Sequence[Feed],
        *,
        method: Calibration,
        percentile: float,
        levels: int,
        others: Mapping[str, int],
        op_types: Sequence[str],
    ) -> dict[str, Range]:
        """Tensor name to (low, high), as :meth:`Measured.ranges` gives them."""
        data = source.SerializeToString(deterministic=True)

        def make() -> Measured:
            with tempfile.TemporaryDirectory(prefix="chipdrift-") as folder:
                path = Path(folder, "float.onnx")
                path.write_bytes(data)
                return measure_activations(
                    path, feeds, method=method, percentile=percentile, op_types=op_types
                )

        key = _digest(data, feeds, method, percentile, tuple(op_types))
        return _kept(self._measured, key, make).ranges(levels, others)


def _digest(model: bytes, feeds: Sequence[Feed], *asked: object) -> str:
    digest = hashlib.sha256(model)
    for feed in feeds:
        for name in sorted(feed):
            array = np.ascontiguousarray(feed[name])
            digest.update(f"{name} {array.dtype.str} {array.shape} ".encode())
            digest.update(array.tobytes())
    digest.update(repr(asked).encode())
    return digest.hexdigest()


def _kept(held: Kept[str, T], key: str, make: Callable[[], T]) -> T:
    found = held.get(key)
    return held.put(key, make()) if found is None else found

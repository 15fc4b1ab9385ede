"""The range of every activation over the calibration samples.

Min-max, percentile and entropy are onnxruntime's calibrators. MSE is ours, on the histograms that
its percentile calibrator collects.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from onnxruntime.quantization import CalibrationDataReader
from onnxruntime.quantization.calibrate import CalibrationMethod, create_calibrator

from chipdrift.schemes import Calibration

Feed = Mapping[str, np.ndarray[Any, Any]]
Range = tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]
# Histogram calibrators hold every activation of a chunk in memory at once.
_CHUNK = 8
# onnxruntime's entropy search tries the thresholds between 64 bins and half of these; its default
# of 128 leaves it the one threshold that min-max has.
_ENTROPY_BINS = 512
_SHRINKS = np.linspace(1.0, 0.05, 96)


class FeedReader(CalibrationDataReader):  # type: ignore[misc]
    """Feeds for onnxruntime's calibrators, one at a time."""

    def __init__(self, feeds: Sequence[Feed]) -> None:
        self._feeds = iter(feeds)

    def get_next(self) -> dict[str, np.ndarray[Any, Any]] | None:
        """The next feed, or None at the end."""
        feed = next(self._feeds, None)
        return None if feed is None else dict(feed)


class Measured:
    """What the activations of a model were over the calibration samples.

    ``found`` are (low, high) by tensor; with ``histograms`` instead, ranges of least squared error
    are searched in them, and those found are kept.
    """

    def __init__(
        self,
        found: Mapping[str, tuple[Any, Any]],
        histograms: Mapping[str, Sequence[Any]] = MappingProxyType({}),
    ) -> None:
        self._found, self._histograms = dict(found), dict(histograms)
        self._searched: dict[tuple[str, int], tuple[float, float]] = {}

    def ranges(
        self, levels: int, others: Mapping[str, int] = MappingProxyType({})
    ) -> dict[str, Range]:
        """Tensor name to (low, high), float32 scalars.

        ``levels`` is the number of integers the range will be cut into, ``others`` that of tensors
        which have another; histograms alone depend on it.
        """
        found = dict(self._found)
        for name, entry in self._histograms.items():
            key = (name, others.get(name, levels))
            if key not in self._searched:
                self._searched[key] = mse_range(*entry[:4], levels=key[1])
            found[name] = self._searched[key]
        return {name: (_scalar(low), _scalar(high)) for name, (low, high) in found.items()}


def measure_activations(
    model_path: Path,
    feeds: Sequence[Feed],
    *,
    method: Calibration,
    percentile: float,
    op_types: Sequence[str],
) -> Measured:
    """Every activation of the given op types; writes an augmented model beside ``model_path``."""
    base = {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
        "mse": CalibrationMethod.Percentile,
    }[method]
    calibrator = create_calibrator(
        model_path,
        list(op_types),
        augmented_model_path=str(model_path.with_name("augmented.onnx")),
        calibrate_method=base,
        extra_options={
            "percentile": percentile,
            **({"num_bins": _ENTROPY_BINS} if method == "entropy" else {}),
        },
    )
    for start in range(0, len(feeds), _CHUNK):
        calibrator.collect_data(FeedReader(feeds[start : start + _CHUNK]))
    if method == "mse":
        return Measured({}, calibrator.collector.get_histogram_dict())
    return Measured({name: d.range_value for name, d in calibrator.compute_data().items()})


def mse_range(
    counts: np.ndarray[Any, Any],
    edges: np.ndarray[Any, Any],
    low: Any,
    high: Any,
    *,
    levels: int,
) -> tuple[float, float]:
    """The shrunken [low, high] whose uniform quantizer has the least mean squared error.

    ``counts`` (B,) over ``edges`` (B+1,) is the tensor's histogram. Every candidate keeps zero
    inside; the error of a bin is that of its centre.
    """
    low, high = min(float(low), 0.0), max(float(high), 0.0)
    if high == low:
        return low, high
    centres = (edges[:-1] + edges[1:]).astype(np.float64) / 2
    best, best_error = (low, high), np.inf
    for shrink in _SHRINKS:
        lo, hi = low * shrink, high * shrink
        step = (hi - lo) / (levels - 1)
        zero = np.rint(-lo / step)
        integers = np.clip(np.rint(centres / step) + zero, 0, levels - 1)
        error = float(np.sum(counts * (centres - (integers - zero) * step) ** 2))
        if error < best_error:
            best, best_error = (lo, hi), error
    return best


def _scalar(value: Any) -> np.ndarray[Any, Any]:
    return np.array(np.asarray(value).reshape(-1)[0], dtype=np.float32)

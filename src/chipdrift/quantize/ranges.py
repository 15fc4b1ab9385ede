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


def activation_ranges(
    model_path: Path,
    feeds: Sequence[Feed],
    *,
    method: Calibration,
    percentile: float,
    levels: int,
    op_types: Sequence[str],
    others: Mapping[str, int] = MappingProxyType({}),
) -> dict[str, Range]:
    """Tensor name to (low, high), float32 scalars, for every activation of the given op types.

    ``levels`` is the number of integers the range will be cut into, ``others`` that of tensors
    which have another; MSE alone depends on it.
    """
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
        histograms = calibrator.collector.get_histogram_dict()
        found = {
            name: mse_range(*entry[:4], levels=others.get(name, levels))
            for name, entry in histograms.items()
        }
    else:
        found = {name: data.range_value for name, data in calibrator.compute_data().items()}
    return {name: (_scalar(low), _scalar(high)) for name, (low, high) in found.items()}


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

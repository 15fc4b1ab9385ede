"""How far two sets of outputs lie apart, whatever the task: noise, integer steps, bits."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from chipdrift.errors import DataError
from chipdrift.metrics.base import Array, Outputs
from chipdrift.metrics.closeness import CAP_DB, Sums, row_sums
from chipdrift.records import Lsb, Quantizer

_RANGES = {
    f"{sign}int{bits}": (0, 2**bits - 1) if sign else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    for sign in ("", "u")
    for bits in (2, 4, 8, 16)
}
_RANGES["int32"] = (-(2**31), 2**31 - 1)
_EXACT = 2**24  # Integers beyond this are not all float32 values, so no round trip finds them.
_CHUNK = 4_000_000  # Elements held as float64 at once.

Steps = npt.NDArray[np.int32]


def sqnr_db(outputs: Outputs, reference: Outputs) -> float | None:
    """Signal to quantization noise over all elements of all float outputs, in dB.

    ``10 log10(sum r^2 / sum (r - x)^2)``. None where there is no noise at all (the ratio is
    infinite) or no float output. ``-CAP_DB`` where ``outputs`` is not finite where the reference
    is, or the reference is all zero: noise without a signal. Never infinite or NaN.
    Raises :class:`DataError` where the two differ in names or shapes.
    """
    signal = noise = 0.0
    broken = False
    for name, array in outputs.arrays.items():
        other = reference.arrays.get(name)
        if other is None or other.shape != array.shape:
            raise DataError(
                f"Output {name!r} has shape {array.shape} and in the reference "
                f"{None if other is None else other.shape}; run both on the same samples."
            )
        if not _is_float(array):
            continue
        sums: Sums = row_sums(array.reshape(len(array), -1), other.reshape(len(array), -1))
        broken = broken or not bool(sums.finite.all())
        signal += float(sums.signal[sums.finite].sum())
        noise += float(sums.noise[sums.finite].sum())
    if broken:
        return -CAP_DB
    if noise == 0.0:
        return None
    if signal == 0.0:
        return -CAP_DB
    return float(10.0 * (np.log10(signal) - np.log10(noise)))


def to_integers(array: Array, quantizer: Quantizer) -> Steps | None:
    """Dequantized reals back to the integers they came from, exactly, as int32, or None.

    ``array`` is float (N, *shape); ``quantizer.axis`` counts in the model's output ``shape``,
    without the leading N. ``q = rint(y / scale) + zero_point`` in float64; the inverse of ONNX
    DequantizeLinear holds where ``(q - zero_point) * scale``, in the array's own precision, is
    ``y`` again and q lies in the range of ``quantizer.dtype``. None where it fails anywhere, as for
    a NaN: then the reals are no outputs of this quantizer; also more than 2^24 steps from zero.
    Raises ValueError where the scales do not fit the axis.
    """
    bounds = _RANGES.get(quantizer.dtype)
    scale = _along(np.asarray(quantizer.scale, np.float64), array, quantizer.axis)
    zero = _along(np.asarray(quantizer.zero_point, np.float64), array, quantizer.axis)
    if bounds is None or not _is_float(array) or not bool(((scale > 0) & np.isfinite(scale)).all()):
        return None
    integers = np.empty(array.shape, np.int32)
    size = max(1, _CHUNK * len(array) // max(1, array.size))
    for start in range(0, len(array), size):
        part = array[start : start + size]
        with np.errstate(over="ignore", invalid="ignore"):
            steps = np.rint(part.astype(np.float64) / scale)
            back = steps.astype(array.dtype) * scale.astype(array.dtype)
        whole = steps + zero
        # Each comparison is False for NaN, so a NaN is no integer.
        exact = (back == part) & (np.abs(steps) <= _EXACT)
        if not bool((exact & (whole >= bounds[0]) & (whole <= bounds[1])).all()):
            return None
        integers[start : start + size] = whole
    return integers


def lsb_between(a: Steps, b: Steps) -> Lsb:
    """Largest and mean ``|a - b|`` of two :func:`to_integers` results of the same shape."""
    if a.shape != b.shape or a.size == 0:
        raise ValueError(f"integers of shapes {a.shape} and {b.shape} cannot be compared")
    apart = np.abs(a - b)
    return Lsb(max=int(apart.max()), mean=float(apart.mean()))


def lsb_over(pairs: Iterable[tuple[Steps, Steps]]) -> Lsb | None:
    """Over several outputs, as integers: the largest distance, the mean of all; None without any.

    Empty outputs count for nothing.
    """
    parts = [(lsb_between(a, b), a.size) for a, b in pairs if a.size]
    if not parts:
        return None
    total = sum(size for _, size in parts)
    return Lsb(
        max=max(part.max for part, _ in parts),
        mean=sum(part.mean * size for part, size in parts) / total,
    )


def lsb_distance(a: Array, b: Array, quantizer: Quantizer) -> Lsb | None:
    """Distance of two dequantized outputs (N, *shape) in steps, or None (:func:`to_integers`)."""
    first, second = to_integers(a, quantizer), to_integers(b, quantizer)
    if first is None or second is None:
        return None
    return lsb_between(first, second)


def max_abs(a: Outputs, b: Outputs) -> float | None:
    """Largest ``|a - b|`` over all numeric outputs; None where it is not a finite number."""
    largest = 0.0
    for name, array in a.arrays.items():
        other = b.arrays.get(name)
        if other is None or other.shape != array.shape or array.dtype.hasobject:
            return None
        if array.size == 0 or array.dtype.kind in "SU":
            continue
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.abs(array.astype(np.float64) - other.astype(np.float64))
        largest = max(largest, float(np.where(np.isnan(apart), np.inf, apart).max()))
    return largest if np.isfinite(largest) else None


def identical_share(a: Outputs, b: Outputs) -> float:
    """Share of the N samples whose outputs are the same bits in every output.

    NaNs of equal bits are equal; -0.0 and 0.0 differ. Where the two differ in names, dtypes or
    shapes no sample is identical. Raises :class:`DataError` for no samples or differing N.
    """
    if a.samples != b.samples or a.samples == 0:
        raise DataError(
            f"Outputs of {a.samples} and {b.samples} samples cannot be compared, expected the "
            "same samples, at least one; run both targets on the same data."
        )
    if set(a.arrays) != set(b.arrays):
        return 0.0
    same = np.ones(a.samples, np.bool_)
    for name, array in a.arrays.items():
        other = b.arrays[name]
        if array.dtype != other.dtype or array.shape != other.shape:
            return 0.0
        equal = _bits(array) == _bits(other)
        same &= equal.reshape(a.samples, -1).all(axis=1)
    return float(same.mean())


def _bits(array: Array) -> Array:
    if array.dtype.hasobject or array.dtype.itemsize == 0:
        return array
    size = array.dtype.itemsize
    word = np.dtype(f"u{size}") if size in (1, 2, 4, 8) else np.dtype("u1")
    return np.ascontiguousarray(array).view(word)


def _is_float(array: Array) -> bool:
    # ml_dtypes' small floats are of kind "V" and know how to become float64.
    return array.dtype.kind == "f" or array.dtype.name in {"bfloat16"}


def _along(values: Array, array: Array, axis: int | None) -> Array:
    if len(values) == 1:
        return values.reshape(())
    rank = array.ndim - 1
    at = None if axis is None else axis + rank if axis < 0 else axis
    if at is None or not 0 <= at < rank or array.shape[at + 1] != len(values):
        raise ValueError(
            f"{len(values)} scales along axis {axis} do not fit an output of {array.shape[1:]}"
        )
    return values.reshape([len(values) if d == at + 1 else 1 for d in range(array.ndim)])

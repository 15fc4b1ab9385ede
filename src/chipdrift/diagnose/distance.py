"""How far two tensors are apart, summed up sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from chipdrift.findings import Distance
from chipdrift.records import Quantizer

Array = np.ndarray[Any, Any]


# What a NaN or an infinity on one side alone counts for: more than any signal.
BEYOND = float(np.finfo(np.float32).max)


class Tally:
    """The distance of one tensor on A and on B over any number of samples.

    With ``quantizer``, distances are in its steps: of integers as they are, of float32 values
    after rounding them to it (HALF_EVEN, clipped to its range). Noise is always that of the real
    values.
    """

    def __init__(self, quantizer: Quantizer | None) -> None:
        single = quantizer is not None and len(quantizer.scale) == 1
        self._quantizer = quantizer if single else None
        self._whole = quantizer is not None
        self._values = self._differing = 0
        self._steps = self._signed = 0.0
        self._most = self._largest = 0.0
        self._signal = self._noise = 0.0

    def add(self, a: Array, b: Array) -> None:
        """Integers or floats of any width; of another shape, they are compared in memory's order.

        Values of another number differ, all of them.
        """
        self._values += a.size
        if a.size != b.size:
            self._differing += a.size
            return
        a, b = a.reshape(-1), b.reshape(-1)
        if not a.size:
            return
        if self._quantizer is None:
            self._plain(a, b)
            return
        scale, zero = self._quantizer.scale[0], self._quantizer.zero_point[0]
        steps = self._integers(b) - self._integers(a)
        size = np.abs(steps)
        self._differing += int(np.count_nonzero(steps))
        self._steps += float(size.sum())
        self._signed += float(steps.sum())
        self._most = max(self._most, float(size.max()))
        real = self._real(a, scale, zero)
        noise = self._real(b, scale, zero) - real
        self._power(real, noise)

    @property
    def differing(self) -> int:
        """How many values were not equal so far."""
        return self._differing

    def distance(self) -> Distance:
        """What was seen so far."""
        count = max(1, self._values)
        stepped = self._quantizer is not None
        decibels = None
        if self._noise > 0:
            signal = max(self._signal, 1e-300)  # and no quotient: that may be too small for one
            decibels = 10 * float(np.log10(signal) - np.log10(self._noise))
        return Distance(
            values=self._values,
            differing=self._differing / count,
            mean_lsb=self._steps / count if stepped else None,
            max_lsb=self._most if stepped else None,
            bias_lsb=self._signed / count if stepped else None,
            max_abs=self._largest,
            sqnr_db=decibels,
        )

    def _plain(self, a: Array, b: Array) -> None:
        same = (a == b) | (np.isnan(a) & np.isnan(b)) if a.dtype.kind == "f" else a == b
        self._differing += int(a.size - np.count_nonzero(same))
        x, y = a.astype(np.float64), b.astype(np.float64)
        with np.errstate(invalid="ignore"):
            noise = np.where(same, 0.0, y - x)
        self._power(x, noise)

    def _integers(self, values: Array) -> Array:
        if values.dtype.kind != "f":
            return values.astype(np.int64)
        assert self._quantizer is not None
        low, high = range_of(self._quantizer.dtype)
        steps = np.rint(values.astype(np.float64) / self._quantizer.scale[0])
        steps = np.nan_to_num(steps, nan=0.0, posinf=2.0**40, neginf=-(2.0**40))
        whole: Array = np.clip(steps + self._quantizer.zero_point[0], low, high).astype(np.int64)
        return whole

    @staticmethod
    def _real(values: Array, scale: float, zero: int) -> Array:
        if values.dtype.kind == "f":
            return values.astype(np.float64)
        real: Array = (values.astype(np.float64) - zero) * scale
        return real

    def _power(self, real: Array, noise: Array) -> None:
        """NaN and infinity on one side alone are noise beyond any signal."""
        real = np.where(np.isfinite(real), real, 0.0)
        noise = np.where(np.isfinite(noise), noise, BEYOND)
        self._signal += float(np.square(real).sum())
        self._noise += float(np.square(noise).sum())
        self._largest = max(self._largest, float(np.abs(noise).max()))


# Noise beyond any signal, which a NaN or an infinity makes, is not more than this.
_LOUDEST_DB = -200.0


def noise_power(distance: Distance | None) -> float:
    """The difference's power as a part of the signal's; 0 where nothing differs or is known."""
    if distance is None or distance.sqnr_db is None:
        return 0.0
    return float(10 ** (-max(_LOUDEST_DB, distance.sqnr_db) / 10))


def range_of(dtype: str) -> tuple[int, int]:
    """The least and the greatest integer of a type such as ``uint8`` or ``int4``."""
    bits = int("".join(c for c in dtype if c.isdigit()))
    if dtype.startswith("u"):
        return 0, (1 << bits) - 1
    return -(1 << bits - 1), (1 << bits - 1) - 1

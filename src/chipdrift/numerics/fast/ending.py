"""Sums to integers, a piece of the output at a time: what conv and matmul share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from chipdrift.numerics.fast.requantize import Finish, Sums, compile_finish
from chipdrift.numerics.products import finish, output_channels
from chipdrift.numerics.requantize import Channel
from chipdrift.numerics.tensors import Array, OpSpec

_PIECE = 1 << 17  # sums made at a time: they stay in the processor's second-level cache


def channels_of(spec: OpSpec, bias: Array | None, count: int) -> list[Channel]:
    """The constants of ``count`` output channels."""
    found = output_channels(spec, bias)
    return [found[c % len(found)] for c in range(count)]


class Ending:
    """The second half of every sum of products."""

    def __init__(
        self, spec: OpSpec, bias: Array | None, channels: list[Channel], sums: Sums
    ) -> None:
        self._spec, self._bias, self._sums = spec, bias, sums
        self._finish: Finish | None = compile_finish(spec, channels, sums)
        self._storage = spec.output.storage

    def run(
        self,
        rows: int,
        width: int,
        lead: tuple[int, ...],
        sums: Callable[[int, int], Array],
        seed: int | None = None,
    ) -> Array:
        """Integers (*lead, width), for ``sums(first, count)`` rows of sums at a time."""
        piece = max(16, _PIECE // max(1, width))
        if self._finish is None:  # STOCHASTIC needs every position: the reference ends it
            parts = [sums(first, min(piece, rows - first)) for first in range(0, rows, piece)]
            parts = parts or [np.empty((0, width), np.int64)]
            held = np.concatenate(parts).reshape(-1, self._sums.offset.size)
            places = width // held.shape[1]
            exact = (held.astype(np.int64) + self._sums.offset).reshape(
                *lead, places, held.shape[1]
            )
            spec = self._spec if seed is None else replace(self._spec, seed=seed)
            done = finish(spec, exact, self._sums.correction, self._bias)
            return done.reshape(*lead, width)
        out = np.empty((rows, width), self._storage)
        for first in range(0, rows, piece):
            count = min(piece, rows - first)
            self._finish(sums(first, count), out[first : first + count])
        return out.reshape(*lead, width)

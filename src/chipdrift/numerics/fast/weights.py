"""Constant weights and the integers around them, as the sums of products see them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from chipdrift.numerics.profile import Accumulator
from chipdrift.numerics.tensors import Array, Quant

FAR = 1 << 62  # beyond every sum
_ROWS = 64


@dataclass(frozen=True, eq=False)
class Weights:
    """Weights (K, N) as they are stored, their zero points (N,), the order of products.

    ``values`` are int16 for weights of 8 bits and fewer, whose differences they hold, else int32.

    ``order`` are rows of ``values`` in the order in which the rules add them. ``apart`` marks a
    depthwise convolution: column n meets inputs of its own.
    """

    values: Array
    zero: Array
    quant: Quant
    order: Array
    apart: bool = False

    @property
    def centred(self) -> Array:
        """Less their zero points."""
        less: Array = self.values - self.zero.astype(self.values.dtype)
        return less

    def parts(self, centred: bool) -> tuple[Array, Array]:
        """Positive and negative weights of which products are made, 0 for the others."""
        w = self.centred if centred else self.values
        return np.maximum(w, 0), np.minimum(w, 0)

    def reach(self, centred: bool) -> tuple[Array, Array]:
        """The sums of both parts over K, (N,) int64; a few rows at a time, to copy little."""
        zero = self.zero.astype(self.values.dtype) if centred else 0
        above, below = np.zeros((2, self.values.shape[1]), np.int64)
        for first in range(0, self.values.shape[0], _ROWS):
            w = self.values[first : first + _ROWS] - zero
            above += np.maximum(w, 0).sum(axis=0, dtype=np.int64)
            below += np.minimum(w, 0).sum(axis=0, dtype=np.int64)
        return above, below


def centres_weights(rules: Accumulator) -> bool:
    """Whether products are made of weights less their zero points (N11)."""
    return (rules.operands, rules.stored) != ("stored", "both")


def roomy(w: Array, quant: Quant) -> Array:
    """``w`` as :class:`Weights` holds it."""
    return w.astype(np.int16 if quant.bits <= 8 else np.int32)


def flip_of(quant: Quant) -> int:
    """What makes stored integers unsigned when added: their sign bit's weight."""
    return 1 << 8 * quant.storage.itemsize - 1 if quant.storage.kind == "i" else 0


def unsigned(x: Array) -> Array:
    """Contiguous ``x`` with ``flip_of`` added: the sign bit turned over."""
    x = np.ascontiguousarray(x)
    if x.dtype.kind == "u":
        return x
    kind = np.dtype(f"u{x.dtype.itemsize}")
    turned: Array = x.view(kind) ^ kind.type(1 << 8 * x.dtype.itemsize - 1)
    return turned


def limits(width: int) -> tuple[int, int]:
    """The least and greatest integer of ``width`` bits; of 64, more than any sum reaches."""
    return (-FAR, FAR) if width == 64 else (-(1 << width - 1), (1 << width - 1) - 1)


def steps_of(width: int, overflow: str, far: int = FAR) -> tuple[int, int, int, int]:
    """(low, high, half, mask) as the loops of ``walk`` take them."""
    if width == 64 or (width == 32 and far < FAR and overflow == "wrap"):
        return -far, far - 1, 0, -1
    half = 1 << width - 1
    return (
        (-half, half - 1, 0, -1) if overflow == "saturate" else (-far, far - 1, half, 2 * half - 1)
    )


def row_of(values: Array) -> Array:
    """A row of constants, repeated to a length that pays for the loop's start."""
    return np.tile(values.astype(np.int64), -(-512 // values.size))

"""What metrics of closeness to the float model share: sums per sample, and answers as bits."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from chipdrift.metrics.base import Array, Floats, Outputs

CAP_DB = 150.0
"""Bound of a sample's ratio in dB, about float32's own resolution (2^-24 is -144 dB)."""

_CHUNK = 4_000_000  # Elements held as float64 at once.


class Sums(NamedTuple):
    """Per sample, float64 (N,): sums over r^2, x^2, r x and (r - x)^2; and whether finite."""

    signal: Floats
    power: Floats
    product: Floats
    noise: Floats
    finite: npt.NDArray[np.bool_]


def row_sums(rows: Array, reference: Array) -> Sums:
    """Sums of ``rows`` x against ``reference`` r, both (N, K), in float64.

    Elements where both are the same infinity (a mask) count as 0 on both sides. A sample that
    still holds NaN or infinity, or whose squares overflow, is not ``finite``; its sums are 0.
    """
    n = len(rows)
    totals = [np.zeros(n) for _ in range(4)]
    usable = np.zeros(n, np.bool_)
    for part, x, r in _chunks(rows, reference):
        finite = _finite(x, r)
        if not finite.all():
            masked = np.isinf(x) & (x == r)
            x, r = np.where(masked, 0.0, x), np.where(masked, 0.0, r)
            finite = _finite(x, r)
            x, r = np.where(finite[:, None], x, 0.0), np.where(finite[:, None], r, 0.0)
        with np.errstate(over="ignore", invalid="ignore"):
            apart = r - x
            dots = [
                np.einsum("nk,nk->n", a, b) for a, b in ((r, r), (x, x), (r, x), (apart, apart))
            ]
        finite = finite & np.isfinite(dots).all(axis=0)  # A square may overflow float64.
        for total, dot in zip(totals, dots, strict=True):
            total[part] = np.where(finite, dot, 0.0)
        usable[part] = finite
    return Sums(totals[0], totals[1], totals[2], totals[3], usable)


def cosines(sums: Sums) -> Floats:
    """``x.r / (|x| |r|)`` per sample within [-1, 1], float64 (N,).

    Vectors without a difference give exactly 1, even zeros; one zero vector, or a sample that is
    not finite, gives 0. Swapping x and r changes no bit, so that equal pairs tie.
    """
    found = np.zeros(len(sums.finite))
    lengths = np.sqrt(sums.signal) * np.sqrt(sums.power)
    np.divide(sums.product, lengths, out=found, where=lengths > 0)
    found[sums.finite & (sums.noise == 0)] = 1.0
    clipped: Floats = np.clip(found, -1.0, 1.0)
    return clipped


def decibels(signal: Floats, noise: Floats, finite: npt.NDArray[np.bool_]) -> Floats:
    """``10 log10(signal / noise)`` per sample within +-:data:`CAP_DB`, float64 (N,).

    No noise gives the cap, even without a signal; noise without a signal, or a sample that is not
    finite, gives minus the cap.
    """
    db = np.full(len(signal), -CAP_DB)
    usable = finite & (signal > 0) & (noise > 0)
    db[usable] = 10.0 * (np.log10(signal[usable]) - np.log10(noise[usable]))
    db[finite & (noise == 0)] = CAP_DB
    clipped: Floats = np.clip(db, -CAP_DB, CAP_DB)
    return clipped


def bit_answers(outputs: Outputs) -> Array:
    """A digest of each sample's primary output, bit for bit: 32 hex digits, (N,) of ``<U32``."""
    rows = np.ascontiguousarray(outputs.rows())
    if rows.dtype.hasobject:
        texts = (repr(row.tolist()).encode() for row in rows)
    else:
        texts = (row.tobytes() for row in rows)
    return np.array([hashlib.blake2b(t, digest_size=16).hexdigest() for t in texts], "<U32")


def describe_bits(answer: Any) -> str:
    """The first eight digits of a digest, for a person."""
    return f"bits {str(answer)[:8]}"


def _finite(x: Floats, r: Floats) -> npt.NDArray[np.bool_]:
    rows: npt.NDArray[np.bool_] = np.logical_and.reduce(np.isfinite(x) & np.isfinite(r), axis=1)
    return rows


def _chunks(rows: Array, reference: Array) -> Iterator[tuple[slice, Floats, Floats]]:
    step = max(1, _CHUNK // max(1, rows.shape[1]))
    for start in range(0, len(rows), step):
        part = slice(start, start + step)
        yield part, rows[part].astype(np.float64), reference[part].astype(np.float64)

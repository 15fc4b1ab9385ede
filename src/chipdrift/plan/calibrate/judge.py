"""Whether a change helps on samples that it was not made on: a paired comparison."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
# Every sample's loss (N,), lower is better, from all outputs of every sample.
Loss = Callable[[Sequence[Sequence[Array]]], Array]
_FLIPS = 9999
_LEAST = 1e-12  # of a sample's signal: noise below it is none


@dataclass(frozen=True, eq=False)
class Score:
    """``losses`` (N,) by sample, lower is better; ``figure`` in ``unit`` is what people are told.

    ``worth`` is the figure with its sign so that higher is better.
    """

    losses: Array
    figure: float
    worth: float


class Judge:
    """Scores of answers on held samples, against the float model's or by a loss of the user's.

    Without ``loss``, a sample's loss is the logarithm of its noise against its signal, all float
    outputs together, and the figure the SQNR over all samples in dB.
    """

    def __init__(
        self,
        wanted: Sequence[Sequence[Array]],
        loss: Loss | None = None,
        unit: str = "loss",
    ) -> None:
        self._wanted, self._loss = wanted, loss
        self.unit = "dB" if loss is None else unit
        self.samples = len(wanted)

    def score(self, answers: Sequence[Sequence[Array]]) -> Score:
        """The score of all outputs of all samples."""
        if self._loss is not None:
            losses = np.asarray(self._loss(answers), np.float64)
            return Score(losses, float(losses.mean()), -float(losses.mean()))
        noise, signal = np.zeros(self.samples), np.zeros(self.samples)
        for place, other in enumerate(self._wanted[0]):
            if other.dtype.kind != "f":
                continue
            for index, (row, wanted) in enumerate(zip(answers, self._wanted, strict=True)):
                real = wanted[place].astype(np.float64)
                apart = row[place].astype(np.float64).reshape(real.shape) - real
                noise[index] += float((apart * apart).sum())
                signal[index] += float((real * real).sum())
        noise = np.where(np.isfinite(noise), noise, 1e6 * np.maximum(signal, 1.0))
        floor = _LEAST * max(float(signal.mean()), 1e-30)
        losses = np.log(np.maximum(noise, floor) / np.maximum(signal, floor))
        sqnr = 10 * np.log10(max(float(signal.sum()), floor) / max(float(noise.sum()), floor))
        return Score(losses, float(sqnr), float(sqnr))

    def chance(self, before: Score, after: Score) -> float:
        """How likely so great a gain is where the change does nothing (one-sided).

        Signs of the samples' differences are drawn anew 9,999 times, always the same draws. 1 where
        the figure itself is no better.
        """
        if after.worth <= before.worth:
            return 1.0
        gains = before.losses - after.losses
        moved = gains[gains != 0]
        if not moved.size:
            return 1.0
        rng = np.random.default_rng(0)
        seen = moved.sum()
        above = 0
        for start in range(0, _FLIPS, 500):
            rows = min(500, _FLIPS - start)
            signs = rng.integers(0, 2, (rows, moved.size), dtype=np.int8) * 2.0 - 1.0
            above += int((signs @ moved >= seen - 1e-12 * abs(seen)).sum())
        return (above + 1) / (_FLIPS + 1)

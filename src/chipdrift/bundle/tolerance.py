"""How far a phone's answers to the golden samples may be off those that were measured.

The app runs on silicon. Where silicon of that chip answered, other bits are another computation.
Where a simulator did, the largest distance is allowed that was measured between simulators and
silicon under the same scheme; where there was no silicon, the largest that was measured between two
of the targets that confirmed and stand for silicon, or from onnxruntime: that far right answers
were seen to lie apart. A hypothesis, or another runtime on some CPU, says nothing of a phone's NPU.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np

from chipdrift.bundle.records import GoldenLimit
from chipdrift.numerics.tensors import Array
from chipdrift.records import Cell, Evidence, Matrix, Quantizer

# Two roundings of an output's own step; an output of 16 bits has 257 steps for one of 8.
_LEAST_STEPS = {1: 2, 2: 16}
# Of the largest value that was measured: four steps of half precision, one where silicon answered.
_LEAST_SHARE, _SILICON_SHARE = 2.0**-9, 2.0**-11
# What stands for a chip's silicon; and what every cell is set against.
_CHIPS: tuple[Evidence, ...] = ("device", "reported", "vendor-simulator", "prediction")
_HOST = "ort:cpu"


@final
@dataclass(frozen=True)
class Distance:
    """The largest distance allowed: ``steps`` of an output's quantizer, ``absolute`` without one.

    None where no such distance was measured. ``silicon``: this chip's own answered.
    """

    steps: int | None
    absolute: float | None
    silicon: bool
    words: str


def distance_of(matrix: Matrix, cell: Cell) -> Distance:
    """What was measured beside ``cell`` in the confirming run."""
    if cell.is_silicon:
        return Distance(0, 0.0, True, "this chip's silicon answered: other bits are a difference")
    checks = [
        check
        for check in matrix.silicon
        if check.scheme == cell.scheme
        and check.simulator == cell.target
        and check.relation in ("same-chip", "same-generation")
    ]
    if checks:
        chips = ", ".join(dict.fromkeys(check.silicon for check in checks))
        return Distance(
            *_largest([(c.lsb.max if c.lsb else None, c.max_abs) for c in checks]),
            False,
            f"{cell.target} answered; the largest distance measured from silicon ({chips})",
        )
    alike = {
        one.target
        for one in matrix.cells
        if one.scheme == cell.scheme and (one.evidence in _CHIPS or one.target == _HOST)
    }
    measured: list[tuple[int | None, float | None, str]] = [
        (pair.lsb.max if pair.lsb else None, pair.max_abs, f"{pair.a} and {pair.b}")
        for pair in matrix.pairs
        if pair.scheme == cell.scheme and {pair.a, pair.b} <= alike
    ]
    if cell.lsb is not None:
        measured.append((cell.lsb.max, None, f"{_HOST} and {cell.target}"))
    words = (
        f"{cell.target} answered, no silicon: the largest distance measured between two of the "
        "targets that confirmed and stand for a chip, or from onnxruntime on the host"
    )
    if measured:
        words += f": {max(measured, key=lambda one: (one[0] or 0, one[1] or 0.0))[2]}"
    return Distance(*_largest([one[:2] for one in measured]), False, words)


def limit_of(
    name: str, expected: Array, quantizer: Quantizer | None, distance: Distance
) -> GoldenLimit:
    """The limit for an output; ``expected`` are its answers to all golden samples."""
    dtype = expected.dtype
    if quantizer is not None or dtype.kind in "iu":
        step = max(quantizer.scale) if quantizer is not None else 1.0
        size = np.dtype(quantizer.dtype if quantizer is not None else dtype).itemsize
        floor = 0 if distance.silicon else _LEAST_STEPS.get(size, 0)
        steps = max(distance.steps or 0, floor)
        # Half a step of play: the answers are products of the step, rounded to the output's type.
        return GoldenLimit(
            name=name, dtype=dtype.name, step=step, steps=steps, most=(steps + 0.5) * step
        )
    if dtype.kind != "f":
        return GoldenLimit(name=name, dtype=dtype.name, most=0.0)
    share = _SILICON_SHARE if distance.silicon else _LEAST_SHARE
    largest = float(np.max(np.abs(expected), initial=0.0))
    return GoldenLimit(
        name=name, dtype=dtype.name, most=max(distance.absolute or 0.0, share * largest)
    )


def _largest(
    found: Sequence[tuple[int | None, float | None]],
) -> tuple[int | None, float | None]:
    steps = [a for a, _ in found if a is not None]
    absolute = [b for _, b in found if b is not None]
    return max(steps, default=None), max(absolute, default=None)

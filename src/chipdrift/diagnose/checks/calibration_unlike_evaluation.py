"""Calibration data that are not like the data the model is used on.

What it finds: ranges that the calibration set and that the evaluation data do not fit, throughout
the model: inputs beyond the calibrated range, many activations beyond theirs, or all of them far
inside.

Why it hurts: what lies beyond a range is cut off, however large it was; what lies far inside it
uses a few of the integers. Either looks like a loss by quantization and is one of preparation.

Example: pictures divided by 255 for evaluation and not for calibration: all activations stay
within a hundredth of their ranges.

Fix: calibrate with some 100 samples of the same source, prepared by the same code as those that you
evaluate on, and none of them among those.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.exam import Exam
from chipdrift.findings import Finding
from chipdrift.records import Quantizer

Array = np.ndarray[Any, Any]

# The share of a tensor's values that are cut off by much, and are more than a few outliers; and
# what is much: a twentieth of the range (12 steps of 8 bits).
_BEYOND = 0.01
_MUCH = 0.05
# The share of tensors of which that must hold: one clipped activation is another check's.
_MANY = 0.25
# A few samples reach less far than the calibration's hundred; on like data the median tensor still
# reaches most of its range, and a third (1.6 bits lost) has never been chance.
_INSIDE = 1 / 3


@dataclass(frozen=True)
class _Reach:
    """A tensor's values against its range: the share far beyond, and how much of it they span."""

    node: str
    beyond: float
    spanned: float
    fed: bool


def look(exam: Exam) -> Iterator[Finding]:
    """At most one finding: it is the calibration as a whole that is, or is not, like the data."""
    reaches = _reaches(exam)
    beyond = sorted((r for r in reaches if r.beyond > _BEYOND), key=lambda r: -r.beyond)
    inputs = [r for r in beyond if r.fed]
    if inputs or (reaches and len(beyond) >= max(2, _MANY * len(reaches))):
        worst = inputs[0] if inputs else beyond[0]
        what = "evaluation inputs" if worst.fed else f"values of {worst.node}"
        yield _finding(
            exam,
            "Evaluation data go beyond what the calibration saw",
            f"{100 * worst.beyond:.0f} % of the {what} lie beyond the calibrated range by more "
            f"than a twentieth of it, and are cut off; so are more than {100 * _BEYOND:.0f} % of "
            f"the values in {len(beyond)} of {len(reaches)} activations",
            tuple(r.node for r in beyond),
            worst.beyond,
        )
        return
    spans = [r.spanned for r in reaches]
    if len(spans) >= 2 and float(np.median(spans)) < _INSIDE:
        middle = float(np.median(spans))
        yield _finding(
            exam,
            "Evaluation data stay far inside what the calibration saw",
            f"the median activation spans {100 * middle:.2g} % of its range, which wastes "
            f"{-np.log2(max(middle, 1e-9)):.1f} bits",
            tuple(r.node for r in sorted(reaches, key=lambda r: r.spanned)),
            1 - middle,
        )


def _reaches(exam: Exam) -> list[_Reach]:
    makers = makers_of(exam.anatomy.cut)
    sources = {
        piece.outputs[0]: piece.inputs[0]
        for piece in exam.anatomy.cut.pieces
        if not piece.nodes and len(piece.inputs) == 1 and piece.outputs
    }
    found = []
    for tensor, quantizer in exam.anatomy.quantizers.items():
        if tensor not in makers or len(quantizer.scale) != 1:
            continue
        name = sources.get(tensor, "")
        fed = bool(exam.feeds) and name in exam.feeds[0]
        held = [f[name] for f in exam.feeds] if fed else [e.get(tensor) for e in exam.floats]
        values = [v.astype(np.float64).reshape(-1) for v in held if v is not None]
        kinds = {v.dtype.kind for v in held if v is not None}
        if values and kinds == {"f"}:
            found.append(_reach(makers[tensor][0], np.concatenate(values), quantizer, fed))
    return found


def _reach(node: str, values: Array, quantizer: Quantizer, fed: bool) -> _Reach:
    low, high = range_of(quantizer.dtype)
    scale, zero = quantizer.scale[0], quantizer.zero_point[0]
    least, most = (low - zero) * scale, (high - zero) * scale
    finite = values[np.isfinite(values)]
    if not finite.size:
        return _Reach(node, 1.0, 1.0, fed)
    much = _MUCH * (most - least)
    beyond = float(((finite < least - much) | (finite > most + much)).mean())
    # A range always holds 0, so what the values span does, too.
    spanned = (max(0.0, float(finite.max())) - min(0.0, float(finite.min()))) / (most - least)
    return _Reach(node, beyond, spanned, fed)


def _finding(exam: Exam, title: str, words: str, nodes: tuple[str, ...], weight: float) -> Finding:
    info = exam.case.run.matrix.calibration
    by = f" (calibrated on {info.samples} samples of {info.name})" if info is not None else ""
    count = max(1, len(exam.tensors_a))
    return Finding(
        check="calibration-unlike-evaluation",
        severity="warning",
        title=title,
        words=words + by,
        nodes=nodes,
        targets=exam.targets,
        experiment="every activation of the float model against the range of its quantizer, on "
        f"{count} evaluation sample{'s' * (count > 1)}",
        fix="calibrate with samples of the same source, prepared by the same code",
        command="chipdrift matrix MODEL --data DATA --calibration CAL --scheme "
        f"{exam.case.scheme} --target {exam.targets[0]} -o runs/calibrated",
        weight=min(1.0, weight),
    )

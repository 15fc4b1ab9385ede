"""Calibration data that are not like the data the model is used on.

What it finds: ranges that the calibration set and that the evaluation data do not fit, throughout
the model: inputs beyond the calibrated range, many activations beyond theirs, or all of them far
inside. Both must be more than chance, at 1 % over all tensors (Holm), on four samples at least.
Beyond: a new sample passes the extremes of N like it once in N + 1 times, whatever the data; the p
value is that of k among m doing so. Inside: N samples that scatter as those of the evaluation do
(log-normal) would not have reached so far. N is the number of calibration samples, 10 where the run
does not tell it. The first is exact for min-max ranges; others are cut on purpose, and what is left
out so is no more than outliers.

Why it hurts: what lies beyond a range is cut off, however large it was; what lies far inside it
uses a few of the integers. Either looks like a loss by quantization and is one of preparation.

Example: pictures divided by 255 for evaluation and not for calibration: all activations stay
within a hundredth of their ranges.

Fix: calibrate with some 100 samples of the same source, prepared by the same code as those that you
evaluate on, and none of them among those.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.counts import counted
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import matrix_command
from chipdrift.findings import Finding
from chipdrift.metrics import holm
from chipdrift.records import Quantizer

Array = np.ndarray[Any, Any]

# The share of a tensor's values that are cut off by much, and are more than a few outliers; and
# what is much: a twentieth of the range (12 steps of 8 bits).
_BEYOND = 0.01
_MUCH = 0.05
# The share of tensors of which that must hold: one clipped activation is another check's.
_MANY = 0.25
# The median tensor reaches a third of its range at most: 1.6 bits are lost.
_INSIDE = 1 / 3
# How rarely chance alone may make this finding; how few samples tell nothing of their scatter.
_CHANCE = 0.01
_LEAST = 4
_SMALLEST = 1e-6
# Calibration samples where the run does not tell: fewer would be a fault that the same fix mends.
_CALIBRATED = 10


@dataclass(frozen=True)
class _Reach:
    """A tensor's values against its range: the share far beyond, and how much of it they span.

    ``p_beyond`` and ``p_inside`` are the chances of that if calibration and evaluation were alike.
    """

    node: str
    beyond: float
    spanned: float
    fed: bool
    p_beyond: float
    p_inside: float


def look(exam: Exam) -> Iterator[Finding]:
    """At most one finding: it is the calibration as a whole that is, or is not, like the data."""
    reaches = _reaches(exam)
    chances = holm([r.p_beyond for r in reaches])
    beyond = [
        (r, p) for r, p in zip(reaches, chances, strict=True) if r.beyond > _BEYOND and p < _CHANCE
    ]
    beyond.sort(key=lambda pair: -pair[0].beyond)
    inputs = [pair for pair in beyond if pair[0].fed]
    if inputs or (reaches and len(beyond) >= max(2, _MANY * len(reaches))):
        worst, chance = inputs[0] if inputs else beyond[0]
        what = "evaluation inputs" if worst.fed else f"values of {worst.node}"
        yield _finding(
            exam,
            "Evaluation data go beyond what the calibration saw",
            f"{100 * worst.beyond:.0f} % of the {what} lie beyond the calibrated range by more "
            f"than a twentieth of it, and are cut off; so are more than {100 * _BEYOND:.0f} % of "
            f"the values in {len(beyond)} of {counted(len(reaches), 'activation')}",
            tuple(r.node for r, _ in beyond),
            worst.beyond,
            chance,
        )
        return
    spans = [r.spanned for r in reaches]
    # Half of the tensors must show it, each by itself and corrected for all.
    chance = float(np.median(holm([r.p_inside for r in reaches]))) if reaches else 1.0
    if len(spans) >= 2 and float(np.median(spans)) < _INSIDE and chance < _CHANCE:
        middle = float(np.median(spans))
        yield _finding(
            exam,
            "Evaluation data stay far inside what the calibration saw",
            f"the median activation spans {100 * middle:.2g} % of its range, which wastes "
            f"{-np.log2(max(middle, 1e-9)):.1f} bits",
            tuple(r.node for r in sorted(reaches, key=lambda r: r.spanned)),
            1 - middle,
            chance,
        )


def _reaches(exam: Exam) -> list[_Reach]:
    makers = makers_of(exam.anatomy.cut)
    sources = {
        piece.outputs[0]: piece.inputs[0]
        for piece in exam.anatomy.cut.pieces
        if not piece.nodes and len(piece.inputs) == 1 and piece.outputs
    }
    info = exam.case.run.matrix.calibration
    calibrated = _CALIBRATED if info is None else info.samples
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
            found.append(_reach(makers[tensor][0], values, quantizer, fed, calibrated))
    return found


def _reach(
    node: str, samples: Sequence[Array], quantizer: Quantizer, fed: bool, calibrated: int
) -> _Reach:
    low, high = range_of(quantizer.dtype)
    scale, zero = quantizer.scale[0], quantizer.zero_point[0]
    least, most = (low - zero) * scale, (high - zero) * scale
    finite = [values[np.isfinite(values)] for values in samples]
    finite = [values for values in finite if values.size]
    if not finite:
        return _Reach(node, 1.0, 1.0, fed, 1.0, 1.0)
    much = _MUCH * (most - least)
    below = [float((values < least - much).mean()) for values in finite]
    above = [float((values > most + much).mean()) for values in finite]
    passing = [(u > 0, v > 0) for u, v in zip(below, above, strict=True) if u + v > _BEYOND]
    most_often = max(sum(u for u, _ in passing), sum(v for _, v in passing))
    # A range always holds 0, so what the values span does, too.
    spans = [max(0.0, float(v.max())) - min(0.0, float(v.min())) for v in finite]
    whole = np.concatenate(finite)
    reached = max(0.0, float(whole.max())) - min(0.0, float(whole.min()))
    beyond = float(((whole < least - much) | (whole > most + much)).mean())
    return _Reach(
        node,
        beyond,
        reached / (most - least),
        fed,
        p_beyond(most_often, len(finite), calibrated),
        p_inside(spans, most - least, calibrated),
    )


def p_beyond(count: int, samples: int, calibrated: int) -> float:
    """The chance that ``count`` of ``samples`` pass the extremes of ``calibrated`` like them.

    Where they are alike, all orders are equally likely, and the ``count`` largest of all must
    be among the new ones; twice that, as there are two ends. 1 below :data:`_LEAST` samples.
    """
    if count == 0 or samples < _LEAST:
        return 1.0
    whole = samples + calibrated
    return min(1.0, 2 * math.prod((samples - i) / (whole - i) for i in range(count)))


def p_inside(spans: Sequence[float], span: float, calibrated: int) -> float:
    """The chance that one of ``calibrated`` samples, scattered as ``spans`` are, reaches ``span``.

    Logarithms of the spans are taken for normal, mean and deviation not known: Student's t of a new
    one, times ``calibrated``. 1 below :data:`_LEAST` samples, where one spans nothing, and
    where all span the same.
    """
    from scipy.special import stdtr

    if len(spans) < _LEAST or min(spans) <= 0:
        return 1.0
    logs = np.log(spans)
    scatter = float(logs.std(ddof=1)) * math.sqrt(1 + 1 / len(spans))
    far = math.log(span) - float(logs.mean())
    if scatter == 0:
        return 1.0
    return min(1.0, calibrated * float(stdtr(len(spans) - 1, -far / scatter)))


def _said(chance: float) -> str:
    return f"= {chance:.1g}" if chance >= _SMALLEST else f"< {_SMALLEST:g}"


def _finding(
    exam: Exam, title: str, words: str, nodes: tuple[str, ...], weight: float, chance: float
) -> Finding:
    info = exam.case.run.matrix.calibration
    by = (
        f" (calibrated on {counted(info.samples, 'sample')} of {info.name})"
        if info is not None
        else ""
    )
    count = counted(max(1, len(exam.tensors_a)), "evaluation sample")
    return Finding(
        check="calibration-unlike-evaluation",
        severity="warning",
        title=title,
        words=words + by,
        nodes=nodes,
        targets=exam.targets,
        experiment="every activation of the float model against the range of its quantizer, on "
        f"{count}, the inputs on {counted(len(exam.feeds), 'sample')}; were both alike, this "
        f"would be chance with p {_said(chance)} (Holm)",
        fix="calibrate with samples of the same source, prepared by the same code",
        command=None
        if exam.case.scheme == "asis"
        else matrix_command(exam, targets=exam.targets[:1], out="calibrated"),
        weight=min(1.0, weight),
    )

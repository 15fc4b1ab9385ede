"""Activation ranges that clip, or that are wasted.

What it finds: quantized activations a part of whose values lies beyond the quantizer's range, so
that clipping costs more than rounding does; and 8-bit activations whose integers, over all samples
looked at, span less than a quarter of the range. Clipping is measured on the float model's values;
where the run has none, a heap of integers at an end of the range counts. A Relu that the range
expresses is no clipping.

Why it hurts: what is clipped is lost, and it is the strongest responses that are. A range four
times too wide costs two of eight bits in every value of the tensor.

Example: calibration on 10 quiet images, and a percentile of 99; or one outlier in the calibration
data that sets the range of a whole layer.

Fix: calibrate on more samples, like those that count; where outliers set the range, percentile or
mse calibration; 16-bit activations for the nodes named.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.counts import counted
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.exam import Exam, Feed
from chipdrift.diagnose.remedies import WIDE, more_bits
from chipdrift.findings import Finding, Severity
from chipdrift.records import Quantizer

Array = np.ndarray[Any, Any]

# Below this share few values are meant by it, and min-max ranges of a small calibration set always
# miss some of the next data.
_CLIPPED = 0.005
_USED = 0.25
# Fewer values say nothing of a range.
_VALUES = 256
# Sixteen bits keep more than eight even where 8 of them are unused.
_BITS = 8
# Without the float model: this many times as many integers at an end as at the places before it.
_HEAP = 8.0
_BESIDE = 8
# These end where their range does, by what they are.
_BOUNDED = frozenset({"Sigmoid", "Tanh", "Softmax", "HardSigmoid", "Clip", "Relu", "Erf", "Sin"})


@dataclass(frozen=True)
class _Range:
    node: str
    tensor: str
    share: float
    cost: float
    words: str


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for what clips and one for what is wasted, the worst node first."""
    clipped: list[_Range] = []
    wasted: list[_Range] = []
    makers = makers_of(exam.anatomy.cut)
    for tensor, quantizer in exam.anatomy.quantizers.items():
        if tensor not in makers or len(quantizer.scale) != 1 or not quantizer.scale[0] > 0:
            continue
        if not exam.tensors_a or not all(tensor in kept for kept in exam.tensors_a):
            continue
        integers = _joined(exam.tensors_a, tensor)
        if integers.dtype.kind == "f" or integers.size < _VALUES:
            continue
        node, op, _ = makers[tensor]
        seen = _clipping(exam, tensor, node, op, integers, quantizer)
        if seen is not None:
            clipped.append(seen)
        spare = _waste(tensor, node, integers, quantizer)
        if spare is not None:
            wasted.append(spare)
    if clipped:
        clipped.sort(key=lambda r: -r.cost)
        worst = clipped[0]
        yield _finding(
            exam,
            clipped,
            f"The range of {worst.node}'s output clips",
            "more calibration samples, or mse calibration (calibration in a scheme's TOML)",
            "warning",
            min(1.0, worst.share),
        )
    if wasted:
        wasted.sort(key=lambda r: r.share)
        yield _finding(
            exam,
            wasted,
            f"The range of {wasted[0].node}'s output is mostly unused",
            "calibration data like the evaluation's, or percentile calibration (calibration in a "
            "scheme's TOML)",
            "note",
            min(1.0, -np.log2(max(wasted[0].share, 1e-3)) / 8),
        )


def _finding(
    exam: Exam, found: Sequence[_Range], title: str, fix: str, severity: Severity, weight: float
) -> Finding:
    others = f", and of {counted(len(found) - 1, 'other')}" if len(found) > 1 else ""
    command = more_bits(exam)
    basis = "the float model's values" if exam.floats else "the heap at an end of the range"
    return Finding(
        check="activation-range",
        severity=severity,
        title=f"{title}{others}",
        words=found[0].words,
        nodes=tuple(dict.fromkeys(r.node for r in found)),
        targets=exam.targets,
        experiment=f"{counted(len(exam.tensors_a), 'sample')}: the integers on {exam.targets[0]}, "
        f"and {basis}",
        fix=f"try {fix}" + (f", or 16-bit activations ({WIDE})" if command else ""),
        command=command,
        weight=float(weight),
    )


def _joined(tensors: Sequence[Feed], name: str) -> Array:
    return np.concatenate([entry[name].reshape(-1) for entry in tensors])


def _clipping(
    exam: Exam, tensor: str, node: str, op: str, integers: Array, quantizer: Quantizer
) -> _Range | None:
    scale, zero = quantizer.scale[0], quantizer.zero_point[0]
    low, high = range_of(quantizer.dtype)
    ends = [(low - zero) * scale, (high - zero) * scale]
    values = _real(exam, tensor)
    if values is not None:
        below = np.maximum(ends[0] - values, 0) if zero > low else np.zeros(1)
        above = np.maximum(values - ends[1], 0) if zero < high else np.zeros(1)
        lost = np.maximum(below, above)
        share = float((lost > scale / 2).mean())
        cost = float(np.square(lost).sum() / (values.size * scale**2 / 12))
        if share < _CLIPPED or cost < 1:
            return None
        return _Range(
            node,
            tensor,
            share,
            cost,
            f"{100 * share:.1f} % of the float model's values lie beyond {ends[0]:.3g} to "
            f"{ends[1]:.3g} in {node}: they reach {values.min():.3g} and {values.max():.3g}. What "
            f"is clipped costs {cost:.3g} times the noise of rounding",
        )
    spec = exam.specs.get(node)
    if op in _BOUNDED or (spec is not None and spec.clamp != (None, None)):
        return None
    counts = np.bincount(integers.astype(np.int64) - low, minlength=high - low + 1)
    for end, beside in ((0, counts[1 : 1 + _BESIDE]), (-1, counts[-1 - _BESIDE : -1])):
        share = counts[end] / integers.size
        if (zero - low if end == 0 else high - zero) == 0:
            continue
        if share >= _CLIPPED and counts[end] >= _HEAP * max(1.0, float(beside.mean())):
            return _Range(
                node,
                tensor,
                float(share),
                float(share),
                f"{100 * share:.1f} % of {node}'s integers stand at {low if end == 0 else high}, "
                f"an end of the range, {counts[end] / max(1.0, float(beside.mean())):.0f} times as "
                "many as at each place before it",
            )
    return None


def _real(exam: Exam, tensor: str) -> Array | None:
    """What the integers stand for: the float model's values, or the model's own input."""
    if exam.floats and all(tensor in entry for entry in exam.floats):
        return _joined(exam.floats, tensor).astype(np.float64)
    sources = {step.outputs[0]: step.inputs[0] for step in exam.program.steps}
    fed = exam.feeds[: len(exam.tensors_a)]
    source = sources.get(tensor, "")
    if fed and all(source in feed for feed in fed):
        return _joined(fed, source).astype(np.float64)
    return None


def _waste(tensor: str, node: str, integers: Array, quantizer: Quantizer) -> _Range | None:
    low, high = range_of(quantizer.dtype)
    if (high - low).bit_length() > _BITS:
        return None
    span = int(integers.max()) - int(integers.min())
    used = span / (high - low)
    if span == 0 or used >= _USED:
        return None
    return _Range(
        node,
        tensor,
        used,
        0.0,
        f"{node}'s integers lie between {integers.min()} and {integers.max()} of {low} to {high}: "
        f"{100 * used:.0f} % of the range, {-np.log2(used):.1f} of {_BITS} bits unused",
    )

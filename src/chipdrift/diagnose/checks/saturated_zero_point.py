"""A zero point at the end of the range, where the values on its other side are needed.

What it finds: activations whose zero point is the least integer (or the greatest), so that no
negative (no positive) number has a form, although the float model has such numbers there; and
ranges that do not reach what the tensor holds at all, so that nearly every value is the same end.

Why it hurts: half of the tensor becomes 0, silently. It looks as if a Relu stood there. A zero
point that would have to lie outside the integers is cut to their end, and the range slides away
from the values it was made for.

Example: a calibration on pictures of 0 to 255 for a model whose pictures are centred on 0: the
input's zero point is 0, and all that is darker than the mean becomes the mean.

Fix: calibrate with inputs prepared as in use, so that the range holds both signs; in a file that
another tool quantized, calibrate this tensor again.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from chipdrift.counts import counted
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import matrix_command
from chipdrift.findings import Finding
from chipdrift.records import Quantizer

Array = np.ndarray[Any, Any]

# The share of values on the side that has no integers: fewer are outliers, which ranges may cut.
_NEEDED = 0.01
# How far they are from 0 at least, as a share of the range: nearer ones lose nothing by being 0.
_FAR = 0.01
# Without the float model: the share of values at the end opposite to the zero point, in an op that
# is not bounded by nature, beyond which the range is not where the values are.
_STUCK = 0.9
_SUMS = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Sub"})


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each such tensor."""
    makers = makers_of(exam.anatomy.cut)
    for tensor, quantizer in exam.anatomy.quantizers.items():
        if tensor not in makers or len(quantizer.scale) != 1:
            continue
        low, high = range_of(quantizer.dtype)
        if quantizer.zero_point[0] not in (low, high):
            continue
        node, op, _ = makers[tensor]
        negative = quantizer.zero_point[0] == low
        real = _real(exam, tensor)
        if real is not None:
            lost = _beyond(real, quantizer, negative)
            if lost > _NEEDED:
                yield _missing(exam, node, op, lost, negative, real)
        elif op in _SUMS and _open(exam, node, negative):
            stuck = _at(exam, tensor, high if negative else low)
            if stuck > _STUCK:
                yield _slid(exam, node, op, stuck, quantizer)


def _real(exam: Exam, tensor: str) -> Array | None:
    """The values that the integers of ``tensor`` stand for: the float model's, or what is fed."""
    piece = next((p for p in exam.anatomy.cut.pieces if tensor in p.outputs), None)
    source = piece.inputs[0] if piece is not None and not piece.nodes and piece.inputs else ""
    if exam.feeds and source in exam.feeds[0]:
        fed = [feed[source].astype(np.float64).reshape(-1) for feed in exam.feeds]
        return np.concatenate(fed)
    held = [entry[tensor] for entry in exam.floats if tensor in entry]
    if not held or held[0].dtype.kind != "f":
        return None
    return np.concatenate([values.astype(np.float64).reshape(-1) for values in held])


def _beyond(real: Array, quantizer: Quantizer, negative: bool) -> float:
    """The share of values on the side that has no integers, by more than chance and rounding."""
    low, high = range_of(quantizer.dtype)
    step = quantizer.scale[0] * max(1.0, _FAR * (high - low))
    return float((real < -step).mean() if negative else (real > step).mean())


def _open(exam: Exam, node: str, negative: bool) -> bool:
    """Whether nothing behind the node bounds it at the far end of its range."""
    spec = exam.specs.get(node)
    return spec is not None and spec.clamp[1 if negative else 0] is None


def _at(exam: Exam, tensor: str, end: int) -> float:
    held = [entry[tensor].reshape(-1) for entry in exam.tensors_a if tensor in entry]
    return float((np.concatenate(held) == end).mean()) if held else 0.0


def _missing(exam: Exam, node: str, op: str, lost: float, negative: bool, real: Array) -> Finding:
    side = "negative" if negative else "positive"
    return Finding(
        check="saturated-zero-point",
        severity="warning",
        title=f"{node} ({op}) has no integers for {side} numbers",
        words=f"its zero point is the {'least' if negative else 'greatest'} integer, and "
        f"{100 * lost:.1f} % of its values are {side} in the float model (down to "
        f"{real.min():.3g}, up to {real.max():.3g}): all of them become 0",
        nodes=(node,),
        targets=exam.targets[:1],
        experiment=f"the float model's values of this tensor on {_count(exam)}",
        fix="calibrate with samples prepared as in use, so that the range holds both signs",
        command=matrix_command(exam, out="calibrated"),
        weight=min(1.0, lost),
    )


def _slid(exam: Exam, node: str, op: str, stuck: float, quantizer: Quantizer) -> Finding:
    low, high = range_of(quantizer.dtype)
    scale, zero = quantizer.scale[0], quantizer.zero_point[0]
    return Finding(
        check="saturated-zero-point",
        severity="warning",
        title=f"the range of {node} ({op}) is not where its values are",
        words=f"{100 * stuck:.0f} % of its values are at one end of {(low - zero) * scale:.3g} to "
        f"{(high - zero) * scale:.3g}: its zero point was cut to the integers' end, and the range "
        "slid away",
        nodes=(node,),
        targets=exam.targets[:1],
        experiment=f"the integers of this tensor on {exam.targets[0]}, {_count(exam)}",
        fix="calibrate this tensor again, with a range that holds 0 and its values",
        weight=min(1.0, stuck),
    )


def _count(exam: Exam) -> str:
    return counted(max(1, len(exam.tensors_a)), "sample")

"""A few channels that set the scale for all others.

What it finds: weights with one scale for the tensor, many of whose output channels are more than
16 times smaller than the largest; and 8-bit activations in which a few channels are more than 16
times larger than the typical one, which is left with fewer than 16 steps.

Why it hurts: the scale serves the largest channel. A channel 16 times smaller has 4 of 8 bits, one
200 times smaller is rounded to zero or to one step: the layer's quiet channels carry noise.

Example: a depthwise convolution with its batch norm folded in, some of whose filters are 100 times
stronger; MiniLM in w8a8, where one channel behind the first feed-forward block reaches 240 times as
far as the typical one.

Fix: one scale per channel for weights (w8a8_pc). For activations, which chips quantize per tensor,
16 bits (w8a16_pc), or move the factor into the neighbours' weights (equalization, SmoothQuant).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.counts import agreeing, besides, counted
from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import more_bits, per_channel
from chipdrift.findings import Finding
from chipdrift.targets.sim.weights import weight_axes

Array = np.ndarray[Any, Any]

# Four bits: what is left of eight is then no more than int4, which needs care even per channel.
_RATIO = 16.0
# Of weights a single small channel is common and harmless; a tenth of them is the layer.
_SHARE = 0.1
# Of activations few channels are outliers; where many are large the spread is the data's own.
_FEW = 0.1
_CHANNELS = 8
_STEPS = 16


@dataclass(frozen=True)
class _Uneven:
    node: str
    channels: int
    count: int
    ratio: float
    share: float


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for weights and one for activations, the worst node first."""
    weights = sorted(_weights(exam), key=lambda u: -u.share)
    target = exam.targets[0]
    if weights:
        worst = weights[0]
        others = besides(len(weights) - 1)
        yield Finding(
            check="outlier-channels",
            severity="warning",
            title=f"One scale serves very different channels of weights in {worst.node}{others}",
            words=f"{worst.count} of {counted(worst.channels, 'output channel')} of {worst.node} "
            f"{agreeing(worst.count, 'is', 'are')} more "
            f"than {_RATIO:.0f} times smaller than the largest (the smallest {worst.ratio:.0f} "
            f"times): {agreeing(worst.count, 'it keeps', 'they keep')} fewer than 4 of 8 bits",
            nodes=tuple(u.node for u in weights),
            targets=exam.targets,
            experiment="the largest weight of each output channel, read in the model",
            fix="quantize the weights per channel",
            command=per_channel(exam),
            weight=min(1.0, worst.share),
        )
    activations = sorted(_activations(exam), key=lambda u: -u.ratio)
    if activations:
        worst = activations[0]
        others = besides(len(activations) - 1)
        yield Finding(
            check="outlier-channels",
            severity="warning",
            title=f"A few channels set the scale of {worst.node}'s output{others}",
            words=f"{worst.count} of {counted(worst.channels, 'channel')} of {worst.node} "
            f"{agreeing(worst.count, 'reaches', 'reach')} "
            f"{worst.ratio:.0f} times as far as the typical one, which is left with fewer than "
            f"{_STEPS} of 256 steps",
            nodes=tuple(dict.fromkeys(u.node for u in activations)),
            targets=exam.targets,
            experiment=f"the span of each channel's integers on {target}, "
            f"{counted(len(exam.tensors_a), 'sample')}",
            fix="16-bit activations (w8a16_pc), or move the factor into the neighbours' weights",
            command=more_bits(exam),
            weight=min(1.0, worst.share),
        )


def _weights(exam: Exam) -> Iterator[_Uneven]:
    """Weights with one scale and uneven output channels."""
    for name, spec in exam.specs.items():
        operand = spec.operands[1] if len(spec.operands) > 1 else None
        if operand is None or operand.constant is None or operand.quant is None:
            continue
        axes = weight_axes(spec.op, spec.attributes, operand.constant.ndim)
        if axes is None or not operand.quant.per_tensor:
            continue
        centred = np.abs(operand.constant.astype(np.int64) - int(operand.quant.zero_point))
        reach = np.moveaxis(centred, axes[1], 0).reshape(centred.shape[axes[1]], -1).max(axis=1)
        live = reach[reach > 0]  # a channel of zeros loses nothing
        if len(live) < _CHANNELS:
            continue
        small = live * _RATIO < live.max()
        share = float(small.mean())
        if share >= _SHARE:
            ratio = float(live.max() / live.min())
            yield _Uneven(name, len(live), int(small.sum()), ratio, share)


def _activations(exam: Exam) -> Iterator[_Uneven]:
    """Activations of 8 bits in which few channels are far larger than the typical one."""
    makers = makers_of(exam.anatomy.cut)
    for tensor, quantizer in exam.anatomy.quantizers.items():
        if tensor not in makers or len(quantizer.scale) != 1:
            continue
        if not exam.tensors_a or not all(tensor in kept for kept in exam.tensors_a):
            continue
        low, high = range_of(quantizer.dtype)
        arrays = [kept[tensor] for kept in exam.tensors_a]
        if high - low > 255 or arrays[0].dtype.kind == "f" or arrays[0].ndim < 2:
            continue
        if not all(array.size for array in arrays):
            continue
        axis = 1 if arrays[0].ndim == 4 else arrays[0].ndim - 1
        rows = [np.moveaxis(a.astype(np.int64), axis, 0).reshape(a.shape[axis], -1) for a in arrays]
        joined = np.concatenate(rows, axis=1)
        spans = joined.max(axis=1) - joined.min(axis=1)
        live = spans[spans > 0]
        if len(live) < _CHANNELS or joined.shape[1] < 2:
            continue
        typical = float(np.median(live))
        large = live > _RATIO * typical
        if typical < _STEPS and large.any() and large.mean() <= _FEW:
            node = makers[tensor][0]
            ratio = float(live.max() / typical)
            yield _Uneven(node, len(live), int(large.sum()), ratio, float(1 - large.mean()))

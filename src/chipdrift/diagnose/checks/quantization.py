"""Nodes in which quantization itself loses most.

What it finds: against the float model (--against float), where the answers are noisy or a loss is
shown or likely, the nodes that add the most noise of their own, each fed with the float model's
values, with their share of all own noise. For products it says which of the three quantizers makes
it: the weights' (their bits, one scale per tensor or per channel), the input's or the output's.
Between two targets that both lose against the float model it says so, and how to look there.

Why it hurts: no chip gives back what the scheme has thrown away. A few nodes often make most of the
noise, and more bits for those alone would do.

Example: w4a16: 16-bit activations add nothing, and the first layer's 4-bit weights, 16 levels for
each channel, make most of a noise of 11 dB at the output.

Fix: where weights dominate, a scale per channel or 8 bits (w8a16_pc); where activations do, 16 bits
(w8a16_pc); or the worst nodes on the CPU in float, where the loss is not in what they read.
"""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.counts import counted
from chipdrift.diagnose.case import FLOAT
from chipdrift.diagnose.distance import noise_power
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import (
    NONE_NEEDED,
    WIDE,
    harmless,
    matrix_command,
    more_bits,
    on_cpu,
    per_channel,
    scores_remedy,
)
from chipdrift.diagnose.scores import coarse_scores
from chipdrift.diagnose.tested import against_float
from chipdrift.findings import Finding, Own
from chipdrift.numerics.tensors import OpSpec, Quant

Array = np.ndarray[Any, Any]

# At 20 dB the noise at an output is a tenth of the signal, and decisions turn; healthy models of
# 8 bits have 25 to 40 dB.
_NOISY_DB = 20.0
_WORST = 3
# One source of noise dominates from this many times the others together on.
_DOMINATES = 2.0
# The sum of the three is a model of the noise: where what was measured is more, something else, as
# clipping, makes it.
_BEYOND = 4.0


@dataclass(frozen=True)
class _Sources:
    """The expected noise power of a product's quantizers: step^2 / 12 in each value of theirs."""

    weights: float
    inputs: float
    output: float

    @property
    def whole(self) -> float:
        return self.weights + self.inputs + self.output

    @property
    def first(self) -> str | None:
        """The one that makes more than twice the others together; None where none does."""
        for name in ("weights", "inputs", "output"):
            mine = getattr(self, name)
            if mine > _DOMINATES * (self.whole - mine):
                return name
        return None


def look(exam: Exam) -> Iterator[Finding]:
    """At most one finding: the nodes against the float model, else that both targets lose."""
    if exam.case.b is not None:
        yield from _on_both(exam)
        return
    power = {own.tensor: p for own in exam.diagnosis.own if (p := _power(own)) is not None}
    whole = sum(power.values())
    ranked = sorted(
        (own for own in exam.diagnosis.own if own.tensor in power), key=lambda o: -power[o.tensor]
    )
    noise = [o.distance.sqnr_db for o in exam.diagnosis.outputs if o.distance.sqnr_db is not None]
    lost = _lost(exam)
    if not ranked or not whole or not ((noise and min(noise) < _NOISY_DB) or lost):
        return
    worst = ranked[:_WORST]
    sources = [_sources(exam, own) for own in worst]
    said = [
        _node(exam, own, power[own.tensor] / whole, source)
        for own, source in zip(worst, sources, strict=True)
    ]
    first = ranked[0]
    nodes = tuple(dict.fromkeys(own.node for own in worst))
    fix, command = _fix(exam, sources[0], nodes)
    if harmless(exam):
        fix = f"{NONE_NEEDED}, as far as these samples tell; for less noise {fix}"
    at_output = f" The output has {min(noise):.0f} dB." if noise else ""
    yield Finding(
        check="quantization",
        severity="note" if harmless(exam) else "warning",
        title=f"Quantization loses most in {first.node}: "
        f"{100 * power[first.tensor] / whole:.0f} % of what all nodes add",
        words=f"{'; '.join(said)}.{at_output}",
        nodes=nodes,
        targets=exam.targets[:1],
        experiment="each node cut out and fed with the float model's values, quantized, on "
        f"{exam.targets[0]}; quantizers told apart by their steps (step^2 / 12 in every value)",
        fix=fix,
        command=command,
        weight=power[first.tensor] / whole,
    )


def _on_both(exam: Exam) -> Iterator[Finding]:
    """A loss that both targets have is not in what parts them: where to look for it."""
    sides = [found for name in exam.targets if (found := against_float(exam.case, name))]
    shared = exam.diagnosis.verdict.quantization
    # What came quantized has itself for a baseline.
    if shared is None or exam.case.scheme == "asis" or {f.lost for f in sides} != {"shown"}:
        return
    a, b = exam.targets
    whole = max(found.loss for found in sides)
    size = f"{100 * shared:.2f} points" if shared <= 1 else f"{shared:.3g}"
    words = ["chipdrift", "diagnose", str(exam.case.run.folder), "--scheme", exam.case.scheme]
    yield Finding(
        check="quantization",
        severity="warning",
        title=f"What {a} and {b} both lose shows against the float model, not between the two",
        words=f"Quantization costs {size} on both: {'; '.join(found.words for found in sides)}",
        targets=exam.targets,
        experiment="the paired test of the metric on the run's "
        f"{counted(exam.diagnosis.verdict.samples, 'sample')}, each side against the float model",
        fix="look at the quantization: against the float model, the diagnosis names the nodes that "
        "lose most and what mends them",
        command=shlex.join([*words, "--target", a, "--against", FLOAT]),
        weight=shared / whole,
    )


def _lost(exam: Exam) -> bool:
    """Whether a loss of A against the float model is shown or likely."""
    found = against_float(exam.case, exam.targets[0])
    judged = exam.diagnosis.verdict.quantization is not None
    return judged and found is not None and found.lost != "not seen"


def _power(own: Own) -> float | None:
    """The noise that a node adds, as a share of its own signal's power."""
    return noise_power(own.distance) or None


def _node(exam: Exam, own: Own, share: float, sources: _Sources | None) -> str:
    assert own.distance is not None and own.distance.sqnr_db is not None
    words = f"{own.node} ({own.op}) has {own.distance.sqnr_db:.0f} dB, {100 * share:.0f} %"
    if sources is None:
        return words
    signal = _signal(exam, own.tensor)
    measured = signal * noise_power(own.distance)
    if measured > _BEYOND * sources.whole:
        return f"{words}, more than its steps explain: look for a range that clips"
    spec = exam.specs[own.node]
    kinds = {
        "weights": f"its weights' {_kind(spec.quant(1))} make it",
        "inputs": f"its input's {spec.quant(0).bits} bits make it",
        "output": f"its output's {spec.output.bits} bits make it",
        None: "weights and activations both make it",
    }
    return f"{words}: {kinds[sources.first]}"


def _kind(quant: Quant) -> str:
    shared = "block" if quant.block_size else "tensor" if quant.per_tensor else "channel"
    return f"{quant.bits} bits (a scale per {shared})"


def _signal(exam: Exam, tensor: str) -> float:
    """The mean square of the float model's values."""
    held = [np.square(f[tensor].astype(np.float64)).mean() for f in exam.floats if tensor in f]
    return float(np.mean(held)) if held else math.inf


def _sources(exam: Exam, own: Own) -> _Sources | None:
    """What each quantizer of a product adds, by its step; None for other nodes.

    An output is a sum of K products, so that an error of e in every weight adds K e^2 times the
    input's mean square, one in every input e^2 times the sum of the weights' squares.
    """
    spec = exam.specs.get(own.node)
    if spec is None or spec.op not in ("Conv", "MatMul", "Gemm") or len(spec.operands) < 2:
        return None
    x, w, held = spec.operands[0].quant, spec.operands[1].quant, spec.operands[1].constant
    if x is None or w is None or held is None or not x.per_tensor or not own.inputs:
        return None
    energy = _signal(exam, own.inputs[0])
    if not math.isfinite(energy):
        return None
    count, squares = _products(spec, w, held)
    return _Sources(
        weights=count * energy * float(np.square(w.scale.astype(np.float64)).mean()) / 12,
        inputs=squares * float(x.scale) ** 2 / 12,
        output=float(np.square(spec.output.scale.astype(np.float64)).mean()) / 12,
    )


def _products(spec: OpSpec, quant: Quant, held: Array) -> tuple[float, float]:
    """Products in one output, and the mean over outputs of the sum of their weights' squares."""
    outputs = held.shape[0] if spec.op == "Conv" else held.shape[-1]
    if spec.op == "Gemm" and spec.attributes.get("transB", 0):
        outputs = held.shape[0]
    scale, zero = (np.asarray(part, np.float64) for part in (quant.scale, quant.zero_point))
    if quant.block_size and quant.axis is not None:
        scale, zero = (
            np.repeat(part, quant.block_size, axis=quant.axis).take(
                range(held.shape[quant.axis]), axis=quant.axis
            )
            for part in (scale, zero)
        )
    elif scale.ndim and quant.axis is not None:
        shape = [-1 if axis == quant.axis % held.ndim else 1 for axis in range(held.ndim)]
        scale, zero = scale.reshape(shape), zero.reshape(shape)
    real = (held.astype(np.float64) - zero) * scale
    return held.size / outputs, float(np.square(real).sum() / outputs)


def _fix(exam: Exam, sources: _Sources | None, nodes: tuple[str, ...]) -> tuple[str, str | None]:
    first = None if sources is None else sources.first
    spec = exam.specs.get(nodes[0])
    if first == "weights" and spec is not None:
        if spec.quant(1).per_tensor and spec.quant(1).bits >= 8:
            return f"a scale per channel for the weights, or {on_cpu(nodes)}", per_channel(exam)
        command = matrix_command(exam, WIDE)
        more = f"8-bit weights, a scale per channel ({WIDE}), or " if command else ""
        return f"{more}{on_cpu(nodes)}", command
    coarse = coarse_scores(exam)
    if nodes[0] in coarse:
        return scores_remedy(exam)
    command = more_bits(exam)
    parts = [f"16-bit activations ({WIDE})"] if command else []
    # In float on the CPU a node still reads what its input's quantizer has left.
    if first != "inputs" or not parts:
        parts.append(on_cpu([node for node in nodes if node not in coarse]))
    return ", or ".join(parts), command

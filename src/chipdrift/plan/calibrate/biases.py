"""Bias correction: what the target adds to a channel on average is taken off its bias.

(Nagel et al. 2019, with the target's own answers in place of simulated rounding.)
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from chipdrift.graph import tap_activations
from chipdrift.graph.program import parse_program
from chipdrift.plan.calibrate.bench import Bench, Reference, State
from chipdrift.plan.calibrate.pieces import Apart, SideBySide, compare, read_quantizers

Array = np.ndarray[Any, Any]
_ROUNDS = 3
# A mean below this share of the layer's own noise is chance.
_CLEAR = 3.0


def correct_biases(bench: Bench, state: State) -> State:
    """Each layer alone first, then all that the layers before it bring; raises SilentError.

    A round counts if the model's own outputs come nearer to the float model's on the tune samples.
    """
    reference = bench.reference(state)
    alone = SideBySide(bench.make(state), reference).ask(bench)
    best, cost = state, _cost(_whole(bench, state, reference), reference)
    state = _corrected(state, reference, alone)
    for _ in range(_ROUNDS):
        apart = _whole(bench, state, reference)
        found = _cost(apart, reference)
        if found >= cost:
            break
        best, cost = state, found
        state = _corrected(state, reference, apart)
    return best


def _corrected(state: State, reference: Reference, apart: Mapping[str, Apart]) -> State:
    arrays: dict[str, Array] = {}
    for product in reference.products:
        found = apart.get(product.end)
        if product.bias_key is None or found is None or found.mean.size != product.count:
            continue
        own = np.zeros(product.count, np.float32) if product.bias is None else product.bias
        held = state.arrays.get(product.bias_key, own)
        deviation = np.sqrt(found.squared / max(found.count, 1))
        # The mean of so many values is this uncertain by chance alone.
        clear = np.abs(found.mean) > _CLEAR * deviation / np.sqrt(max(found.count, 1))
        arrays[product.bias_key] = np.asarray(held - np.where(clear, found.mean, 0.0), np.float32)
    return state.with_arrays(arrays)


def _whole(bench: Bench, state: State, reference: Reference) -> dict[str, Apart]:
    """Every quantized activation of the whole model, and its outputs, against the float model's."""
    data = bench.make(state)
    tapped = tap_activations(data)
    program = parse_program(tapped)
    quantizers = read_quantizers(program, reference.taps)
    answers = bench.ask(tapped, bench.tune)
    found: dict[str, Apart] = {}
    for place, name in enumerate(program.outputs):
        quantizer = quantizers.get(name)
        real = quantizer.real if quantizer is not None else name
        if real not in reference.taps or (quantizer is not None and real in found):
            continue
        product = reference.by_end.get(real)
        rows = [row[place] if quantizer is None else quantizer.reals(row[place]) for row in answers]
        found[real] = compare(
            rows, reference.taps[real], product.channels if product is not None else None
        )
    return found


def _cost(apart: Mapping[str, Apart], reference: Reference) -> float:
    """The noise of the model's own outputs, each against its signal."""
    cost = 0.0
    for name in reference.program.outputs:
        if name not in apart:
            continue
        power = sum(float((np.asarray(a, np.float64) ** 2).sum()) for a in reference.taps[name])
        cost += apart[name].total / max(power, 1e-30)
    return cost

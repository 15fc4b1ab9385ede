"""Cross-layer equalization: channels of two layers in a row are made equally large.

Where nothing but a Relu stands between two products, channel c of the first may be divided by any
s > 0 and what the second reads of it multiplied by s: the float model answers the same. A Clip is
left as it is only for channels that do not reach its bounds on the calibration samples.
(Nagel et al., Data-Free Quantization Through Weight Equalization and Bias Correction, 2019.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.graph.program import Program, Step
from chipdrift.plan.calibrate.bench import Bench, Reference, State
from chipdrift.plan.calibrate.products import Product, clamp_bounds

Array = np.ndarray[Any, Any]
_ROUNDS = 20
# Larger steps make activations of channels that matter little as large as the others.
_MOST = 2.0**10
# A channel counts as below a Clip's bound where it stays this share of it below.
_ROOM = 0.8


@dataclass(frozen=True, eq=False)
class Pair:
    """Two products in a row. ``bound`` is the Clip's upper one, infinite where there is none;
    ``reach`` (C,) the largest value of each channel before it."""

    first: Product
    second: Product
    bound: float
    reach: Array


def equalize(bench: Bench, state: State) -> State:
    """All pairs of the model, until they are equal; the state itself where there are none."""
    pairs = find_pairs(bench.reference(state))
    if not pairs:
        return state
    return State(state.ranges, state.weight_ranges, equalized_arrays(pairs), state.arrays)


def find_pairs(reference: Reference) -> list[Pair]:
    """Products of which the second alone reads the first, but for a clamp at zero in between."""
    program = reference.program
    readers: dict[str, list[str]] = {}
    for step in program.steps:
        for name in step.inputs:
            readers.setdefault(name, []).append(step.name)
    by_node = {product.node: product for product in reference.products}
    found = []
    for first in reference.products:
        ends = readers.get(first.end, [])
        if len(ends) != 1 or first.end in program.outputs or first.output in program.outputs:
            continue
        second = by_node.get(ends[0])
        if second is None or second.source != first.end:
            continue
        if not _splits(first) or _inputs(second) != first.count:
            continue
        bound = _bound(first, program)
        reach = _reach(first, reference)
        if bound is None or (np.isfinite(bound) and not (reach <= _ROOM * bound).any()):
            continue
        found.append(Pair(first, second, bound, reach))
    return found


def equalized_arrays(pairs: Sequence[Pair]) -> dict[str, Array]:
    """New weights and biases by NODE#SLOT (float32)."""
    products = {p.node: p for pair in pairs for p in (pair.first, pair.second)}
    weights = {node: p.weight.astype(np.float64) for node, p in products.items()}
    biases = {
        pair.first.node: pair.first.bias.astype(np.float64)
        for pair in pairs
        if pair.first.bias is not None
    }
    reach = {pair.first.node: pair.reach.astype(np.float64) for pair in pairs}
    for _ in range(_ROUNDS):
        moved = 0.0
        for pair in pairs:
            one, two = pair.first, pair.second
            scale = _factors(pair, weights, reach[one.node])
            moved = max(moved, float(np.abs(np.log(scale)).max(initial=0.0)))
            weights[one.node] = weights[one.node] / _along(scale, one.axis, one.weight.ndim)
            if one.node in biases:
                biases[one.node] = biases[one.node] / scale
            weights[two.node] = _scaled_inputs(two, weights[two.node], scale)
            reach[one.node] = reach[one.node] / scale
        if moved < 1e-4:
            break
    arrays = {f"{node}#1": value.astype(np.float32) for node, value in weights.items()}
    for node, bias in biases.items():
        key = products[node].bias_key
        assert key is not None
        arrays[key] = bias.astype(np.float32)
    return arrays


def _factors(pair: Pair, weights: Mapping[str, Array], reach: Array) -> Array:
    """What channel c of the first is divided by: both layers then reach as far with it."""
    ahead = np.abs(np.moveaxis(weights[pair.first.node], pair.first.axis, 0))
    rows = ahead.reshape(len(ahead), -1).max(axis=1)
    columns = _input_peaks(pair.second, weights[pair.second.node])
    usable = (rows > 0) & (columns > 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(usable, np.sqrt(rows / columns), 1.0)
    scale = np.clip(scale, 1 / _MOST, _MOST)
    if np.isfinite(pair.bound):
        below = reach <= _ROOM * pair.bound
        scale = np.where(below, np.maximum(scale, reach / (_ROOM * pair.bound)), 1.0)
    return np.asarray(scale)


def _bound(product: Product, program: Program) -> float | None:
    """The upper bound of what stands behind; None where it is not homogeneous below it."""
    clamp = product.clamp
    low, high = clamp_bounds(product, program)
    if clamp is None or (low == 0.0 and high > 0.0 and _readable(clamp, program)):
        return high
    return None


def _readable(clamp: Step, program: Program) -> bool:
    """Whether all bounds are constants of one element."""
    held = [program.constants.get(name) for name in clamp.inputs[1:] if name]
    return all(array is not None and array.size == 1 for array in held)


def _reach(product: Product, reference: Reference) -> Array:
    """The largest value of each channel before the clamp."""
    most = np.full(product.count, -np.inf)
    for array in reference.taps.get(product.output, ()):
        rows = np.moveaxis(np.asarray(array), product.channels, 0).reshape(product.count, -1)
        most = np.maximum(most, rows.max(axis=1))
    return np.asarray(np.maximum(most, 0.0))


def _splits(product: Product) -> bool:
    """Whether its output channels can be scaled one by one: its bias is known, too."""
    if product.op == "ConvTranspose" and product.groups > 1:
        return False
    plain = product.bias is not None or len(product.step.inputs) < 3 or not product.step.inputs[2]
    return plain and (product.bias_key is None or product.bias_key.startswith(f"{product.node}#"))


def _inputs(product: Product) -> int:
    """How many input channels it reads."""
    if product.op == "Conv":
        return int(product.weight.shape[1]) * product.groups
    return int(product.weight.shape[1 - product.axis])


def _input_peaks(product: Product, weight: Array) -> Array:
    """The largest weight that each input channel meets."""
    if product.op == "Conv" and product.groups > 1:
        grouped = np.abs(weight).reshape(product.groups, -1, *weight.shape[1:])
        return np.asarray(np.moveaxis(grouped, 2, 1).reshape(_inputs(product), -1).max(axis=1))
    moved = np.abs(np.moveaxis(weight, 1 - product.axis, 0))
    return np.asarray(moved.reshape(len(moved), -1).max(axis=1))


def _scaled_inputs(product: Product, weight: Array, scale: Array) -> Array:
    if product.op == "Conv" and product.groups > 1:
        grouped = weight.reshape(product.groups, -1, *weight.shape[1:])
        each = scale.reshape(product.groups, 1, -1, *([1] * (weight.ndim - 2)))
        return np.asarray((grouped * each).reshape(weight.shape))
    return weight * _along(scale, 1 - product.axis, weight.ndim)


def _along(values: Array, axis: int, ndim: int) -> Array:
    shape = [1] * ndim
    shape[axis] = -1
    return values.reshape(shape)

"""Rounding of weights by what it does to a layer's sum, not to each weight alone.

In the manner of AdaRound (Nagel et al., Up or Down? Adaptive Rounding for Post-Training
Quantization, 2020), by coordinates: from the nearest integers, one weight of a channel after the
other goes to its other neighbour where that brings the channel's sum nearer to the float model's.
The target's own answers then say, channel by channel, which of it stays.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chipdrift.graph.program import parse_program
from chipdrift.plan.calibrate.bench import Bench, Reference, State
from chipdrift.plan.calibrate.pieces import Quantized, SideBySide
from chipdrift.plan.calibrate.products import Product, clamp_bounds
from chipdrift.plan.calibrate.weights import Held, read_weights

Array = np.ndarray[Any, Any]
_ROWS = 4096  # places of a layer's input that are looked at, drawn evenly over the samples
_WIDEST = 4608  # inputs of a sum; beyond it the matrix of their products is too large
_MARGIN = 0.99
# Multiplications that a layer's quadratic may take for each channel's own places; a second or two.
_WORK = 4e10


def round_weights(bench: Bench, state: State) -> State:
    """Weights on the quantizer's grid, each layer's and each channel's kept where it helps there.

    Raises SilentError.
    """
    reference = bench.reference(state)
    data = bench.make(state)
    held = read_weights(parse_program(data))
    side = SideBySide(data, reference)
    before = side.ask(bench)
    sources = {q.real: q for q in side.quantizers.values()}
    grids: dict[str, Array] = {}
    nearest: dict[str, Array] = {}
    pinned: dict[str, float | tuple[float, ...]] = {}
    for product in reference.products:
        weight, source = held.get(product.node), sources.get(product.source)
        if weight is None or source is None or product.end not in before:
            continue
        if product.op == "ConvTranspose" or weight.zero.any() or _width(product) > _WIDEST:
            continue
        scale = _scales(product, weight)
        wanted = state.arrays.get(product.weight_key, product.weight)
        grids[product.node] = adapt(product, wanted, weight, scale, source, reference)
        nearest[product.node] = np.asarray(weight.integers * scale, np.float32)
        magnitudes = np.asarray(weight.scale, np.float64) * weight.limit
        pinned[product.node] = (
            tuple(float(np.float32(m)) for m in magnitudes)
            if weight.per_channel
            else float(np.float32(magnitudes))
        )
    if not grids:
        return state
    fixed = state.with_weight_ranges(pinned)
    products = {p.node: p for p in reference.products if p.node in grids}
    tried = fixed.with_arrays({products[n].weight_key: grid for n, grid in grids.items()})
    after = SideBySide(bench.make(tried), reference).ask(bench)
    kept: dict[str, Array] = {}
    for node, product in products.items():
        one, two = before[product.end].squared, after[product.end].squared
        if one.size != product.count:
            continue
        better = two < _MARGIN * one
        if not better.any():
            continue
        mask = np.moveaxis(np.zeros(product.weight.shape, bool), product.axis, 0)
        mask[better] = True
        mask = np.moveaxis(mask, 0, product.axis)
        kept[product.weight_key] = np.where(mask, grids[node], nearest[node])
    nodes = {key.rpartition("#")[0] for key in kept}
    return state.with_weight_ranges({n: pinned[n] for n in nodes}).with_arrays(kept)


def adapt(
    product: Product,
    wanted: Array,
    weight: Held,
    scale: Array,
    source: Quantized,
    reference: Reference,
) -> Array:
    """The weight on its grid whose sums over the quantized input are nearest to the float ones.

    Least squares of ``x_q @ w_q - x @ w`` over the tune samples, ``x_q`` what the quantizer makes
    of the float model's ``x``, from the nearest integers down by single flips to the other
    neighbour. float32, of the weight's shape.
    """
    columns = product.columns(wanted).astype(np.float64)
    steps = np.broadcast_to(product.columns(np.broadcast_to(scale, wanted.shape)), columns.shape)
    ratio = columns / steps
    low, high = -np.floor(weight.limit), np.floor(weight.limit)
    integers = np.clip(np.rint(ratio), low, high)
    down = np.floor(ratio)
    other = np.clip(np.where(integers > down, down, down + 1), low, high)
    groups = product.groups if product.op == "Conv" else 1
    size = len(columns) // groups
    shift = np.zeros(len(columns)) if product.bias is None else product.bias.astype(np.float64)
    floor, ceiling = clamp_bounds(product, reference.program)
    for group, (quantized, real) in enumerate(_inputs(product, source, reference, groups)):
        rows = slice(group * size, (group + 1) * size)
        sums = real @ columns[rows].T + shift[rows]
        # Where the clamp holds the float model's value, no error of the sum is seen.
        seen = ((sums > floor) & (sums < ceiling)).T
        square, drift = _quadratic(quantized, real, columns[rows], seen)
        integers[rows] = _descend(
            integers[rows], other[rows], steps[rows], columns[rows], square, drift
        )
    return np.asarray(product.uncolumns(integers * steps), np.float32)


def _quadratic(quantized: Array, real: Array, columns: Array, seen: Array) -> tuple[Array, Array]:
    """Of the squared error over the places that are ``seen``: (rows or 1, K, K) and (rows, K)."""
    every = bool(seen.all())
    work = quantized.size * quantized.shape[1] * len(columns)
    if every or work > _WORK:
        square = (quantized.T @ quantized)[None]
        return square, columns @ ((quantized - real).T @ quantized)
    square = np.empty((len(columns), quantized.shape[1], quantized.shape[1]))
    drift = np.empty(columns.shape)
    for row, mask in enumerate(seen):
        held = quantized[mask]
        square[row] = held.T @ held
        drift[row] = columns[row] @ ((held - real[mask]).T @ held)
    return square, drift


def _descend(
    integers: Array, other: Array, steps: Array, wanted: Array, square: Array, drift: Array
) -> Array:
    """Flip, in every row at once, the one weight that helps most, until none does.

    ``square`` is (rows, K, K), or (1, K, K) where all rows have the same.
    """
    integers, other = integers.copy(), other.copy()
    square = np.broadcast_to(square, (len(integers), *square.shape[1:]))
    diagonal = np.diagonal(square, axis1=1, axis2=2)
    apart = integers * steps - wanted
    slope = np.matmul(apart[:, None], square)[:, 0] + drift
    rows = np.arange(len(integers))
    for _ in range(2 * integers.shape[1]):
        move = (other - integers) * steps
        gain = move * (move * diagonal + 2 * slope)
        best = gain.argmin(axis=1)
        worth = gain[rows, best] < -1e-12 * np.abs(gain).max(initial=0.0)
        if not worth.any():
            break
        who, where = rows[worth], best[worth]
        slope[who] += move[who, where][:, None] * square[who, where]
        integers[who, where], other[who, where] = other[who, where], integers[who, where]
    return integers


def _inputs(
    product: Product, source: Quantized, reference: Reference, groups: int
) -> Sequence[tuple[Array, Array]]:
    """For each group, what its sums are over: (places, inputs), quantized and real, float64."""
    taps = reference.taps[product.source]
    share = max(1, _ROWS // max(len(taps), 1))
    pairs: list[tuple[list[Array], list[Array]]] = [([], []) for _ in range(groups)]
    for index, real in enumerate(taps):
        both = (source.reals(source.integers(real)), np.asarray(real))
        for which, values in enumerate(both):
            for group, rows in enumerate(_rows(product, values, groups)):
                pick = np.linspace(0, len(rows) - 1, min(share, len(rows))).astype(int)
                pairs[group][which].append(rows[(pick + index) % len(rows)])
    return [
        (np.concatenate(a).astype(np.float64), np.concatenate(b).astype(np.float64))
        for a, b in pairs
    ]


def _rows(product: Product, values: Array, groups: int) -> list[Array]:
    """(places, what a sum is over) of one sample, for each group."""
    if product.op != "Conv":
        flat = values.reshape(-1, values.shape[-1])
        if product.op == "Gemm" and product.step.attributes.get("transA"):
            flat = values.T
        return [flat]
    attributes, rank = product.step.attributes, values.ndim - 2
    kernel = product.weight.shape[2:]
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    pads = _pads(product, values.shape[2:], kernel, strides, dilations)
    padded = np.pad(values, ((0, 0), (0, 0), *pads))
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    axes = tuple(range(2, 2 + rank))
    windows = np.lib.stride_tricks.sliding_window_view(padded, spans, axes)
    places = tuple(slice(None, None, s) for s in strides)
    inside = tuple(slice(None, None, d) for d in dilations)
    windows = windows[(slice(None), slice(None), *places, *inside)]
    # (N, C, places..., kernel...) to (N, places..., C, kernel...)
    order = (0, *range(2, 2 + rank), 1, *range(2 + rank, 2 + 2 * rank))
    moved = windows.transpose(order)
    moved = moved.reshape(-1, groups, values.shape[1] // groups * int(np.prod(kernel)))
    return [moved[:, group] for group in range(groups)]


def _pads(
    product: Product,
    shape: Sequence[int],
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int],
) -> list[tuple[int, int]]:
    attributes, rank = product.step.attributes, len(shape)
    auto = attributes.get("auto_pad", "NOTSET")
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        found = []
        for size, k, s, d in zip(shape, kernel, strides, dilations, strict=True):
            whole = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            small, large = whole // 2, whole - whole // 2
            found.append((small, large) if auto == "SAME_UPPER" else (large, small))
        return found
    pads = attributes.get("pads") or [0] * (2 * rank)
    return [(pads[i], pads[i + rank]) for i in range(rank)]


def _width(product: Product) -> int:
    return int(product.weight.size // product.weight.shape[product.axis])


def _scales(product: Product, weight: Held) -> Array:
    """The scale of every weight, of the weight's rank."""
    shape = [1] * product.weight.ndim
    if weight.per_channel:
        shape[product.axis] = -1
    return np.asarray(weight.scale, np.float64).reshape(shape)

"""Scale search: what ranges the target itself likes best, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from chipdrift.graph.program import parse_program
from chipdrift.plan.calibrate.bench import Bench, Magnitudes, State
from chipdrift.plan.calibrate.pieces import Apart, SideBySide
from chipdrift.plan.calibrate.products import Product, clamp_bounds
from chipdrift.plan.calibrate.weights import Held, read_weights

Array = np.ndarray[Any, Any]
Span = tuple[float, float]
# Times the largest weight. Above 1 integers get smaller, as a narrow accumulator wants them; below
# it the largest weights are clipped.
_WIDER = (1.1, 1.25, 1.4, 1.6, 1.8, 2.0, 2.5, 3.0, 3.5, 4.0, 5.0, 6.0, 8.0, 11.0, 16.0, 22.0, 32.0)
_TIGHTER = (0.95, 0.9, 0.85, 0.8, 0.7, 0.6, 0.5)
# Times an activation's range.
_LOOSER = (1.1, 1.25, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0)
_CLOSER = (0.95, 0.9, 0.8, 0.7, 0.6, 0.5, 0.4)
# What a change must bring of a layer's squared error, so that the samples at hand do not decide.
_MARGIN = 0.98
_PATIENCE = 2  # steps in one direction without any layer's gain
_TINY = 1e-6


def search_weight_ranges(bench: Bench, state: State) -> State:
    """Each weight's range, or each channel's, that brings its layer nearest to the float model's.

    All layers are tried at once with one factor; the layer's own error decides. Raises SilentError.
    """
    reference = bench.reference(state)
    data = bench.make(state)
    held = read_weights(parse_program(data))
    first = SideBySide(data, reference).ask(bench)
    products = [p for p in reference.products if p.node in held and p.end in first]
    if not products:
        return state
    peaks = {p.node: _peaks(p, held[p.node]) for p in products}
    best = {p.node: _errors(first[p.end], held[p.node], p) * _MARGIN for p in products}
    chosen: dict[str, Array] = {}
    for factors in (_WIDER, _TIGHTER):
        idle = 0
        for factor in factors:
            tried = state.with_weight_ranges(
                {node: _given(peak * factor) for node, peak in peaks.items()}
            )
            apart = SideBySide(bench.make(tried), reference).ask(bench)
            gained = False
            for product in products:
                node = product.node
                found = _errors(apart[product.end], held[node], product)
                better = found < best[node]
                if better.any():
                    gained = True
                    best[node] = np.where(better, found, best[node])
                    kept = chosen.get(node, _current(held[node]))
                    chosen[node] = np.where(better, peaks[node] * factor, kept)
            idle = 0 if gained else idle + 1
            if idle == _PATIENCE:
                break
    return state.with_weight_ranges({node: _given(sizes) for node, sizes in chosen.items()})


def search_activation_ranges(bench: Bench, state: State) -> State:
    """Each activation's range by what its readers then answer; its maker decides at an output.

    Tensors that no piece has in common are tried at once. Raises SilentError.
    """
    reference = bench.reference(state)
    side = SideBySide(bench.make(state), reference)
    spans = _spans(side)
    bounds = {p.end: clamp_bounds(p, reference.program) for p in reference.products}
    owners = {q.real: q.owner for q in side.quantizers.values()}
    readers = _readers(side.links, owners, spans)
    power = {
        name: sum(float((np.asarray(a, np.float64) ** 2).sum()) for a in reference.taps[name])
        for name in {name for names in readers.values() for name in names}
    }
    first = side.ask(bench)
    best = {owner: _cost(first, readers[owner], power) * _MARGIN for owner in readers}
    chosen: dict[str, float] = {}
    for group in _apart(side.links, owners, list(readers)):
        for factors in (_LOOSER, _CLOSER):
            idle = 0
            for factor in factors:
                tried = state.with_ranges(
                    {o: _times(spans[o], factor, bounds.get(o)) for o in group}
                )
                apart = SideBySide(bench.make(tried), reference).ask(bench)
                idle += 1
                for owner in group:
                    found = _cost(apart, readers[owner], power)
                    if found < best[owner]:
                        best[owner], chosen[owner], idle = found, factor, 0
                if idle == _PATIENCE:
                    break
    return state.with_ranges(
        {o: _times(spans[o], factor, bounds.get(o)) for o, factor in chosen.items()}
    )


def measured_ranges(bench: Bench, state: State) -> dict[str, Span]:
    """The range of every activation's quantizer in the model that ``state`` makes."""
    side = SideBySide(bench.make(state), bench.reference(state))
    return {q.real: q.span for q in side.quantizers.values()}


def _spans(side: SideBySide) -> dict[str, Span]:
    return {q.owner: q.span for q in side.quantizers.values() if q.real == q.owner}


def _readers(
    links: Sequence[tuple[frozenset[str], frozenset[str]]],
    owners: Mapping[str, str],
    spans: Mapping[str, Span],
) -> dict[str, frozenset[str]]:
    """By the owner of a range, the tensors that say how good it is."""
    found: dict[str, set[str]] = {owner: set() for owner in spans}
    own: dict[str, set[str]] = {owner: set() for owner in spans}
    for reads, makes in links:
        for name in makes:
            if owners.get(name) in own:
                own[owners[name]].add(name)
        for owner in {owners.get(name) for name in reads} & set(found):
            assert owner is not None
            found[owner] |= {name for name in makes if owners.get(name) != owner}
    return {o: frozenset(found[o] or own[o]) for o in found if found[o] or own[o]}


def _apart(
    links: Sequence[tuple[frozenset[str], frozenset[str]]],
    owners: Mapping[str, str],
    wanted: Sequence[str],
) -> list[list[str]]:
    """``wanted`` in groups of which no two belong to one piece."""
    near: dict[str, set[str]] = {owner: set() for owner in wanted}
    for reads, makes in links:
        together = {owners.get(name, name) for name in reads | makes} & set(near)
        for owner in together:
            near[owner] |= together - {owner}
    groups: list[list[str]] = []
    for owner in wanted:
        for group in groups:
            if not near[owner] & set(group):
                group.append(owner)
                break
        else:
            groups.append([owner])
    return groups


def _cost(apart: Mapping[str, Apart], names: frozenset[str], power: Mapping[str, float]) -> float:
    return sum(apart[n].total / max(power[n], 1e-30) for n in names if n in apart)


def _times(span: Span, factor: float, bounds: Span | None) -> Span:
    """A wider or closer range; no wider than what a clamp lets pass."""
    low, high = bounds or (-np.inf, np.inf)
    return float(max(span[0] * factor, low)), float(min(span[1] * factor, high))


def _peaks(product: Product, held: Held) -> Array:
    """The largest magnitude of a weight, or of each of its channels."""
    rows = np.abs(product.columns(product.weight).astype(np.float64))
    return np.asarray(np.maximum(rows.max(axis=1) if held.per_channel else rows.max(), _TINY))


def _current(held: Held) -> Array:
    """The magnitudes that the weight's scales have now."""
    return np.asarray(held.scale, np.float64) * held.limit


def _errors(apart: Apart, held: Held, product: Product) -> Array:
    """Squared errors, one or one for each scale."""
    if not held.per_channel:
        return np.asarray(apart.total)
    # A grouped ConvTranspose has one scale for a channel of every group.
    return np.asarray(apart.squared.reshape(-1, product.weight.shape[product.axis]).sum(axis=0))


def _given(magnitudes: Array) -> Magnitudes:
    if magnitudes.ndim == 0:
        return float(np.float32(magnitudes))
    return tuple(float(np.float32(value)) for value in magnitudes)

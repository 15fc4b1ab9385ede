"""What must hold of calibration whatever the layers, weights, names and samples are."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from chipdrift.plan.calibrate.bench import State
from chipdrift.plan.calibrate.equalize import equalize
from chipdrift.plan.calibrate.judge import Judge
from chipdrift.plan.calibrate.roundings import _descend, _quadratic
from chipdrift.quantize import prepared_model
from chipdrift.schemes import (
    Layer,
    Scheme,
    get_scheme,
    read_adjustment,
    scheme_toml,
    write_adjustment,
)

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "plan"))
from calibrate_models import Chain, bench, feeds, run

Array = np.ndarray[Any, Any]
SLOW = settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
QUICK = settings(max_examples=60, deadline=None)


@st.composite
def chains(draw: st.DrawFn) -> Any:
    """Convolutions, depthwise and grouped ones, with and without a Relu and a bias between."""
    chain = Chain(draw(st.integers(0, 2**20)), draw(st.floats(0, 2)))
    channels = 2 * draw(st.integers(1, 3))
    first = channels
    for _ in range(draw(st.integers(2, 4))):
        kind = draw(st.sampled_from(["plain", "depthwise", "grouped"]))
        size, bias = draw(st.sampled_from([1, 3])), draw(st.booleans())
        after = channels if kind == "depthwise" else 2 * draw(st.integers(1, 4))
        groups = {"plain": 1, "depthwise": channels, "grouped": 2}[kind]
        chain.conv(channels, after, size, groups, bias)
        channels = after
        if draw(st.booleans()):
            chain.add("Relu")
    return chain.load([1, first, 5, 5])


@SLOW
@given(chains())
def test_equalization_changes_no_answer_of_the_float_model(model: Any) -> None:
    desk = bench(model, "ort-mlas", tune=3)
    state = equalize(desk, State())
    scheme = state.scheme(desk.base, "float", "float.npz")
    data = prepared_model(model, scheme, desk.calibration)
    fresh = feeds(model, 4, 99)
    for one, two in zip(run(model.data, fresh), run(data, fresh), strict=True):
        scale = max(float(np.abs(one[0]).max()), 1e-3)
        assert np.abs(one[0] - two[0]).max() <= 1e-3 * scale


@QUICK
@given(st.integers(0, 2**31), st.integers(1, 9), st.integers(1, 5), st.booleans())
def test_rounding_never_ends_further_than_the_nearest(
    seed: int, width: int, rows: int, masked: bool
) -> None:
    rng = np.random.default_rng(seed)
    real = rng.standard_normal((40, width)) @ rng.standard_normal((width, width))
    coarse = np.rint(real * 4) / 4
    steps = np.broadcast_to(rng.uniform(0.05, 2, (rows, 1)), (rows, width))
    wanted = rng.standard_normal((rows, width))
    ratio = wanted / steps
    nearest = np.rint(ratio)
    other = np.where(nearest > ratio, nearest - 1, nearest + 1)
    seen = rng.random((rows, 40)) < (0.5 if masked else 2.0)
    square, drift = _quadratic(coarse, real, wanted, seen)
    found = _descend(nearest, other, steps, wanted, square, drift)
    assert ((found == nearest) | (found == other)).all()
    sums = real @ wanted.T

    def cost(integers: Array) -> Array:
        apart = (coarse @ (integers * steps).T - sums).T
        return np.asarray((apart**2 * seen).sum(axis=1))

    assert (cost(found) <= cost(nearest) * (1 + 1e-9) + 1e-9).all()
    # No single flip is left that would help.
    for row in range(rows):
        for place in range(width):
            flipped = found.copy()
            low, high = sorted((nearest[row, place], other[row, place]))
            flipped[row, place] = low + high - found[row, place]
            assert cost(flipped)[row] >= cost(found)[row] * (1 - 1e-6) - 1e-6


@QUICK
@given(
    st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=40),
    st.lists(st.floats(-1e6, 1e6), min_size=8, max_size=40),
)
def test_a_chance_is_a_share_and_never_both_ways(one: list[float], two: list[float]) -> None:
    count = min(len(one), len(two))
    losses = {0.0: np.array(one[:count]), 1.0: np.array(two[:count])}
    judge = Judge([[np.zeros(1, np.float32)]] * count, lambda rows: losses[float(rows[0][0][0])])
    scores = [judge.score([[np.full(1, v, np.float32)]] * count) for v in (0.0, 1.0)]
    there, back = judge.chance(*scores), judge.chance(*scores[::-1])
    assert 0 < there <= 1
    assert 0 < back <= 1
    assert max(there, back) == 1.0


names = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
sizes = st.floats(1e-30, 1e30)


@QUICK
@given(
    st.dictionaries(names, st.tuples(st.floats(-1e30, -1e-30), sizes), max_size=4),
    st.dictionaries(names, st.one_of(sizes, st.tuples(sizes, sizes)), max_size=4),
    st.lists(names.filter(bool), max_size=3),
    names,
)
def test_any_scheme_is_read_as_it_was_written(
    ranges: dict[str, Any], weights: dict[str, Any], nodes: list[str], words: str
) -> None:
    layers = (Layer(nodes=tuple(nodes), activations="uint16"),) if nodes else ()
    scheme = Scheme(
        name="any", description=words, kind="qdq", ranges=ranges, weight_ranges=weights,
        layer=layers,
    )  # fmt: skip
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "any.toml")
        path.write_text(scheme_toml(scheme), encoding="utf-8", newline="")
        assert get_scheme(str(path)).model_copy(update={"sha256": ""}) == scheme


@QUICK
@given(
    st.dictionaries(
        st.tuples(names.filter(lambda n: bool(n) and "\x00" not in n), st.integers(0, 20)),
        st.lists(st.floats(-(2.0**100), 2.0**100, width=32), max_size=6),
        min_size=1,
        max_size=4,
    )
)
def test_any_arrays_come_back(held: dict[tuple[str, int], list[float]]) -> None:
    arrays = {f"{n}#{slot}": np.array(v, np.float32) for (n, slot), v in held.items()}
    found = read_adjustment(write_adjustment(arrays), "here")
    assert found.keys() == arrays.keys()
    assert all(np.array_equal(found[key], arrays[key]) for key in arrays)

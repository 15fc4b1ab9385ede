"""Each technique against what was not written for it: enumeration, onnxruntime, planted errors."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest
from calibrate_models import Chain, bench, feeds, run, sqnr
from onnx import numpy_helper

from chipdrift.graph import LoadedModel
from chipdrift.graph.program import parse_program
from chipdrift.plan.calibrate.bench import Bench, State
from chipdrift.plan.calibrate.biases import correct_biases
from chipdrift.plan.calibrate.equalize import equalize, find_pairs
from chipdrift.plan.calibrate.pieces import SideBySide
from chipdrift.plan.calibrate.roundings import adapt, round_weights
from chipdrift.plan.calibrate.scales import (
    measured_ranges,
    search_activation_ranges,
    search_weight_ranges,
)
from chipdrift.plan.calibrate.weights import read_weights
from chipdrift.quantize import prepared_model

Array = np.ndarray[Any, Any]
LOW, SIX = ("low", np.float32(0)), ("high", np.float32(6))


def chains() -> dict[str, LoadedModel]:
    return {
        "relu": Chain(1, 2).conv(3, 8, 3).add("Relu").conv(8, 6).load([1, 3, 6, 6]),
        "nothing": Chain(2, 2).conv(3, 8).conv(8, 6, 3, bias=False).load([1, 3, 6, 6]),
        "depthwise": (
            Chain(3, 2).conv(3, 8).add("Relu").conv(8, 8, 3, groups=8).add("Relu").conv(8, 4)
        ).load([1, 3, 6, 6]),
        "grouped": Chain(4, 2).conv(3, 8).add("Relu").conv(8, 6, 3, groups=2).load([1, 3, 5, 5]),
        "gemm": (Chain(5, 2).gemm(12, 9).add("Relu").gemm(9, 7, turned=True).gemm(7, 3)).load(
            [1, 12]
        ),
        "open clip": (Chain(6, 2).conv(3, 8).add("Clip", LOW).conv(8, 6).load([1, 3, 6, 6])),
    }


def float_of(desk: Bench, state: State) -> bytes:
    scheme = state.scheme(desk.base, "float", "float.npz")
    return prepared_model(desk.model, scheme, desk.calibration)


@pytest.mark.parametrize("name", list(chains()))
def test_equalization_leaves_the_float_model_as_it_is(name: str) -> None:
    model = chains()[name]
    desk = bench(model, "ort-mlas")
    state = equalize(desk, State())
    assert state.equalized
    fresh = feeds(model, 20, 77)
    wanted, found = run(model.data, fresh), run(float_of(desk, state), fresh)
    for one, two in zip(wanted, found, strict=True):
        # Weights that differ a thousandfold are summed in float32.
        assert np.abs(one[0] - two[0]).max() <= 1e-4 * np.abs(one[0]).max()


@pytest.mark.parametrize("name", list(chains()))
def test_equalized_layers_reach_equally_far(name: str) -> None:
    desk = bench(chains()[name], "ort-mlas")
    for pair in find_pairs(desk.reference(equalize(desk, State()))):
        out = np.abs(np.moveaxis(pair.first.weight, pair.first.axis, 0))
        rows = out.reshape(len(out), -1).max(axis=1)
        weight = pair.second.weight
        if pair.second.op == "Conv" and pair.second.groups > 1:
            groups = pair.second.groups
            split = np.abs(weight).reshape(groups, -1, *weight.shape[1:])
            columns = split.max(axis=(1, 3, 4)).reshape(-1)
        else:
            moved = np.abs(np.moveaxis(weight, 1 - pair.second.axis, 0))
            columns = moved.reshape(len(moved), -1).max(axis=1)
        assert rows == pytest.approx(columns, rel=1e-2)


def test_equalization_helps_where_channels_differ() -> None:
    model = chains()["relu"]
    desk = bench(model, "ort-mlas")
    fresh = feeds(model, 30, 5)
    wanted = run(model.data, fresh)
    before = sqnr(run(desk.make(State()), fresh), wanted)
    after = sqnr(run(desk.make(equalize(desk, State())), fresh), wanted)
    assert after > before + 3


def test_a_clip_is_passed_below_its_bound_alone() -> None:
    """On the samples at hand the float model answers the same; a channel that clips is left."""
    model = Chain(8, 2).conv(3, 8).add("Clip", LOW, SIX).conv(8, 6).load([1, 3, 6, 6])
    desk = bench(model, "ort-mlas", tune=60)
    (pair,) = find_pairs(desk.reference(State()))
    assert (pair.reach > 6).any()
    assert (pair.reach < 4).any()
    state = equalize(desk, State())
    wanted, found = run(model.data, desk.tune), run(float_of(desk, state), desk.tune)
    for one, two in zip(wanted, found, strict=True):
        assert np.abs(one[0] - two[0]).max() <= 2e-5 * np.abs(one[0]).max()
    kept = pair.reach > 6 * 0.8
    assert np.array_equal(state.equalized["n0#1"][kept], pair.first.weight[kept])


@pytest.mark.parametrize(
    "model",
    [
        Chain(9).conv(3, 8).add("HardSwish").conv(8, 6).load([1, 3, 4, 4]),
        Chain(9).conv(3, 8).add("Clip", ("low", np.float32(-1)), SIX).conv(8, 6).load([1, 3, 4, 4]),
        Chain(9).conv(3, 8).add("LeakyRelu").conv(8, 6).load([1, 3, 4, 4]),
    ],
    ids=["hardswish", "clip below zero", "leaky"],
)
def test_nothing_is_moved_through_what_is_not_homogeneous(model: LoadedModel) -> None:
    state = State()
    assert equalize(bench(model, "ort-mlas"), state) is state


def test_rounding_is_nearly_the_best_of_all_there_are() -> None:
    """Every choice of neighbours, tried one by one, for eight weights a channel."""
    model = Chain(11).conv(2, 5, 2).load([1, 2, 7, 7])
    desk = bench(model, "ort-mlas", "w4a16_pc", tune=20)
    state = State().with_ranges(measured_ranges(desk, State()))
    reference, data = desk.reference(state), desk.make(state)
    (product,) = reference.products
    held = read_weights(parse_program(data))[product.node]
    side = SideBySide(data, reference)
    source = {q.real: q for q in side.quantizers.values()}["x"]
    scale = held.scale.astype(np.float64).reshape(-1, 1, 1, 1)
    found = adapt(product, product.weight, held, scale, source, reference)
    taps = reference.taps["x"]

    def rows(x: Array) -> Array:
        padded = np.pad(x[0], ((0, 0), (1, 1), (1, 1)))
        size = padded.shape[1] - 1
        return np.array(
            [padded[:, i : i + 2, j : j + 2].ravel() for i in range(size) for j in range(size)]
        )

    real = np.concatenate([rows(x) for x in taps]).astype(np.float64)
    coarse = np.concatenate([rows(source.reals(source.integers(x))) for x in taps])
    for channel in range(5):
        steps = held.scale[channel]
        weight = product.weight[channel].ravel().astype(np.float64)
        wanted = real @ weight

        def cost(values: Array, wanted: Array = wanted) -> float:
            return float(((coarse @ values - wanted) ** 2).sum())

        floor = np.floor(weight / steps)
        choices = [
            cost(np.clip(floor + np.array(ups), -7, 7) * steps)
            for ups in itertools.product((0, 1), repeat=weight.size)
        ]
        nearest = cost(np.clip(np.rint(weight / steps), -7, 7) * steps)
        mine = cost(found[channel].ravel().astype(np.float64))
        assert mine <= nearest * (1 + 1e-6)
        assert mine <= min(choices) * 1.15
        # On the grid, and at a neighbour.
        integers = found[channel].ravel() / steps
        assert integers == pytest.approx(np.rint(integers), abs=1e-4)
        assert np.abs(integers - weight / steps).max() < 1.001


def test_rounding_brings_4_bit_weights_nearer_on_other_samples() -> None:
    model = Chain(12).conv(4, 32, 3).add("Relu").conv(32, 16).add("Relu").conv(16, 8)
    loaded = model.load([1, 4, 8, 8])
    desk = bench(loaded, "hexagon-v73", "w4a16_pc")
    state = State().with_ranges(measured_ranges(desk, State()))
    fresh = feeds(loaded, 30, 6)
    wanted = run(loaded.data, fresh)
    before = sqnr(desk.ask(desk.make(state), fresh), wanted)
    rounded = round_weights(desk, state)
    after = sqnr(desk.ask(desk.make(rounded), fresh), wanted)
    assert after > before + 0.5
    # The model holds the integers that were chosen, not others near them.
    program = parse_program(desk.make(rounded))
    for key, values in rounded.arrays.items():
        held = read_weights(program)[key.removesuffix("#1")]
        made = held.integers * held.scale.reshape(-1, 1, 1, 1)
        assert made == pytest.approx(values, rel=1e-5, abs=1e-7)


def test_what_rounding_down_adds_is_taken_off_the_bias() -> None:
    """A chip that rounds every result down shifts each layer by half a step: planted, and found."""
    chain = Chain(13).conv(3, 8, 3).add("Relu").conv(8, 8, 3, groups=8).add("Relu").conv(8, 6)
    model = chain.load([1, 3, 6, 6])
    desk = bench(model, "hypothesis-floor")
    state = State().with_ranges(measured_ranges(desk, State()))
    corrected = correct_biases(desk, state)
    fresh = feeds(model, 40, 8)
    wanted = run(model.data, fresh)
    one, two = (desk.ask(desk.make(s), fresh) for s in (state, corrected))
    assert sqnr(two, wanted) > sqnr(one, wanted) + 1

    def shift(answers: list[list[Array]]) -> float:
        apart = [row[0] - other[0] for row, other in zip(answers, wanted, strict=True)]
        return float(np.abs(np.mean(apart, axis=(0, 1, 3, 4))).max())

    assert shift(two) < shift(one) / 2


def test_a_bias_is_appended_where_there_was_none() -> None:
    model = Chain(14).conv(3, 8, bias=False).add("Relu").conv(8, 4, bias=False).load([1, 3, 5, 5])
    desk = bench(model, "hypothesis-floor")
    state = State().with_ranges(measured_ranges(desk, State()))
    corrected = correct_biases(desk, state)
    assert {"n0#2", "n2#2"} <= set(corrected.arrays)
    inits = onnx.load_from_string(desk.make(corrected)).graph.initializer
    biases = [numpy_helper.to_array(i) for i in inits if i.data_type == onnx.TensorProto.INT32]
    assert sorted(b.size for b in biases if b.size > 1) == [4, 8]


def test_weights_get_smaller_where_sums_saturate_and_do_not_where_they_fit() -> None:
    model = Chain(15).conv(16, 16).add("Relu").conv(16, 16).load([1, 16, 4, 4])
    narrow, wide = (bench(model, p) for p in ("hypothesis-int16-accumulator", "ort-mlas"))
    fresh = feeds(model, 30, 4)
    wanted = run(model.data, fresh)
    for desk, least in ((narrow, 4.0), (wide, -0.3)):
        state = State().with_ranges(measured_ranges(desk, State()))
        found = search_weight_ranges(desk, state)
        before, after = (sqnr(desk.ask(desk.make(s), fresh), wanted) for s in (state, found))
        assert after > before + least
        if desk is narrow:
            # What a Relu makes is of one sign, and its sums grow.
            peak = np.abs(desk.reference(state).products[1].weight).max()
            size = found.weight_ranges["n2"]
            assert isinstance(size, float)
            assert size > 1.2 * peak


def test_channels_get_ranges_of_their_own() -> None:
    """One channel's sum saturates, by a weight that is the same everywhere; the others fit."""
    model = Chain(16).conv(24, 6).load([1, 24, 4, 4])
    init = next(i for i in model.proto.graph.initializer if i.name == "n0/w")
    weight = numpy_helper.to_array(init).copy()
    weight[:] *= 0.02
    weight[:, 0] = 1.0  # one large weight a channel, so that the others are small integers
    weight[3] = 1.0  # and a channel of large ones alone
    init.CopyFrom(numpy_helper.from_array(weight, "n0/w"))
    desk = bench(model, "hypothesis-int16-accumulator", "w8a8_pc")
    state = State().with_ranges(measured_ranges(desk, State()))
    sizes = search_weight_ranges(desk, state).weight_ranges["n0"]
    assert isinstance(sizes, tuple)
    assert np.argmax(sizes) == 3
    assert sizes[3] > 1.5 * np.median(sizes)


def test_a_second_search_keeps_what_the_first_found() -> None:
    """Where one channel still gains, the others' ranges are not given up."""
    model = Chain(19, 1).conv(8, 12).add("Relu").conv(12, 8, 3).load([1, 8, 5, 5])
    desk = bench(model, "hypothesis-int16-accumulator", "w8a8_pc")
    state = State().with_ranges(measured_ranges(desk, State()))
    reference = desk.reference(state)
    costs = []
    for _ in range(3):
        apart = SideBySide(desk.make(state), reference).ask(desk)
        costs.append(np.concatenate([apart[p.end].squared for p in reference.products]))
        # From what a first search would have left: one channel's range is too wide by far.
        sizes = state.weight_ranges.get("n2")
        if isinstance(sizes, tuple):
            state = state.with_weight_ranges({"n2": (sizes[0] * 8, *sizes[1:])})
        state = search_weight_ranges(desk, state)
    assert costs[0].sum() > 2 * costs[1].sum()
    assert (costs[2] <= costs[1] * 1.001).all()


def test_a_range_that_a_few_samples_blew_up_is_drawn_in() -> None:
    """Calibration has outliers that the tune samples have not: 4 of 5 bits are for nothing."""
    model = Chain(17).conv(3, 8).add("Relu").conv(8, 4).load([1, 3, 5, 5])
    desk = bench(model, "ort-mlas")
    wild = [{"x": feed["x"] * (20 if i == 0 else 1)} for i, feed in enumerate(desk.calibration)]
    desk = Bench(desk.oracle, model, desk.base, wild, desk.tune)
    state = State().with_ranges(measured_ranges(desk, State()))
    found = search_activation_ranges(desk, state)
    fresh = feeds(model, 30, 3)
    wanted = run(model.data, fresh)
    before, after = (sqnr(run(desk.make(s), fresh), wanted) for s in (state, found))
    assert after > before + 4
    assert found.ranges["x"][1] < state.ranges["x"][1] * 0.6


@pytest.mark.parametrize("profile", ["ort-mlas", "hypothesis-floor"])
def test_a_piece_alone_is_the_model_where_there_is_one_piece(profile: str) -> None:
    model = Chain(18).conv(3, 5, 3).add("Relu").load([1, 3, 6, 6])
    desk = bench(model, profile)
    reference, data = desk.reference(State()), desk.make(State())
    apart = SideBySide(data, reference).ask(desk)["n1/out"]
    answers = desk.ask(data, desk.tune)
    wanted = run(model.data, list(desk.tune))
    errors = np.stack(
        [a[0].astype(np.float64) - w[0] for a, w in zip(answers, wanted, strict=True)]
    )
    assert apart.squared == pytest.approx((errors**2).sum(axis=(0, 1, 3, 4)), rel=1e-5)
    assert apart.mean == pytest.approx(errors.mean(axis=(0, 1, 3, 4)), rel=1e-5, abs=1e-7)
    assert apart.count == len(answers) * 36


def test_a_tensor_and_what_reads_it_are_not_tried_at_once() -> None:
    from chipdrift.plan.calibrate.scales import _apart

    links = [
        (frozenset({"x"}), frozenset({"a"})),
        (frozenset({"a"}), frozenset({"b"})),
        (frozenset({"a", "b"}), frozenset({"c"})),
        (frozenset({"c"}), frozenset({"d"})),
    ]
    names = ["x", "a", "b", "c", "d"]
    groups = _apart(links, {n: n for n in names}, names)
    assert sorted(n for group in groups for n in group) == sorted(names)
    for group in groups:
        for reads, makes in links:
            assert len(set(group) & (reads | makes)) <= 1
    assert len(groups) == 3

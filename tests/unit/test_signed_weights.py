"""Weights with a zero point, brought to signed 8 bits (N17)."""

from __future__ import annotations

from fractions import Fraction
from math import floor
from typing import Any

import numpy as np
import pytest
from single_op import Case, Q, by_engine, feed_of, model_of, profile

from chipdrift.graph.program import program_of
from chipdrift.numerics.signed import fits_signed, signed_weights
from chipdrift.numerics.tensors import Quant
from chipdrift.targets.sim.session import SimSession

RULES: dict[str, Any] = {
    "accumulator": {"width": 64, "operands": "stored", "stored": "signed"},
    "requantize": {"drop": 8, "parts": "apart", "multiplier": "exact", "rounding": "FLOOR"},
}


def quant(zero: int) -> Quant:
    return Quant(np.asarray(np.float32(0.5)), np.asarray(zero), "uint8")


def by_hand(c: list[int]) -> tuple[list[int], Fraction]:
    """One channel's integers and factor, with fractions."""
    far = max(Fraction(max(c), 127), Fraction(min(c), -128), Fraction(1))
    factor = Fraction(floor(far * 2048 + Fraction(1, 2)), 2048) if far > 1 else Fraction(1)
    away = [floor(abs(v) / factor + Fraction(1, 2)) * (1 if v > 0 else -1) for v in c]
    return [min(max(v, -128), 127) for v in away], factor


@pytest.mark.parametrize("zero", [0, 3, 77, 127, 128, 129, 200, 255])
def test_each_channel_by_itself(zero: int) -> None:
    rng = np.random.default_rng(zero)
    w = rng.integers(0, 256, (6, 9)).astype(np.uint8)
    w[:, 0] = np.clip(zero + rng.integers(-128, 128, 6), 0, 255)  # this one stays
    w[:, 1] = zero
    values, held, factors = signed_weights(w, quant(zero), 1)
    assert values.dtype == np.int8
    for n in range(9):
        want, factor = by_hand([int(v) - zero for v in w[:, n]])
        assert values[:, n].tolist() == want
        assert factors[n] == factor
        scale = held.scale if held.per_tensor else held.scale[n]
        assert scale == np.float32(0.5 * float(factor))
    assert not held.zero_point.any()


# (weights less their zero point, of one channel; what Qualcomm's simulator multiplied by instead),
# read from its answers, htp:sm8450 and htp:sm8550 alike, onnxruntime-qnn 2.7.0.
SEEN = [
    ([204, 200], [127, 124]),
    ([97, 129], [96, 127]),
    ([163, 129], [127, 100]),
    ([217, 129], [127, 76]),
    ([226, 129], [127, 73]),
    ([109, 130], [107, 127]),
    ([155, 130], [127, 106]),
    ([200, 100], [127, 64]),
    ([254, 117], [127, 59]),
]


@pytest.mark.parametrize(("weights", "seen"), SEEN)
def test_as_the_simulator_has_them(weights: list[int], seen: list[int]) -> None:
    w = np.array(weights, np.uint8)[:, None]
    assert signed_weights(w, quant(0), 1)[0].ravel().tolist() == seen


def test_what_fits_keeps_its_scale() -> None:
    w = np.array([[0, 255], [128, 127]], np.uint8)
    values, held, factors = signed_weights(w, quant(128), 0)
    np.testing.assert_array_equal(values, w.astype(int) - 128)
    assert held.per_tensor and held.scale == np.float32(0.5)
    assert factors.tolist() == [1, 1]


@pytest.mark.parametrize("zero", [0, 100, 127, 128, 255])
def test_whether_all_fit(zero: int) -> None:
    for low, high in ((0, 255), (zero, zero), (max(0, zero - 128), min(255, zero + 127))):
        w = np.array([low, high], np.uint8)
        assert fits_signed(w, quant(zero)) == (low - zero >= -128 and high - zero <= 127)
    assert fits_signed(w[:0], quant(zero))


def product(constant: bool, batch: tuple[int, ...] = ()) -> Case:
    rng = np.random.default_rng(8)
    x = rng.integers(20_000, 45_000, (*batch, 5, 12))
    w = rng.integers(0, 256, (*batch, 12, 6))
    sides = [Q("uint16", 1.0, 30_000, x), Q("uint8", 0.25, 40, w, constant=constant)]
    return Case("MatMul", sides, Q("uint16", 1024.0, 32_768))


def want(case: Case) -> np.ndarray:  # type: ignore[type-arg]
    """Every matrix with its channels' factors, in fractions."""
    x, w = (one.values for one in case.inputs)  # type: ignore[union-attr]
    out = np.zeros((*x.shape[:-1], w.shape[-1]), int)
    for place in np.ndindex(*w.shape[:-2]):
        for n in range(w.shape[-1]):
            c, factor = by_hand([int(v) - 40 for v in w[place][:, n]])
            scale = Fraction(float(np.float32(0.25 * float(factor))))
            products, taken = x[place] @ np.array(c), (30_000 * sum(c) + 128) >> 8
            out[(*place, slice(None), n)] = [
                floor(((int(p) >> 8) - taken) * 256 * scale / 1024) + 32_768 for p in products
            ]
    return np.clip(out, 0, 65535)


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_a_product_of_them(constant: bool, fast: bool) -> None:
    case = product(constant)
    found = SimSession(program_of(model_of(case)), profile(**RULES), fast).run(feed_of(case))[0]
    np.testing.assert_array_equal(found, want(case))
    plain = {**RULES, "accumulator": {**RULES["accumulator"], "stored": "input"}}
    assert (by_engine(case, **plain) != found).any()


@pytest.mark.parametrize("fast", [False, True])
def test_every_matrix_of_a_batch_has_its_own_factors(fast: bool) -> None:
    case = product(False, (2, 3))
    found = SimSession(program_of(model_of(case)), profile(**RULES), fast).run(feed_of(case))[0]
    np.testing.assert_array_equal(found, want(case))


@pytest.mark.parametrize("fast", [False, True])
def test_convolutions_and_their_bias(fast: bool) -> None:
    """The bias stays the number that it is, to half a step of its channel's new scale."""
    rng = np.random.default_rng(9)
    x, w = rng.integers(20_000, 45_000, (1, 3, 5, 5)), rng.integers(0, 256, (4, 3, 2, 2))
    bias = Q("int32", 0.25, 0, np.array([900, -4000, 70_000, 1]), constant=True)
    sides = [Q("uint16", 1.0, 30_000, x), Q("uint8", 0.25, 40, w, constant=True), bias]
    case = Case("Conv", sides, Q("uint16", 1024.0, 32_768))
    found = SimSession(program_of(model_of(case)), profile(**RULES), fast).run(feed_of(case))[0]
    windows = np.lib.stride_tricks.sliding_window_view(x - 30_000, (2, 2), axis=(2, 3))
    exact = np.einsum("nchwij,mcij->nmhw", windows, w - 40) + bias.values.reshape(1, -1, 1, 1)
    ideal = np.clip(exact * 0.25 / 1024 + 32_768, 0, 65535)
    assert np.abs(found - ideal).max() < 12 * 0.5 * 15_000 * 0.5 / 1024 + 2
    assert len(np.unique(found)) > 30

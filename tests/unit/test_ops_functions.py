"""Tables, float16 and deliberate errors in functions."""

from __future__ import annotations

import numpy as np
import pytest
from single_op import Array, Case, Q, by_engine

X8 = Q("uint8", 0.05, 128, np.arange(256))
X16 = Q("int16", 0.05 / 256, 30, np.arange(-32768, 32768))
Y8, Y16 = Q("uint8", 1 / 256, 0), Q("int16", 1 / 32768, 0)
EXACT = {"arithmetic": "exact"}


@pytest.mark.parametrize("op", ["Sigmoid", "Gelu", "Tanh", "Exp"])
def test_a_table_of_256_entries_holds_all_bytes(op: str) -> None:
    case = Case(op, [X8], Q("uint8", 0.01, 40))
    table = by_engine(case, function={"arithmetic": "table", "entries": 256})
    np.testing.assert_array_equal(table, by_engine(case, function=EXACT))


@pytest.mark.parametrize("entries", [256, 512, 300, 2])
def test_longer_inputs_are_interpolated_in_integers(entries: int) -> None:
    """At the knots the exact answer; between them a line, a half upwards."""
    case = Case("Sigmoid", [X16], Y16)
    got = by_engine(case, function={"arithmetic": "table", "entries": entries}).astype(np.int64)
    at = np.arange(-32768, 32768) + 32768
    scale, low = float(np.float32(X16.scale)), -32768 - 30
    knots = (low + np.arange(entries + 1) * 65536 / entries) * scale
    table = np.minimum(np.rint(32768 / (1 + np.exp(-knots))), 32767).astype(np.int64)
    want = []
    for p in at.tolist():
        i, rest = p * entries // 65536, p * entries % 65536
        line = (int(table[i + 1]) - int(table[i])) * rest
        want.append(int(table[i]) + (2 * line + 65536) // (2 * 65536))
    np.testing.assert_array_equal(got, want)


def test_more_entries_come_nearer() -> None:
    case = Case("Tanh", [X16], Y16)
    exact = by_engine(case, function=EXACT).astype(np.int64)
    worst = [
        np.abs(by_engine(case, function={"arithmetic": "table", "entries": n}) - exact).max()
        for n in (16, 64, 256, 1024)
    ]
    assert worst == sorted(worst, reverse=True)
    assert worst[-1] <= 1
    assert worst[0] > 50


def test_float16_rounds_every_step() -> None:
    x16 = ((X8.values - 128).astype(np.float32) * np.float32(0.05)).astype(np.float16)
    grown = np.exp(-x16.astype(np.float64)).astype(np.float16)
    value = (np.float16(1) / (np.float16(1) + grown)).astype(np.float16)
    out = Q("uint16", 1 / 65536, 0)
    want = np.minimum(np.rint(value.astype(np.float32) * np.float32(65536)), 65535)
    got = by_engine(Case("Sigmoid", [X8], out), function={"arithmetic": "float16"})
    np.testing.assert_array_equal(got, want.astype(np.uint16))
    other = by_engine(Case("Sigmoid", [X8], out))
    assert (got != other).mean() > 0.5


@pytest.mark.parametrize("arithmetic", ["exact", "float32", "float16", "table"])
def test_a_relative_error_stretches_the_answer(arithmetic: str) -> None:
    x = Q("uint8", 0.05, 128, np.full((2, 8), 128))
    out = Q("uint8", 1 / 256, 0)
    for op, plain in (("Softmax", 32), ("Sigmoid", 128)):
        found = [
            by_engine(Case(op, [x], out), function={"arithmetic": arithmetic, "relative_error": e})
            for e in (0.0, 0.3)
        ]
        assert set(found[0].flat) == {plain}
        assert set(found[1].flat) == {round(plain * 1.3)}


@pytest.mark.parametrize("arithmetic", ["exact", "float32"])
def test_softmax_of_equal_values_is_even(arithmetic: str) -> None:
    rows = Q("int8", 0.1, -7, np.repeat(np.arange(-3, 3)[:, None], 16, axis=1))
    got = by_engine(Case("Softmax", [rows], Y8), function={"arithmetic": arithmetic})
    assert set(got.flat) == {16}


@pytest.mark.parametrize(("op", "want"), [("Sqrt", 9), ("Log", 9), ("Reciprocal", 255)])
def test_what_is_no_number_becomes_zero(op: str, want: int) -> None:
    """N46: the root and the logarithm of -1 are the zero point, 1 / 0 the greatest integer."""
    value = 128 if op == "Reciprocal" else 108
    x = Q("uint8", 0.05, 128, np.array([value]))
    for arithmetic in ("exact", "float32", "float16", "table"):
        case, rules = Case(op, [x], Q("uint8", 0.01, 9)), {"arithmetic": arithmetic}
        for rounding in ("HALF_EVEN", "FLOOR"):
            got: Array = by_engine(case, function=rules, elementwise={"rounding": rounding})
            assert got.tolist() == [want], (arithmetic, rounding)


def test_dividing_by_zero_saturates() -> None:
    a, b = Q("int8", 0.1, 0, np.array([3, -3, 0])), Q("int8", 0.1, 0, np.array([0, 0, 0]))
    for arithmetic in ("exact", "float32"):
        got = by_engine(
            Case("Div", [a, b], Q("int8", 0.1, 5)), elementwise={"arithmetic": arithmetic}
        )
        assert got.tolist() == [127, -128, 5]

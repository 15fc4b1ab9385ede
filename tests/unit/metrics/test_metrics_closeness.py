import math

import numpy as np
import pytest

from chipdrift.errors import DataError
from chipdrift.metrics import Outputs, closeness, get_metric

NAN, INF = float("nan"), float("inf")


def scores(name: str, mine: list[list[float]], reference: list[list[float]]) -> list[float]:
    base = Outputs(arrays={"y": np.array(reference, np.float32)}, primary="y")
    given = Outputs(arrays={"y": np.array(mine, np.float32)}, primary="y", reference=base)
    metric = get_metric(name)
    metric.check(given)
    return metric.measure(given).scores.tolist()


@pytest.mark.parametrize(
    ("x", "r", "expected"),
    [
        ([1, 0], [1, 1], math.sqrt(0.5)),
        ([3, 4], [3, 4], 1.0),
        ([3, 4], [-3, -4], -1.0),
        ([0, 0], [0, 0], 1.0),
        ([0, 0], [0, 1], 0.0),
        ([NAN, 1], [1, 1], 0.0),
        ([INF, 1], [1, 1], 0.0),
        ([-INF, 1], [-INF, 2], 1.0),
        ([3e38, 3e38], [3e38, 3e38], 1.0),
        ([1e-45, 0], [1e-45, 0], 1.0),
    ],
)
def test_cosine(x: list[float], r: list[float], expected: float) -> None:
    assert scores("cosine", [x], [r]) == pytest.approx([expected], abs=1e-15)


@pytest.mark.parametrize(
    ("x", "r", "expected"),
    [
        ([9, 0], [10, 0], 20.0),
        ([0, 0], [10, 0], 0.0),
        ([110, 0], [10, 0], -20.0),
        ([10, 0], [10, 0], 150.0),
        ([0, 0], [0, 0], 150.0),
        ([1, 0], [0, 0], -150.0),
        ([NAN, 0], [10, 0], -150.0),
        ([INF, 9], [INF, 10], 20.0),
    ],
)
def test_sqnr(x: list[float], r: list[float], expected: float) -> None:
    assert scores("sqnr", [x], [r]) == pytest.approx([expected], abs=1e-6)


def test_psnr_takes_its_peak_from_all_samples() -> None:
    found = scores("psnr", [[1, 1], [100, 90], [NAN, 0]], [[1, 1], [100, 100], [0, 0]])
    # The reference spans 100; the second sample's mean squared error is 50.
    assert found == pytest.approx([150.0, 10 * math.log10(1e4 / 50), -150.0])


def test_psnr_of_a_constant_reference() -> None:
    assert scores("psnr", [[7, 7], [7, 8]], [[7, 7], [7, 7]]) == [150.0, -150.0]


def test_double_precision_beyond_its_squares_is_no_warning() -> None:
    base = Outputs(arrays={"y": np.array([[1e200, 1.0]])}, primary="y")
    given = Outputs(arrays={"y": np.array([[1e200, 2.0]])}, primary="y", reference=base)
    assert get_metric("cosine").measure(given).scores.tolist() == [0.0]


def test_sums_do_not_depend_on_the_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    x, r = np.random.default_rng(0).normal(size=(2, 10, 3))
    x[4, 1] = NAN
    whole = closeness.row_sums(x, r)
    monkeypatch.setattr(closeness, "_CHUNK", 7)
    for a, b in zip(closeness.row_sums(x, r), whole, strict=True):
        assert np.array_equal(a, b)
    assert whole.finite.tolist() == [i != 4 for i in range(10)]


@pytest.mark.parametrize("name", ["cosine", "sqnr", "psnr", "spearman"])
def test_answers_are_bits(name: str) -> None:
    metric = get_metric(name)
    answers = metric.answers(Outputs(arrays={"y": np.array([[0.0], [-0.0], [0.0]])}, primary="y"))
    assert answers.shape == (3,)
    assert answers[0] == answers[2] != answers[1]
    assert metric.describe(answers[0]) == f"bits {answers[0][:8]}"


def test_text_outputs_have_no_closeness() -> None:
    words = Outputs(arrays={"y": np.array([["a"]])}, primary="y")
    given = Outputs(arrays={"y": np.array([["b"]])}, primary="y", reference=words)
    with pytest.raises(DataError, match="expected numbers"):
        get_metric("cosine").check(given)

from typing import Any

import numpy as np
import pytest
from scipy import stats

from chipdrift.errors import DataError
from chipdrift.metrics import Outputs, bootstrap, evaluate, get_metric
from chipdrift.metrics.base import Statistic

METRIC = get_metric("spearman")


def given(array: Any, labels: Any, pairs: Any = None) -> Outputs:
    extras = {} if pairs is None else {"pairs": np.array(pairs)}
    return Outputs(
        arrays={"y": np.array(array)}, primary="y", labels=np.array(labels), extras=extras
    )


def measured(outputs: Outputs) -> Statistic:
    METRIC.check(outputs)
    found = METRIC.measure(outputs)
    assert isinstance(found, Statistic)
    return found


def test_scalars_against_labels_equal_scipy_with_ties() -> None:
    generator = np.random.default_rng(0)
    scores, labels = generator.integers(0, 8, size=(2, 60))
    found = measured(given(scores[:, None].astype(np.float32), labels)).value()
    assert found == pytest.approx(stats.spearmanr(scores, labels).statistic, abs=1e-12)


def test_pairs_take_the_cosine_of_two_samples() -> None:
    generator = np.random.default_rng(1)
    vectors = generator.normal(size=(20, 1, 6))
    pairs = generator.integers(0, 20, size=(50, 2))
    labels = generator.normal(size=50)
    a, b = vectors[pairs[:, 0], 0], vectors[pairs[:, 1], 0]
    cosines = (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)
    statistic = measured(given(vectors, labels, pairs))
    assert statistic.units == 50
    expected = stats.spearmanr(np.round(cosines, 12), labels).statistic
    assert statistic.value() == pytest.approx(expected, abs=1e-9)


def test_a_draw_equals_scipy_on_the_repeated_units() -> None:
    generator = np.random.default_rng(2)
    scores, labels = generator.integers(0, 5, size=(2, 12))
    statistic = measured(given(scores[:, None], labels))
    weights = generator.multinomial(12, np.full(12, 1 / 12), size=20)
    for row, found in zip(weights, statistic.values(weights), strict=True):
        drawn = np.repeat(np.arange(12), row)
        expected = stats.spearmanr(scores[drawn], labels[drawn]).statistic
        assert found == pytest.approx(expected, abs=1e-12)


def test_no_order_is_no_correlation() -> None:
    assert measured(given([[3.0], [3.0], [3.0]], [1, 2, 3])).value() == 0.0


def test_nan_ranks_below_all() -> None:
    assert measured(given([[np.nan], [-np.inf], [1.0]], [1, 1, 2])).value() == pytest.approx(1.0)
    vectors = [[1.0, 0], [1, 1], [np.nan, 0]]
    assert measured(given(vectors, [1.0, 2, 0], [[0, 1], [0, 0], [0, 2]])).value() == 1.0


def test_interval_is_near_fishers() -> None:
    generator = np.random.default_rng(3)
    labels = generator.normal(size=300)
    scores = labels + generator.normal(size=300)
    result = evaluate(METRIC, given(scores[:, None], labels))
    assert result.low is not None and result.high is not None
    half = 1.96 / np.sqrt(297) * (1 - result.value**2)
    assert result.high - result.low == pytest.approx(2 * half, rel=0.25)
    assert result.low < result.value < result.high


def test_two_samples_have_a_value_and_no_interval() -> None:
    result = evaluate(METRIC, given([[1.0], [2.0]], [1, 2]))
    assert (result.value, result.low, result.high) == (1.0, None, None)


def test_draws_that_hold_one_unit_are_defined() -> None:
    statistic = measured(given([[1.0], [2.0]], [1, 2]))
    found = bootstrap.replicates((statistic.values,), 2, 50)[0]
    assert set(found.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize(
    ("array", "labels", "pairs", "message"),
    [
        ([[1.0, 2.0]] * 3, [1, 2, 3], None, "2 values per sample, expected one; add a 'pairs'"),
        ([[1.0]] * 3, [1, 2], None, "for each of the 3 samples"),
        ([[1.0]] * 3, [1, 2], [[0, 1]], "for each of the 1 pairs"),
        ([[1.0]] * 3, ["a", "b", "c"], None, "dtype <U1"),
        ([[1.0]] * 3, [1.0, np.nan, 2.0], None, "label 1 is NaN"),
        ([[1.0]] * 3, [2, 2, 2], None, "all 3 labels are 2"),
        ([[1.0]] * 3, [1, 2], [[0, 1], [0, 3]], "pair 1 names sample 3, expected 0 to 2"),
        ([[1.0]] * 3, [1, 2], [[0.0, 1.0]], r"dtype float64 and shape \(1, 2\)"),
        ([[1.0]] * 3, [1, 2], [0, 1], r"shape \(2,\)"),
    ],
)
def test_bad_data_is_named(array: Any, labels: Any, pairs: Any, message: str) -> None:
    with pytest.raises(DataError, match=message):
        METRIC.check(given(array, labels, pairs))


def test_label_words() -> None:
    assert METRIC.describe_label(given([[1.0], [2.0]], [1.5, 2]), 0) == "1.5"
    assert METRIC.describe_label(given([[1.0], [2.0]], [1.5], [[0, 1]]), 0) is None

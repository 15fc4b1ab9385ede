import numpy as np
import pytest
from scipy import stats

from chipdrift.metrics.base import Floats, Ints
from chipdrift.metrics.bootstrap import p_value, percentile_interval, replicates


def _mean_of(scores: Floats):
    def values(weights: Ints) -> Floats:
        return weights @ scores / len(scores)

    return values


def _draws(scores: Floats, resamples: int = 1_999) -> Floats:
    return replicates((_mean_of(scores),), len(scores), resamples)[0]


def test_every_draw_holds_as_many_units_as_there_are() -> None:
    seen = []
    replicates((lambda w: seen.append(w) or np.zeros(len(w)),), 7, 100)
    weights = np.concatenate(seen)
    assert weights.shape == (100, 7)
    assert (weights.sum(axis=1) == 7).all()


def test_draws_do_not_depend_on_how_many_are_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.arange(50.0)  # Whole numbers add up the same in any order.
    whole = _draws(scores)
    monkeypatch.setattr("chipdrift.metrics.bootstrap._CHUNK", 170)
    assert np.array_equal(_draws(scores), whole)


def test_mean_of_normal_data_gets_the_t_interval() -> None:
    scores = np.random.default_rng(2).normal(3.0, 1.0, size=40)
    low, high = percentile_interval(scores.mean(), _draws(scores, 20_000), 40)
    expected = stats.t.interval(0.95, 39, scores.mean(), stats.sem(scores))
    assert (low, high) == pytest.approx(expected, abs=0.03)


def test_p_value_is_near_the_paired_t_test() -> None:
    scores = np.random.default_rng(3).normal(0.3, 1.0, size=40)
    expected = stats.ttest_1samp(scores, 0.0).pvalue
    assert 0.01 < expected < 0.9
    assert p_value(_draws(scores, 20_000), 40) == pytest.approx(expected, rel=0.3)


def test_interval_covers_and_test_holds_its_level() -> None:
    generator = np.random.default_rng(4)
    trials, missed, called = 400, 0, 0
    for _ in range(trials):
        scores = generator.normal(0.0, 1.0, size=15)
        draws = _draws(scores, 999)
        low, high = percentile_interval(scores.mean(), draws, 15)
        missed += not low <= 0.0 <= high
        called += p_value(draws, 15) < 0.05
    # Binomial(400, 0.05) lies in 9..33 with a chance of 0.998.
    assert 9 <= missed <= 33
    assert 9 <= called <= 33


def test_p_value_and_interval_agree_at_the_line() -> None:
    generator = np.random.default_rng(5)
    for _ in range(100):
        scores = generator.normal(0.5, 1.0, size=20)
        draws = _draws(scores, 999)
        low, high = percentile_interval(scores.mean(), draws, 20)
        p = p_value(draws, 20)
        if abs(p - 0.05) > 0.005:
            assert (p < 0.05) is not (low <= 0.0 <= high)


@pytest.mark.parametrize("n", [1, 2, 3, 600])
def test_alike_or_few_units_have_no_interval(n: int) -> None:
    assert percentile_interval(0.7, _draws(np.full(n, 0.7)), n) == (None, None)


def test_identical_data_differs_by_nothing() -> None:
    assert p_value(_draws(np.zeros(600)), 600) == 1.0


@pytest.mark.parametrize(("n", "least"), [(1, 1.0), (2, 0.2), (3, 0.08), (600, 0.0002)])
def test_few_units_make_no_strong_claim(n: int, least: float) -> None:
    p = p_value(np.full(9_999, 0.5), n)
    assert least <= p <= 1.3 * least


def test_undefined_draws_count_against_a_claim() -> None:
    draws = np.linspace(1.0, 2.0, 1_000)
    draws[:40] = np.nan
    low, high = percentile_interval(1.5, draws, 100)
    assert low is not None and high is not None and low > 1.0
    assert p_value(draws, 100) > 0.05
    draws[:60] = np.nan
    assert percentile_interval(1.5, draws, 100) == (None, None)


def test_interval_holds_the_value() -> None:
    low, high = percentile_interval(5.0, np.linspace(0.0, 1.0, 999), 100)
    assert low is not None and low < 0.1
    assert high == 5.0

import math

import pytest
from scipy import optimize
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint

from chipdrift.errors import DataError
from chipdrift.metrics.intervals import (
    Z,
    holm,
    mcnemar_exact,
    samples_for_halfwidth,
    samples_for_paired_halfwidth,
    tango,
    wilson,
)


@pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 20), (7, 20), (20, 20), (499, 600)])
def test_wilson_equals_statsmodels(k: int, n: int) -> None:
    assert wilson(k, n) == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_wilson_ends_exactly_at_the_edge() -> None:
    assert wilson(0, 7)[0] == 0.0
    assert wilson(7, 7)[1] == 1.0


def test_no_samples_have_no_interval() -> None:
    with pytest.raises(DataError, match="0 samples"):
        wilson(0, 0)
    with pytest.raises(DataError, match="0 samples"):
        tango(0, 0, 0)


def test_impossible_counts_are_refused() -> None:
    with pytest.raises(ValueError, match="out of"):
        wilson(3, 2)
    with pytest.raises(ValueError, match="out of"):
        tango(2, 1, 2)
    with pytest.raises(ValueError, match="lost"):
        mcnemar_exact(-1, 0)


@pytest.mark.parametrize(
    ("b", "c"), [(0, 0), (1, 0), (0, 5), (3, 3), (12, 3), (3, 20), (45, 40), (300, 400)]
)
def test_mcnemar_equals_statsmodels(b: int, c: int) -> None:
    expected = mcnemar([[10, b], [c, 10]], exact=True).pvalue
    assert mcnemar_exact(b, c) == pytest.approx(min(1.0, expected), rel=1e-9)


def _score_by_optimiser(b: int, c: int, n: int, d: float) -> float:
    """Tango's statistic with the restricted likelihood maximised by search, no closed form.

    With P(lost) = q and P(gained) = q + d, the log-likelihood is
    b log(q + d) + c log q + (n - b - c) log(1 - 2 q - d).
    """
    low, high = max(0.0, -d), (1 - d) / 2

    def loss(q: float) -> float:
        terms = ((b, q + d), (c, q), (n - b - c, 1 - 2 * q - d))
        return -sum(k * math.log(max(p, 1e-300)) for k, p in terms if k)

    q = optimize.minimize_scalar(
        loss, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    # The search keeps off the bounds, where the maximum may lie.
    q = min((q, low, high), key=loss)
    variance = (2 * q + d * (1 - d)) / n
    return ((b - c) / n - d) / math.sqrt(variance)


@pytest.mark.parametrize(
    ("b", "c", "n"),
    [(1, 0, 5), (0, 3, 12), (2, 2, 9), (9, 4, 50), (0, 0, 30), (5, 0, 5), (17, 60, 600), (1, 2, 3)],
)
def test_tango_inverts_the_score_test(b: int, c: int, n: int) -> None:
    difference = (b - c) / n
    low, high = tango(b, c, n)
    if difference > -1:
        found = optimize.brentq(
            lambda d: _score_by_optimiser(b, c, n, d) - Z, -1 + 1e-9, difference - 1e-9
        )
        assert low == pytest.approx(found, abs=1e-6)
    if difference < 1:
        found = optimize.brentq(
            lambda d: _score_by_optimiser(b, c, n, d) + Z, difference + 1e-9, 1 - 1e-9
        )
        assert high == pytest.approx(found, abs=1e-6)
    else:
        assert high == 1.0


@pytest.mark.parametrize("n", [1, 2, 30, 600])
def test_tango_without_discordance_has_a_width(n: int) -> None:
    width = Z * Z / (n + Z * Z)
    assert tango(0, 0, n) == pytest.approx((-width, width), abs=1e-12)


@pytest.mark.parametrize(
    "p", [[0.01], [0.04, 0.01, 0.03], [0.5, 0.5, 0.9], [0.001, 0.2, 0.02, 0.02, 1.0, 0.0]]
)
def test_holm_equals_statsmodels(p: list[float]) -> None:
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=1e-15)


def test_holm_of_nothing_and_of_nonsense() -> None:
    assert holm([]) == ()
    with pytest.raises(ValueError, match="outside"):
        holm([float("nan")])


@pytest.mark.parametrize(("half", "p"), [(0.02, 0.5), (0.02, 0.9), (0.01, 0.0), (0.4, 1.0)])
def test_samples_for_halfwidth_is_the_least(half: float, p: float) -> None:
    n = samples_for_halfwidth(half, p)

    def reached(n: int) -> float:
        low, high = proportion_confint(p * n, n, method="wilson")
        return (high - low) / 2

    assert reached(n) <= half * (1 + 1e-12)
    assert n == 1 or reached(n - 1) > half


def test_samples_for_halfwidth_of_two_points() -> None:
    # The textbook's Z^2 / (4 * 0.02^2) = 2401, less Wilson's pull towards a half.
    assert samples_for_halfwidth(0.02) == 2398


@pytest.mark.parametrize(("half", "share"), [(0.02, 0.05), (0.02, 0.0), (0.05, 0.3), (0.3, 1.0)])
def test_samples_for_a_paired_halfwidth_is_the_least(half: float, share: float) -> None:
    n = samples_for_paired_halfwidth(half, share)
    for count, enough in ((n, True), (n - 1, False)):
        if count:
            low, high = tango(count * share / 2, count * share / 2, count)
            assert ((high - low) / 2 <= half) is enough


def test_planning_refuses_nonsense() -> None:
    for call in (
        lambda: samples_for_halfwidth(0.0),
        lambda: samples_for_halfwidth(0.1, 1.5),
        lambda: samples_for_paired_halfwidth(1.0, 0.1),
        lambda: samples_for_paired_halfwidth(0.1, -0.1),
    ):
        with pytest.raises(DataError, match="expected"):
            call()

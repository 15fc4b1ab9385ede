"""The samples that show a loss, against the tests that decide it."""

from __future__ import annotations

from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chipdrift.diagnose.planned import POWER, power, samples_needed
from chipdrift.diagnose.tested import Difference
from chipdrift.metrics import bootstrap
from chipdrift.metrics.intervals import mcnemar_exact, tango


def _seen(more: int, fewer: int, samples: int, tests: int) -> Difference:
    low, high = tango(fewer, more, samples)
    return Difference(
        "a", "b", (fewer - more) / samples, low, high, mcnemar_exact(fewer, more), samples, tests
    )


def _by_hand(samples: int, more: float, fewer: float, tests: int) -> float:
    """Every outcome with its chance, the test asked for each."""
    whole = 0.0
    for lost in range(samples + 1):
        for gained in range(lost):
            if lost + gained > samples or tests * mcnemar_exact(gained, lost) >= 0.05:
                continue
            ways = comb(samples, lost) * comb(samples - lost, gained)
            same = (1 - more - fewer) ** (samples - lost - gained)
            whole += ways * more**lost * fewer**gained * same
    return whole


@pytest.mark.parametrize("tests", [1, 2, 6])
@pytest.mark.parametrize(("more", "fewer"), [(0.2, 0.0), (0.3, 0.1), (0.6, 0.4), (1.0, 0.0)])
@pytest.mark.parametrize("samples", [5, 12, 40])
def test_the_power_is_that_of_all_outcomes(
    samples: int, more: float, fewer: float, tests: int
) -> None:
    wanted = _by_hand(samples, more, fewer, tests)
    assert power(samples, more, fewer, tests) == pytest.approx(wanted, abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(
    fewer=st.integers(0, 12),
    apart=st.integers(1, 12),
    samples=st.integers(60, 3000),
    tests=st.integers(1, 20),
)
def test_the_number_is_right_by_the_exact_test(
    fewer: int, apart: int, samples: int, tests: int
) -> None:
    """Runs drawn at the rates seen: shown by test and interval in four of five, or in more."""
    more = fewer + apart
    found = _seen(more, fewer, samples, tests)
    needed = samples_needed(found, True)
    assert needed is not None and needed > samples
    chances = [more / samples, fewer / samples, 1 - (more + fewer) / samples]
    drawn = np.random.default_rng(samples).multinomial(needed, chances, 400)
    shown = [
        again.lost == "shown"
        for again in (_seen(int(m), int(f), needed, tests) for m, f, _ in drawn)
    ]
    # Of 400 draws the share has a standard deviation of 0.02.
    assert np.mean(shown) > POWER - 0.08
    if needed > samples + 1:
        assert np.mean(shown) < POWER + 0.12
        assert power(needed // 2, chances[0], chances[1], tests) < POWER


def test_a_mean_by_the_bootstrap_that_decides_it() -> None:
    """Drawn again with the samples named, the bootstrap shows it about as often as promised."""
    rng = np.random.default_rng(3)

    def seen(differences: np.ndarray[Any, Any]) -> Difference:
        count = len(differences)

        def mean(weights: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            return weights @ differences / count

        draws = bootstrap.replicates((mean,), count, 1_999)[0]
        value = float(differences.mean())
        low, high = bootstrap.percentile_interval(value, draws, count)
        return Difference("a", "b", value, low, high, bootstrap.p_value(draws, count), count, 2)

    first = rng.normal(-0.02, 0.15, 100)
    found = seen(first)
    assert found.lost == "not seen"
    needed = samples_needed(found, False)
    assert needed is not None
    again = [seen(rng.choice(first, needed)).lost == "shown" for _ in range(60)]
    assert 0.62 < np.mean(again) < 0.95  # of 60 draws: a standard deviation of 0.05


def test_no_number_without_a_difference_or_an_interval() -> None:
    assert samples_needed(_seen(3, 3, 100, 1), True) is None
    assert samples_needed(Difference("a", "b", -0.1, None, None, 0.04, 100), True) is None

"""Three outcomes by hand, and what must hold of every figure and limit."""

from __future__ import annotations

import math
from typing import get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from chipdrift.gate.judge import Figure, accepts, at_least, at_most, samples_to_tell
from chipdrift.metrics.intervals import tango, wilson
from chipdrift.records import Evidence

ORDER = {"pass": 0, "unproven": 1, "fail": 2}


@pytest.mark.parametrize(
    ("low", "high", "limit", "outcome"),
    [
        (0.2, 0.9, 1.0, "pass"),
        (0.2, 1.0, 1.0, "pass"),  # as much as is allowed is allowed
        (0.2, 3.1, 1.0, "unproven"),
        (1.0, 3.1, 1.0, "unproven"),  # it may be just as much as is allowed
        (1.1, 3.1, 1.0, "fail"),
        (-2.0, -0.5, 0.0, "pass"),  # a gain
        (None, None, 1.0, "unproven"),
        (math.nan, math.nan, 1.0, "unproven"),
    ],
)
def test_by_interval(low: float | None, high: float | None, limit: float, outcome: str) -> None:
    assert at_most(Figure(0.5, low, high, sampled=True), limit, "interval") == outcome


@pytest.mark.parametrize(
    ("found", "limit", "outcome"), [(1.0, 1.0, "pass"), (1.01, 1.0, "fail"), (0.0, 0.0, "pass")]
)
def test_by_value_and_for_counts(found: float, limit: float, outcome: str) -> None:
    assert at_most(Figure(found, -9.0, 9.0, sampled=True), limit, "value") == outcome
    assert at_most(Figure(found), limit, "interval") == outcome


@pytest.mark.parametrize("judge", ["interval", "value"])
def test_what_is_no_number_is_broken(judge: str) -> None:
    assert at_most(Figure(math.nan, 0.0, 0.0, sampled=True), 1.0, judge) == "fail"
    assert at_least(Figure(math.nan, 0.0, 0.0, sampled=True), 1.0, judge) == "fail"


def test_the_least_agreement_by_statsmodels() -> None:
    """985 of 1,000 alike: Wilson's interval is 97.5 to 99.1 %."""
    low, high = proportion_confint(985, 1000, method="wilson")
    assert (round(100 * low, 1), round(100 * high, 1)) == (97.5, 99.1)
    figure = Figure(98.5, 100 * low, 100 * high, sampled=True)
    assert at_least(figure, 97.0, "interval") == "pass"
    assert at_least(figure, 98.0, "interval") == "unproven"
    assert at_least(figure, 99.5, "interval") == "fail"
    assert at_least(figure, 98.5, "value") == "pass"
    assert at_least(figure, 98.6, "value") == "fail"


_figures = st.tuples(
    st.floats(-100, 100), st.floats(0, 50), st.floats(0, 50), st.booleans(), st.booleans()
).map(
    lambda t: Figure(
        t[0], None if t[4] else t[0] - t[1], None if t[4] else t[0] + t[2], sampled=t[3]
    )
)


@settings(deadline=None)
@given(_figures, st.floats(0, 100), st.floats(0, 100), st.sampled_from(["interval", "value"]))
def test_a_stricter_limit_is_never_kinder(figure: Figure, a: float, b: float, judge: str) -> None:
    strict, loose = sorted((a, b))
    assert ORDER[at_most(figure, strict, judge)] >= ORDER[at_most(figure, loose, judge)]
    assert ORDER[at_least(figure, loose, judge)] >= ORDER[at_least(figure, strict, judge)]


@settings(deadline=None)
@given(
    st.integers(1, 60), st.integers(0, 60), st.integers(0, 60), st.integers(2, 50), st.floats(0, 50)
)
def test_more_samples_of_the_same_share_only_decide(
    same: int, gained: int, worse: int, times: int, limit: float
) -> None:
    """What is proven stays so, and what was seen beyond a limit never becomes held."""

    def outcomes(factor: int) -> list[str]:
        n = factor * (same + gained + worse)
        low, high = tango(factor * gained, factor * worse, n)
        loss = 100 * factor * (worse - gained) / n
        drop = Figure(loss, -100 * high, -100 * low, sampled=True)
        share = wilson(factor * same, n)
        agree = Figure(100 * factor * same / n, 100 * share[0], 100 * share[1], sampled=True)
        return [at_most(drop, limit, "interval"), at_least(agree, limit, "interval")]

    for few, many in zip(outcomes(1), outcomes(times), strict=True):
        assert few in ("unproven", many)


@settings(deadline=None)
@given(st.integers(20, 400), st.floats(0.5, 0.99), st.floats(1, 99))
def test_as_many_samples_as_it_says_do_tell(n: int, share: float, limit: float) -> None:
    same = round(share * n)
    low, high = (100 * end for end in wilson(same, n))
    figure = Figure(100 * same / n, low, high, sampled=True)
    enough = samples_to_tell(figure, limit, n)
    if enough is None or at_least(figure, limit, "interval") != "unproven":
        return
    assert enough >= n
    # It is an estimate: twice as many must do, and a twentieth must not.
    for samples, tells in ((2 * enough, True), (enough // 20, False)):
        if samples >= 2:
            low, high = (100 * end for end in wilson(samples * same / n, samples))
            again = at_least(Figure(figure.found, low, high, sampled=True), limit, "interval")
            assert (again != "unproven") is tells


def test_no_number_of_samples_tells_what_lies_on_the_limit() -> None:
    assert samples_to_tell(Figure(1.0, 0.5, 1.5, sampled=True), 1.0, 100) is None
    assert samples_to_tell(Figure(1.0, None, None, sampled=True), 2.0, 100) is None
    # Half as wide takes four times as many.
    assert samples_to_tell(Figure(1.0, -1.0, 3.0, sampled=True), 2.0, 100) == 400


def test_evidence_is_a_ladder_and_a_host_is_beside_it() -> None:
    ladder = ["hypothesis", "prediction", "emulated-runtime", "vendor-simulator", "reported"]
    ladder.append("device")
    assert {*ladder, "host-runtime"} == set(get_args(Evidence))
    for i, wanted in enumerate(ladder):
        assert [accepts(wanted, e) for e in ladder] == [j >= i for j in range(len(ladder))]
        assert not accepts(wanted, "host-runtime")
        assert not accepts("host-runtime", wanted)
    assert accepts("host-runtime", "host-runtime")
    assert accepts(("reported", "host-runtime"), "host-runtime")
    assert not accepts(("reported", "host-runtime"), "device")

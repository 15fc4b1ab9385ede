"""``--budget``: what is understood, what is refused, and where a figure stands."""

from __future__ import annotations

from fractions import Fraction

import pytest

from chipdrift.errors import ChipdriftError
from chipdrift.metrics import get_metric
from chipdrift.plan.budget import default_metric, excess, parse_budget, standing, within
from chipdrift.plan.records import Budget
from chipdrift.records import Interval, MetricResult


def figure(value: float, low: float | None = None, high: float | None = None) -> MetricResult:
    return MetricResult(name="m", value=value, low=low, high=high)


def lost(value: float, low: float | None = None, high: float | None = None) -> Interval:
    return Interval(value=value, low=low, high=high)


def stands(text: str, result: MetricResult, loss: Interval) -> str:
    return standing(*parse_budget(text, "top1"), result, loss)


@pytest.mark.parametrize(
    ("text", "metric", "kind", "limit"),
    [
        ("top1 drop <= 1%", "top1", "drop", Fraction(1, 100)),
        ("top1 drop<=1%", "top1", "drop", Fraction(1, 100)),
        ("  top1   drop  <=  1  %  ", "top1", "drop", Fraction(1, 100)),
        ("top1 drop < 1%", "top1", "drop", Fraction(1, 100)),
        ("top1 drop <= 0.5pp", "top1", "drop", Fraction(1, 200)),
        ("top1 drop <= 1 point", "top1", "drop", Fraction(1, 100)),
        ("top1 drop <= 2 points", "top1", "drop", Fraction(2, 100)),
        ("top1 drop <= 0.02", "top1", "drop", Fraction(2, 100)),
        ("top1 drop <= .02", "top1", "drop", Fraction(2, 100)),
        ("top1 drop <= 0", "top1", "drop", Fraction(0)),
        ("drop <= 1%", "mean_top", "drop", Fraction(1, 100)),
        (">= 97.5%", "mean_top", "least", Fraction(975, 1000)),
        ("agreement >= 98%", "agreement", "least", Fraction(98, 100)),
        ("agreement >= 1", "agreement", "least", Fraction(1)),
        ("agreement > 0.98", "agreement", "least", Fraction(98, 100)),
        ("sqnr >= 37", "sqnr", "least", Fraction(37)),
        ("spearman drop <= 0.01", "spearman", "drop", Fraction(1, 100)),
        ("cer <= 5%", "cer", "least", Fraction(5, 100)),
        ("cer drop <= 0.01", "cer", "drop", Fraction(1, 100)),
    ],
)
def test_what_is_understood(text: str, metric: str, kind: str, limit: Fraction) -> None:
    default = "top5" if metric == "mean_top" else "top1"
    metric = "top5" if metric == "mean_top" else metric
    budget, found = parse_budget(text, default)
    assert (budget.metric, budget.kind, budget.text) == (metric, kind, text.strip())
    assert budget.limit == pytest.approx(float(limit), abs=1e-15)
    assert found.name == metric


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not understood"),
        ("top1", "not understood"),
        ("drop", "not understood"),
        ("top1 drop 1%", "not understood"),
        ("top1 drop <= -1%", "not understood"),
        ("top1 drop <= 1e-2", "not understood"),
        ("top1 drop <= 1,5%", "not understood"),
        ("top1 drop = 1%", "not understood"),
        ("top1 drop <= 1% and agreement >= 9%", "not understood"),
        ("top1 drop <= nan", "not understood"),
        ("top1 drop >= 1%", "a drop must be <= something"),
        ("agreement <= 98%", "agreement must be >= something"),
        ("top1 < 98%", "top1 must be >= something"),
        ("cer >= 5%", "cer must be <= something"),
        ("agreement drop <= 1%", 'Say how much is needed: "agreement >= 98%"'),
        ("sqnr drop <= 1", "against the float model already"),
        ("top1 drop <= 1", r"found 1, which says nothing. Did you mean 1%\?"),
        ("top1 drop <= 5", r"Did you mean 5%\?"),
        ("agreement >= 98", r"Did you mean 98%\?"),
        ("agreement >= 1.5", "between 0 and 100%"),
        ("top1 drop <= 100%", "found 100%, which says nothing"),
        ("agreement >= 150%", "found 150%, which says nothing"),
        ("agreement >= 0", "found 0, which says nothing"),
        ("topp1 drop <= 1%", "topp1"),
    ],
)
def test_what_is_refused_in_one_sentence(text: str, words: str) -> None:
    with pytest.raises(ChipdriftError, match=words) as caught:
        parse_budget(text, "top1")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("text", ["top1 drop <= 100%", "agreement >= 150%", "agreement >= 0"])
def test_nobody_is_asked_whether_nonsense_was_meant(text: str) -> None:
    with pytest.raises(ChipdriftError) as caught:
        parse_budget(text, "top1")
    assert "Did you mean" not in str(caught.value)


def test_the_default_metric() -> None:
    assert (default_metric(True), default_metric(False)) == ("top1", "agreement")


@pytest.mark.parametrize(("right", "of"), [(93, 100), (94, 100), (940, 1000), (279, 300), (18, 20)])
def test_a_figure_at_the_limit_holds_whatever_binary_makes_of_it(right: int, of: int) -> None:
    """Both as a mean of scores and as a difference of shares: 1 - 0.94 is over 0.06."""
    percent = 100 * (of - right) // of
    assert of * percent == 100 * (of - right)
    budget, metric = parse_budget(f"drop <= {percent}%", "top1")
    for loss in (1.0 - right / of, (of - right) / of, -(right / of - 1.0)):
        assert within(budget, metric, figure(right / of), lost(loss))
        one_more = loss + 1 / of
        assert not within(budget, metric, figure(right / of), lost(one_more))
    assert 1.0 - 0.94 > 0.06  # the reason


def test_a_share_at_its_limit_holds() -> None:
    budget, metric = parse_budget("agreement >= 93%", "top1")
    for value in (0.93, 93 / 100, 1 - 0.07):
        assert within(budget, metric, figure(value), lost(0.0))
    assert not within(budget, metric, figure(92 / 100), lost(0.0))


def test_less_than_is_read_as_at_most() -> None:
    assert stands("drop < 7%", figure(0.93), lost(0.07, 0.01, 0.07)) == "confirmed"


@pytest.mark.parametrize(
    ("loss", "expected"),
    [
        (lost(0.0, -0.01, 0.01), "confirmed"),
        (lost(0.01, 0.0, 0.01), "confirmed"),
        (lost(0.005, -0.01, 0.0101), "within"),
        (lost(0.01, 0.0, 0.02), "within"),
        (lost(-0.2, -0.3, -0.1), "confirmed"),
        (lost(0.0101, 0.009, 0.02), "missed"),
        (lost(0.5, -0.5, 0.9), "missed"),
        (lost(0.0), "within"),  # no spread is shown: nothing is confirmed
        (lost(0.02), "missed"),
    ],
)
def test_a_drop_stands_by_its_loss_alone(loss: Interval, expected: str) -> None:
    for value in (figure(0.9, 0.0, 1.0), figure(0.1)):
        assert stands("drop <= 1%", value, loss) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (figure(0.99, 0.98, 1.0), "confirmed"),
        (figure(0.99, 0.9799, 1.0), "within"),
        (figure(0.98, 0.97, 0.99), "within"),
        (figure(0.97, 0.9, 1.0), "missed"),
        (figure(1.0), "within"),
    ],
)
def test_a_least_stands_by_its_lower_end(result: MetricResult, expected: str) -> None:
    for loss in (lost(0.0, 0.0, 0.0), lost(0.7, 0.6, 0.8)):
        assert stands("agreement >= 98%", result, loss) == expected


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (figure(0.04, 0.03, 0.05), "confirmed"),
        (figure(0.04, 0.0, 0.0501), "within"),
        (figure(0.06, 0.0, 0.1), "missed"),
        (figure(0.04), "within"),
    ],
)
def test_lower_is_better_stands_by_its_upper_end(result: MetricResult, expected: str) -> None:
    assert stands("cer <= 5%", result, lost(0.0, 0.0, 0.0)) == expected


def test_how_far_beyond_is_in_the_metrics_unit_and_positive_is_worse() -> None:
    for text, result, loss, expected in (
        ("drop <= 1%", figure(0.9), lost(0.04), 0.03),
        ("drop <= 1%", figure(0.9), lost(-0.04), -0.05),
        ("agreement >= 98%", figure(0.95), lost(0.05), 0.03),
        ("sqnr >= 37", figure(30.0), lost(170.0), 7.0),
        ("cer <= 5%", figure(0.08), lost(0.01), 0.03),
    ):
        budget, metric = parse_budget(text, "top1")
        assert excess(budget, metric, result, loss) == pytest.approx(expected)
        assert within(budget, metric, result, loss) == (expected <= 0)


def test_a_budget_says_what_was_asked() -> None:
    budget, metric = parse_budget("cer drop <= 2 points", "top1")
    assert budget == Budget(text="cer drop <= 2 points", metric="cer", kind="drop", limit=0.02)
    assert not metric.higher_is_better
    assert metric is get_metric("cer") or metric.name == "cer"

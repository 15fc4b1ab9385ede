import pytest
from report_matrices import CPU, cell, matrix, metric

from chipdrift.records import Interval
from chipdrift.report.figures import Figures, listing, number, p_value, percent

SHARE = Figures.of(matrix(cell("fp32", CPU)))


@pytest.mark.parametrize(
    ("share", "text"),
    [
        (1.0, "100 %"),
        (0.0, "0 %"),
        (0.5, "50.0 %"),
        (0.9996, "99.96 %"),
        (0.99999, "99.999 %"),
        (0.0004, "0.04 %"),
    ],
)
def test_only_all_is_100_percent_and_only_nothing_is_0(share: float, text: str) -> None:
    assert percent(share) == text


@pytest.mark.parametrize(("p", "text"), [(0.0497, "0.0497"), (0.0502, "0.0502"), (1.0, "1")])
def test_p_values_are_not_rounded_across_the_line(p: float, text: str) -> None:
    assert p_value(p) == text


def test_p_values_close_to_nothing() -> None:
    assert p_value(1e-9) == "< 0.001"


@pytest.mark.parametrize(
    ("change", "text"),
    [(-0.015, "-1.5"), (0.002, "+0.2"), (0.0, "0"), (-0.0003, "-0.03")],
)
def test_changes_of_a_share_are_in_points_and_small_ones_are_not_zero(
    change: float, text: str
) -> None:
    assert SHARE.change(change) == text
    assert SHARE.change_unit == "points"


def test_a_share_is_in_percent() -> None:
    assert SHARE.value(0.973) == "97.3 %"
    assert SHARE.span(Interval(value=0.9, low=0.85, high=0.94)) == "85.0 to 94.0"
    assert SHARE.half_width(Interval(value=0.9, low=0.85, high=0.95)) == "5.0"


def test_no_interval_is_none() -> None:
    none = Interval(value=0.9)
    assert SHARE.span(none) is SHARE.half_width(none) is SHARE.change_span(none) is None


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [("sqnr", 37.204, "37.20 dB"), ("spearman", 0.8312, "0.8312"), ("mine", 512.25, "512.2")],
)
def test_other_metrics_keep_their_own_unit(name: str, value: float, text: str) -> None:
    own = metric("bootstrap percentile over samples, 95 %", name=name)
    assert Figures.of(matrix(cell("w8a8", CPU, value), metric=own)).value(value) == text


@pytest.mark.parametrize(
    ("words", "most", "text"),
    [
        ([], None, ""),
        (["a"], None, "a"),
        (["a", "b", "c"], None, "a, b and c"),
        (["a", "b", "c", "d"], 3, "a, b and 2 more"),
    ],
)
def test_lists_in_words(words: list[str], most: int | None, text: str) -> None:
    assert listing(words, most) == text


def test_numbers_have_three_digits() -> None:
    assert [number(x) for x in (0.65695, 58.63, 65535.0)] == ["0.657", "58.6", "65,535"]

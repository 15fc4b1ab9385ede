"""A figure on its limit is not above it: the last bits of binary arithmetic decide nothing."""

from __future__ import annotations

from typing import Any

import pytest

from chipdrift.records import Delta, MetricInfo
from chipdrift.regress.limits import exceeded
from chipdrift.regress.records import Change, Timing

SHARE = MetricInfo(
    name="top1", higher_is_better=True, answer="label", output="y", interval="Wilson", test="x"
)
ERROR = MetricInfo(
    name="wer", higher_is_better=False, answer="text", output="y", interval="bootstrap", test="x"
)


def change(**fields: Any) -> Change:
    return Change(
        scheme="w8a8",
        a="htp:sm8550@2.50",
        b="htp:sm8550@2.51",
        versions={},
        same_model=True,
        status_a="ok",
        status_b="ok",
        **fields,
    )


def lost(value: float) -> Delta:
    return Delta.uncorrected(value, None, None, 1.0)


@pytest.mark.parametrize(
    ("name", "limit", "metric", "on", "above"),
    [
        # 100 * 0.07 is 7.000000000000001
        ("loss", 7, SHARE, {"delta": lost(-0.07)}, {"delta": lost(-0.0701)}),
        ("loss", 0.3, ERROR, {"delta": lost(0.1 + 0.2)}, {"delta": lost(0.301)}),
        # 100 * (1 - 0.71) is 29.000000000000004
        ("changed", 29, SHARE, {"agreement": 0.71}, {"agreement": 0.7099}),
        ("bits", 29, SHARE, {"identical": 0.71}, {"identical": 0.7099}),
        # 100 * (1.1 - 1) is 10.000000000000009
        (
            "slower",
            10,
            SHARE,
            {"timing": Timing(samples=20, a=1, b=1.1, ratio=1.1)},
            {"timing": Timing(samples=20, a=1, b=1.101, ratio=1.101)},
        ),
    ],
)
def test_on_the_limit_is_not_above_it(
    name: str, limit: float, metric: MetricInfo, on: dict[str, Any], above: dict[str, Any]
) -> None:
    assert exceeded(change(**on), metric, {name: limit}) == ((), ())
    assert exceeded(change(**above), metric, {name: limit}) == ((name,), ())


def test_nothing_lost_is_told_as_nothing() -> None:
    from chipdrift.regress.limits import measured

    assert str(measured("loss", change(delta=lost(0.0)), SHARE)) == "0.0"

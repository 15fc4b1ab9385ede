"""Limits above which a change is a failure, and what of a change they are held against."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from chipdrift.counts import rounded
from chipdrift.errors import ChipdriftError, UnknownNameError
from chipdrift.records import MetricInfo
from chipdrift.regress.records import Change

_Measure = Callable[[Change, MetricInfo], float | None]


def _changed(change: Change, metric: MetricInfo) -> float | None:
    return None if change.agreement is None else rounded(1 - change.agreement, 100)


def _bits(change: Change, metric: MetricInfo) -> float | None:
    return None if change.identical is None else rounded(1 - change.identical, 100)


def _lsb(change: Change, metric: MetricInfo) -> float | None:
    return None if change.lsb is None else float(change.lsb.max)


def _loss(change: Change, metric: MetricInfo) -> float | None:
    if change.delta is None:
        return None
    share = "wilson" in metric.interval.lower()
    sign = -1.0 if metric.higher_is_better else 1.0
    return rounded(change.delta.value, sign * (100 if share else 1))


def _moved(change: Change, metric: MetricInfo) -> float | None:
    return None if change.agreement is None else float(len(change.left_npu))


def _slower(change: Change, metric: MetricInfo) -> float | None:
    return None if change.timing is None else rounded(change.timing.ratio - 1, 100)


_MEASURES: dict[str, tuple[_Measure, str]] = {
    "changed": (_changed, "% of the samples have another answer"),
    "bits": (_bits, "% of the samples have other bits"),
    "lsb": (_lsb, "LSB is the largest distance of an output"),
    "loss": (_loss, "of the metric is lost (points, where it is a share)"),
    "moved": (_moved, "nodes have left the NPU"),
    "slower": (_slower, "% more time for a sample"),
}

LIMITS: dict[str, str] = {name: words for name, (_, words) in _MEASURES.items()}
"""What can be limited, with what the number counts."""


def parse_limits(words: Iterable[str]) -> dict[str, float]:
    """``["changed=0.5", "loss=1"]`` as numbers; raises ChipdriftError for what is no limit."""
    found = {}
    for word in words:
        name, equals, value = word.partition("=")
        if name.strip() not in _MEASURES:
            raise UnknownNameError.of("limit", name.strip(), _MEASURES, "As in changed=0.5.")
        try:
            number = float(value) if equals else -1.0
        except ValueError:
            number = -1.0
        if not 0 <= number < float("inf"):
            raise ChipdriftError(
                f"Limit {word}: expected a number of 0 or more behind the name, as in "
                f"{name.strip()}=0.5."
            )
        found[name.strip()] = number
    return found


def measured(name: str, change: Change, metric: MetricInfo) -> float | None:
    """The figure of ``change`` that the limit ``name`` is held against; None where it has none."""
    return _MEASURES[name][0](change, metric)


def exceeded(
    change: Change, metric: MetricInfo, limits: Mapping[str, float]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The limits above which ``change`` lies, and those for which it has no figure.

    A cell that had answers and has none now is above every limit.
    """
    if change.status_a == "ok" and change.status_b != "ok":
        return tuple(limits), ()
    found = {name: measured(name, change, metric) for name in limits}
    above = tuple(n for n, value in found.items() if value is not None and value > limits[n])
    return above, tuple(n for n, value in found.items() if value is None)

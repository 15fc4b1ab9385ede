"""Task metrics with intervals and paired tests, agreement of answers, and distance of outputs."""

from chipdrift.metrics.base import Metric, Outputs
from chipdrift.metrics.distance import (
    identical_share,
    lsb_between,
    lsb_distance,
    lsb_over,
    max_abs,
    sqnr_db,
    to_integers,
)
from chipdrift.metrics.evaluate import (
    Comparison,
    agreement,
    answers_agree,
    compare,
    evaluate,
    info,
)
from chipdrift.metrics.intervals import holm
from chipdrift.metrics.registry import get_metric, metric_names

__all__ = [
    "Comparison",
    "Metric",
    "Outputs",
    "agreement",
    "answers_agree",
    "compare",
    "evaluate",
    "get_metric",
    "holm",
    "identical_share",
    "info",
    "lsb_between",
    "lsb_distance",
    "lsb_over",
    "max_abs",
    "metric_names",
    "sqnr_db",
    "to_integers",
]

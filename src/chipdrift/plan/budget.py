"""``top1 drop <= 1%``: what a variant must hold, and whether it does."""

from __future__ import annotations

import re

from chipdrift.errors import ChipdriftError
from chipdrift.metrics import Metric, get_metric
from chipdrift.plan.records import Budget, Standing
from chipdrift.records import Interval, MetricResult

_FORM = re.compile(
    r"\s*(?:(?!drop\b)(?P<metric>[^\s<>=]+)\s*)?(?P<what>\bdrop\s*)?(?P<sign><=|<|>=|>)\s*"
    r"(?P<number>\d+(?:\.\d*)?|\.\d+)\s*(?P<unit>%|points?|pp)?\s*"
)
_EXAMPLES = '"top1 drop <= 1%", "spearman drop <= 0.01", "agreement >= 98%" or "drop <= 1%"'
# Decimal limits and shares of samples are not exact in binary: 1 - 0.94 is over 0.06.
ROUNDING = 1e-9


def parse_budget(text: str, default: str) -> tuple[Budget, Metric]:
    """The budget that ``text`` says; ``default`` is the metric where it names none.

    Raises ChipdriftError for what is no budget, for an unknown metric, and for a limit that says
    nothing (a drop of 100 %, or a metric that must be at least 0).
    """
    found = _FORM.fullmatch(text)
    if found is None:
        raise ChipdriftError(f"Budget {text!r}: not understood. Examples: {_EXAMPLES}.")
    name = found["metric"] or default
    metric = get_metric(name)
    limit = float(found["number"]) / (100 if found["unit"] else 1)
    drop = found["what"] is not None
    better_up = metric.higher_is_better
    wanted = "<=" if drop or not better_up else ">="
    if found["sign"][0] != wanted[0]:
        raise ChipdriftError(
            f"Budget {text!r}: {'a drop' if drop else name} must be {wanted} something, as in "
            f"{_EXAMPLES}."
        )
    if drop and metric.needs_reference:
        raise ChipdriftError(
            f"Budget {text!r}: {name} is against the float model already, which is perfect by it. "
            f'Say how much is needed: "{name} >= 98%", say.'
        )
    if metric.kind == "proportion" and not (0 <= limit < 1 if wanted == "<=" else 0 < limit <= 1):
        given = f"{found['number']}{found['unit'] or ''}"
        hint = "" if found["unit"] or not 1 <= limit <= 100 else f" Did you mean {given}%?"
        raise ChipdriftError(
            f"Budget {text!r}: {name} is a share, so the limit must lie between 0 and 100%; found "
            f"{given}, which says nothing.{hint}"
        )
    return Budget(text=text.strip(), metric=name, kind="drop" if drop else "least", limit=limit), (
        metric
    )


def default_metric(labels: bool) -> str:
    """What a budget speaks of that names no metric."""
    return "top1" if labels else "agreement"


def within(budget: Budget, metric: Metric, result: MetricResult, loss: Interval) -> bool:
    """Whether the figure itself holds the budget."""
    return _excess(budget, metric, result.value, loss.value) <= ROUNDING


def standing(budget: Budget, metric: Metric, result: MetricResult, loss: Interval) -> Standing:
    """How far the figure and its interval hold the budget."""
    if not within(budget, metric, result, loss):
        return "missed"
    worst_value = result.low if metric.higher_is_better else result.high
    if budget.kind == "drop":
        worst_value, worst_loss = result.value, loss.high
        if worst_loss is None:
            return "within"
    else:
        worst_loss = loss.value
        if worst_value is None:
            return "within"
    held = _excess(budget, metric, worst_value, worst_loss) <= ROUNDING
    return "confirmed" if held else "within"


def excess(budget: Budget, metric: Metric, result: MetricResult, loss: Interval) -> float:
    """How far beyond the budget the figure is, in the metric's unit; not above 0 where it holds."""
    return _excess(budget, metric, result.value, loss.value)


def _excess(budget: Budget, metric: Metric, value: float, loss: float) -> float:
    if budget.kind == "drop":
        return loss - budget.limit
    return budget.limit - value if metric.higher_is_better else value - budget.limit

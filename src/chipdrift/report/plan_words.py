"""A plan's figures in words: standings, costs with what they rest on, room to the budget."""

from __future__ import annotations

import math
import re

from chipdrift.plan.records import Choice, Cost, How, Plan, Score, Standing
from chipdrift.records import Evidence, Interval
from chipdrift.report.figures import Figures, number

_DECIBELS = frozenset({"sqnr", "psnr"})
_MOST_DECIMALS = 6
# What a reason of onnxruntime begins with: "[ONNXRuntimeError] : 1 : FAIL : ".
_HEADING = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : ")
_LINE = 150
# Class, mark and word; the mark and the word say it where colours do not.
STANDINGS: dict[Standing, tuple[str, str, str]] = {
    "confirmed": ("held", "✓", "confirmed"),
    "within": ("near", "⚠", "within, not proven"),
    "missed": ("missed", "✗", "MISSED"),
    "none": ("missed", "∅", "NOTHING RUNS"),
}
KINDS: dict[How, str] = {
    "scheme": "simple scheme",
    "mixed": "mixed precision",
    "hybrid": "hybrid: layers on the CPU",
    "calibrated": "calibrated on the target",
    "float": "float",
}
TYPES = {
    "uint16": "16-bit activations",
    "float16": "float16",
    "float32": "float32 on the CPU",
}


def plan_figures(plan: Plan) -> Figures:
    """The figures of the plan's metric, exact enough that none reads as the limit and is not."""
    share = "wilson" in plan.metric.interval.lower()
    unit = "%" if share else "dB" if plan.metric.name in _DECIBELS else ""
    results = [record.metric for record in _records(plan) if record.metric is not None]
    top = max((abs(r.value) for r in results if math.isfinite(r.value)), default=1.0)
    least = 1 if share else 1 if top >= 1000 else 2 if top >= 10 else 4
    for decimals in range(least, _MOST_DECIMALS):
        figures = Figures(share, unit, decimals, plan.metric.higher_is_better)
        if not _misread(plan, figures):
            return figures
    return Figures(share, unit, _MOST_DECIMALS, plan.metric.higher_is_better)


def _records(plan: Plan) -> tuple[Choice | Score, ...]:
    return (*plan.choices, *plan.scores)


def _misread(plan: Plan, figures: Figures) -> bool:
    """Whether a figure that is not the budget's limit would be written as if it were."""
    limit, drop = plan.budget.limit, plan.budget.kind == "drop"
    for record in _records(plan):
        found: Interval | None = record.loss if drop else record.metric
        for value in () if found is None else (found.value, found.low, found.high):
            if value is None or abs(value - limit) < 1e-9:
                continue
            written = figures.size if drop else figures.bare
            if (not drop or value > 0) and written(value) == written(limit):
                return True
    return False


def by_drop(plan: Plan) -> bool:
    """Whether the budget is of a change; a metric against the float model has none to tell."""
    return plan.budget.kind == "drop" and not plan.metric.against_baseline


def changed(loss: Interval, higher_is_better: bool) -> Interval:
    """A loss turned into the metric's own change against the float model."""
    if not higher_is_better:
        return loss
    low, high = (None if end is None else -end + 0.0 for end in (loss.high, loss.low))
    return Interval(value=-loss.value + 0.0, low=low, high=high)


def cost_value(cost: Cost) -> str:
    """ "1.65 × w8a8", "12.3 ms", "28,092 bytes"."""
    return f"{_bare(cost.value, cost)} {_unit(cost)}"


def cost_range(cost: Cost) -> str | None:
    """ "1.15 to 2.93", or None where the cost has no error to tell."""
    if cost.low is None or cost.high is None or cost.low == cost.high:
        return None
    return f"{_bare(cost.low, cost)} to {_bare(cost.high, cost)}"


def cost_basis(cost: Cost) -> str:
    """What the cost rests on: the cost model with its typical error, a measurement, or a count."""
    if cost.basis == "model":
        span = cost_range(cost)
        error = f", a typical error of which gives {span}" if span is not None else ""
        return f"by the cost model{error}; not measured"
    return {
        "measured": "measured on the phone",
        "reported": "measured by someone else, passed on",
        "exact": "exact",
    }[cost.basis]


def cost_brief(cost: Cost) -> str:
    """What the cost rests on in a word or two: "cost model, 1.15 to 2.93"."""
    if cost.basis != "model":
        return cost.basis
    span = cost_range(cost)
    return f"cost model, {span}" if span is not None else "cost model"


def cost_detail(cost: Cost) -> str:
    """What went into the figure: what the model took for each kind of layer, say."""
    return cost.words.removeprefix("model: ")


def cost_line(cost: Cost | None) -> str:
    """Value and basis in one line."""
    return "no cost known" if cost is None else f"{cost_value(cost)}, {cost_basis(cost)}"


def axis_words(cost: Cost) -> str:
    """What an axis of such costs shows."""
    if cost.unit == "bytes":
        return "model file in bytes, exact"
    if cost.unit == "ms":
        words = "measured" if cost.basis == "measured" else "measured by someone else"
        return f"ms per sample, {words}"
    return "times the cost of w8a8, by the cost model; not measured"


def room(plan: Plan, figures: Figures, choice: Choice) -> str:
    """How far the confirmed figure is from the budget, and the worse end of its interval."""
    spare = _spare(plan, choice)
    if spare is None:
        return ""
    value, worst = spare
    unit = figures.change_unit
    text = _distance(figures, value, unit)
    if value < -1e-9:
        return text
    if worst is None:
        return f"{text}; no interval can be given"
    return f"{text}; at the interval's worse end {_distance(figures, worst, unit)}"


def beyond(plan: Plan, figures: Figures, choice: Choice) -> str | None:
    """ "1.4 points", by how much a missed budget is missed; None where it is not."""
    spare = _spare(plan, choice)
    return figures.amount(spare[0]) if spare is not None and spare[0] < -1e-9 else None


def one_line(text: str) -> str:
    """A reason in one line: without onnxruntime's own heading, cut where it goes on for long."""
    plain = _HEADING.sub("", " ".join(text.split()))
    if len(plain) <= _LINE:
        return plain
    return plain[:_LINE].rpartition(" ")[0].rstrip(".,;:") + " ..."


def counted_as(samples: int, role: str) -> str:
    """ "298 confirming samples"."""
    return f"{samples:,} {role} sample{'' if samples == 1 else 's'}"


def rests(target: str, evidence: Evidence, samples: int, role: str) -> str:
    """ "htp:sm8550 (vendor-simulator), 298 confirming samples"."""
    return f"{target} ({evidence}), {counted_as(samples, role)}"


def decibels(value: float | None) -> str:
    """An SQNR; from 200 dB on nothing differs."""
    if value is None:
        return ""
    return "no noise" if value >= 200 else f"{value:.1f} dB"


def limit_words(plan: Plan, figures: Figures) -> str:
    """The budget in the figures' unit: "at most 1 point worse than float"."""
    limit = f"{plan.budget.limit * (100 if figures.share else 1):.10g}"
    if plan.budget.kind == "drop":
        unit = figures.change_unit.rstrip("s") if limit == "1" else figures.change_unit
        return f"at most {limit} {unit}".rstrip() + " worse than float"
    side = "at least" if plan.metric.higher_is_better else "at most"
    return f"{side} {limit} {figures.unit}".rstrip()


def _spare(plan: Plan, choice: Choice) -> tuple[float, float | None] | None:
    """The room between figure and budget, and at the interval's worse end; negative is beyond."""
    limit, up = plan.budget.limit, plan.metric.higher_is_better
    if by_drop(plan):
        loss = choice.loss
        if loss is None:
            return None
        return limit - loss.value, None if loss.high is None else limit - loss.high
    found = choice.metric
    if found is None:
        return None
    sign = 1.0 if up else -1.0
    worst = found.low if up else found.high
    return sign * (found.value - limit), None if worst is None else sign * (worst - limit)


def _distance(figures: Figures, spare: float, unit: str) -> str:
    if abs(spare) <= 1e-9:
        return "exactly at the budget"
    side = "beyond the budget" if spare < 0 else "to spare"
    return f"{figures.size(spare)} {unit}".rstrip() + f" {side}"


def _bare(value: float, cost: Cost) -> str:
    if not math.isfinite(value):
        return "unknown"
    if cost.unit == "bytes":
        return f"{value:,.0f}"
    return number(value) if cost.unit == "ms" else f"{value:.2f}"


def _unit(cost: Cost) -> str:
    return "× w8a8" if cost.unit == "x w8a8" else cost.unit

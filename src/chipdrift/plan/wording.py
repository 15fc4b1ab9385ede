"""A plan in sentences."""

from __future__ import annotations

from collections.abc import Mapping

from chipdrift.counts import counted
from chipdrift.plan.confirm import Confirmed
from chipdrift.plan.desk import Entry
from chipdrift.plan.records import Choice, Cost, Plan, PlanChip
from chipdrift.records import Interval

_RESTS = {
    "device": "on the phone itself",
    "reported": "by someone else's measurement",
    "vendor-simulator": "on the vendor's simulator, which is not silicon",
    "emulated-runtime": "on an emulated processor, which is not silicon",
    "host-runtime": "on this host's runtime",
    "prediction": "by our engine under a probed profile, which is a prediction",
    "hypothesis": "by our engine under a hypothesis, which is no chip's property",
}


def amount(value: float, share: bool) -> str:
    """A figure of the metric: points of a share, or as it is."""
    return f"{100 * value:.2f}".rstrip("0").rstrip(".") if share else f"{value:.4g}"


def change_words(loss: Interval, up: bool, share: bool) -> str:
    """A loss as the metric's change, as a matrix shows it: ``-0.4 points (-1.2 to +0.3)``.

    ``up`` says whether the metric's higher values are better.
    """
    sign = -1.0 if up else 1.0
    unit = " points" if share else ""
    value = f"{_signed(sign * loss.value, share)}{unit}"
    if loss.low is None or loss.high is None:
        return value
    low, high = sorted((sign * loss.low, sign * loss.high))
    return f"{value} ({_signed(low, share)} to {_signed(high, share)})"


def _signed(value: float, share: bool) -> str:
    text = amount(abs(value), share)
    return text if text == "0" else f"{'-' if value < 0 else '+'}{text}"


def cost_words(cost: Cost | None) -> str:
    """``1.18 x w8a8 (model)``."""
    if cost is None:
        return "-"
    if cost.unit == "bytes":
        return f"{cost.value / 1024:,.0f} KiB"
    if cost.unit == "ms":
        basis = "" if cost.basis == "measured" else f" ({cost.basis})"
        return f"{cost.value:.3g} ms{basis}"
    return f"{cost.value:.2f} x w8a8"


def why(
    chip: PlanChip,
    entries: Mapping[str, Entry],
    done: Confirmed,
    held: bool = True,
    capped: bool = False,
) -> str:
    """Why a chip gets what it gets, in a sentence or two.

    ``held``: on the choosing samples, too; ``capped``: of few variants.
    """
    if done.scheme is None:
        return f"Nothing was confirmed on {chip.target}: {done.figures.error}."
    entry = entries[done.scheme.name]
    cheapest = "the cheapest that held on the choosing samples and holds on these"
    if not held:
        cheapest = "none held on the choosing samples; of those nearest to it, this holds on these"
    elif done.last:
        cheapest = (
            "the surest of those that held on the choosing samples, asked last; cheaper ones may "
            "be left that were not asked about"
        )
    elif capped:
        cheapest = "of the variants that the cap leaves, the cheapest that holds the budget"
    elif done.looks > 1:
        cheapest = "the first by its cost that holds on the choosing samples and on these"
    said = {
        "confirmed": f"{cheapest}, and the interval's end holds the budget, too",
        "within": f"{cheapest}; the interval reaches beyond the budget, so more samples are needed "
        "to show it",
        "missed": f"none of {counted(done.looks, 'candidate')} that the confirming samples were "
        "asked about holds the budget; this one comes nearest",
        "none": "",
    }[done.standing]
    if done.standing == "missed" and any(over <= 0 for _, over in done.passed_over):
        said = "none that the cap leaves holds the budget; this one comes nearest"
    text = f"{entry.words}: {said}; measured {_RESTS[chip.evidence]}."
    if done.looks > 1:
        if done.passed_over and done.standing != "missed":
            names = ", ".join(name for name, _ in done.passed_over)
            text += f" Before it {names} missed on these."
        text += f" The interval is widened for the {done.looks} looks."
    return text


def plan_words(plan: Plan) -> tuple[str, ...]:
    """The plan's main sentences, most important first."""
    said = []
    total = len(plan.choices)
    good = [c for c in plan.choices if c.standing == "confirmed"]
    near = [c for c in plan.choices if c.standing == "within"]
    bad = [c for c in plan.choices if c.standing in ("missed", "none")]
    said.append(
        f"{len(good)} of {counted(total, 'chip')} hold {plan.budget.text} with the whole interval"
        + (f", {len(near)} with the figure alone" if near else "")
        + (f", {len(bad)} do not: {', '.join(c.chip for c in bad)}" if bad else "")
        + f" ({plan.confirming} samples that were not used to choose)."
    )
    count = len({c.variant for c in plan.choices if c.variant is not None})
    said.append(f"{counted(count, 'variant')} for {counted(total, 'chip')}, and the safe one.")
    if plan.saved is not None and plan.single is not None:
        if plan.saved > 0.0005:
            said.append(
                f"Against {plan.single}, the best single scheme for all chips, the mean cost falls "
                f"by {100 * plan.saved:.0f} %{_basis(plan.choices)}."
            )
        elif plan.saved <= -0.0005:
            said.append(
                f"{plan.single} for all chips holds the budget on these samples, too, and costs "
                f"{100 * (1 - 1 / (1 - plan.saved)):.0f} % less{_basis(plan.choices)}: the search "
                f"did not choose it. Plan with --scheme {plan.single} to get it."
            )
        elif plan.cap_words is None and total > 1:
            said.append(
                f"{plan.single} holds the budget on every chip at the least cost that was found: "
                "one scheme for all is as good."
            )
    elif plan.single is None and not bad:
        said.append("No simple scheme was seen to hold the budget on all chips at once.")
    if plan.cap_words:
        said.append(plan.cap_words)
    return tuple(said)


def cap_words(plan: Plan) -> str | None:
    """What a cap on the number of variants costs."""
    if plan.max_variants is None:
        return None
    dearer = [
        (choice.cost.value / choice.alone_cost.value - 1, choice.chip)
        for choice in plan.choices
        if choice.cost is not None and choice.alone_cost is not None and choice.alone_cost.value > 0
    ]
    count = len({c.variant for c in plan.choices if c.variant is not None})
    lost = [(share, chip) for share, chip in dearer if share > 0.0005]
    without = [
        choice.chip
        for choice in plan.choices
        if choice.alone not in (None, choice.variant) and choice.standing in ("missed", "none")
    ]
    if without:
        return (
            f"At most {counted(plan.max_variants, 'variant')} ({count} used): under the cap "
            f"{', '.join(without)} gets none that holds the budget."
        )
    unknown = [choice.chip for choice in plan.choices if choice.standing in ("missed", "none")]
    if unknown and not lost:
        return (
            f"At most {counted(plan.max_variants, 'variant')}: on {', '.join(unknown)} nothing "
            "that was asked about holds the budget, so what the cap costs there is not known."
        )
    if not lost:
        return f"At most {counted(plan.max_variants, 'variant')}: the cap costs no chip anything."
    mean = sum(share for share, _ in dearer) / len(dearer)
    worst, chip = max(lost)
    return (
        f"At most {counted(plan.max_variants, 'variant')} ({count} used): against the cheapest "
        f"that held on the choosing samples the cap costs {100 * mean:.0f} % on average and "
        f"{100 * worst:.0f} % on {chip}, the most."
    )


def _basis(choices: tuple[Choice, ...]) -> str:
    bases = {choice.cost.basis for choice in choices if choice.cost is not None}
    if "model" in bases:
        return ", by the cost model" if len(bases) == 1 else ", in part by the cost model"
    return ", by the times that were given" if "reported" in bases else ""

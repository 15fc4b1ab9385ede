"""A plan in sentences: signs, units, and what a cap costs."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from chipdrift.plan.confirm import Confirmed
from chipdrift.plan.judge import Figures
from chipdrift.plan.records import Cost
from chipdrift.plan.wording import amount, cap_words, change_words, cost_words, plan_words, why
from chipdrift.records import Interval


def cost(value: float, unit: str = "x w8a8", basis: str = "model") -> Cost:
    return Cost(value=value, unit=unit, basis=basis)  # type: ignore[arg-type]


def test_amounts() -> None:
    assert [amount(v, True) for v in (0.0, 1.0, 0.9234, 0.5, 0.00001)] == [
        *("0", "100", "92.34", "50"),
        "0",
    ]
    assert [amount(v, False) for v in (0.0, 37.1234, 1234567.0)] == ["0", "37.12", "1.235e+06"]


def test_a_loss_is_shown_as_the_metrics_change() -> None:
    loss = Interval(value=0.004, low=-0.003, high=0.012)
    assert change_words(loss, True, True) == "-0.4 points (-1.2 to +0.3)"
    assert change_words(loss, False, False) == "+0.004 (-0.003 to +0.012)"
    assert change_words(Interval(value=0.0), True, True) == "0 points"
    assert change_words(Interval(value=-0.02), True, True) == "+2 points"


def test_costs() -> None:
    assert cost_words(None) == "-"
    assert cost_words(cost(1.184)) == "1.18 x w8a8"
    assert cost_words(cost(3.14159, "ms", "measured")) == "3.14 ms"
    assert cost_words(cost(2_097_152, "bytes", "exact")) == "2,048 KiB"


def choice(chip: str, variant: str | None, standing: str, **more: Any) -> Any:
    named = {"cost": cost(1.0), "alone": variant, "alone_cost": cost(1.0), **more}
    return SimpleNamespace(chip=chip, variant=variant, standing=standing, **named)


def plan(*choices: Any, **more: Any) -> Any:
    fields: dict[str, Any] = {
        "budget": SimpleNamespace(text="top1 drop <= 1%"),
        "confirming": 300,
        "max_variants": None,
        "single": None,
        "saved": None,
        "cap_words": None,
    }
    return SimpleNamespace(choices=choices, **(fields | more))


def test_the_main_sentence_counts_every_chip_once() -> None:
    found = plan_words(
        plan(
            choice("a", "x", "confirmed"),
            choice("b", "x", "within"),
            choice("c", "y", "missed"),
            choice("d", None, "none"),
        )
    )
    assert found[0] == (
        "1 of 4 chips hold top1 drop <= 1% with the whole interval, 1 with the figure alone, 2 do "
        "not: c, d (300 samples that were not used to choose)."
    )
    assert found[1] == "2 variants for 4 chips, and the safe one."
    assert len(found) == 2


def test_what_is_saved_is_said_with_what_it_rests_on() -> None:
    both = (choice("a", "x", "confirmed"), choice("b", "y", "confirmed"))
    assert plan_words(plan(*both, single="w8a16", saved=0.254))[2] == (
        "Against w8a16, the best single scheme for all chips, the mean cost falls by 25 %, by the "
        "cost model."
    )
    timed = [choice(c, "x", "confirmed", cost=cost(2.0, "ms", "measured")) for c in "ab"]
    assert plan_words(plan(*timed, single="w8a16", saved=0.254))[2].endswith("falls by 25 %.")
    # By hand: the plan costs 1.25 of it, so it costs 0.8 of the plan.
    assert plan_words(plan(*both, single="w8a16", saved=-0.25))[2] == (
        "w8a16 for all chips holds the budget on these samples, too, and costs 20 % less, by the "
        "cost model: the search did not choose it. Plan with --scheme w8a16 to get it."
    )
    assert "one scheme for all is as good" in plan_words(plan(*both, single="w8", saved=0.0))[2]
    assert plan_words(plan(*both))[2] == (
        "No simple scheme was seen to hold the budget on all chips at once."
    )


def test_what_a_cap_costs() -> None:
    assert cap_words(plan(choice("a", "x", "confirmed"))) is None
    same = plan(choice("a", "x", "confirmed"), max_variants=1)
    assert cap_words(same) == "At most 1 variant: the cap costs no chip anything."
    dearer = plan(
        choice("a", "y", "confirmed", alone="x", cost=cost(1.5)),
        choice("b", "y", "within", alone="x", cost=cost(1.1)),
        choice("c", "y", "confirmed", cost=cost(1.0)),
        max_variants=1,
    )
    # By hand: (50 + 10 + 0) / 3.
    assert cap_words(dearer) == (
        "At most 1 variant (1 used): against the cheapest that held on the choosing samples the "
        "cap costs 20 % on average and 50 % on a, the most."
    )


def test_a_cap_that_costs_a_chip_its_budget_is_not_said_to_cost_nothing() -> None:
    cheaper = choice("a", "y", "missed", alone="x", cost=cost(0.5))
    gone = choice("b", None, "none", alone="x", cost=None)
    found = cap_words(plan(cheaper, gone, choice("c", "y", "confirmed"), max_variants=1))
    assert found is not None
    assert "a, b gets none that holds the budget" in found
    never = choice("a", "y", "missed", alone=None, alone_cost=None)
    assert cap_words(plan(never, max_variants=1)) == (
        "At most 1 variant: on a nothing that was asked about holds the budget, so what the cap "
        "costs there is not known."
    )


@pytest.mark.parametrize(
    ("standing", "looks", "passed", "words", "without"),
    [
        ("confirmed", 1, (), "the interval's end holds the budget, too", "widened"),
        ("within", 2, (("x", 0.1),), "Before it x missed on these", "nearest"),
        ("missed", 2, (("x", 0.1),), "this one comes nearest", "Before it"),
    ],
)
def test_why_a_chip_gets_what_it_gets(
    standing: str, looks: int, passed: Any, words: str, without: str
) -> None:
    chip = cast(Any, SimpleNamespace(target="htp:sm8550", evidence="vendor-simulator"))
    entries = cast(Any, {"y": SimpleNamespace(words="all in 16 bits")})
    scheme = cast(Any, SimpleNamespace(name="y"))
    done = Confirmed(scheme, cast(Any, standing), Figures(), looks, passed)
    found = why(chip, entries, done)
    assert found.startswith("all in 16 bits: ")
    assert words in found and without not in found
    assert "on the vendor's simulator, which is not silicon" in found
    assert ("widened for the 2 looks" in found) == (looks == 2)


def test_what_did_not_hold_on_the_choosing_samples_is_not_said_to() -> None:
    chip = cast(Any, SimpleNamespace(target="htp:sm8550", evidence="vendor-simulator"))
    entries = cast(Any, {"y": SimpleNamespace(words="all in 16 bits")})
    done = Confirmed(cast(Any, SimpleNamespace(name="y")), "within", Figures(), 1, ())
    assert "the cheapest that held on the choosing samples" in why(chip, entries, done)
    last = why(chip, entries, replace(done, last=True), capped=True)
    assert "the surest of those that held on the choosing samples, asked last; cheaper" in last
    found = why(chip, entries, done, held=False)
    assert "none held on the choosing samples; of those nearest to it, this holds" in found
    assert "cheapest" not in found


def test_why_nothing_runs() -> None:
    chip = cast(Any, SimpleNamespace(target="htp:sm8550", evidence="vendor-simulator"))
    done = Confirmed(None, "none", Figures(error="no session"), 1)
    assert why(chip, {}, done) == "Nothing was confirmed on htp:sm8550: no session."

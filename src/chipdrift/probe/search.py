"""Find the rules that explain a target's answers, among all that a profile can say.

First a coarse grid over what moves many outputs (the multiplier, the bits dropped, the rounding),
on a few hundred outputs; then, for the best of it, what moves few (the arithmetic of scale and
bias), on all of them. Among rules that explain equally much the plainest is taken, and what could
as well be otherwise is told.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from chipdrift.numerics.profile import Requantize
from chipdrift.numerics.rounding import Rounding
from chipdrift.probe.predict import Evidence, Pool

_ROUNDINGS = (
    Rounding.HALF_EVEN,
    Rounding.HALF_UP,
    Rounding.HALF_AWAY,
    Rounding.FLOOR,
    Rounding.TOWARD_ZERO,
)
_DROP_ROUNDINGS = ("FLOOR", "HALF_UP", "MIDPOINT", "MIDPOINT_NONZERO")
_FINALISTS = 2_000
_SURVIVORS = 40
_BEAM = 5
_EQUALS = 48


@dataclass(frozen=True)
class Found:
    """The rules with the counts: ``explained`` of ``asked`` outputs, by the reference.

    ``equal`` are other rules that explain as much, by the pool; ``others`` maps "field = value" to
    the share that the best rules with that value explain.
    """

    rules: Requantize
    asked: int
    explained: int
    equal: tuple[Requantize, ...]
    others: tuple[tuple[str, float], ...]


def find_requantize(evidence: Sequence[Evidence], seeds: Sequence[Requantize] = ()) -> Found:
    """The rules behind ``evidence``, the plainest of the best.

    ``seeds`` are rules to start from besides the grid's best, say those of another kind of op.
    """
    first, second = Pool(evidence, limit=128), Pool(evidence, limit=800)
    quick = sorted(_coarse(), key=lambda rules: (-first.score(rules), cost(rules)))[:_FINALISTS]
    better = sorted(quick, key=lambda rules: (-second.score(rules), cost(rules)))
    found = refine(evidence, [*seeds, *better[:_SURVIVORS]])
    if found.explained < found.asked:
        # A wrong hill, or too few outputs to see it: more starts, more followed, all outputs.
        starts = [found.rules, *found.equal[:8], *better[: 4 * _SURVIVORS]]
        found = refine(evidence, starts, 4 * _BEAM)
    return found


def refine(evidence: Sequence[Evidence], starts: Sequence[Requantize], beam: int = _BEAM) -> Found:
    """Climb from ``starts``: change one thing at a time in the best few, while it helps."""
    pool = Pool(evidence, limit=8_000 if beam == _BEAM else None)
    scored = {rules: pool.score(rules) for rules in starts}
    grown: set[Requantize] = set()
    while True:
        ranked = sorted(scored, key=lambda r: (-scored[r], cost(r)))
        fresh = [rules for rules in ranked[:beam] if rules not in grown]
        if not fresh or (beam > _BEAM and scored[ranked[0]] == pool.size):
            break
        for rules in fresh:
            grown.add(rules)
            for other in neighbours(rules):
                if other not in scored:
                    scored[other] = pool.score(other)
    return _confirm(scored, pool, evidence)


def _confirm(scored: dict[Requantize, int], pool: Pool, evidence: Sequence[Evidence]) -> Found:
    asked = sum(entry.answer.size for entry in evidence)
    level = max(scored.values())
    equal = sorted((r for r in scored if scored[r] == level), key=cost)[:_EQUALS]
    counts: dict[Requantize, int] = {}
    for index, rules in enumerate(equal):
        counts[rules] = sum(entry.confirmed(rules) for entry in evidence)
        if counts[rules] == asked:
            # The pool says the same of those behind it.
            counts.update(dict.fromkeys(equal[index:], asked))
            break
    top = max(counts.values())
    winners = [r for r in equal if counts[r] == top]
    fields: dict[str, int] = {}
    for rules, score in scored.items():
        for name, value in _fields(rules).items():
            if value != _fields(winners[0])[name]:
                key = f"{name} = {value}"
                fields[key] = max(fields.get(key, 0), score)
    others = tuple((key, score / max(1, pool.size)) for key, score in fields.items())
    return Found(winners[0], asked, top, tuple(winners[1:]), others)


def _fields(rules: Requantize) -> dict[str, Any]:
    return rules.model_dump(mode="json")


def _multipliers() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{"multiplier": "exact"}, {"multiplier": "float32"}]
    found += [{"multiplier": "significand", "bits": bits} for bits in range(2, 32)]
    found += [{"multiplier": "fixed_point", "bits": bits} for bits in range(6, 32)]
    found.append({"multiplier": "power_of_two"})
    return found


def _drops() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [{}]
    simple = [{"drop": drop} for drop in range(1, 17)] + [{"keep": keep} for keep in range(13)]
    found += [
        {**drop, "drop_rounding": how}
        for drop in simple
        for how in ("FLOOR", "HALF_UP", "MIDPOINT")
    ]
    for drop in (4, 8, 16):
        apart = {"drop": drop, "parts": "apart"}
        found.append(apart)
        for keep in range(5, 13):
            found += [
                {**apart, "keep": keep, "drop_rounding": how} for how in ("FLOOR", "MIDPOINT")
            ]
    return found


@functools.cache
def _coarse() -> tuple[Requantize, ...]:
    return tuple(_grid())


def _grid() -> Iterator[Requantize]:
    for drop, zero, multiplier in itertools.product(
        _drops(), ("output", "accumulator"), _multipliers()
    ):
        for rounding in (Rounding.HALF_UP, Rounding.FLOOR):
            yield Requantize.model_validate(
                {
                    "scale": "float32",
                    "zero_point": zero,
                    "rounding": rounding,
                    **multiplier,
                    **drop,
                }
            )
    cuts: list[dict[str, Any]] = [{}, *({"drop": d, "parts": "apart"} for d in (4, 8))]
    for cut, zero, bits in itertools.product(cuts, ("output", "accumulator"), range(6, 32)):
        yield Requantize.model_validate(
            {
                "scale": "float32",
                "multiplier": "significand",
                "bits": bits,
                "steps": "double",
                "zero_point": zero,
                **cut,
            }
        )


def neighbours(rules: Requantize) -> Iterator[Requantize]:
    """Rules that differ from these in one thing, or in two that go together."""
    changes: list[dict[str, Any]] = []
    scale = ["exact", "float32", "float32_max", "float64"]
    bias: list[dict[str, Any]] = [{"bias": "exact", "bias_rounding": "HALF_AWAY"}]
    bias += [
        {"bias": bias, "bias_rounding": how}
        for bias in ("float32", "float32_reciprocal")
        for how in ("HALF_AWAY", "HALF_EVEN", "TOWARD_ZERO")
    ]
    apart: list[dict[str, Any]] = [{}]
    if rules.drop:
        cuts = ("FLOOR", "HALF_UP", "TOWARD_ZERO")
        apart += [
            {"parts": "apart", "correction_drop": a, "bias_drop": b} for a in cuts for b in cuts
        ]
    if rules.parts == "apart":
        apart.append({"parts": "together"})
    changes += [{"scale": s, **b, **a} for s, b, a in itertools.product(scale, bias, apart)]
    changes += [{"drop_rounding": how} for how in _DROP_ROUNDINGS]
    changes += [{"zero_point": zero} for zero in ("output", "accumulator")]
    changes += [{"keep": keep} for keep in (None, *range(16))]
    if rules.steps == "single":
        changes += [{"rounding": how} for how in _ROUNDINGS]
    changes += _multipliers()
    changes += [
        {field: bits, "drop_rounding": how}
        for field in ("drop", "keep")
        for bits in range(13)
        for how in _DROP_ROUNDINGS
    ]
    if rules.multiplier == "significand":
        changes += [{"steps": "double"}, {"steps": "single"}]
        changes += [
            {"bits": (rules.bits or 0) + more, "keep": keep}
            for more in (-2, -1, 1, 2)
            for keep in (None, *range(13))
        ]
    for change in changes:
        merged = {**rules.model_dump(exclude_unset=True), **change}
        if "multiplier" in change and "bits" not in change:
            merged.pop("bits", None)
        if not 1 <= (merged.get("bits") or 1) <= 31:
            continue
        if merged.get("parts") == "apart" and not merged.get("drop"):
            merged["parts"] = "together"
        if merged.get("steps") == "double":
            if merged.get("multiplier") != "significand":
                continue
            merged.pop("rounding", None)
        try:
            yield plain(Requantize(**merged))
        except ValueError:
            continue


def plain(rules: Requantize) -> Requantize:
    """The same rules with what has no effect set to its default."""
    fields = rules.model_dump(exclude_defaults=True)
    if not rules.drop and rules.keep is None:
        fields.pop("drop_rounding", None)
    if rules.parts == "together":
        fields.pop("correction_drop", None)
        fields.pop("bias_drop", None)
    if rules.bias == "exact":
        fields.pop("bias_rounding", None)
    return Requantize(**fields)


def cost(rules: Requantize) -> int:
    """How far from the plainest rules: what decides among those that explain equally much."""
    cost = {"exact": 0, "float32": 1, "fixed_point": 4, "significand": 4, "power_of_two": 3}[
        rules.multiplier
    ]
    cost += {"exact": 1, "float32": 0, "float64": 2, "float32_max": 3}[rules.scale]
    cost += _ROUNDINGS.index(rules.rounding) + 2 * (rules.steps == "double")
    cost += 6 * bool(rules.drop) + 6 * (rules.keep is not None) + 4 * (rules.parts == "apart")
    cost += _DROP_ROUNDINGS.index(rules.drop_rounding) + 2 * (rules.zero_point == "accumulator")
    cost += {"exact": 0, "float32": 2, "float32_reciprocal": 3}[rules.bias]
    cost += ("HALF_AWAY", "HALF_EVEN", "TOWARD_ZERO").index(rules.bias_rounding)
    if rules.parts == "apart":
        cost += ("HALF_UP", "FLOOR", "TOWARD_ZERO").index(rules.correction_drop)
        cost += ("TOWARD_ZERO", "FLOOR", "HALF_UP").index(rules.bias_drop)
    return 100 * cost + (rules.bits or 0)

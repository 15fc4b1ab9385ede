"""Options of the runtime that change the arithmetic: each is tried on the chip's own target."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import replace

from chipdrift.plan.desk import Desk
from chipdrift.plan.judge import Figures
from chipdrift.plan.records import Tried
from chipdrift.plan.sides import Side
from chipdrift.schemes import Scheme
from chipdrift.store import digest_arrays
from chipdrift.targets import Target
from chipdrift.targets.tuned import Option, alternatives, with_options

# A kept option must bring as much under one scheme, and cost no scheme more than the other figure.
# Less is not worth an app's having to set it.
_LEAST_GAIN_DB, _MOST_LOSS_DB = 1.0, 0.1


def try_options(
    desk: Desk,
    side: Side,
    schemes: Sequence[Scheme],
    first: Sequence[int],
    tune: Sequence[int],
    hold: Sequence[int],
) -> dict[str, str]:
    """The option that helps on the side's target, {} where none does; all are told.

    Each option alone, under each scheme. One that leaves every bit of the ``first`` samples as it
    is changes nothing; the others are measured on those of ``tune``, and the best is kept where it
    helps on those of ``hold``, too. What the target's name sets already stays.
    """
    said = side.target.name
    known = {n: o for n, o in options_of(side.target).items() if f"+{n}=" not in said}
    if not known or not schemes:
        return {}
    plain = desk.ask(schemes, side.target, first)
    changing: dict[tuple[str, str], Target] = {}
    for key in alternatives(known):
        target = with_options(side.target, dict([key]), known)
        found = desk.ask(schemes, target, first)
        if any(
            f.error is not None or not _same(desk, s, side.target, target, first)
            for s, f in zip(schemes, found, strict=True)
        ):
            changing[key] = target
        else:
            for pair in zip(schemes, plain, found, strict=True):
                desk.tried.append(_told(key, side, *pair, False))
    if not changing:
        return {}
    before = desk.ask(schemes, side.target, tune)
    after = {key: desk.ask(schemes, target, tune) for key, target in changing.items()}
    shown = {key: (before, figures) for key, figures in after.items()}
    best = max(after, key=lambda key: _gain(before, after[key]))
    kept = False
    if _gain(before, after[best]) >= _LEAST_GAIN_DB:
        held = [desk.ask(schemes, target, hold) for target in (side.target, changing[best])]
        kept = _gain(*held) >= _LEAST_GAIN_DB
        if kept:
            shown[best] = (held[0], held[1])
    for key, both in shown.items():
        for scheme, one, other in zip(schemes, *both, strict=True):
            desk.tried.append(_told(key, side, scheme, one, other, kept and key == best))
    return dict([best]) if kept else {}


def _same(desk: Desk, scheme: Scheme, a: Target, b: Target, indices: Sequence[int]) -> bool:
    """Whether two targets gave the same bits."""
    one, other = (desk.judge.outputs(scheme, target, indices) for target in (a, b))
    if one is None or other is None:
        return one is other
    return digest_arrays(one.arrays.values()) == digest_arrays(other.arrays.values())


def options_of(target: Target) -> Mapping[str, Option]:
    """The options of the target's runtime that may change an answer."""
    found: Mapping[str, Option] = getattr(importlib.import_module(target.runtime), "OPTIONS", {})
    return found


def tuned_side(side: Side, given: Mapping[str, str]) -> Side:
    """The side with these options of its runtime."""
    if not given:
        return side
    target = with_options(side.target, given, options_of(side.target))
    return replace(side, chip=side.chip.model_copy(update={"target": target.name}), target=target)


def _gain(before: Sequence[Figures], after: Sequence[Figures]) -> float:
    """The dB that the scheme gains that gains most; minus infinity where one loses."""
    gains = [
        float("-inf") if a.sqnr_db is None or b.sqnr_db is None else a.sqnr_db - b.sqnr_db
        for b, a in zip(before, after, strict=True)
    ]
    return max(gains) if min(gains) >= -_MOST_LOSS_DB else float("-inf")


def _told(
    key: tuple[str, str], side: Side, scheme: Scheme, before: Figures, after: Figures, kept: bool
) -> Tried:
    if after.error is not None:
        words = f"does not run: {after.error}"
    elif before.sqnr_db == after.sqnr_db:
        words = "changes nothing"
    else:
        words = "changes the answers" + (", and helps" if kept else "")
    return Tried(
        technique=f"{key[0]}={key[1]}",
        target=side.target.name,
        base=scheme.name,
        before=before.sqnr_db,
        after=after.sqnr_db,
        samples=after.samples,
        kept=kept,
        words=words,
    )

"""Calibrate a scheme on a target: try one technique after the other, keep what helps."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.errors import ChipdriftError, DataError
from chipdrift.graph import LoadedModel
from chipdrift.plan.calibrate.bench import Bench, State
from chipdrift.plan.calibrate.biases import correct_biases
from chipdrift.plan.calibrate.equalize import equalize
from chipdrift.plan.calibrate.judge import Judge, Loss, Score
from chipdrift.plan.calibrate.oracle import Feed, Oracle, SilentError
from chipdrift.plan.calibrate.roundings import round_weights
from chipdrift.plan.calibrate.scales import (
    measured_ranges,
    search_activation_ranges,
    search_weight_ranges,
)
from chipdrift.plan.records import Tried
from chipdrift.quantize import Preparation, float_answers
from chipdrift.schemes import Scheme, get_scheme, read_adjustment, scheme_toml

Array = np.ndarray[Any, Any]
Technique = Callable[[Bench, State], State]

EQUALIZATION = "cross-layer equalization"
# In the order in which they are tried.
_TECHNIQUES: Mapping[str, Technique] = {
    EQUALIZATION: equalize,
    "weight ranges": search_weight_ranges,
    "activation ranges": search_activation_ranges,
    "rounding": round_weights,
    "bias correction": correct_biases,
}
TECHNIQUES = tuple(_TECHNIQUES)
# How likely it may be, over all techniques, that one is kept which does nothing.
_LEVEL = 0.05
# With fewer held samples no gain, however great, is told from chance at that level.
_FEWEST = 8


@dataclass(frozen=True)
class Adjusted:
    """A scheme that was made: its TOML text, its .npz (None where it has none), what made it.

    ``before`` and ``after`` are in ``unit`` on the ``samples`` held samples; these also decided
    what was kept, so they are for the choice and not its confirmation.
    """

    toml: str
    npz: bytes | None
    techniques: tuple[str, ...]
    before: float
    after: float
    unit: str
    samples: int


@dataclass(frozen=True)
class Calibrated:
    """What calibration on a target found.

    ``scheme`` was read back from ``path``; both and ``adjusted`` are None where nothing helped.
    ``tried`` tells of every technique.
    """

    scheme: Scheme | None
    path: Path | None
    adjusted: Adjusted | None
    tried: tuple[Tried, ...]


def calibrate_on(
    oracle: Oracle,
    model: LoadedModel,
    scheme: Scheme,
    calibration: Sequence[Feed],
    tune: Sequence[Feed],
    hold: Sequence[Feed],
    out_folder: str | Path,
    techniques: Sequence[str] = TECHNIQUES,
    *,
    loss: Loss | None = None,
    unit: str = "loss",
    name: str | None = None,
    preparation: Preparation | None = None,
    tell: Callable[[str], None] = lambda _: None,
) -> Calibrated:
    """Change ``scheme`` (of kind ``qdq``) so that ``model`` does better on the oracle's numerics.

    ``calibration`` sets ranges as ever, ``tune`` is what the techniques look at, ``hold`` decides
    what is kept: by the SQNR against the float model, or by ``loss`` (all outputs of all held
    samples to one loss each, lower is better; ``unit`` is what it is told in). A technique stays
    where the held samples, compared in pairs, say that chance alone would not do it. The scheme is
    written to ``out_folder`` as ``name``.toml with its .npz.

    Raises DataError where samples stand in both parts or are too few, and ChipdriftError for a
    technique or a scheme that is none, or a target that does not run the scheme at all.
    """
    _check(scheme, tune, hold, techniques)
    bench = Bench(oracle, model, scheme, calibration, tune, preparation)
    judge = Judge(float_answers(model.data, hold), loss, unit)
    state = State(arrays=_brought(scheme))
    try:
        first = judge.score(bench.ask(bench.make(state), hold))
    except SilentError as error:
        raise ChipdriftError(
            f"Scheme {scheme.name} cannot be calibrated on {oracle.name}, which does not run it: "
            f"{error}. Calibrate a scheme that runs there."
        ) from error
    made = name or f"{scheme.name}-{oracle.name.replace(':', '-').replace('/', '-')}"[:64]
    score, kept, tried = first, list[str](), list[Tried]()
    level = _LEVEL / len(techniques)
    for number, technique in enumerate([t for t in _TECHNIQUES if t in techniques], 1):
        tell(f"{technique}, {number} of {len(techniques)}")
        if technique != EQUALIZATION and not state.ranges:
            state = state.with_ranges(measured_ranges(bench, state))
        told, new = _try(bench, judge, technique, state, score, hold, level)
        tried.append(told.model_copy(update={"scheme": made if told.kept else None}))
        if new is not None:
            state, score = new
            kept.append(technique)
    if not kept:
        return Calibrated(None, None, None, tuple(tried))
    words = f"{scheme.name}, calibrated on {oracle.name}: {', '.join(kept)}"
    final = state.scheme(scheme, made, f"{made}.npz").model_copy(update={"description": words})
    adjusted = Adjusted(
        toml=scheme_toml(final),
        npz=final.adjustment or None,
        techniques=tuple(kept),
        before=first.figure,
        after=score.figure,
        unit=judge.unit,
        samples=len(hold),
    )
    path = _write(Path(out_folder), made, adjusted)
    return Calibrated(get_scheme(str(path)), path, adjusted, tuple(tried))


def _try(
    bench: Bench,
    judge: Judge,
    technique: str,
    state: State,
    before: Score,
    hold: Sequence[Feed],
    level: float,
) -> tuple[Tried, tuple[State, Score] | None]:
    """What became of one technique; with it the new state where it is kept."""
    told = Tried(
        technique=technique,
        target=bench.oracle.name,
        base=bench.base.name,
        before=before.figure,
        unit=judge.unit,
        samples=judge.samples,
    )
    if technique == EQUALIZATION and bench.base.adjust:
        words = "left out: the scheme brings weights of its own"
        return told.model_copy(update={"words": words}), None
    try:
        new = _TECHNIQUES[technique](bench, state)
        if new is state:
            return told.model_copy(update={"words": "found nothing to change"}), None
        after = judge.score(bench.ask(bench.make(new), hold))
    except SilentError as error:
        words = f"the target did not answer: {str(error)[:200]}"
        return told.model_copy(update={"words": words}), None
    except ChipdriftError as error:
        words = f"it could not be made: {str(error)[:200]}"
        return told.model_copy(update={"words": words}), None
    chance = judge.chance(before, after)
    keep = chance <= level
    if keep:
        words = f"better on {judge.samples} held samples, by chance in {chance:.2g} of cases"
    elif after.worth <= before.worth:
        words = f"no better on {judge.samples} held samples"
    else:
        words = (
            f"better on {judge.samples} held samples by no more than chance gives in "
            f"{chance:.2g} of cases ({level:.2g} would do)"
        )
    told = told.model_copy(update={"after": after.figure, "kept": keep, "words": words})
    return told, (new, after) if keep else None


def _brought(scheme: Scheme) -> dict[str, Array]:
    if not scheme.adjust:
        return {}
    return read_adjustment(scheme.adjustment, f"Scheme {scheme.name}, {scheme.adjust}")


def _write(folder: Path, name: str, adjusted: Adjusted) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    if adjusted.npz is not None:
        (folder / f"{name}.npz").write_bytes(adjusted.npz)
    path = folder / f"{name}.toml"
    path.write_text(adjusted.toml, encoding="utf-8")
    return path


def _check(
    scheme: Scheme, tune: Sequence[Feed], hold: Sequence[Feed], techniques: Sequence[str]
) -> None:
    if scheme.kind != "qdq":
        raise ChipdriftError(
            f'Scheme {scheme.name} is of kind "{scheme.kind}" and has no integers to calibrate. '
            'Give one of kind "qdq", w8a8 say.'
        )
    unknown = [name for name in techniques if name not in _TECHNIQUES]
    if unknown or not techniques:
        named = f"knows no technique {unknown[0]!r}" if unknown else "is given no technique"
        raise ChipdriftError(f"Calibration {named}. Techniques: {', '.join(_TECHNIQUES)}.")
    if not tune or len(hold) < _FEWEST:
        raise DataError(
            f"Calibration on a target has {len(tune)} samples to tune on and {len(hold)} held back,"
            f" and needs some 30 and at least {_FEWEST}, with which a gain can be told from chance."
        )
    both = {_key(feed) for feed in tune} & {_key(feed) for feed in hold}
    if both:
        raise DataError(
            f"{len(both)} samples are both tuned on and held back: what was fitted to them would "
            "look better than it is. Give other samples to one of the two."
        )


def _key(feed: Feed) -> bytes:
    digest = hashlib.sha256()
    for name in sorted(feed):
        array = np.ascontiguousarray(feed[name])
        digest.update(f"{name} {array.dtype.str} {array.shape} ".encode() + array.tobytes())
    return digest.digest()

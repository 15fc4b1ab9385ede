"""The same questions to several targets: which answers are the same bits, and which part too far.

Answers that part by more than rounding can explain (:mod:`chipdrift.diagnose.reach`) are traced to
the first node whose activation does.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from importlib import metadata
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.counts import counted
from chipdrift.data import load_data
from chipdrift.diagnose.compared import Asked, Comparison, Consistency, Excess
from chipdrift.diagnose.distance import Tally
from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.reach import SAFETY, in_words, rounding_spread
from chipdrift.diagnose.stimuli import Stimulus, repeats, stimuli
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Distance
from chipdrift.graph import Anatomy, dissect, is_quantized, load_model
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme
from chipdrift.targets import Target, get_target

Array = np.ndarray[Any, Any]
# A target's answers: by stimulus, then by output.
Answers = list[list[Array]]

DEFAULT_SAMPLES = 4
# What an output without a quantizer may part by in its last rounding: some units of float32, or of
# float16, relative to its largest value.
_LAST = {"float16": 4 * 2.0**-11, "float32": 4 * 2.0**-24}


def check_consistency(
    model: str | Path,
    targets: Sequence[str],
    *,
    data: str | Path | None = None,
    scheme: str | None = None,
    calibration: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    samples: int = DEFAULT_SAMPLES,
    timeout: float = 600.0,
    tell: Callable[[str], None] = lambda words: None,
) -> Consistency:
    """Ask ``targets`` about ``model`` (as it is, or as ``scheme`` makes it), compare in pairs.

    ``data`` gives the first ``samples`` real samples on top of the made ones. Raises ChipdriftError
    for what a person can mend, and where fewer than two targets answer; beside two that do, one
    that refuses the model is recorded.
    """
    names = list(dict.fromkeys(targets))
    if len(names) < 2:
        raise ChipdriftError(
            f"Targets {', '.join(names) or 'none'}: at least two are compared. Give --target "
            "ort:cpu,htp:sm8550, say; chipdrift targets lists them."
        )
    known = [get_target(name) for name in names]
    recipe = get_scheme(scheme or "asis")
    loaded = load_model(model, shapes)
    fed = load_data(calibration, loaded.info.inputs).feeds() if calibration is not None else None
    real = load_data(data, loaded.info.inputs, samples).feeds() if data is not None else []
    made = apply_scheme(loaded, recipe, fed)
    anatomy = dissect(made.data)
    asked = list(stimuli(loaded.info.inputs, anatomy, real))
    quantized = bool(anatomy.quantizers) or is_quantized(loaded.proto)
    told, refused = {}, {}
    for target in known:
        tell(f"{target.name}: {counted(len(asked), 'input')}")
        try:
            told[target.name] = _answers(target, made.kind, made.data, asked, timeout)
        except NoAnswerError as error:
            refused[target.name] = str(error)
    if len(told) < 2:
        hint = _hint([t for t in known if t.name in refused], made.kind)
        raise ChipdriftError(_too_few(list(told), refused, hint))
    tell("what rounding alone does to this model")
    spread = rounding_spread(made.data, [s.feed for s in asked], quantized)
    comparisons = _compare(anatomy, told, asked, spread)
    why = _command(model, data, scheme or recipe.name, calibration, shapes)
    excesses = []
    for (a, b), worst in _worst(comparisons).items():
        tell(f"where {a} and {b} part")
        sides = [next(t for t in known if t.name == name) for name in (a, b)]
        stimulus = next(s for s in asked if s.name == worst.input)
        found = _first(anatomy, sides, stimulus, quantized, timeout)
        command = f"{why} {shlex.join(['--target', a, '--against', b])}"
        excesses.append(_excess(worst, found, command))
    return Consistency(
        chipdrift=metadata.version("chipdrift"),
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        model=loaded.info.name,
        model_sha256=loaded.info.sha256,
        scheme=recipe.name,
        targets=tuple(
            Asked(
                target=t.name,
                evidence=t.evidence,
                description=t.description,
                refused=refused.get(t.name),
            )
            for t in known
        ),
        inputs=tuple(s.name for s in asked),
        repeats=repeats(asked, anatomy),
        basis=in_words(quantized, spread is not None),
        comparisons=tuple(comparisons),
        excesses=tuple(excesses),
    )


def _answers(
    target: Target, kind: str, model: bytes, asked: Sequence[Stimulus], timeout: float
) -> Answers:
    refusal = target.refuses.get(kind)
    if refusal is not None:
        raise NoAnswerError(refusal)
    with Asker(target, timeout) as asker:
        return asker.ask_all(model, [stimulus.feed for stimulus in asked])


def _too_few(told: Sequence[str], refused: Mapping[str, str], hint: str) -> str:
    """Why nothing can be compared, each reason once, and what to do."""
    reasons: dict[str, list[str]] = {}
    for name, words in refused.items():
        first = next((line.strip() for line in words.splitlines() if line.strip()), "no reason")
        reasons.setdefault(first.rstrip("."), []).append(name)
    why = "; ".join(f"{', '.join(names)}: {words}" for words, names in reasons.items())
    answered = f"only {told[0]} answered" if told else "no target answered"
    return f"Nothing to compare, for {answered} ({why}): {hint}."


def _hint(refusing: Sequence[Target], kind: str) -> str:
    families = {t.family or t.name for t in refusing if kind in t.refuses}
    if kind == "float32" and families:
        return (
            f"{' and '.join(sorted(families))} computes no float32 graph: give --scheme fp16, or "
            "--scheme w8a8 with --calibration"
        )
    return (
        "give another --scheme or other targets (chipdrift targets lists them), or see with "
        "chipdrift outputs what such a target says of the model alone"
    )


def _command(
    model: str | Path,
    data: str | Path | None,
    scheme: str,
    calibration: str | Path | None,
    shapes: Mapping[str, Sequence[int]] | None,
) -> str:
    """The diagnosis of the same model, but for the two targets."""
    words = ["chipdrift", "diagnose", str(model), "--data", str(data or "DATA")]
    words += ["--scheme", scheme]
    words += ["--calibration", str(calibration)] if calibration is not None else []
    for name, shape in (shapes or {}).items():
        words += ["--shape", f"{name}={','.join(map(str, shape))}"]
    return shlex.join(words)


def _compare(
    anatomy: Anatomy,
    told: Mapping[str, Answers],
    asked: Sequence[Stimulus],
    spread: list[list[float]] | None,
) -> list[Comparison]:
    """Every pair, input and output."""
    found = []
    for a, b in combinations(told, 2):
        for index, stimulus in enumerate(asked):
            for place, name in enumerate(anatomy.tensors[: anatomy.finals]):
                x, y = told[a][index][place], told[b][index][place]
                reach = None if spread is None else spread[index][place]
                distance, bound, exceeds = _judge(anatomy, name, x, y, reach)
                steps = anatomy.quantizers.get(name)
                found.append(
                    Comparison(
                        input=stimulus.name, a=a, b=b, output=name,
                        distance=distance, bound=bound, exceeds=exceeds,
                        bound_lsb=bound / max(steps.scale) if steps and bound is not None else None,
                    )
                )  # fmt: skip
    return found


def _judge(
    anatomy: Anatomy, name: str, x: Array, y: Array, reach: float | None
) -> tuple[Distance, float | None, bool]:
    """How far a tensor parts, how far it may, and whether it is too far."""
    quantizer = anatomy.quantizers.get(name)
    if x.shape != y.shape:
        return Distance(values=x.size, differing=1.0), None, True
    tally = Tally(quantizer)
    tally.add(x, y)
    distance = tally.distance()
    floats = x.dtype.kind == "f"
    if floats and not np.array_equal(np.isfinite(x), np.isfinite(y)):
        return distance, None, True
    if reach is None or not np.isfinite(reach):
        return distance, None, False
    if quantizer is None:
        largest = float(np.abs(x.astype(np.float64)).max(initial=0.0)) if floats else 0.0
        last = _LAST.get(str(x.dtype), 0.0) * (largest if np.isfinite(largest) else 0.0)
    else:
        last = max(quantizer.scale)
        reach *= 1.0 if floats else max(quantizer.scale)
    bound = SAFETY * reach + last
    return distance, bound, distance.max_abs > bound * (1 + 1e-6)


def _worst(comparisons: Sequence[Comparison]) -> dict[tuple[str, str], Comparison]:
    """For each pair that parts too far the comparison that does so most."""
    worst: dict[tuple[str, str], Comparison] = {}
    for found in comparisons:
        if not found.exceeds:
            continue
        kept = worst.setdefault((found.a, found.b), found)
        if _times(found) > _times(kept):
            worst[found.a, found.b] = found
    return worst


def _times(found: Comparison) -> float:
    return found.distance.max_abs / found.bound if found.bound else float("inf")


def _first(
    anatomy: Anatomy, sides: Sequence[Target], stimulus: Stimulus, quantized: bool, timeout: float
) -> tuple[str, str] | None:
    """The node, along the depth, whose activation is the first to part too far, and its op."""
    answers = []
    try:
        for side in sides:
            with Asker(side, timeout) as asker:
                answers.append(asker.ask_all(anatomy.tapped, [stimulus.feed])[0])
    except NoAnswerError:
        return None
    spread = rounding_spread(anatomy.tapped, [stimulus.feed], quantized)
    makers = makers_of(anatomy.cut)
    parted = [
        makers[name]
        for place, name in enumerate(anatomy.tensors)
        if name in makers
        and _judge(
            anatomy, name, answers[0][place], answers[1][place],
            None if spread is None else spread[0][place],
        )[2]
    ]  # fmt: skip
    if not parted:
        return None
    node, op, _ = min(parted, key=lambda maker: maker[2])
    return node, op


def _excess(worst: Comparison, found: tuple[str, str] | None, command: str) -> Excess:
    node, op = found or (None, None)
    times = worst.distance.max_abs / worst.bound if worst.bound else None
    steps = worst.distance.max_lsb
    how = f"{steps:,.0f} steps" if steps is not None else f"{worst.distance.max_abs:.3g}"
    beyond = f", {times:.1f} times what rounding explains" if times is not None else ""
    where = f"; {node} ({op}) is the first to part too far" if node is not None else ""
    return Excess(
        a=worst.a,
        b=worst.b,
        input=worst.input,
        output=worst.output,
        times=times,
        node=node,
        op=op,
        command=command,
        words=f"{worst.a} and {worst.b} part by {how} in {worst.output} on {worst.input}{beyond}"
        f"{where}",
    )

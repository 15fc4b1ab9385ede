"""How far rounding alone can move a model's tensors: the bound of a consistency check.

The bound is measured, not derived layer by layer: worst-case gains multiply along the depth into
figures that excuse everything.

A quantized model. Two right implementations of a node, fed with the same integers, give for each
value one of the two neighbours of the exact result: they part by one step at most. The engine
plays that: it runs the model with sums rounded to the nearest, always down, and by chance (up or
down, by the fraction), :data:`DRAWS` times. What this does to a tensor contains its own step, the
steps of all nodes before it, and the model's own gain for them. ``spread`` is the largest distance
of any value in any two of these runs.

A float model. A sum in floating point is the exact sum with weights that are slightly off
(:func:`chipdrift.graph.nudge.nudged`); onnxruntime runs the model with its own weights and with
:data:`DRAWS` such sets.

The bound is ``SAFETY`` times the spread, for a few runs do not reach the extreme, and one step (or
rounding of the result) more. A target that rounds with floor, drops low bits or has a short scale
stays within it; one that overflows, mistakes a layout or lacks a scale does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from chipdrift.diagnose.stimuli import Feed
from chipdrift.errors import ChipdriftError, ModelError
from chipdrift.graph.nudge import nudged
from chipdrift.graph.program import parse_program
from chipdrift.numerics.profile import Elementwise, Input, Profile, Requantize
from chipdrift.numerics.rounding import Rounding
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.targets import get_target
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]

DRAWS = 6
SAFETY = 2.0


def rounding_spread(
    model: bytes, feeds: Sequence[Feed], quantized: bool
) -> list[list[float]] | None:
    """For each feed and output the spread, in the output's own numbers.

    None where neither the engine nor onnxruntime can run the model. Infinite where a run does not
    give finite numbers.
    """
    runs = _rounded(model, feeds) if quantized else _nudged(model, feeds)
    if runs is None:
        return None
    return [
        [_spread([run[index][place] for run in runs]) for place in range(len(runs[0][index]))]
        for index in range(len(feeds))
    ]


def in_words(quantized: bool, known: bool) -> str:
    """How the bounds were found, in plain sentences; ``known`` False where there are none."""
    if not known:
        return (
            "What rounding explains is not known here: neither chipdrift's engine nor onnxruntime "
            "runs this model."
        )
    if quantized:
        return (
            f"chipdrift's engine answered each input {DRAWS + 2} times: once with every sum "
            f"rounded to the nearest, once down, and {DRAWS} times up or down by chance. Rounding "
            f"explains {SAFETY:g} times the largest distance between any two of these answers, and "
            "one step more."
        )
    return (
        f"onnxruntime answered each input {DRAWS + 1} times: once with the model's own weights, "
        f"and {DRAWS} times with weights that are off by a rounding. Rounding explains {SAFETY:g} "
        "times the largest distance between any two of these answers, and the last rounding of the "
        "result."
    )


def _rounded(model: bytes, feeds: Sequence[Feed]) -> list[list[list[Array]]] | None:
    """The engine's answers under each way to round: by run, feed and output."""
    ways = [(Rounding.HALF_EVEN, 0), (Rounding.FLOOR, 0)]
    ways += [(Rounding.STOCHASTIC, seed) for seed in range(DRAWS)]
    try:
        program = parse_program(model)
        runs = []
        for rounding, seed in ways:
            session = SimSession(program, _profile(rounding, seed))
            runs.append([session.run(feed) for feed in feeds])
    except (ModelError, ValueError, OverflowError):
        return None
    return runs


def _profile(rounding: Rounding, seed: int) -> Profile:
    return Profile(
        name="rounding",
        seed=seed,
        requantize=Requantize(rounding=rounding),
        elementwise=Elementwise(rounding=rounding),
        input=Input(rounding=rounding),
    )


def _nudged(model: bytes, feeds: Sequence[Feed]) -> list[list[list[Array]]] | None:
    """onnxruntime's answers with the model's weights, and with weights that are off."""
    try:
        with Asker(get_target("ort:cpu")) as asker:
            files = [model, *(nudged(model, seed) for seed in range(DRAWS))]
            return [asker.ask_all(file, feeds) for file in files]
    except (NoAnswerError, ChipdriftError):
        return None


def _spread(runs: Sequence[Array]) -> float:
    stacked = np.stack([array.astype(np.float64) for array in runs])
    if not stacked.size:
        return 0.0
    if not np.isfinite(stacked).all():
        return float("inf")
    return float((stacked.max(axis=0) - stacked.min(axis=0)).max())

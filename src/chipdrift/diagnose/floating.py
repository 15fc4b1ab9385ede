"""A against the float model: what quantization adds, in the whole and node by node."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from chipdrift.diagnose.case import Case
from chipdrift.diagnose.distance import Tally, range_of
from chipdrift.diagnose.drift import Alone, Drift, Feed, own_of
from chipdrift.errors import RunError
from chipdrift.findings import Own
from chipdrift.graph import Anatomy, dissect, float_twins
from chipdrift.probe.ask import Asker
from chipdrift.records import Quantizer
from chipdrift.targets import get_target

Array = np.ndarray[Any, Any]


def float_tensors(case: Case, feeds: Sequence[Feed]) -> Iterator[Feed]:
    """For each sample what the float model holds where the quantized one holds integers."""
    file = case.run.baseline
    if file is None or case.run.matrix.baseline.scheme == case.scheme:
        raise RunError(
            f"Run {case.run.folder}: it has no float model to compare with. Give --against another "
            "target."
        )
    if not file.is_file():
        raise RunError(
            f"Run {case.run.folder}: its float model's file, {file.name}, is gone. Run the same "
            "chipdrift matrix command again."
        )
    data = file.read_bytes()
    whole, twins = dissect(data), float_twins(case.model, data)
    with Asker(get_target("ort:cpu")) as asker:
        for feed, answer in zip(feeds, asker.ask_each(whole.tapped, feeds), strict=True):
            held = {**feed, **dict(zip(whole.tensors, answer, strict=True))}
            finals = {name: held[name] for name in whole.tensors[: whole.finals]}
            yield {**{q: held[t] for q, t in twins.items() if t in held}, **finals}


def own_against_float(
    anatomy: Anatomy, drift: Drift, feeds: Sequence[Feed], alone: Alone
) -> list[Own]:
    """What each piece adds when it is fed with the float model's values, quantized."""
    fed = []
    for feed, kept in zip(feeds, drift.kept_b, strict=False):
        entry = dict(feed)
        for name, values in kept.items():
            quantizer = anatomy.quantizers.get(name)
            if values.dtype.kind == "f" and quantizer is not None and len(quantizer.scale) == 1:
                entry[name] = quantized(values, quantizer)
        fed.append(entry)
    made = alone.run(fed)
    found = []
    for depth, piece in enumerate(anatomy.cut.pieces):
        for tensor in piece.outputs:
            words, distance = alone.refused.get(piece.name), None
            if words is None and all(tensor in kept for kept in drift.kept_b):
                tally = Tally(anatomy.quantizers.get(tensor))
                for entry, kept in zip(made, drift.kept_b, strict=True):
                    tally.add(entry[tensor], kept[tensor])
                distance = tally.distance()
            found.append(own_of(piece, tensor, depth, distance, words))
    return found


def quantized(values: Array, quantizer: Quantizer) -> Array:
    """Real values as integers of the quantizer's type: HALF_EVEN, clipped to its range."""
    low, high = range_of(quantizer.dtype)
    steps = np.rint(values.astype(np.float64) / quantizer.scale[0]) + quantizer.zero_point[0]
    steps = np.nan_to_num(np.asarray(steps), nan=float(quantizer.zero_point[0]))
    return np.asarray(np.clip(steps, low, high), quantizer.dtype)

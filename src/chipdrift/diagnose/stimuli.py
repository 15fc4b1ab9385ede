"""Inputs that bring out what targets do differently: plain ones, extremes, a ramp, noise."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.diagnose.distance import range_of
from chipdrift.diagnose.floating import quantized
from chipdrift.graph import Anatomy
from chipdrift.records import Quantizer, TensorSpec

Array = np.ndarray[Any, Any]
Feed = Mapping[str, Array]

_SEED = 20


@dataclass(frozen=True, eq=False)
class Stimulus:
    """One question to all targets: its name for people, and an array for each input."""

    name: str
    feed: Feed


def stimuli(
    inputs: Sequence[TensorSpec], anatomy: Anatomy, samples: Sequence[Feed] = ()
) -> Iterator[Stimulus]:
    """Zeros, ones, the lowest and highest, a ramp, noise (seeded, even), then the samples.

    An input's range is that of its quantizer, or of its dtype for integers of 8 and 16 bits; else
    what the samples reach; else -1 to 1. Integers of 32 and 64 bits are indices as a rule: without
    samples they are 0 and 1 only, for no model says how many there are.
    """
    ranges = {spec.name: _range(spec, anatomy, samples) for spec in inputs}
    rng = np.random.default_rng(_SEED)
    shapes = {spec.name: tuple(n or 1 for n in spec.shape) for spec in inputs}
    made: dict[str, dict[str, Array]] = {}
    for spec in inputs:
        low, high = ranges[spec.name]
        shape = shapes[spec.name]
        count = int(np.prod(shape))
        whole = spec.dtype.startswith(("int", "uint", "bool"))
        noise = rng.integers(int(low), int(high) + 1, shape) if whole else None
        for name, values in (
            ("zeros", np.clip(np.zeros(shape), low, high) if whole else np.zeros(shape)),
            ("ones", np.clip(np.ones(shape), low, high) if whole else np.ones(shape)),
            ("lowest", np.full(shape, low)),
            ("highest", np.full(shape, high)),
            ("ramp", np.linspace(low, high, count).reshape(shape)),
            ("noise", rng.uniform(low, high, shape) if noise is None else noise),
        ):
            values = np.rint(values) if whole else values
            made.setdefault(name, {})[spec.name] = values.astype(spec.dtype)
    yield from (Stimulus(name, feed) for name, feed in made.items())
    yield from (Stimulus(f"sample {index}", feed) for index, feed in enumerate(samples))


def repeats(asked: Sequence[Stimulus], anatomy: Anatomy) -> dict[str, str]:
    """Which question is the same as an earlier one: its name, and the earlier one's.

    The same are equal values, and values that the input's quantizer makes the same integers.
    """
    seen: dict[tuple[bytes, ...], str] = {}
    found = {}
    for stimulus in asked:
        held = []
        for name, values in sorted(stimulus.feed.items()):
            quantizer = _quantizer_of(name, anatomy)
            if quantizer is not None and values.dtype.kind == "f":
                values = quantized(values, quantizer)
            held.append(values.tobytes())
        earlier = seen.setdefault(tuple(held), stimulus.name)
        if earlier != stimulus.name:
            found[stimulus.name] = earlier
    return found


def _quantizer_of(name: str, anatomy: Anatomy) -> Quantizer | None:
    """The quantizer that a model's input goes through first, where it has one scale."""
    for piece in anatomy.cut.pieces:
        if not piece.nodes and piece.inputs == (name,):
            quantizer = anatomy.quantizers.get(piece.outputs[0])
            if quantizer is not None and len(quantizer.scale) == 1:
                return quantizer
    return None


def _range(spec: TensorSpec, anatomy: Anatomy, samples: Sequence[Feed]) -> tuple[float, float]:
    quantizer = _quantizer_of(spec.name, anatomy)
    if quantizer is not None:
        low, high = range_of(quantizer.dtype)
        scale, zero = quantizer.scale[0], quantizer.zero_point[0]
        return (low - zero) * scale, (high - zero) * scale
    if spec.dtype in ("uint8", "int8", "uint16", "int16"):
        return range_of(spec.dtype)
    if samples:
        held = [feed[spec.name] for feed in samples]
        return min(float(a.min()) for a in held), max(float(a.max()) for a in held)
    return (-1.0, 1.0) if spec.dtype.startswith(("float", "bfloat")) else (0, 1)

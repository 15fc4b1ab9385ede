"""Every layer of a quantized model alone on the target, fed with the float model's activations.

All pieces stand side by side in one model: one run of it tries a change in every layer at once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.graph import Cut, Piece, cut_pieces
from chipdrift.graph.program import Program, Step, parse_program
from chipdrift.plan.calibrate.bench import Bench, Reference
from chipdrift.plan.calibrate.oracle import Feed

Array = np.ndarray[Any, Any]
_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class Apart:
    """How a layer's answer and the float model's differ over the tune samples.

    ``squared`` and ``mean`` are by output channel: the sum of squared differences, and the mean of
    target minus float. ``count`` is the number of values in a channel.
    """

    squared: Array
    mean: Array
    count: int

    @property
    def total(self) -> float:
        """The sum of squared differences."""
        return float(self.squared.sum())


@dataclass(frozen=True)
class Quantized:
    """A tensor's quantizer: ``real`` is the float model's tensor that it makes integers of.

    ``owner`` is the tensor whose range it has: ops that only move values have their input's.
    """

    real: str
    owner: str
    scale: Array
    zero: Array
    dtype: np.dtype[Any]

    @property
    def span(self) -> tuple[float, float]:
        """The reals of the least and the greatest integer."""
        info, scale, zero = np.iinfo(self.dtype), float(self.scale), int(self.zero)
        return (info.min - zero) * scale, (info.max - zero) * scale

    def integers(self, values: Array) -> Array:
        """As ONNX quantizes: half to even, in float32."""
        info = np.iinfo(self.dtype)
        steps = np.rint(values / self.scale) + self.zero
        return np.asarray(np.clip(steps, info.min, info.max), self.dtype)

    def reals(self, integers: Array) -> Array:
        """The real numbers (float32) that the integers stand for."""
        return (integers.astype(np.float32) - np.float32(self.zero)) * np.float32(self.scale)


def read_quantizers(program: Program, known: Mapping[str, Any]) -> dict[str, Quantized]:
    """The quantizers of activations by the integer tensor, those of a tensor in ``known``."""
    makers = {out: step for step in program.steps for out in step.outputs}
    found: dict[str, Quantized] = {}
    for step in program.steps:
        if step.op != _Q or step.inputs[0] in program.constants or len(step.inputs) < 3:
            continue
        scale, zero = (program.constants.get(name) for name in step.inputs[1:3])
        real = _real(step, makers, known)
        if real is None or scale is None or zero is None or scale.size != 1:
            continue
        owner = step.inputs[1].removesuffix("_scale")
        found[step.outputs[0]] = Quantized(
            real,
            owner if owner in known else real,
            scale.reshape(()),
            zero.reshape(()),
            zero.dtype,
        )
    return found


def _real(step: Step, makers: Mapping[str, Step], known: Mapping[str, Any]) -> str | None:
    """The float model's tensor behind a quantizer, through conversions between types."""
    while True:
        name = step.inputs[0]
        for candidate in (name, name.removesuffix("_QuantizeLinear_Input")):
            if candidate in known:
                return candidate
        maker = makers.get(name)
        if maker is None or maker.op not in (_Q, _DQ):
            return None
        step = maker


class SideBySide:
    """The pieces of one quantized model whose inputs and outputs the float model knows."""

    def __init__(self, data: bytes, reference: Reference) -> None:
        self._reference = reference
        known = reference.taps
        self.quantizers = read_quantizers(parse_program(data), known)
        self._cut = self._usable(data)

    def _usable(self, data: bytes) -> Cut:
        cut = cut_pieces(data)
        usable = [p for p in cut.pieces if self._knows(p)]
        if len(usable) == len(cut.pieces):
            return cut
        return cut_pieces(data, [piece.name for piece in usable])

    def _knows(self, piece: Piece) -> bool:
        sources = all(n in self.quantizers or n in self._reference.taps for n in piece.inputs)
        return sources and any(out in self.quantizers for out in piece.outputs)

    @property
    def links(self) -> list[tuple[frozenset[str], frozenset[str]]]:
        """What each piece reads and makes, by the float model's tensors."""
        return [
            (
                frozenset(self._name(name) for name in piece.inputs),
                frozenset(self.quantizers[o].real for o in piece.outputs if o in self.quantizers),
            )
            for piece in self._cut.pieces
        ]

    def _name(self, name: str) -> str:
        quantizer = self.quantizers.get(name)
        return name if quantizer is None else quantizer.real

    def feeds(self) -> list[Feed]:
        """The float model's activations as the pieces' quantizers make them, one feed a sample."""
        taps = self._reference.taps
        sources = {
            fed: name
            for piece in self._cut.pieces
            for fed, name in zip(piece.fed, piece.inputs, strict=True)
        }
        made: dict[str, list[Array]] = {}
        for name in dict.fromkeys(sources.values()):
            quantizer = self.quantizers.get(name)
            made[name] = (
                list(taps[name])
                if quantizer is None
                else [quantizer.integers(array) for array in taps[quantizer.real]]
            )
        count = len(next(iter(taps.values())))
        return [{fed: made[name][i] for fed, name in sources.items()} for i in range(count)]

    def ask(self, bench: Bench) -> dict[str, Apart]:
        """By the float model's tensor, how each piece's answer lies apart; raises SilentError."""
        names = [out for piece in self._cut.pieces for out in piece.outputs]
        answers = bench.ask(self._cut.model, self.feeds())
        found: dict[str, Apart] = {}
        for place, name in enumerate(names):
            quantizer = self.quantizers.get(name)
            if quantizer is None or quantizer.real in found:
                continue
            product = self._reference.by_end.get(quantizer.real)
            axis = product.channels if product is not None else None
            found[quantizer.real] = compare(
                [quantizer.reals(row[place]) for row in answers],
                self._reference.taps[quantizer.real],
                axis,
            )
        return found


def compare(found: Sequence[Array], wanted: Sequence[Array], axis: int | None) -> Apart:
    """``found`` minus ``wanted``, one array a sample, by the channel along ``axis``."""
    squared: Any = 0.0
    total: Any = 0.0
    count = 0
    for mine, other in zip(found, wanted, strict=True):
        apart = mine.reshape(other.shape).astype(np.float64) - other
        rows = apart.reshape(1, -1)
        if axis is not None:
            rows = np.moveaxis(apart, axis, 0).reshape(apart.shape[axis], -1)
        squared = squared + (rows * rows).sum(axis=1)
        total = total + rows.sum(axis=1)
        count += rows.shape[1]
    return Apart(squared, total / max(count, 1), count)

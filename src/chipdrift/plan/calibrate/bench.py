"""The place where a scheme is changed and asked about: samples, the float model, the oracle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np

from chipdrift.graph import LoadedModel, tap_activations
from chipdrift.graph.program import Program, parse_program
from chipdrift.plan.calibrate.oracle import Feed, Oracle
from chipdrift.plan.calibrate.products import Product, find_products
from chipdrift.quantize import Preparation, apply_scheme, float_answers, prepared_model
from chipdrift.schemes import Scheme, write_adjustment

Array = np.ndarray[Any, Any]
Magnitudes = float | tuple[float, ...]
# Bytes of activations that are held; of a large model fewer tune samples are looked at.
_MEMORY = 1 << 29
_FEWEST = 8


@dataclass(frozen=True)
class State:
    """What a scheme says of the model beside its base; see :class:`~chipdrift.schemes.Scheme`.

    ``equalized`` are arrays by NODE#SLOT that leave the float model's answers as they are;
    ``arrays`` come on top and do not.
    """

    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    weight_ranges: Mapping[str, Magnitudes] = field(default_factory=dict)
    equalized: Mapping[str, Array] = field(default_factory=dict)
    arrays: Mapping[str, Array] = field(default_factory=dict)

    def with_ranges(self, ranges: Mapping[str, tuple[float, float]]) -> State:
        """The same with these ranges of activations over its own."""
        return replace(self, ranges={**self.ranges, **ranges})

    def with_weight_ranges(self, ranges: Mapping[str, Magnitudes]) -> State:
        """The same with these ranges of weights over its own."""
        return replace(self, weight_ranges={**self.weight_ranges, **ranges})

    def with_arrays(self, arrays: Mapping[str, Array]) -> State:
        """The same with these weights and biases over its own."""
        return replace(self, arrays={**self.arrays, **arrays})

    def scheme(self, base: Scheme, name: str, file: str) -> Scheme:
        """``base`` with all this; ``file`` is what its .npz is to be called."""
        arrays = {**self.equalized, **self.arrays}
        return base.model_copy(
            update={
                "name": name,
                "ranges": {**base.ranges, **self.ranges},
                "weight_ranges": {**base.weight_ranges, **self.weight_ranges},
                "adjust": file if arrays else None,
                "adjustment": write_adjustment(arrays) if arrays else b"",
                "sha256": "",
            }
        )


@dataclass(frozen=True, eq=False)
class Reference:
    """The float model that is quantized: its layers, and every activation on the tune samples.

    ``taps`` maps a tensor (also the model's inputs) to one array a sample.
    """

    program: Program
    products: tuple[Product, ...]
    taps: Mapping[str, Sequence[Array]]

    @cached_property
    def by_end(self) -> dict[str, Product]:
        """The layers by the tensor at whose quantizer they end."""
        return {product.end: product for product in self.products}


class Bench:
    """One model, one base scheme, one oracle.

    ``tune`` are the samples that techniques look at, cut short where the activations of all would
    take too much memory. ``models`` and ``runs`` count what the oracle was asked.
    """

    def __init__(
        self,
        oracle: Oracle,
        model: LoadedModel,
        base: Scheme,
        calibration: Sequence[Feed],
        tune: Sequence[Feed],
        preparation: Preparation | None = None,
    ) -> None:
        self.oracle, self.model, self.base = oracle, model, base
        self.calibration, self.tune = calibration, tune
        self.preparation = preparation or Preparation()
        self.models = self.runs = 0
        self._references: dict[int, tuple[Mapping[str, Array], Reference]] = {}

    def make(self, state: State) -> bytes:
        """The quantized model of a state; raises ChipdriftError."""
        scheme = state.scheme(self.base, "calibrated", "calibrated.npz")
        return apply_scheme(self.model, scheme, self.calibration, self.preparation).data

    def ask(self, data: bytes, feeds: Sequence[Feed]) -> list[list[Array]]:
        """What the oracle answers; raises SilentError."""
        self.models += 1
        self.runs += len(feeds)
        return self.oracle.answers(data, feeds)

    def reference(self, state: State) -> Reference:
        """The float model of ``state``; ``equalized`` alone changes it. The last one is kept."""
        kept = self._references.get(id(state.equalized))
        if kept is None:
            self._references = {id(state.equalized): (state.equalized, self._measure(state))}
            kept = self._references[id(state.equalized)]
        return kept[1]

    def _measure(self, state: State) -> Reference:
        scheme = State(equalized=state.equalized).scheme(self.base, "float", "float.npz")
        data = prepared_model(self.model, scheme, self.calibration, self.preparation)
        program = parse_program(data)
        tapped = tap_activations(data)
        names = parse_program(tapped).outputs
        one = sum(array.nbytes for array in float_answers(tapped, self.tune[:1])[0])
        self.tune = self.tune[: max(_FEWEST, _MEMORY // max(one, 1))]
        taps: dict[str, list[Array]] = {name: [] for name in names}
        for feed, answer in zip(self.tune, float_answers(tapped, self.tune), strict=True):
            for name in feed:
                taps.setdefault(name, []).append(np.asarray(feed[name]))
            for name, array in zip(names, answer, strict=True):
                taps[name].append(array)
        return Reference(program, find_products(program), taps)

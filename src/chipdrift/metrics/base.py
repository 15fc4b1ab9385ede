"""What a metric is: an abstract class, the outputs it reads, and the figures it makes."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal, final

import numpy as np
import numpy.typing as npt

from chipdrift.errors import DataError

Array = npt.NDArray[Any]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Kind = Literal["proportion", "mean", "statistic"]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Outputs:
    """One model's outputs on N samples, with all a metric may set them against.

    ``arrays`` maps each output's name to an array (N, *shape), where ``shape`` is the model's own
    output shape with its batch dimension of 1 if it has one: (N, 1, 10) or (N, 10). ``primary``
    names the output that the metric reads. ``labels`` and ``extras`` are arrays of the data file.
    ``reference`` is the float baseline's outputs on the same samples in the same order.

    Raises :class:`DataError` where ``primary`` is not an output or the arrays differ in N.
    """

    arrays: Mapping[str, Array]
    primary: str
    labels: Array | None = None
    extras: Mapping[str, Array] = field(default_factory=dict)
    reference: Outputs | None = None

    def __post_init__(self) -> None:
        if self.primary not in self.arrays:
            raise DataError(
                f"The metric reads output {self.primary!r}, but the model's outputs are "
                f"{', '.join(sorted(self.arrays)) or 'none'}; name one of these."
            )
        for name, array in self.arrays.items():
            if array.ndim == 0 or len(array) != self.samples:
                raise DataError(
                    f"Output {name!r} has shape {array.shape}, expected {self.samples} samples on "
                    f"the first axis as in output {self.primary!r}; stack one array per sample."
                )

    @property
    def array(self) -> Array:
        """The primary output, (N, *shape)."""
        return self.arrays[self.primary]

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        array = self.arrays[self.primary]
        return len(array) if array.ndim else 0

    def rows(self) -> Array:
        """The primary output with each sample flattened: (N, K), a view where NumPy can."""
        array = self.array
        return array.reshape(len(array), int(np.prod(array.shape[1:], dtype=np.int64)))


@final
@dataclass(frozen=True, eq=False)
class PerSample:
    """A score for each sample, whose mean is the metric: ``scores`` is float64 (N,), all finite.

    Of kind "proportion" the scores are 0 or 1.
    """

    scores: Floats
    kind: Literal["proportion", "mean"]


@final
@dataclass(frozen=True, eq=False)
class Statistic:
    """A figure of all units together that is no mean over samples.

    ``units`` is the number U of things that are drawn in a resample: samples or pairs. ``values``
    takes int64 weights (B, U), how often each unit was drawn in each of B resamples, and returns
    the float64 (B,) figures: finite on all units, NaN on a draw where the figure is not defined.
    ``resamples`` caps B where a figure is dear to compute.
    """

    units: int
    values: Callable[[Ints], Floats]
    resamples: int | None = None
    kind: Literal["statistic"] = "statistic"

    def value(self) -> float:
        """The figure on all units, each drawn once."""
        return float(self.values(np.ones((1, self.units), np.int64))[0])


class Metric(ABC):
    """The task's figure of merit.

    ``answer`` says in words what counts as the same answer of two targets; ``kind`` is the kind of
    :meth:`measure`'s result (for a user's function only an expectation: the result's own ``kind``
    decides). ``needs_labels`` and ``needs_reference`` say what :class:`Outputs` must carry.
    """

    name: str
    higher_is_better: bool
    answer: str
    kind: Kind
    needs_labels: bool
    needs_reference: bool

    @final
    def check(self, outputs: Outputs) -> None:
        """Raise :class:`DataError`, one sentence, where this metric cannot read ``outputs``."""
        if outputs.samples == 0:
            raise DataError(f"Metric {self.name!r} found no samples, expected at least one.")
        if self.needs_labels and outputs.labels is None:
            raise DataError(
                f"Metric {self.name!r} needs labels and the data has none; add a 'labels' array, "
                "or choose a metric that needs none, such as 'agreement' or 'cosine'."
            )
        if self.needs_reference:
            check_reference(self.name, outputs)
        self.check_shapes(outputs)

    @abstractmethod
    def check_shapes(self, outputs: Outputs) -> None:
        """Check what only this metric knows: the output's shape, the labels' shape and range."""

    @abstractmethod
    def measure(self, outputs: Outputs) -> PerSample | Statistic:
        """Score ``outputs``, which :meth:`check` has passed."""

    @abstractmethod
    def answers(self, outputs: Outputs) -> Array:
        """Each sample's answer: a 1-D array of N ints or strings, equal where answers agree.

        Needs no labels and no reference. An answer made of NaN is -1 among ints.
        """

    @abstractmethod
    def describe(self, answer: Any) -> str:
        """One element of :meth:`answers` in a few words for a person."""

    @abstractmethod
    def describe_label(self, outputs: Outputs, row: int) -> str | None:
        """Sample ``row``'s label in the same words, or None where it has none."""


def check_reference(name: str, outputs: Outputs) -> None:
    """Raise :class:`DataError` unless the reference has the primary output in the same shape."""
    reference = outputs.reference
    if reference is None:
        raise DataError(
            f"Metric {name!r} needs the float model's outputs as its reference and has none; "
            "run the baseline on the same samples first."
        )
    found = reference.arrays.get(outputs.primary)
    if found is None or found.shape != outputs.array.shape:
        raise DataError(
            f"Metric {name!r}: the reference's output {outputs.primary!r} has shape "
            f"{None if found is None else found.shape}, expected {outputs.array.shape}; "
            "run the baseline on the same samples."
        )


def reference_rows(outputs: Outputs) -> Array:
    """The reference's output of the same name, (N, K), of ``outputs`` that passed the check."""
    if outputs.reference is None:
        raise ValueError("outputs without a reference: call Metric.check first")
    return replace(outputs.reference, primary=outputs.primary).rows()


def check_numeric(name: str, outputs: Outputs) -> None:
    """Raise :class:`DataError` unless the primary output holds numbers, at least one a sample."""
    array = outputs.array
    if array.dtype.kind not in "fiub" and array.dtype.name != "bfloat16":
        raise DataError(
            f"Metric {name!r}: output {outputs.primary!r} has dtype {array.dtype}, expected "
            "numbers; name another output or metric."
        )
    if array.size == 0:
        raise DataError(
            f"Metric {name!r}: output {outputs.primary!r} has shape {array.shape[1:]}, expected at "
            "least one value per sample; name another output or metric."
        )

"""What an import holds before it is a run: one column per target and scheme, samples as rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, final

import numpy as np

from chipdrift.metrics import Outputs
from chipdrift.records import Evidence, Quantizer
from chipdrift.store import digest_arrays

Array = np.ndarray[Any, Any]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Column:
    """What one target answered under one scheme.

    ``arrays`` maps an output's name to (N, *shape), one row per sample; ``ids`` names the samples
    in the rows' order, None where only their order is known. ``provenance`` says in words where the
    answers come from; ``quantizers`` are those of outputs that came as integers.
    ``model_sha256`` is of the model file that ran, where that is known.
    """

    target: str
    scheme: str
    arrays: Mapping[str, Array]
    ids: tuple[str, ...] | None = None
    evidence: Evidence = "reported"
    description: str = ""
    provenance: Mapping[str, str] = field(default_factory=dict)
    quantizers: Mapping[str, Quantizer] = field(default_factory=dict)
    model_sha256: str | None = None

    @property
    def samples(self) -> int:
        """N, the number of samples."""
        return len(next(iter(self.arrays.values())))

    @property
    def label(self) -> str:
        """Scheme and target, for people."""
        return f"target {self.target!r} under {self.scheme}"

    @cached_property
    def digest(self) -> str:
        """The SHA-256 over the outputs' names, dtypes, shapes and bits."""
        return digest_arrays([np.array(sorted(self.arrays)), *self._in_order()])

    def outputs(self, primary: str, labels: Array | None, reference: Outputs | None) -> Outputs:
        """As a metric reads them."""
        return Outputs(arrays=self.arrays, primary=primary, labels=labels, reference=reference)

    def _in_order(self) -> list[Array]:
        return [self.arrays[name] for name in sorted(self.arrays)]


@final
@dataclass(frozen=True, eq=False, kw_only=True)
class Imported:
    """All columns of one import on the same samples in the same order.

    ``keys`` are the samples' addresses; with ``hashed`` they are the SHA-256 of their inputs, as
    chipdrift's own runs have them. ``origin`` is the file or folder they came from.
    ``predictions``: the outputs are class numbers, one per sample, and no scores.
    """

    name: str
    origin: str
    keys: tuple[str, ...]
    hashed: bool
    columns: tuple[Column, ...]
    labels: Array | None = None
    predictions: bool = False
    warnings: tuple[str, ...] = ()

"""A run as one side of the comparison: its outputs, their integers, and how long they took."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.errors import RunError
from chipdrift.graph import load_model, output_quantizers
from chipdrift.matrix import cell_outputs, read_matrix
from chipdrift.matrix.answers import Answers
from chipdrift.matrix.request import BASELINE_TARGET
from chipdrift.metrics import Metric, Outputs, to_integers
from chipdrift.records import Cell, Quantizer
from chipdrift.store import Store, content_key, digest_arrays
from chipdrift.targets import get_target

Array = np.ndarray[Any, Any]


class RunSide:
    """One run. ``keys`` are the hashes of its samples, in its own order."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.matrix = read_matrix(folder)
        with Store.read(folder) as store, store.understood():
            self.keys: list[str] = store.fact("samples") or []
        if not self.keys:
            raise RunError(
                f"Run {folder}: its store does not say what was measured. Run the same chipdrift "
                "matrix command again; nothing that is there is measured twice."
            )

    def order(self, keys: Sequence[str]) -> list[int]:
        """Where this run has the samples ``keys``; raises RunError where it has others."""
        if sorted(keys) != sorted(self.keys):
            common = len(set(keys) & set(self.keys))
            raise RunError(
                f"Run {self.folder}: it was measured on other samples ({len(self.keys)}, of which "
                f"{common} are among the other run's {len(keys)}). Measure both on the same data."
            )
        at = {key: index for index, key in enumerate(self.keys)}
        return [at[key] for key in keys]

    def arrays(self, cell: Cell, order: Sequence[int]) -> dict[str, Array]:
        """Each output's array (N, ...), the samples in ``order``."""
        arrays, _ = cell_outputs(self.folder, cell.scheme, cell.target)
        if list(order) == list(range(len(order))):
            return arrays
        return {name: array[list(order)] for name, array in arrays.items()}

    @functools.cached_property
    def _files(self) -> dict[str, str]:
        return {s.name: s.file for s in self.matrix.schemes if s.file is not None}

    def quantizers(self, scheme: str) -> dict[str, Quantizer]:
        """Of the outputs that are integers in this scheme's model file; none where it is gone."""
        file = self.folder / self._files.get(scheme, "")
        return output_quantizers(load_model(file).proto) if file.is_file() else {}

    def seconds(self, cell: Cell) -> dict[str, float]:
        """What each sample took that the cell ran itself, by the sample's hash."""
        with Store.read(self.folder) as store, store.understood():
            addresses = (store.fact("cells") or {}).get(f"{cell.scheme}|{cell.target}")
            return store.measured(addresses[0]) if addresses else {}

    def baseline(self, output: str) -> Outputs | None:
        """The float model's outputs, which metrics of closeness need; None where they are gone."""
        base = self.matrix.baseline
        with Store.read(self.folder) as store, store.understood():
            file = (store.fact("origin") or {}).get("baseline")
            if file is None or not (self.folder / file).is_file():
                return None
            target = get_target(BASELINE_TARGET)
            address = content_key(
                {
                    "model": hashlib.sha256((self.folder / file).read_bytes()).hexdigest(),
                    "runtime": target.runtime,
                    "options": dict(target.options),
                    "versions": base.versions,
                }
            )
            if not set(self.keys) <= store.measured(address).keys():
                return None
            stacked = zip(*store.outputs(address, self.keys), strict=True)
            names = store.fact("outputs")
        return Outputs(
            arrays={n: np.stack(rows) for n, rows in zip(names, stacked, strict=True)},
            primary=output,
        )


def answers_of(
    arrays: dict[str, Array],
    quantizers: dict[str, Quantizer],
    metric: Metric,
    primary: str,
    labels: Array | None,
    extras: dict[str, Array],
    reference: Outputs | None,
) -> Answers:
    """What a cell answered, with what is derived from it alone."""
    outputs = Outputs(
        arrays=arrays, primary=primary, labels=labels, extras=extras, reference=reference
    )
    whole = {name: to_integers(arrays[name], q) for name, q in quantizers.items() if name in arrays}
    return Answers(
        outputs=outputs,
        digest=digest_arrays(arrays.values()),
        answers=metric.answers(outputs),
        integers={name: steps for name, steps in whole.items() if steps is not None},
    )

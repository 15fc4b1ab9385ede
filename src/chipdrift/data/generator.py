"""Samples that a user's own Python function yields."""

from __future__ import annotations

import copy
import importlib
import itertools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from chipdrift.data.samples import Array, Samples
from chipdrift.errors import DataError
from chipdrift.records import TensorSpec


def load_generator(text: str, inputs: Sequence[TensorSpec], limit: int | None) -> Samples:
    """Call ``module:function``; each sample it yields is a dict of arrays by input name.

    ``label`` among them is the sample's label. A pair ``(inputs, label)`` works too, and a bare
    array where the model has one input. Arrays come with or without the batch of 1.
    """
    module_name, _, name = text.partition(":")
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        function = getattr(importlib.import_module(module_name), name)
        # One by one: a generator may fill the same buffer, or the same dict, again and again.
        rows = [
            _row(text, i, item, inputs)
            for i, item in enumerate(itertools.islice(function(), limit))
        ]
    except DataError:
        raise
    except (Exception, SystemExit) as error:
        words = (str(error).strip().splitlines() or [""])[0]
        raise DataError(
            f"Data {text}: {type(error).__name__}: {words}. Expected a function without arguments "
            "in an importable module, which yields samples."
        ) from error
    finally:
        sys.path.remove(here)
    labels = [label for _, label in rows]
    if any(label is None for label in labels) and not all(label is None for label in labels):
        raise DataError(f"Data {text}: some samples have a label and some have none.")
    try:
        stacked = np.array(labels) if rows and labels[0] is not None else None
    except ValueError as error:
        raise DataError(f"Data {text}: the labels differ in shape between samples.") from error
    return Samples(text, inputs, len(rows), lambda i: rows[i][0], stacked)


def _row(
    text: str, index: int, item: Any, inputs: Sequence[TensorSpec]
) -> tuple[dict[str, Array], Any]:
    label = None
    if isinstance(item, tuple) and len(item) == 2:
        item, label = item
    if not isinstance(item, Mapping):
        if len(inputs) != 1:
            names = ", ".join(repr(spec.name) for spec in inputs)
            raise DataError(
                f"Data {text}: sample {index} is a {type(item).__name__}; yield a dict with the "
                f"model's inputs {names}."
            )
        item = {inputs[0].name: item}
    arrays = {str(k): np.array(v) for k, v in item.items() if k != "label"}
    label = copy.deepcopy(item.get("label", label))
    for spec in inputs:
        array = arrays.get(spec.name)
        if array is not None and spec.shape[:1] == (1,) and array.shape == tuple(spec.shape)[1:]:
            arrays[spec.name] = array[None]
    return arrays, label

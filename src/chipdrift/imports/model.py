"""Fit imported outputs to the model that ran: its outputs' names, shapes and dtypes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from chipdrift.errors import DataError
from chipdrift.imports.column import Array, Column
from chipdrift.imports.qnn import qnn_name
from chipdrift.records import ModelInfo, TensorSpec


def fit_model(column: Column, model: ModelInfo, where: str) -> Column:
    """The column with the model's outputs, in the model's order, as (N, *the output's shape).

    An output may be called as qnn-net-run calls it. A shape is changed only where the number of
    values is the same; a dtype only where no value changes. Raises DataError for what does not fit.
    """
    names: dict[str, str] = {}
    for spec in model.outputs:
        found = [n for n in (spec.name, qnn_name(spec.name)) if n in column.arrays]
        if not found:
            raise DataError(
                f"{where}: {column.label} lacks output {spec.name!r} of model {model.name}; it has "
                f"{', '.join(map(repr, column.arrays))}. Name each after the model's output."
            )
        names[spec.name] = found[0]
    strange = sorted(set(column.arrays) - set(names.values()))
    if strange:
        raise DataError(
            f"{where}: {column.label} has output {strange[0]!r}, which model {model.name} has not; "
            f"its outputs are {', '.join(repr(spec.name) for spec in model.outputs)}."
        )
    return replace(
        column,
        arrays={
            spec.name: _fitted(column, spec, column.arrays[names[spec.name]], where)
            for spec in model.outputs
        },
        quantizers={
            name: column.quantizers[own] for name, own in names.items() if own in column.quantizers
        },
    )


def _fitted(column: Column, spec: TensorSpec, array: Array, where: str) -> Array:
    shape = spec.shape
    found = array.shape[1:]
    open_sizes = [size for size in shape if size is None]
    if not open_sizes:
        wanted = tuple(size for size in shape if size is not None)
        if math.prod(found) != math.prod(wanted):
            raise DataError(
                f"{where}: output {spec.name!r} of {column.label} has {math.prod(found):,} values "
                f"per sample, and the model's has {math.prod(wanted):,}, of shape {wanted}."
            )
        array = array.reshape(len(array), *wanted)
    dtype = np.dtype(spec.dtype) if spec.dtype in np.sctypeDict else array.dtype
    if array.dtype == dtype:
        return array
    with np.errstate(over="ignore", invalid="ignore"):
        cast = array.astype(dtype)
        back = cast.astype(array.dtype)
    if not np.array_equal(back, array, equal_nan=array.dtype.kind == "f"):
        raise DataError(
            f"{where}: output {spec.name!r} of {column.label} is {array.dtype.name}, the model's "
            f"is {spec.dtype}, and its values do not fit. Give scale and zero_point where these "
            "are a quantizer's integers."
        )
    return cast

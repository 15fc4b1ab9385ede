"""Imported target against imported target: pairs, groups of equal outputs, samples that part."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from chipdrift.imports.column import Array, Column, Imported
from chipdrift.metrics import (
    Metric,
    Outputs,
    answers_agree,
    identical_share,
    lsb_over,
    max_abs,
    to_integers,
)
from chipdrift.records import Group, Lsb, Pair, Parting


@dataclass(eq=False)
class Answered:
    """A column with what is derived from it alone; equal outputs share the figures."""

    column: Column
    outputs: Outputs
    answers: Array
    steps: dict[str, Array]


def answered(
    column: Column, primary: str, imported: Imported, metric: Metric, reference: Outputs
) -> Answered:
    """``column`` with its answers under ``metric``, which reads output ``primary``."""
    outputs = column.outputs(primary, imported.labels, reference)
    steps = {}
    for name, quantizer in column.quantizers.items():
        whole = to_integers(outputs.arrays[name], quantizer)
        if whole is not None:
            steps[name] = whole
    return Answered(column, outputs, metric.answers(outputs), steps)


def pairs_of(there: Sequence[Answered]) -> list[Pair]:
    """Every two targets, in order; equal outputs are compared once."""
    known: dict[tuple[str, str], dict[str, Any]] = {}
    pairs = []
    for a, b in itertools.combinations(there, 2):
        key = (a.column.digest, b.column.digest)
        if key not in known:
            agrees = answers_agree(a.answers, b.answers)
            known[key] = {
                "agreement": agrees.value,
                "agreement_low": agrees.low,
                "agreement_high": agrees.high,
                "identical": identical_share(a.outputs, b.outputs),
                # How far two class numbers are apart says nothing.
                "max_abs": max_abs(a.outputs, b.outputs) if a.outputs.array.ndim > 1 else None,
            }
        pairs.append(
            Pair(
                scheme=a.column.scheme,
                a=a.column.target,
                b=b.column.target,
                samples=a.column.samples,
                measured=a.column.samples,
                lsb=_lsb(a, b),
                **known[key],
            )
        )
    return pairs


def _lsb(a: Answered, b: Answered) -> Lsb | None:
    """Over the outputs of one quantizer: the largest distance, the mean of all; else None."""
    return lsb_over(
        (steps, b.steps[name])
        for name, steps in a.steps.items()
        if name in b.steps and a.column.quantizers[name] == b.column.quantizers[name]
    )


def groups_of(there: Sequence[Answered]) -> list[Group]:
    """The targets by the bits of their outputs: each in one group, alone where none is equal."""
    alike: dict[str, list[Column]] = defaultdict(list)
    for one in there:
        alike[one.column.digest].append(one.column)
    return [
        Group(
            scheme=columns[0].scheme,
            targets=tuple(column.target for column in columns),
            samples=columns[0].samples,
            measured=columns[0].samples,
        )
        for columns in alike.values()
    ]


def partings_of(metric: Metric, there: Sequence[Answered], room: int) -> tuple[list[Parting], int]:
    """The samples on which the targets' answers are not all the same, the first ``room``."""
    stacked = np.stack([one.answers for one in there])
    parted = np.flatnonzero((stacked != stacked[0]).any(axis=0))
    found = [
        Parting(
            scheme=there[0].column.scheme,
            sample=int(index),
            label=metric.describe_label(there[0].outputs, int(index)),
            answers={one.column.target: metric.describe(one.answers[index]) for one in there},
        )
        for index in parted[: max(0, room)]
    ]
    return found, len(parted)

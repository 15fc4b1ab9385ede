"""Target against target under one scheme: pairs, groups of equal bits, samples that part."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from chipdrift.matrix.answers import Answers, lsb_of
from chipdrift.matrix.cells import CellPlan
from chipdrift.matrix.request import Request
from chipdrift.metrics import answers_agree, identical_share, max_abs
from chipdrift.records import Group, Pair, Parting
from chipdrift.store import Store

There = Sequence[tuple[CellPlan, Answers]]


def pairs_of(store: Store, request: Request, there: There) -> list[Pair]:
    """Every two targets, in the order asked for; equal bits are compared once."""
    found: dict[tuple[int, int], dict[str, Any]] = {}
    pairs = []
    own = {cell.key: store.measured(cell.key).keys() for cell, _ in there}
    for (cell_a, a), (cell_b, b) in itertools.combinations(there, 2):
        key = (id(a), id(b))
        if key not in found:
            agrees = answers_agree(a.answers, b.answers)
            found[key] = {
                "agreement": agrees.value,
                "agreement_low": agrees.low,
                "agreement_high": agrees.high,
                "identical": identical_share(a.outputs, b.outputs),
                "lsb": lsb_of(a, b),
                "max_abs": max_abs(a.outputs, b.outputs),
            }
        pairs.append(
            Pair(
                scheme=cell_a.variant.scheme.name,
                a=cell_a.target.name,
                b=cell_b.target.name,
                samples=len(request.samples),
                measured=request.samples.count(own[cell_a.key] & own[cell_b.key]),
                **found[key],
            )
        )
    return pairs


def groups_of(store: Store, request: Request, there: There) -> list[Group]:
    """The targets by the bits of their outputs: each in one group, alone where none is equal."""
    alike: dict[str, list[CellPlan]] = defaultdict(list)
    for cell, answers in there:
        alike[answers.digest].append(cell)
    wanted = set(request.samples.keys)
    return [
        Group(
            scheme=cells[0].variant.scheme.name,
            targets=tuple(cell.target.name for cell in cells),
            samples=len(request.samples),
            measured=request.samples.count(
                wanted.intersection(*(store.measured(cell.key).keys() for cell in cells))
            ),
        )
        for cells in alike.values()
    ]


def partings_of(request: Request, there: There, room: int) -> tuple[list[Parting], int]:
    """The samples on which the targets' answers are not all the same."""
    if len(there) < 2:
        return [], 0
    stacked = np.stack([answers.answers for _, answers in there])
    parted = np.flatnonzero((stacked != stacked[0]).any(axis=0))
    metric = request.metric
    found = [
        Parting(
            scheme=there[0][0].variant.scheme.name,
            sample=int(index),
            label=metric.describe_label(there[0][1].outputs, int(index)),
            answers={
                cell.target.name: metric.describe(answers.answers[index]) for cell, answers in there
            },
        )
        for index in parted[: max(0, room)]
    ]
    return found, len(parted)

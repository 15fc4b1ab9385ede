"""Answers that depend on what else is in the batch.

What it finds: a sample that gets another answer alone than beside others in one batch. Where the
model's batch is larger than 1 as it is, the other rows are exchanged; where it is 1, the model is
made for several samples, if nothing in it fixes the batch. A runtime that others agree with is
asked too: where the model itself mixes its samples, nothing is found.

Why it hurts: what was measured one by one is not what an app gets that feeds batches, and the same
picture is answered differently by chance of its neighbours.

Example: a runtime that takes the range of a dynamic quantizer over the whole batch; a kernel for
one row that sums in another order than that for many.

Fix: feed as you measure, one by one or in full batches; quantize statically; report the runtime
with the two batches.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from chipdrift.counts import agreeing, counted
from chipdrift.diagnose.exam import Exam, Feed
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Finding
from chipdrift.graph.batch import batched
from chipdrift.probe.ask import Asker, NoAnswerError
from chipdrift.targets import get_target

Array = np.ndarray[Any, Any]
Pairs = list[tuple[Array, Array]]

_BATCH = 4
# Float32 sums in another order part by less than this share of the output's range; a quantized
# output parts by a step at least, 1/255 of the range in 8 bits, 1/65535 in 16.
_ORDER = 4e-6
# A model without integers may run in float16, whose values are 1/1024 to 1/2048 apart.
_HALVES = 2e-3
# Who is asked whether the model itself mixes its samples: the first that is not the target.
_CONTROLS = ("ort:cpu", "sim:ort-mlas")


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target whose answers depend on the batch."""
    least = _ORDER if exam.anatomy.quantizers else _HALVES
    for asker in filter(None, (exam.asker_a, exam.asker_b)):
        if exam.case.by_chance(asker.target.name):  # the batch draws other noise, by its own rule
            continue
        pairs = _both(asker, exam.case.model, exam.feeds)
        apart = _apart(pairs)
        if apart <= least or _mixes(exam, asker, least):
            continue
        name = asker.target.name
        count = sum(_apart([pair]) > least for pair in pairs)
        yield Finding(
            check="batch-dependent",
            severity="warning",
            title=f"{name} answers a sample otherwise within a batch",
            words=f"{count} of {counted(len(pairs), 'answer')} "
            f"{agreeing(count, 'changes', 'change')} with what else is in the batch, by up to "
            f"{100 * apart:.3g} % of the output's range",
            targets=(name,),
            experiment="the same samples one by one and in one batch (or beside other rows), on "
            f"{name}; a reference runtime gives the same answers to both",
            fix="feed as you measure, one by one or in full batches, and report the runtime with "
            "the two batches",
            weight=min(1.0, apart),
        )


def _mixes(exam: Exam, asker: Asker, least: float) -> bool:
    """Whether the model itself mixes its samples: another runtime's answers change, too."""
    name = next(c for c in _CONTROLS if c != asker.target.name)
    with suppress(ChipdriftError), Asker(get_target(name)) as control:
        return _apart(_both(control, exam.case.model, exam.feeds)) > least
    return False


def _both(asker: Asker, model: bytes, feeds: Sequence[Feed]) -> Pairs:
    """Each answer alone and in other company; empty where the batch cannot be had."""
    with suppress(NoAnswerError, ChipdriftError):
        if len(feeds) < 2:
            return []
        rows = {array.shape[0] if array.ndim else 0 for array in feeds[0].values()}
        if rows == {1}:
            return _in_batch(asker, model, feeds[:_BATCH])
        if len(rows) == 1 and min(rows) > 1:
            return _beside_others(asker, model, feeds[0], feeds[1])
    return []


def _in_batch(asker: Asker, model: bytes, feeds: Sequence[Feed]) -> Pairs:
    whole = batched(model, len(feeds))
    if whole is None:
        return []
    together = {name: np.concatenate([feed[name] for feed in feeds]) for name in feeds[0]}
    (batch,) = asker.ask_all(whole, [together])
    alone = asker.ask_all(model, feeds)
    if any(array.shape[:1] != (len(feeds),) for array in batch):
        return []
    return [
        (single.reshape(-1), array[index].reshape(-1))
        for index, answer in enumerate(alone)
        for single, array in zip(answer, batch, strict=True)
    ]


def _beside_others(asker: Asker, model: bytes, one: Feed, other: Feed) -> Pairs:
    """The first row of ``one`` in its own company and in that of ``other``."""
    mixed = {name: np.concatenate([one[name][:1], other[name][1:]]) for name in one}
    a, b = asker.ask_all(model, [one, mixed])
    count = len(next(iter(one.values())))
    return [(x[0], y[0]) for x, y in zip(a, b, strict=True) if x.shape[:1] == (count,)]


def _apart(pairs: Pairs) -> float:
    """The largest distance, as a share of the range that the outputs span."""
    most = 0.0
    for x, y in pairs:
        if x.shape != y.shape:
            return 1.0
        one, two = (array.astype(np.float64).reshape(-1) for array in (x, y))
        same = (one == two) | (np.isnan(one) & np.isnan(two))
        if same.all():
            continue
        span = float(np.nanmax(np.abs(one))) if np.isfinite(one).any() else 0.0
        away = float(np.max(np.where(same, 0.0, np.abs(one - two))))
        most = max(most, away / span if span and np.isfinite(away) else 1.0)
    return most

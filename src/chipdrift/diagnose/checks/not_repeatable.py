"""A target that answers the same question differently each time.

What it finds: the same model and the same sample asked twice in one session, and once more in a
fresh session, with answers that are not the same bits; and the first activation that changes.

Why it hurts: nothing measured on such a target can be compared. Two runs differ, a fix seems to
work and is gone the next day, and two chips that seem to part may be one chip asked twice.

Example: threads that sum in the order in which they finish; rounding by chance; memory that is
read before it is written.

Fix: ask the runtime for deterministic kernels (one thread, no accumulation in parallel); where
there is no such option, repeat every measurement and compare the spread with the difference; report
it with the one sample.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import numpy as np

from chipdrift.diagnose.drift import makers_of
from chipdrift.diagnose.exam import Exam, Feed
from chipdrift.diagnose.remedies import scheme_options
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Finding
from chipdrift.probe.ask import Asker, NoAnswerError

Array = np.ndarray[Any, Any]


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for each target whose answers change."""
    if not exam.feeds:
        return
    # Another sample in between: what the session keeps of it must not show.
    first = exam.feeds[0]
    asked = [first, exam.feeds[-1], first]
    for asker in filter(None, (exam.asker_a, exam.asker_b)):
        with suppress(NoAnswerError, ChipdriftError):
            one, _, two = asker.ask_all(exam.case.model, asked)
            within = not _same(one, two)
            if not within and _same(one, asker.ask_all(exam.case.model, [first])[0]):
                continue
            yield _finding(exam, asker, first, within)


def _same(one: list[Array], two: list[Array]) -> bool:
    """Bit for bit."""
    return len(one) == len(two) and all(
        x.dtype == y.dtype and x.shape == y.shape and x.tobytes() == y.tobytes()
        for x, y in zip(one, two, strict=True)
    )


def _finding(exam: Exam, asker: Asker, feed: Feed, within: bool) -> Finding:
    name = asker.target.name
    node = _first(exam, asker, feed)
    when = "twice in one session" if within else "in one session and in a fresh one"
    return Finding(
        check="not-repeatable",
        severity="error",
        title=f"{name} does not repeat its answers",
        words=f"the same sample, asked {when}, gets other bits"
        + (f"; the first activation that changes is that of {node}" if node else ""),
        nodes=(node,) if node else (),
        targets=(name,),
        experiment=f"the same model and sample asked {when}, another sample in between",
        fix="ask the runtime for deterministic kernels (one thread); until then no difference of "
        "this target is to be trusted that is not larger than its own spread",
        command=f"chipdrift consistency MODEL {scheme_options(exam)}"
        f"--target {shlex.quote(name)},ort:cpu",
        weight=2.5,
    )


def _first(exam: Exam, asker: Asker, feed: Feed) -> str | None:
    """The node whose activation is the first, along the depth, that changes."""
    try:
        one, two = asker.ask_all(exam.anatomy.tapped, [feed, feed])
        if _same(one, two):
            (two,) = asker.ask_all(exam.anatomy.tapped, [feed])
    except NoAnswerError:
        return None
    makers = makers_of(exam.anatomy.cut)
    changed = [
        makers[tensor]
        for tensor, x, y in zip(exam.anatomy.tensors, one, two, strict=True)
        if tensor in makers and x.tobytes() != y.tobytes()
    ]
    return min(changed, key=lambda maker: maker[2])[0] if changed else None

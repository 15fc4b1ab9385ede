"""Another version of the SDK, on the same chip, answers differently.

What it finds: A and B that are one chip under two versions of its runtime and part; and a run that
was measured with other versions than are installed now, where the answers have changed since.

Why it hurts: vendors' releases have moved accuracy by more than a generation of chips does. A run
of last month is no baseline for a phone with today's library, and a loss is looked for in the
model that came with an update.

Example: qnn 2.38 on one side and 2.51 on the other, the same SM8550.

Fix: measure again with the SDK that you ship, and pin its version; keep the older one as a target
of its own until both are measured.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from typing import Any

import numpy as np

from chipdrift.counts import counted
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import matrix_command
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Finding
from chipdrift.matrix import cell_outputs
from chipdrift.probe.ask import Asker, NoAnswerError

# What a target's versions tell beside versions: the host's processor, a profile's hash.
_OTHERS = frozenset({"machine", "isa", "profile"})
_SAMPLES = 4


def look(exam: Exam) -> Iterator[Finding]:
    """One finding for A against B, one for each target whose run is of another time."""
    yield from _between(exam)
    for asker in filter(None, (exam.asker_a, exam.asker_b)):
        yield from _since(exam, asker)


def changed(a: Mapping[str, str], b: Mapping[str, str]) -> dict[str, tuple[str, str]]:
    """The parts of which both know a version, and not the same one."""
    return {
        name: (a[name], b[name])
        for name in a
        if name in b and name not in _OTHERS and a[name] != b[name]
    }


def _between(exam: Exam) -> Iterator[Finding]:
    """A and B as two versions of one chip."""
    a, b = exam.targets
    cells = exam.case.cell(a), exam.case.cell(b)
    if exam.case.b is None or cells[0] is None or cells[1] is None:
        return
    if a.partition("@")[0] != b.partition("@")[0]:
        return
    parts = changed(cells[0].versions, cells[1].versions)
    apart = max((o.distance.differing for o in exam.diagnosis.outputs), default=0.0)
    if not parts or apart == 0:
        return
    node = exam.diagnosis.first_op
    yield Finding(
        check="sdk-changed",
        severity="warning",
        title=f"{a} and {b} are one chip under two versions, and part",
        words=f"{_words(parts)}: {100 * apart:.3g} % of the output values are not the same"
        + (f"; the first node that differs by itself is {node}" if node else ""),
        nodes=(node,) if node else (),
        targets=(a, b),
        experiment=f"{counted(exam.diagnosis.samples, 'sample')} on both, and every node alone",
        fix="measure with the version that you ship, and pin it",
        weight=min(1.0, apart),
    )


def _since(exam: Exam, asker: Asker) -> Iterator[Finding]:
    """What a target answers now, where its run was measured with other versions."""
    target = asker.target
    cell = exam.case.cell(target.name)
    if cell is None or cell.status != "ok":
        return
    parts = changed(cell.versions, target.versions)
    if not parts:
        return
    samples = exam.case.run.samples
    count = min(_SAMPLES, len(samples))
    with suppress(ChipdriftError, NoAnswerError):
        arrays, _ = cell_outputs(exam.case.run.folder, exam.case.scheme, target.name)
        now = asker.ask_all(exam.case.model, [samples.feed(i) for i in range(count)])
        then = list(arrays.values())
        values = parted = 0
        for index, answer in enumerate(now):
            for whole, array in zip(then, answer, strict=True):
                values += array.size
                parted += _unequal(whole[index], array)
        if not parted:
            return
        share = parted / max(1, values)
        yield Finding(
            check="sdk-changed",
            severity="warning",
            title=f"{target.name} no longer answers as in the run",
            words=f"{_words(parts)} since the run was measured: {100 * share:.3g} % of the output "
            f"values of {counted(count, 'sample')} are not the same. Accuracies are of then, "
            "activations of now",
            targets=(target.name,),
            experiment=f"{count} of the run's samples asked again",
            fix="measure the run again with what is installed now",
            command=matrix_command(exam, targets=(target.name,), out="again"),
            weight=min(1.0, share),
        )


def _unequal(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> int:
    if a.shape != b.shape:
        return int(b.size)
    same = (a == b) | ((a != a) & (b != b))
    return int(a.size - np.count_nonzero(same))


def _words(parts: Mapping[str, tuple[str, str]]) -> str:
    return ", ".join(f"{name} {old} to {new}" for name, (old, new) in parts.items())

"""Too few samples to tell a loss of this size from chance.

What it finds: a loss that shows in the figures, of a size that one would act on, whose 95 %
interval holds 0: these samples cannot tell it from chance. It says how many would.

Why it hurts: a loss that is none costs days of search, and a real one is waved through. With 100
samples, a loss of 2 points is two pictures.

Example: 95 % on one chip and 93 % on the other, on 100 samples: the difference is -2 points with an
interval of -7 to 2.5.

Fix: measure with the number of samples named. To find where two targets part needs no labels and
few samples; to tell which one is worse needs these.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

from chipdrift.diagnose.counts import agreeing, counted
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.remedies import matrix_command
from chipdrift.errors import ChipdriftError
from chipdrift.findings import Finding
from chipdrift.matrix import cell_outputs
from chipdrift.metrics import Outputs, compare, get_metric
from chipdrift.records import MetricInfo

# A loss that people act on: 1 point, or 1 % of a figure that is no share.
_ACTED_ON = 0.01


@dataclass(frozen=True)
class _Loss:
    """How much worse ``worse`` is than ``better``, in the metric's unit, with its interval."""

    worse: str
    better: str
    size: float
    low: float
    high: float
    samples: int

    @property
    def needed(self) -> int:
        """The samples whose interval would leave 0 out, if the loss is what it seems.

        An interval's half width falls with the root of the samples: n (half width / loss)^2.
        """
        return math.ceil(self.samples * ((self.size - self.low) / self.size) ** 2) + 1


def look(exam: Exam) -> Iterator[Finding]:
    """At most one finding: the largest loss that is not decided."""
    info = exam.case.run.matrix.metric
    if info.against_baseline:
        return
    baseline = exam.case.run.matrix.baseline.metric
    share = info.interval.startswith("Wilson")
    least = _ACTED_ON * (1.0 if share or baseline is None else abs(baseline.value))
    losses = [
        loss for loss in _losses(exam, info) if loss.size >= least and loss.low <= 0 <= loss.high
    ]
    if not losses:
        return
    loss = max(losses, key=lambda found: found.size)
    unit, times = (" points", 100.0) if share else ("", 1.0)
    yield Finding(
        check="too-few-samples",
        severity="note",
        title=f"{counted(loss.samples, 'sample')} {agreeing(loss.samples, 'does', 'do')} not tell "
        f"whether {loss.worse} loses {times * loss.size:.3g}{unit}",
        words=f"{info.name} on {loss.worse} is {times * loss.size:.3g}{unit} worse than on "
        f"{loss.better}, with a 95 % interval of {times * loss.low:.3g} to "
        f"{times * loss.high:.3g}: it may be nothing. A loss of this size shows with some "
        f"{loss.needed:,} samples",
        targets=tuple(name for name in (loss.worse, loss.better) if name in exam.targets),
        experiment=f"the paired test of the metric on the run's {counted(loss.samples, 'sample')}",
        fix=f"measure some {loss.needed:,} samples; --dry-run tells how long that takes",
        command=_command(exam),
        weight=min(1.0, loss.size),
    )


def _command(exam: Exam) -> str | None:
    """The run's own command on MORE data, as a plan."""
    command = matrix_command(exam, out="more")
    return command and command.replace("--data DATA", "--data MORE") + " --dry-run"


def _losses(exam: Exam, info: MetricInfo) -> Iterator[_Loss]:
    """A's and B's against the float model, and the worse one's against the other."""
    sign = -1 if info.higher_is_better else 1
    for name in exam.targets:
        cell = exam.case.cell(name)
        if cell is None or cell.delta is None or cell.delta.low is None or cell.delta.high is None:
            continue
        low, high = sorted((sign * cell.delta.low, sign * cell.delta.high))
        if (exam.case.scheme, name) != _baseline(exam):
            words = exam.case.run.matrix.baseline.words
            yield _Loss(name, f"the {words}", sign * cell.delta.value, low, high, cell.samples)
    if exam.case.b is None:
        return
    samples = exam.case.run.samples
    a, b = exam.targets
    try:
        one, other = (
            Outputs(
                arrays=cell_outputs(exam.case.run.folder, exam.case.scheme, name)[0],
                primary=info.output,
                labels=samples.labels,
                extras=samples.extras,
            )
            for name in (a, b)
        )
        found = compare(get_metric(info.name), one, other)
    except ChipdriftError:
        return
    if found.low is None or found.high is None:
        return
    low, high = sorted((sign * found.low, sign * found.high))
    if sign * found.value >= 0:
        yield _Loss(a, b, sign * found.value, low, high, len(samples))
    else:
        yield _Loss(b, a, -sign * found.value, -high, -low, len(samples))


def _baseline(exam: Exam) -> tuple[str, str]:
    baseline = exam.case.run.matrix.baseline
    return baseline.scheme, baseline.target

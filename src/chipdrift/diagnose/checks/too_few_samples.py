"""Too few samples to tell a loss of this size from chance.

What it finds: a loss that the paired test does not show on these samples: one of a size that one
would act on whose 95 % interval holds 0, or a smaller one, too, whose interval leaves 0 out and is
likely. It says how many samples would show it.

Why it hurts: a loss that is none costs days of search, and a real one is waved through. With 100
samples, a loss of 2 points is two pictures.

Example: 95 % on one chip and 93 % on the other, on 100 samples: the difference is -2 points with an
interval of -7 to 2.5.

Fix: measure with the number of samples named: with so many, the test by which chipdrift decides
shows such a loss in four runs of five. To find where two targets part needs no labels and few
samples; to tell which one is worse needs these.
"""

from __future__ import annotations

from collections.abc import Iterator

from chipdrift.counts import agreeing, counted
from chipdrift.diagnose.exam import Exam
from chipdrift.diagnose.planned import samples_needed
from chipdrift.diagnose.tested import Difference, against_float, between
from chipdrift.findings import Finding

# A loss that people act on: 1 point, or 1 % of a figure that is no share.
_ACTED_ON = 0.01


def look(exam: Exam) -> Iterator[Finding]:
    """At most one finding: of the losses that are not decided a likely one, or the largest."""
    info = exam.case.run.matrix.metric
    if info.against_baseline:
        return
    baseline = exam.case.run.matrix.baseline.metric
    share = info.interval.startswith("Wilson")
    least = _ACTED_ON * (1.0 if share or baseline is None else abs(baseline.value))
    open_ones = [
        found
        for found in _differences(exam)
        if found.low is not None
        and (found.state == "likely" or (found.state == "not seen" and abs(found.loss) >= least))
    ]
    if not open_ones:
        return
    found = max(open_ones, key=lambda f: (f.state == "likely", abs(f.loss)))
    likely = found.state == "likely"
    needed = samples_needed(found, share)
    if needed is None:
        return
    loser = found.first if found.loss > 0 else found.second
    unit, times = (" points", 100.0) if share else ("", 1.0)
    size = f"{times * abs(found.loss):.3g}{unit}"
    count = counted(found.samples, "sample")
    yield Finding(
        check="too-few-samples",
        severity="warning" if likely else "note",
        title=f"{loser} likely loses {size}: {count} {agreeing(found.samples, 'does', 'do')} not "
        "prove it"
        if likely
        else f"{count} {agreeing(found.samples, 'does', 'do')} not tell whether {loser} loses "
        f"{size}",
        words=f"{info.name} on {found.words}: "
        f"{'likely a loss, not proven' if likely else 'it may be nothing'}. A loss like this one "
        f"shows in four runs of five with some {needed:,} samples",
        targets=tuple(name for name in (found.first, found.second) if name in exam.targets),
        experiment=f"the paired test of the metric on the run's {count}",
        # No command: which file holds more samples is not known here.
        fix=f"measure some {needed:,} samples: the run's own chipdrift matrix command with a "
        "--data that holds them and an -o of its own; --dry-run tells how long that takes",
        weight=min(1.0, abs(found.loss)),
    )


def _differences(exam: Exam) -> Iterator[Difference]:
    """A's and B's losses against the float model, and A's metric minus B's."""
    for name in exam.targets:
        found = against_float(exam.case, name)
        if found is not None and found.loss > 0 and (exam.case.scheme, name) != _baseline(exam):
            yield found
    apart = between(exam.case)
    if apart is not None:
        yield apart


def _baseline(exam: Exam) -> tuple[str, str]:
    baseline = exam.case.run.matrix.baseline
    return baseline.scheme, baseline.target

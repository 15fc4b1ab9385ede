"""How far the samples carry a difference of the metric: shown, likely, or not seen.

A difference is tested for what this diagnosis asks, whatever else the run measured: corrected for
the pairs that this one was chosen from, and for the results in them where one of those is set
against the float model.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chipdrift.diagnose.case import Case
from chipdrift.errors import ChipdriftError
from chipdrift.matrix import cell_outputs
from chipdrift.metrics import Comparison, Outputs, compare, get_metric

State = Literal["shown", "likely", "not seen"]
SIGNIFICANT = 0.05
_FLOAT_MODEL = "the float model"


@dataclass(frozen=True)
class Difference:
    """The metric on ``first`` minus that on ``second``, in its own unit, over ``samples``.

    ``low`` and ``high`` are its 95 % interval (None: there is none), ``p_value`` is of the paired
    test, not corrected; ``tests`` is the number of tests to correct it for (Bonferroni), ``each``
    what they are of ("": the sides).
    """

    first: str
    second: str
    value: float
    low: float | None
    high: float | None
    p_value: float
    samples: int
    tests: int = 1
    higher_is_better: bool = True
    each: str = ""

    @property
    def loss(self) -> float:
        """How much worse the first is, positive for worse."""
        return -self.value if self.higher_is_better else self.value

    @property
    def corrected(self) -> float:
        """The paired test's p, corrected."""
        return min(1.0, self.p_value * self.tests)

    @property
    def state(self) -> State:
        """Whether the two differ: shown by the test and the interval, likely by one of them."""
        shown = self.corrected < SIGNIFICANT
        if self.low is None or self.high is None:
            clear = shown or self.p_value < SIGNIFICANT
        else:
            clear = not self.low <= 0 <= self.high
        if shown and clear:
            return "shown"
        return "likely" if shown or clear else "not seen"

    @property
    def lost(self) -> State:
        """The same where the first is worse; a gain is no loss."""
        return self.state if self.loss > 0 else "not seen"

    @property
    def words(self) -> str:
        """ "A minus B: -2.50 points, 95 % interval -7.09 to +0.68 points, p = 0.25"."""
        return f"{self.first} minus {self.second}: {signed(self.value)}, {self.evidence}"

    @property
    def evidence(self) -> str:
        """Interval and p, and what p was corrected for."""
        between = "" if self.low is None else f"95 % interval {span(self.low, self.high)}, "
        each = f" (one for each {self.each} that this was chosen from)" if self.each else ""
        many = f" corrected for {self.tests} tests{each}" if self.tests > 1 else ""
        return f"{between}p = {self.corrected:.2g}{many}"


def against_float(case: Case, name: str) -> Difference | None:
    """A's or B's metric minus the float model's; None where it has none to compare."""
    cell = case.cell(name)
    if cell is None or cell.delta is None:
        return None
    delta = cell.delta
    return Difference(
        first=name,
        second=_FLOAT_MODEL,
        value=delta.value,
        low=delta.low,
        high=delta.high,
        p_value=delta.p_value,
        samples=cell.samples,
        tests=case.results,
        higher_is_better=case.run.matrix.metric.higher_is_better,
        each="result" if case.among > 1 else "",
    )


def between(case: Case) -> Difference | None:
    """A's metric minus B's; None where B is the float model or the metric cannot compare them."""
    found = None if case.b is None else compared(case)
    if found is None:
        return None
    return Difference(
        first=case.a.name,
        second=case.b_name,
        value=found.value,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        samples=len(case.run.samples),
        tests=case.among,
        higher_is_better=case.run.matrix.metric.higher_is_better,
        each="pair" if case.among > 1 else "",
    )


def compared(case: Case) -> Comparison | None:
    """The metric on A's outputs minus that on B's, sample by sample."""
    matrix, samples = case.run.matrix, case.run.samples
    try:
        a, b = (
            Outputs(
                arrays=cell_outputs(case.run.folder, case.scheme, name)[0],
                primary=matrix.metric.output,
                labels=samples.labels,
                extras=samples.extras,
            )
            for name in (case.a.name, case.b_name)
        )
        return compare(get_metric(matrix.metric.name), a, b)
    except ChipdriftError:
        return None


def signed(value: float) -> str:
    """A difference: of a proportion in points, of any other metric in its own unit."""
    return f"{100 * value:+.2f} points" if abs(value) <= 1 else f"{value:+.3g}"


def span(low: float, high: float | None) -> str:
    """An interval of differences."""
    if high is None:
        return f"from {signed(low)}"
    if max(abs(low), abs(high)) <= 1:
        return f"{100 * low:+.2f} to {100 * high:+.2f} points"
    return f"{low:+.3g} to {high:+.3g}"

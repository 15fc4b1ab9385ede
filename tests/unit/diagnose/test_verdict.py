"""Whose loss it is: what may be said of two cells, and what may not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chipdrift.diagnose import tested, verdict
from chipdrift.metrics import Comparison
from chipdrift.metrics.intervals import mcnemar_exact, tango
from chipdrift.records import Cell, Delta

METRIC = SimpleNamespace(name="top1", higher_is_better=True, against_baseline=False)
# Samples that one side alone has right, and the other alone.
Counts = tuple[int, int]
NONE, GAIN = (0, 0), (25, 0)
CLEAR, LIKELY = (0, 50), (0, 6)


def figures(counts: Counts, samples: int) -> Comparison:
    """The difference of a proportion as the metrics compute it."""
    low, high = tango(*counts, samples)
    return Comparison((counts[0] - counts[1]) / samples, low, high, mcnemar_exact(*counts))


def cell(target: str, counts: Counts, samples: int = 500, others: int = 1, **more: Any) -> Cell:
    """A cell against the float model; ``others`` cells of the run make Holm's p larger."""
    found = figures(counts, samples)
    p_holm = min(1.0, found.p_value * others)
    delta = Delta(**found._asdict(), p_holm=p_holm, significant=p_holm < 0.05)
    return Cell(
        scheme="w8a8", target=target, evidence="vendor-simulator", status="ok", samples=samples,
        delta=delta, **more,
    )  # fmt: skip


def judged(
    monkeypatch: pytest.MonkeyPatch,
    a: Cell,
    b: Cell | None,
    apart: Counts | Comparison = NONE,
    among: int = 1,
) -> Any:
    """The verdict where ``apart`` counts what A alone, and B alone, has right."""
    found = figures(apart, a.samples) if len(apart) == 2 else apart
    monkeypatch.setattr(tested, "compared", lambda case: found)
    cells = {c.target: c for c in (a, b) if c is not None}
    own = {c.copied_from or c.target for c in cells.values()}
    case = SimpleNamespace(
        run=SimpleNamespace(matrix=SimpleNamespace(metric=METRIC), samples=range(a.samples)),
        a=SimpleNamespace(name=a.target),
        b=None if b is None else SimpleNamespace(name=b.target),
        b_name="float" if b is None else b.target,
        among=among,
        results=among * len(own),
        cell=cells.get,
    )
    return verdict.give_verdict(case)  # type: ignore[arg-type]


def test_the_counts_are_what_they_are_called() -> None:
    """Against the exact figures: 2^-6 and 2^-50 twice, the interval beside each."""
    clear, likely = figures(CLEAR, 500), figures(LIKELY, 500)
    assert (clear.p_value, likely.p_value) == (2**-49, 2**-5)
    assert clear.high is not None and clear.high < 0
    assert likely.high is not None and likely.high < 0


@pytest.mark.parametrize(
    ("a", "b", "apart", "cause"),
    [
        (CLEAR, CLEAR, NONE, "quantization"),
        ((0, 100), CLEAR, (0, 50), "both"),
        ((0, 60), NONE, (0, 60), "chip"),
        (NONE, NONE, NONE, "neither"),
        (GAIN, GAIN, NONE, "neither"),
        ((0, 3), (0, 2), (0, 1), "neither"),
        # Between shown and not seen the cause is open.
        (CLEAR, LIKELY, (0, 44), "chip"),
        (CLEAR, NONE, (2, 4), "unknown"),
        (CLEAR, (0, 56), (6, 0), "both"),
        (LIKELY, LIKELY, NONE, "unknown"),
        (LIKELY, NONE, (0, 5), "unknown"),
        ((0, 4), NONE, (0, 5), "unknown"),
    ],
)
def test_what_is_said_of_each_case(
    a: Counts, b: Counts, apart: Counts, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = judged(monkeypatch, cell("chip:a", a), cell("chip:b", b), apart)
    assert found.cause == cause, found.words
    for name, counts in (("chip:a", a), ("chip:b", b)):
        change = tested.signed((counts[0] - counts[1]) / 500)
        assert f"{name} minus the float model: {change}, " in found.words
    assert "chip:a minus chip:b: " in found.words


def test_a_loss_that_the_interval_shows_is_never_called_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """7.5 points of 120 samples, in a run with so many cells that Holm's p is 0.059."""
    a, b = cell("ort:cpu", (0, 8), 120, others=15), cell("chip:b", (0, 9), 120, others=15)
    assert b.delta is not None and not b.delta.significant
    found = judged(monkeypatch, a, b, (2, 1))
    assert found.cause == "quantization" and "quantization costs 6.67 points on both" in found.words


@pytest.mark.parametrize("counts", [NONE, (0, 3), LIKELY, CLEAR, GAIN])
def test_other_targets_of_the_run_do_not_matter(
    counts: Counts, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = {
        judged(monkeypatch, cell("chip:a", counts, others=n), cell("chip:b", NONE, others=n))
        for n in (1, 2, 40)
    }
    alone = {judged(monkeypatch, cell("chip:a", counts, others=n), None) for n in (1, 2, 40)}
    assert len(said) == len(alone) == 1


@pytest.mark.parametrize("lost", range(9))
def test_neither_is_said_only_where_no_interval_leaves_out_0(
    lost: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    low_high = tango(0, lost, 500)
    for sides, b in ((2, cell("chip:b", NONE)), (1, None)):
        found = judged(monkeypatch, cell("chip:a", (0, lost)), b, NONE, among=3)
        assert (found.cause == "neither") == (low_high[0] <= 0 <= low_high[1])
        if low_high[1] < 0 and mcnemar_exact(0, lost) * 3 * sides > 0.05:
            assert "is likely, not proven: more samples decide" in found.words


def test_a_likely_difference_of_two_that_lose_is_not_denied(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    a, b = cell("chip:a", (0, 55)), cell("chip:b", (0, 50))
    found = judged(monkeypatch, a, b, (0, 5))
    assert found.cause == "unknown"
    assert "quantization costs 10.00 points on both; chip:a loses 1.00 points more" in found.words
    assert "likely, not proven" in found.words


def test_the_worst_of_many_pairs_is_tested_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = cell("chip:a", (0, 7)), cell("chip:b", NONE)
    assert judged(monkeypatch, a, b, (0, 7)).cause == "chip"
    found = judged(monkeypatch, a, b, (0, 7), among=6)
    assert found.cause == "unknown" and "likely, not proven" in found.words
    assert found.p_value == pytest.approx(6 * 2**-6)
    assert "p = 0.094 corrected for 6 tests (one for each pair that this was chosen" in found.words
    assert "corrected for 12 tests (one for each result that this was chosen from)" in found.words


def test_a_shared_answer_is_one_test_and_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """p = 2^-5: under 0.05 as one test, over it as two."""
    a = cell("chip:a", LIKELY)
    shared = cell("chip:b", LIKELY, copied_from="chip:a", audited=4)
    found = judged(monkeypatch, a, shared)
    assert "chip:b ran 4 samples itself" in found.words and found.cause == "quantization"
    assert judged(monkeypatch, a, cell("chip:b", LIKELY)).cause == "unknown"


def test_few_samples_carry_none(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = cell("chip:a", (0, 5), samples=10), cell("chip:b", NONE, samples=10)
    found = judged(monkeypatch, a, b, (0, 5))
    assert found.cause == "unknown"
    assert "10 samples carry no verdict" in found.words


@pytest.mark.parametrize(
    ("low", "high", "p_value", "state"),
    [
        (-0.02, -0.01, 0.01, "shown"),
        (-0.02, -0.01, 0.06, "likely"),
        (-0.02, 0.01, 0.04, "likely"),
        (-0.02, 0.01, 0.06, "not seen"),
        (None, None, 0.01, "shown"),
        (None, None, 0.06, "not seen"),
    ],
)
def test_test_and_interval_both_decide(
    low: float | None, high: float | None, p_value: float, state: str
) -> None:
    found = tested.Difference("a", "b", -0.01, low, high, p_value, 500)
    assert found.state == found.lost == state
    turned = tested.Difference("a", "b", -0.01, low, high, p_value, 500, higher_is_better=False)
    assert turned.state == state and turned.lost == "not seen"

"""Whose loss it is: what may be said of two cells, and what may not."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from chipdrift.diagnose import verdict
from chipdrift.records import Cell, Delta

METRIC = SimpleNamespace(name="top1", higher_is_better=True, against_baseline=False)


def cell(target: str, loss: float, p_holm: float, samples: int = 500, **more: Any) -> Cell:
    delta = Delta(
        value=-loss,
        low=-loss - 0.02,
        high=-loss + 0.02,
        p_value=p_holm,
        p_holm=p_holm,
        significant=p_holm < 0.05,
    )
    return Cell(
        scheme="w8a8", target=target, evidence="vendor-simulator", status="ok", samples=samples,
        delta=delta, **more,
    )  # fmt: skip


def judged(
    monkeypatch: pytest.MonkeyPatch, a: Cell, b: Cell, p_value: float, among: int = 1
) -> Any:
    monkeypatch.setattr(verdict, "_compared", lambda case: (-0.02, 0.02, p_value))
    case = SimpleNamespace(
        run=SimpleNamespace(matrix=SimpleNamespace(metric=METRIC)),
        a=SimpleNamespace(name=a.target),
        b=SimpleNamespace(name=b.target),
        b_name=b.target,
        among=among,
        cell=lambda name: {a.target: a, b.target: b}[name],
    )
    return verdict.give_verdict(case)  # type: ignore[arg-type]


def test_a_loss_on_one_alone_is_never_called_none(monkeypatch: pytest.MonkeyPatch) -> None:
    found = judged(monkeypatch, cell("chip:a", 0.045, 0.03), cell("ort:cpu", 0.03, 0.2), 0.3)
    assert found.cause == "unknown"
    assert "chip:a loses against the float model (p = 0.03" in found.words
    assert "whether ort:cpu loses less is not shown" in found.words


def test_the_worst_of_many_pairs_is_tested_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = cell("chip:a", 0.03, 0.125), cell("chip:b", 0.0, 1.0)
    assert judged(monkeypatch, a, b, 0.031).cause == "chip"
    found = judged(monkeypatch, a, b, 0.031, among=6)
    assert found.cause == "neither"
    assert found.p_value == pytest.approx(0.186)


@pytest.mark.parametrize(
    ("losses", "p_value", "cause"),
    [
        ((0.10, 0.10), 0.9, "quantization"),
        ((0.20, 0.10), 0.001, "both"),
        ((0.12, 0.0), 0.001, "chip"),
        ((0.0, 0.0), 0.9, "neither"),
    ],
)
def test_the_four_plain_cases(
    losses: tuple[float, float], p_value: float, cause: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = (
        cell(name, loss, 0.001 if loss else 1.0)
        for name, loss in zip(("chip:a", "chip:b"), losses, strict=True)
    )
    assert judged(monkeypatch, a, b, p_value).cause == cause


def test_a_gain_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = cell("chip:a", -0.05, 0.001), cell("chip:b", -0.05, 0.001)
    found = judged(monkeypatch, a, b, 0.9)
    assert found.cause == "neither"
    assert "+5.00 points" in found.words


def test_few_samples_carry_none(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = cell("chip:a", 0.5, 0.001, samples=10), cell("chip:b", 0.0, 1.0, samples=10)
    found = judged(monkeypatch, a, b, 0.001)
    assert found.cause == "unknown"
    assert "10 samples carry no verdict" in found.words


def test_a_shared_answer_is_called_so(monkeypatch: pytest.MonkeyPatch) -> None:
    shared = cell("chip:b", 0.0, 1.0, copied_from="chip:a", audited=4)
    found = judged(monkeypatch, cell("chip:a", 0.0, 1.0), shared, 1.0)
    assert "chip:b ran 4 samples itself" in found.words

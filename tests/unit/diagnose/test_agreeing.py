"""The pair that a diagnosis takes where none is named, and the tests that this choice costs."""

from __future__ import annotations

import itertools
from types import SimpleNamespace
from typing import Any

import pytest

from chipdrift.diagnose.agreeing import least_agreeing
from chipdrift.diagnose.case import _choose, _results
from chipdrift.records import Cell, Lsb, Pair

NOISE = {"agreement": 1.0, "identical": 0.0, "max_abs": 4.77e-06}
STEPS = {"agreement": 1.0, "identical": 0.186, "max_abs": 0.43, "lsb": Lsb(max=6, mean=0.47)}


def run(figures: dict[str, dict[str, Any]], targets: list[str], shared: str = "") -> Any:
    """A matrix of ``targets`` with each scheme's figures for all pairs; ``shared`` copies."""
    cells = [
        Cell(
            scheme=scheme, target=target, evidence="host-runtime", status="ok", samples=60,
            copied_from=targets[0] if target == shared else None,
        )
        for scheme in figures
        for target in targets
    ]  # fmt: skip
    pairs = [
        Pair(scheme=scheme, a=a, b=b, samples=60, **figure)
        for scheme, figure in figures.items()
        for a, b in itertools.combinations(targets, 2)
    ]
    return SimpleNamespace(cells=cells, pairs=pairs, baseline=SimpleNamespace(scheme="fp32"))


def test_a_diagnosis_takes_the_pair_that_the_report_names() -> None:
    matrix = run({"fp32": NOISE, "w8a8": STEPS}, ["ort:cpu", "openvino:cpu"])
    worst = least_agreeing(matrix.pairs)
    assert worst is not None and worst.scheme == "w8a8"
    scheme, a, b, pairs = _choose(matrix, None, None, None)
    assert (scheme, a, b) == (worst.scheme, worst.a, worst.b) and len(pairs) == 2
    # With the float noise alone it is that.
    assert _choose(matrix, "fp32", None, None)[0] == "fp32"


def test_where_all_is_identical_a_diagnosis_still_has_a_pair() -> None:
    same = {"agreement": 1.0, "identical": 1.0, "max_abs": 0.0}
    matrix = run({"w8a8": same}, ["one", "two"])
    assert least_agreeing(matrix.pairs) is None
    assert _choose(matrix, None, None, None)[:3] == ("w8a8", "one", "two")


@pytest.mark.parametrize(("shared", "results"), [("", 22), ("t5", 20)])
def test_a_choice_among_many_pairs_tests_each_result_once(shared: str, results: int) -> None:
    """11 targets under 2 schemes: 110 pairs, 220 sides of them, and 22 results."""
    matrix = run({"w8a8": STEPS, "fp32": NOISE}, [f"t{i}" for i in range(11)], shared)
    *_, pairs = _choose(matrix, None, None, None)
    assert (len(pairs), _results(matrix, pairs)) == (110, results)
    *_, pairs = _choose(matrix, "w8a8", "t1", "t2")
    assert (len(pairs), _results(matrix, pairs)) == (1, 2)
    *_, pairs = _choose(matrix, "w8a8", "t1", "float")
    assert (len(pairs), _results(matrix, pairs)) == (1, 1)

"""Answers that someone else measured, without labels: nothing is tested, and nobody saw bits."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from report_html import read
from report_matrices import SAMPLES, cell, matrix, metric, pair

from chipdrift.records import Baseline, Group, Matrix, MetricResult, ModelInfo, TensorSpec
from chipdrift.report.heatmap import heatmap
from chipdrift.report.page import render
from chipdrift.report.summary import findings


def imported(
    answers: Mapping[str, int], shape: Sequence[int] = (), dtype: str = "int64", **more: Any
) -> Matrix:
    """Targets whose answers differ from the first's by so many samples; equal counts are alike."""
    names = list(answers)
    groups: dict[int, list[str]] = {}
    for name, count in answers.items():
        groups.setdefault(count, []).append(name)
    fields: dict[str, Any] = {
        "imported": "phones.csv",
        "metric": metric(name="agreement", answer="class", against_baseline=True),
        "baseline": Baseline(
            words="reference",
            scheme="asis",
            target=names[0],
            metric=MetricResult(name="agreement", value=1.0, low=0.98, high=1.0),
            samples=SAMPLES,
        ),
        "model": ModelInfo(
            name="phones", sha256="", opset=0, nodes=0, inputs=(),
            outputs=(TensorSpec(name="class", dtype=dtype, shape=tuple(shape)),),
        ),
        "pairs": tuple(
            pair("asis", a, b, 1 - abs(answers[a] - answers[b]) / SAMPLES,
                 identical=1 - abs(answers[a] - answers[b]) / SAMPLES)
            for a, b in itertools.combinations(names, 2)
        ),
        "groups": tuple(
            Group(scheme="asis", targets=tuple(g), samples=SAMPLES, measured=SAMPLES)
            for g in groups.values()
        ),
    }  # fmt: skip
    cells = [
        cell("asis", name, 1 - count / SAMPLES, -count / SAMPLES, evidence="reported", seconds=None)
        for name, count in answers.items()
    ]
    return matrix(*cells, **(fields | more))


PHONES = {"one": 0, "two": 0, "three": 0, "laptop": 5, "tablet": 5}


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        (
            PHONES,
            "3 of 5 targets give the same class on all 200 samples; laptop and tablet differ from "
            "them on 5.",
        ),
        ({"one": 0, "two": 0}, "Both targets give the same class on all 200 samples."),
        ({"one": 0, "two": 3}, "No two of 2 targets give the same class on all 200 samples."),
        (
            {"one": 9, "two": 0, "three": 0},
            "2 of 3 targets give the same class on all 200 samples; one differs from them on 9.",
        ),
        (
            {"one": 0, "two": 0, **{f"p{i}": i for i in range(1, 7)}},
            "2 of 8 targets give the same class on all 200 samples; the other 6 differ from them "
            "on 1 to 6.",
        ),
    ],
)
def test_who_answers_alike_is_said_first(answers: dict[str, int], words: str) -> None:
    found = findings(imported(answers))
    assert found[0].text == words
    # What is not tested is said all the same, behind what was found.
    assert sum("is not tested" in finding.text for finding in found[1:]) == 1


def test_all_that_are_worst_are_named() -> None:
    text = " ".join(finding.text for finding in findings(imported(PHONES)))
    assert "Worst: 97.5 %, asis on laptop and tablet." in text


def test_what_is_not_tested_is_not_called_chance() -> None:
    made = imported(PHONES)
    tints = [c.tint for row in heatmap(made).rows for c in row.cells]
    assert tints == ["same"] * 3 + ["worse4"] * 2
    html = render(made, {})
    read(html)
    assert "chance" not in html and "after Holm" not in html and "Holm-corrected" not in html
    assert "<dd>None: agreement compares with the reference's own outputs.</dd>" in html
    assert "worse, the darker the more; not tested" in html
    assert len(re.findall("<td>not tested</td>", html)) == 5


def test_classes_have_no_bits_and_no_steps() -> None:
    html = render(imported(PHONES), {})
    body = html.partition("</style>")[2]
    for word in ("bitwise", "identical bits", "ort:cpu", "LSB", "Seconds"):
        assert word not in body, word
    assert "identical answers on 200 of 200 samples answered on all" in body


def test_imported_scores_have_bits() -> None:
    html = render(imported(PHONES, shape=(10,), dtype="float32"), {})
    assert "identical bits on 200 of 200 samples answered on all" in html

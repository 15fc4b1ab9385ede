"""Findings speak of one thing and of several as people do."""

from __future__ import annotations

import re

import pytest
from exams import Exams
from float_models import image_net, images

from chipdrift.counts import agreeing, besides, counted
from chipdrift.diagnose.checks import all_checks

# "1 samples", but not "0.1 samples" nor "21 nodes".
WRONG = re.compile(
    r"(?<![\d.,])1 (?:other |further |more |output )?"
    r"(?:samples|nodes|others|tensors|activations|channels|answers|places|inputs)\b"
)


def test_counted() -> None:
    assert [counted(n, "node") for n in (0, 1, 2, 1200)] == [
        "0 nodes", "1 node", "2 nodes", "1,200 nodes",
    ]  # fmt: skip
    assert [besides(n) for n in (0, 1, 2)] == ["", " and 1 other node", " and 2 other nodes"]
    assert besides(1, "other") == " and 1 other" and agreeing(1, "is", "are") == "is"


@pytest.mark.parametrize(
    ("a", "b", "scheme"),
    [
        ("sim:hexagon-v69", "sim:hexagon-v73", "w8a8"),
        ("sim:avx2-saturating", "float", "w8a8"),
        ("sim:hypothesis-int16-accumulator", "ort:cpu", "w8a8_pc"),
    ],
)
def test_one_sample_is_one_sample(exam_of: Exams, a: str, b: str, scheme: str) -> None:
    exam = exam_of(image_net(), images(1), a, b, scheme=scheme, samples=1)
    # Every list of nodes with two entries says "1 other".
    found = [finding for check in all_checks().values() for finding in check.look(exam)]
    assert found
    said = [f"{f.title}. {f.words}. {f.experiment}. {f.fix}" for f in found]
    said += [exam.diagnosis.verdict.words]
    assert not [words for words in said if WRONG.search(words)]


def test_the_pattern_would_see_it() -> None:
    assert WRONG.search("in 1 samples") and WRONG.search("x and 1 other nodes part")
    assert not WRONG.search("in 21 samples, 0.1 nodes, 1 sample")

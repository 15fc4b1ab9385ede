"""Blocks of weights whose scales a target does not know."""

from __future__ import annotations

from pathlib import Path

import pytest
from exams import Exams, looked
from float_models import dense_net, rows

CHECK = "block-scales-collapsed"


@pytest.fixture
def collapsing(tmp_path: Path) -> str:
    path = tmp_path / "collapsing.toml"
    path.write_text('evidence = "hypothesis"\n[weights]\ncollapse = "per_channel"\n')
    return f"sim:{path}"


def test_the_collapsing_side_is_named(exam_of: Exams, collapsing: str) -> None:
    for a, b in ((collapsing, "sim:ort-mlas"), ("sim:ort-mlas", collapsing)):
        exam = exam_of(dense_net(blocks=True), rows(big=True), a, b, scheme="w4a16_b32")
        (found,) = looked(exam, CHECK)
        assert found.targets == (collapsing,)
        assert found.nodes == ("first",), "the second product has 48 inputs, no whole blocks"


def test_it_is_seen_against_the_float_model(exam_of: Exams, collapsing: str) -> None:
    exam = exam_of(dense_net(blocks=True), rows(big=True), collapsing, "float", scheme="w4a16_b32")
    (found,) = looked(exam, CHECK)
    assert found.targets == (collapsing,) and found.nodes == ("first",)


def test_it_is_seen_where_no_profile_is_known(exam_of: Exams, collapsing: str) -> None:
    exam = exam_of(
        dense_net(blocks=True), rows(big=True), "sim:ort-mlas", collapsing,
        scheme="w4a16_b32", profiles={collapsing: "", "sim:ort-mlas": ""},
    )  # fmt: skip
    (found,) = looked(exam, CHECK)
    assert found.targets == (collapsing,)


@pytest.mark.slow
def test_blocks_that_are_kept_are_no_finding(exam_of: Exams) -> None:
    for b in ("sim:hexagon-v73", "ort:cpu", "float"):
        exam = exam_of(dense_net(blocks=True), rows(big=True), b=b, scheme="w4a16_b32")
        assert any(s.operands[1].quant.block_size for s in exam.specs.values())  # type: ignore
        assert not looked(exam, CHECK)


@pytest.mark.slow
def test_another_rounding_is_no_finding(exam_of: Exams) -> None:
    """Where nothing is known of either, what they do otherwise is not taken for collapsing."""
    a, b = "sim:hexagon-v69", "sim:hypothesis-floor"
    exam = exam_of(
        dense_net(blocks=True), rows(big=True), a, b, scheme="w4a16_b32", profiles={a: "", b: ""}
    )
    assert any(o.distance and o.distance.differing for o in exam.diagnosis.own)
    assert not looked(exam, CHECK)


def test_weights_without_blocks_are_no_finding(exam_of: Exams, collapsing: str) -> None:
    exam = exam_of(dense_net(), rows(), collapsing, "sim:ort-mlas", scheme="w8a8_pc")
    assert not looked(exam, CHECK)

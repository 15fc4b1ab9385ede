"""Mechanisms as findings: planted in the engine, told as rules."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.exam import Exam
from chipdrift.findings import WORDS, Mechanism, Verdict

CHECK = "mechanism"
PLANTED = {
    "rounding": '[requantize]\nrounding = "FLOOR"\n',
    "scale_precision": '[requantize]\nmultiplier = "significand"\nbits = 5\n',
    "accumulator_overflow": '[accumulator]\nwidth = 16\noverflow = "saturate"\n',
}


@pytest.mark.parametrize("mechanism", PLANTED)
def test_what_was_planted_comes_first(exam_of: Exams, tmp_path: Path, mechanism: str) -> None:
    path = tmp_path / "planted.toml"
    path.write_text('evidence = "hypothesis"\n' + PLANTED[mechanism])
    b = f"sim:{path}"
    plain = tmp_path / "plain.toml"
    plain.write_text('evidence = "hypothesis"\ndescription = "exact"\n')
    exam = exam_of(
        image_net(), images(), f"sim:{plain}", b, scheme="w8a8", profiles={b: ""}
    )  # nothing is known of B
    found = sorted(looked(exam, CHECK), key=lambda finding: -finding.weight)
    words = WORDS[mechanism]
    assert found and found[0].title.startswith(words[0].upper() + words[1:])
    assert set(found[0].nodes) <= {own.node for own in exam.diagnosis.own}


def test_targets_that_agree_are_no_finding(exam_of: Exams) -> None:
    assert not looked(exam_of(image_net(), images(), scheme="w8a8"), CHECK)
    assert not looked(exam_of(image_net(), images(), b="float", scheme="w8a8"), CHECK)


def changed(exam: Exam, **fields: Any) -> Exam:
    return replace(exam, diagnosis=exam.diagnosis.model_copy(update=fields))


def chips(exam_of: Exams) -> Exam:
    return exam_of(image_net(), images(), "sim:hexagon-v69", "sim:hexagon-v73", scheme="w8a8")


@pytest.mark.parametrize(
    ("cause", "severity"), [("chip", "error"), ("both", "error"), ("unknown", "warning")]
)
def test_a_loss_by_the_chip_is_an_error(exam_of: Exams, cause: Any, severity: str) -> None:
    exam = changed(chips(exam_of), verdict=Verdict(cause=cause, words=""))
    found = sorted(looked(exam, CHECK), key=lambda finding: -finding.weight)
    assert found[0].severity == severity and "w8a16_pc" in found[0].fix
    small = [finding for finding in found if finding.weight < 0.05]
    assert all(finding.severity == "note" for finding in small)


def test_both_keep_the_same_bits(exam_of: Exams) -> None:
    """v69 and v73 keep 3 bits in 8: what they part by is what becomes of the rest."""
    titles = [finding.title for finding in looked(chips(exam_of), CHECK)]
    assert any(title.startswith("Low accumulator bits rounded otherwise in ") for title in titles)
    assert not any("dropped" in title for title in titles)


def test_nodes_that_the_evidence_clears_are_not_named(exam_of: Exams) -> None:
    exam = chips(exam_of)
    many = [e for e in exam.diagnosis.explanations if e.mechanisms]
    assert len(many) >= 2
    one = many[0].mechanisms[0]
    strong, weak, none = (one.model_copy(update={"closes": c}) for c in (0.9, 0.03, 0.019))
    cleared, quoted = many[0].node, many[1].node
    told = [
        many[0].model_copy(update={"mechanisms": (none,)}),
        many[1].model_copy(update={"mechanisms": (strong,)}),
        *(e.model_copy(update={"mechanisms": (weak,)}) for e in many[2:]),
    ]
    (finding,) = looked(changed(exam, explanations=tuple(told), attributions=()), CHECK)
    assert cleared not in finding.nodes and finding.nodes[0] == quoted
    assert finding.experiment.startswith(f"replayed {quoted} ")
    # Nowhere so: left out, unless it shows at the model's output.
    told = [many[0].model_copy(update={"mechanisms": (none,)})]
    part = exam.diagnosis.attributions[0].model_copy(update={"mechanism": one.mechanism})
    for drift, count in ((0.04, 0), (0.06, 1)):
        parts = (part.model_copy(update={"drift": drift, "at": "output"}),)
        exam_ = changed(exam, explanations=tuple(told), attributions=parts)
        assert len(looked(exam_, CHECK)) == count


def test_float_on_a_host_is_by_design(exam_of: Exams) -> None:
    exam = changed(chips(exam_of), verdict=Verdict(cause="chip", words=""))
    first = exam.diagnosis.explanations[0]
    away = Mechanism(
        mechanism="fallback", words=WORDS["fallback"], rule="fallback.ops", before=0.5, after=1.0,
        a="computes it in integers", b="computes it in float", closes=1.0,
    )  # fmt: skip
    told = (first.model_copy(update={"mechanisms": (away,)}),)
    (chip,) = looked(changed(exam, explanations=told, attributions=()), CHECK)
    assert chip.severity == "error" and chip.fix
    host = exam.diagnosis.b.model_copy(update={"evidence": "host-runtime"})
    (found,) = looked(changed(exam, explanations=told, attributions=(), b=host), CHECK)
    assert (found.severity, found.fix, found.command) == ("note", "", None)


def test_a_rule_that_leaves_a_part_is_no_property_of_the_target(exam_of: Exams) -> None:
    exam = chips(exam_of)
    first, second = [e for e in exam.diagnosis.explanations if e.mechanisms][:2]
    one = first.mechanisms[0].model_copy(
        update={"b": "drops the lowest 5 bits of the sum", "closes": 0.6}
    )
    partly = first.model_copy(update={"mechanisms": (one,), "unexplained": 0.4})
    (found,) = looked(changed(exam, explanations=(partly,)), CHECK)
    b = exam.case.b_name
    assert f"{b} drops" not in found.words and found.title.endswith(f"in {first.node}, in part")
    assert (
        f"nearest to {b} comes a rule that drops the lowest 5 bits of the sum: it leaves 40 % of "
        f"the difference in {first.node}."
    ) in found.words
    # A node that is explained speaks for the target, whatever a rule closes elsewhere.
    told = one.model_copy(update={"b": "drops the lowest 6 bits of the sum", "closes": 0.5})
    whole = second.model_copy(update={"mechanisms": (told,), "unexplained": 0.0})
    (found,) = looked(changed(exam, explanations=(partly, whole)), CHECK)
    assert f"; {b} drops the lowest 6 bits of the sum." in found.words
    assert "5 bits" not in found.words and "in part" not in found.title
    assert found.nodes == (second.node, first.node)
    assert "In 1 of these 2 nodes the best rules tried leave up to 40 % of the" in found.words


def test_a_profile_that_is_not_all_of_a_is_named(exam_of: Exams) -> None:
    exam = chips(exam_of)
    first = next(e for e in exam.diagnosis.explanations if e.mechanisms)
    near = first.model_copy(update={"basis_share": 0.95})
    told = looked(changed(exam, explanations=(near,)), CHECK)
    assert told and all(f"(by {first.basis}, with 95 % of its answers);" in f.words for f in told)

"""Differences that no rule of the engine makes."""

from __future__ import annotations

from dataclasses import replace

import odd_runtime
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.run import examine
from chipdrift.probe.ask import Asker

CHECK = "unexplained"


def test_a_dither_that_is_no_rule(exam_of: Exams) -> None:
    plain = exam_of(image_net(), images(), scheme="w8a8")
    case = replace(plain.case, b=odd_runtime.target("dithered"))
    assert case.b is not None
    with Asker(case.a) as a, Asker(case.b) as b:
        (found,) = looked(examine(case, plain.anatomy, range(3), a, b), CHECK)
    assert {"first", "second"} <= set(found.nodes) and "last" not in found.nodes
    assert found.severity == "warning"


def test_what_is_explained_or_the_same_is_no_finding(exam_of: Exams) -> None:
    assert not looked(exam_of(image_net(), images(), scheme="w8a8"), CHECK)
    exam = exam_of(image_net(), images(), "sim:hexagon-v69", "sim:hexagon-v73", scheme="w8a8")
    assert exam.diagnosis.explanations and not looked(exam, CHECK)


def test_a_node_in_float_is_not_told_in_integers(exam_of: Exams) -> None:
    """The same difference, told as of tensors without a quantizer."""
    plain = exam_of(image_net(), images(), scheme="w8a8")
    case = replace(plain.case, b=odd_runtime.target("dithered"))
    assert case.b is not None
    with Asker(case.a) as a, Asker(case.b) as b:
        seen = examine(case, plain.anatomy, range(3), a, b)
    alone = tuple(
        o.model_copy(update={"in_place_a": True, "in_place_b": True, "together": ()})
        for o in seen.diagnosis.own
        if o.op == "Conv"
    )
    exam = replace(
        seen,
        anatomy=replace(seen.anatomy, quantizers={}),
        diagnosis=seen.diagnosis.model_copy(update={"own": alone}),
    )
    (found,) = looked(exam, CHECK)
    told = f"{found.words} {found.experiment} {found.fix}"
    assert not any(word in told for word in ("LSB", "on the same integers", "--profile"))
    explanation = exam.explanation(found.nodes[0])
    assert explanation is not None and (explanation.words or "is left") in found.words
    assert not (found.command or "").startswith("chipdrift probe")
    company = [o.model_copy(update={"together": ("relu", "pool")}) for o in alone]
    joined = seen.diagnosis.model_copy(update={"own": tuple(company)})
    (behind,) = looked(replace(exam, diagnosis=joined), CHECK)
    assert "of what it is with relu and pool the engine has no rule" in behind.words
    own = [o.model_copy(update={"in_place_a": o.node != found.nodes[0]}) for o in alone]
    joined = seen.diagnosis.model_copy(update={"own": tuple(own)})
    (behind,) = looked(replace(exam, diagnosis=joined), CHECK)
    assert behind.severity == "note" and behind.weight < 0.1  # computed-together's least
    assert behind.fix == "see computed-together" and found.nodes[0] in behind.words

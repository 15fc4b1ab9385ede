"""Differences that no rule of the engine makes."""

from __future__ import annotations

import shlex
from dataclasses import replace

import odd_runtime
from exams import Exams, looked
from float_models import image_net, images

from chipdrift.diagnose.run import examine
from chipdrift.findings import Explanation, Finding
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


def test_the_target_that_is_not_known_is_probed(exam_of: Exams) -> None:
    """LiteRT's average pool: onnxruntime's integers are known to the last, LiteRT's are not."""
    exam = exam_of(
        image_net(), images(), "ort:cpu", "litert:reference", scheme="w8a8",
        profiles={"ort:cpu": "ort-mlas", "litert:reference": "litert-reference"},
    )  # fmt: skip
    own = next(o for o in exam.diagnosis.own if o.distance is not None)
    assert own.distance is not None
    parted = own.model_copy(
        update={"distance": own.distance.model_copy(update={"differing": 0.1, "max_lsb": 1.0})}
    )
    known = Explanation(
        node=own.node, op=own.op, basis="ort-mlas", basis_share=1.0, mechanisms=(), unexplained=1.0
    )  # fmt: skip
    verdict = exam.diagnosis.verdict.model_copy(update={"cause": "chip"})

    def told(explanation: Explanation) -> Finding:
        made = exam.diagnosis.model_copy(
            update={"own": (parted,), "explanations": (explanation,), "verdict": verdict}
        )
        (found,) = looked(replace(exam, diagnosis=made), CHECK)
        return found

    found = told(known)
    first, then = (found.command or "").split(" && ")
    assert first == "chipdrift probe litert:reference --width 8 -o litert-reference.toml"
    assert then.startswith("chipdrift diagnose ") and str(exam.case.run.folder) in then
    assert then.endswith(
        "--scheme w8a8 --target ort:cpu --against litert:reference "
        "--profile litert:reference=litert-reference.toml"
    )
    assert found.fix == "probe litert:reference and give its profile with --profile"
    # Where the engine does not give A's integers, it is A.
    found = told(known.model_copy(update={"basis_share": 0.8}))
    assert (found.command or "").startswith("chipdrift probe ort:cpu --width 8 -o ort-cpu.toml")


def test_a_probe_whose_profile_was_given_is_not_asked_for_again(exam_of: Exams) -> None:
    plain = exam_of(image_net(), images(), scheme="w8a8")
    b = odd_runtime.target("dithered")
    for given, probed in (({}, True), ({b.name: ""}, True), ({b.name: "b.toml"}, False)):
        case = replace(plain.case, b=b, given=given)
        with Asker(case.a) as one, Asker(b) as other:
            (found,) = looked(examine(case, plain.anatomy, range(3), one, other), CHECK)
        assert (found.command is not None) == probed
        assert (f"under the profile given for {b.name}, too" in found.words) != probed
    # Another target's stays: its profile goes on with the next diagnosis.
    case = replace(plain.case, b=b, given={plain.case.a.name: "a's.toml"})
    with Asker(case.a) as one, Asker(b) as other:
        (found,) = looked(examine(case, plain.anatomy, range(3), one, other), CHECK)
    *_, last = shlex.split(found.command or "")
    assert last == f"{case.a.name}=a's.toml"


def test_the_engine_is_not_probed(exam_of: Exams) -> None:
    plain = exam_of(image_net(), images(), scheme="w8a8")
    b = odd_runtime.target("dithered")
    case = replace(plain.case, b=replace(b, name="sim:dithered"))
    assert case.b is not None
    with Asker(case.a) as one, Asker(case.b) as other:
        (found,) = looked(examine(case, plain.anatomy, range(3), one, other), CHECK)
    assert "sim:" not in (found.command or "")


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

"""One node of the engine that keeps no bit below the output's step."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from exams import Exams, at, engine, looked

from chipdrift.demo import DemoPaths

NODE = "block4/pointwise"
PLANTED = (
    f"[[rule]]\nnodes = {at(NODE)}\n"
    'requantize = { scale = "float32", multiplier = "float32", keep = 0 }\n'
)


def test_planted_drop(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = engine(tmp_path_factory.mktemp("p"), PLANTED)
    exam = exam_of(
        demo.model, demo.data, target, "ort:cpu", scheme="w8a8", calibration=demo.calibration
    )
    (finding,) = looked(exam, "dropped-bits")
    assert finding.nodes == (NODE,) and finding.targets == (target,)
    # onnxruntime drops nothing and has the engine's other rules: what parts is the drop.
    tensor = next(o.tensor for o in exam.diagnosis.own if o.node == NODE)
    a, b = (np.stack([e[tensor] for e in side]) for side in (exam.alone_a, exam.alone_b))
    changed = np.mean((a != b)[~((a == b) & ((a == 0) | (a == 255)))])
    assert finding.weight == pytest.approx(changed) and changed > 0.15


def test_unknown_rules(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The planted target as B, its profile kept back: the experiment must name the drop."""
    target = engine(tmp_path_factory.mktemp("p"), PLANTED)
    exam = exam_of(
        demo.model,
        demo.data,
        "ort:cpu",
        target,
        scheme="w8a8",
        calibration=demo.calibration,
        profiles={"ort:cpu": "ort-mlas", target: ""},
    )
    assert target not in exam.case.profiles
    (finding,) = looked(exam, "dropped-bits")
    assert finding.nodes == (NODE,) and finding.targets == (target,)
    assert "becomes this target's" not in finding.title and "become" in finding.experiment
    # Where something of the difference is left, the target does something else.
    partly = tuple(e.model_copy(update={"unexplained": 0.1}) for e in exam.diagnosis.explanations)
    other = replace(exam, diagnosis=exam.diagnosis.model_copy(update={"explanations": partly}))
    assert looked(other, "dropped-bits") == []


def test_a_profile_that_does_not_give_the_answers_is_not_the_target(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """onnxruntime drops nothing; the profile given for it says that it does."""
    target = engine(tmp_path_factory.mktemp("p"), PLANTED)
    exam = exam_of(
        demo.model, demo.data, "ort:cpu", "sim:hexagon-v69", scheme="w8a8",
        calibration=demo.calibration, profiles={"ort:cpu": target.removeprefix("sim:")},
    )  # fmt: skip
    (finding,) = looked(exam, "dropped-bits")
    assert finding.title.startswith("Under planted, ort:cpu drops")
    given = float(finding.words.split("by a profile that gives ")[1].split(" %")[0])
    tensor = next(o.tensor for o in exam.diagnosis.own if o.node == NODE)
    changed = float(finding.words.split("that changes ")[1].split(" %")[0])
    assert finding.nodes[0] == NODE and 0 < given < 100 and changed > 15
    assert tensor in exam.alone_a[0]


def test_what_the_experiment_does_not_show_is_no_part(exam_of: Exams, demo: DemoPaths) -> None:
    """Of two that drop alike the drop's size tells nothing of what parts them."""
    exam = exam_of(
        demo.model, demo.data, "sim:hexagon-v69", "sim:hexagon-v73",
        scheme="w8a16_pc", calibration=demo.calibration,
    )  # fmt: skip
    none = exam.diagnosis.model_copy(update={"explanations": ()})
    found = looked(replace(exam, diagnosis=none), "dropped-bits")
    assert found
    for finding in found:
        assert "of which this makes" not in finding.words
        assert finding.words.endswith(("that it makes is not known", "makes most of it"))


@pytest.mark.parametrize("a", ["sim:ort-mlas", "sim:hexagon-v69"])
def test_healthy(exam_of: Exams, demo: DemoPaths, a: str) -> None:
    """Hexagon keeps three bits below the step: no more than rounding, and no finding."""
    exam = exam_of(demo.model, demo.data, a, scheme="w8a8", calibration=demo.calibration)
    assert looked(exam, "dropped-bits") == []


def test_sixteen_bits_are_a_note(exam_of: Exams, demo: DemoPaths) -> None:
    """v69 drops 8 bits of 16-bit products: many outputs change, by a few of 65536 steps."""
    exam = exam_of(
        demo.model,
        demo.data,
        "sim:hexagon-v69",
        "float",
        scheme="w8a16_pc",
        calibration=demo.calibration,
    )
    (finding,) = looked(exam, "dropped-bits")
    assert finding.severity == "note" and "the lowest 8 bits" in finding.words
    assert finding.command is None


def test_a_drop_that_is_small_against_the_difference(exam_of: Exams, demo: DemoPaths) -> None:
    """With 4-bit weights the float model is far away: the bits that v69 drops are not why."""
    exam = exam_of(
        demo.model,
        demo.data,
        "sim:hexagon-v69",
        "float",
        scheme="w4a16_pc",
        calibration=demo.calibration,
    )
    (finding,) = looked(exam, "dropped-bits")
    tensor = next(o.tensor for o in exam.diagnosis.own if o.node == finding.nodes[0])
    quantizer = exam.anatomy.quantizers[tensor]
    own = exam.own(finding.nodes[0])
    assert own is not None and own.distance is not None and own.distance.max_lsb is not None
    alone, in_place = int(own.distance.max_lsb), 0
    for mine, theirs in zip(exam.tensors_a, exam.tensors_b, strict=True):
        steps = np.rint(theirs[tensor].astype(np.float64) / quantizer.scale[0])
        whole = np.clip(steps + quantizer.zero_point[0], 0, 65535)
        in_place = max(in_place, int(np.abs(whole - mine[tensor]).max()))
    assert finding.severity == "note" and "matter" not in finding.title
    # Not what drifts in from the nodes before it.
    assert alone < in_place
    assert finding.title.endswith(f"where the node itself adds up to {alone:,} steps")
    assert finding.words.endswith("something else makes most of it")
    assert finding.fix == "none is needed for accuracy" and finding.command is None


def test_what_the_experiment_gives_to_other_rules_does_not_lead(
    exam_of: Exams, demo: DemoPaths
) -> None:
    """v69 and v73 drop as many bits of 16-bit products: the scale's precision parts them."""
    exam = exam_of(
        demo.model, demo.data, "sim:hexagon-v69", "sim:hexagon-v73",
        scheme="w8a16_pc", calibration=demo.calibration,
    )  # fmt: skip
    shares = {
        e.node: sum(m.closes for m in e.mechanisms if m.mechanism == "dropped_bits")
        for e in exam.diagnosis.explanations
        if e.unexplained < 0.01
    }
    for finding in looked(exam, "dropped-bits"):
        share = shares[finding.nodes[0]]
        assert f"of which this makes {100 * share:.0f} %" in finding.words
        assert finding.weight <= share
    first = looked(exam, "dropped-bits")[0].nodes[0]
    # The same, as if other rules made nearly all of the first node's difference.
    made = tuple(
        e.model_copy(
            update={
                "mechanisms": tuple(
                    m.model_copy(update={"closes": 0.05}) if m.mechanism == "dropped_bits" else m
                    for m in e.mechanisms
                )
            }
        )
        if e.node == first
        else e
        for e in exam.diagnosis.explanations
    )
    other = replace(exam, diagnosis=exam.diagnosis.model_copy(update={"explanations": made}))
    found = looked(other, "dropped-bits")
    assert found and all(first not in finding.nodes for finding in found)

"""A rule for a node that is called otherwise, and nodes that no rule is for."""

from __future__ import annotations

from dataclasses import replace

import pytest
from exams import Exams, at, engine, looked
from float_models import image_net, images

from chipdrift.demo import DemoPaths
from chipdrift.records import NodePlace, Placement

CHECK = "profile-mismatch"
RULE = '[[rule]]\nnodes = {}\nrequantize = {{ rounding = "FLOOR" }}\n'


@pytest.mark.parametrize(
    "rules", [RULE.format('["block3/pointwis"]'), '[fallback]\nnodes = ["block3/pointwis"]\n']
)
def test_a_misspelt_node(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory, rules: str
) -> None:
    target = engine(tmp_path_factory.mktemp("p"), rules)
    exam = exam_of(
        demo.model, demo.data, "ort:cpu", target, scheme="w8a8", calibration=demo.calibration
    )
    (finding,) = looked(exam, CHECK)
    assert finding.severity == "warning" and finding.targets == (target,)
    assert "block3/pointwis," in finding.title and "block3/pointwise" in finding.words


def test_names_that_the_model_has(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    target = engine(tmp_path_factory.mktemp("p"), RULE.format(at("block3/pointwise")))
    exam = exam_of(
        demo.model, demo.data, "ort:cpu", target, scheme="w8a8", calibration=demo.calibration
    )
    assert looked(exam, CHECK) == []


def test_nodes_on_an_unknown_rule(exam_of: Exams) -> None:
    exam = exam_of(image_net(), images(), "sim:hexagon-v69", "sim:hexagon-v73", scheme="w8a8")
    assert looked(exam, CHECK) == []
    places = tuple(NodePlace(node=f"n{i}", op="Div", reason="not measured") for i in range(3))
    side = exam.diagnosis.b.model_copy(
        update={"placement": Placement(npu=6, cpu=0, assumed=places)}
    )
    told = replace(exam, diagnosis=exam.diagnosis.model_copy(update={"b": side}))
    (finding,) = looked(told, CHECK)
    assert finding.severity == "note" and finding.nodes == ("n0", "n1", "n2")
    assert finding.title.startswith("3 nodes rest on a rule that sim:hexagon-v73")
    assert "3 Div" in finding.words and "not measured" in finding.words

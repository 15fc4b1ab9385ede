"""A rule for a node that is called otherwise, and nodes that no rule is for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnx
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


def test_a_node_that_the_scheme_took_into_another(
    exam_of: Exams, demo: DemoPaths, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The quantizer's range does the Clip: the float model has it, the quantized one has not."""
    rule = '[[rule]]\nnodes = ["block3/pointwise/relu6"]\nfusion = { activation = "fused" }\n'
    target = engine(tmp_path_factory.mktemp("p"), rule)
    exam = exam_of(
        demo.model, demo.data, "ort:cpu", target, scheme="w8a8", calibration=demo.calibration
    )
    names = {node.name for node in onnx.load(demo.model).graph.node}
    ran = {node.name for node in onnx.load_from_string(exam.case.model).graph.node}
    assert "block3/pointwise/relu6" in names - ran
    (finding,) = looked(exam, CHECK)
    assert "which the model does not have" not in finding.title
    assert "the scheme took it into block3/pointwise." in finding.words
    assert finding.fix.startswith("remove the rule for block3/pointwise/relu6")


def biased() -> bytes:
    """A MatMul and its bias, of which onnxruntime's optimizer makes one Gemm, and a last MatMul."""
    rng = np.random.default_rng(3)
    make = onnx.helper.make_node
    held = {"w": (16, 24), "b": (24,), "v": (24, 8)}
    graph = onnx.helper.make_graph(
        [
            make("MatMul", ["x", "w"], ["p"], "dense"),
            make("Add", ["p", "b"], ["s"], "dense_bias"),
            make("Relu", ["s"], ["r"], "relu"),
            make("MatMul", ["r", "v"], ["y"], "last"),
        ],
        "biased",
        [onnx.helper.make_tensor_value_info("x", 1, (1, 16))],
        [onnx.helper.make_tensor_value_info("y", 1, (1, 8))],
        [
            onnx.numpy_helper.from_array(rng.normal(size=shape).astype(np.float32), name)
            for name, shape in held.items()
        ],
    )
    opset = [onnx.helper.make_opsetid("", 17)]
    return onnx.helper.make_model(graph, opset_imports=opset, ir_version=9).SerializeToString()


def test_a_node_that_the_scheme_renamed(
    exam_of: Exams, tmp_path_factory: pytest.TempPathFactory
) -> None:
    rng = np.random.default_rng(4)
    feeds = [{"x": rng.normal(size=(1, 16)).astype(np.float32)} for _ in range(4)]
    target = engine(tmp_path_factory.mktemp("p"), RULE.format('["dense"]'))
    exam = exam_of(biased(), feeds, "ort:cpu", target, scheme="w8a8")
    ran = [n.name for n in onnx.load_from_string(exam.case.model).graph.node if n.op_type == "Gemm"]
    assert len(ran) == 1 and ran[0] not in ("dense", "dense_bias")
    (finding,) = looked(exam, CHECK)
    assert f"under this scheme it is {ran[0]}, with dense_bias" in finding.words
    assert finding.fix.startswith(f"write {ran[0]} for dense")
    target = engine(tmp_path_factory.mktemp("p"), RULE.format('["dens"]'))
    exam = exam_of(biased(), feeds, "ort:cpu", target, scheme="w8a8")
    (finding,) = looked(exam, CHECK)
    assert finding.title.endswith("a rule for dens, which the model does not have")
    assert f"dense (now {ran[0]})" in finding.words


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

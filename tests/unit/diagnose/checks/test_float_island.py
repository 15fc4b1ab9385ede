"""A pair of quantizers taken out of a quantized model leaves an island of floats."""

from __future__ import annotations

import onnx
import pytest
from exams import Exams, looked
from qdq_models import Qdq, conv_model, conv_stack

from chipdrift.demo import DemoPaths
from chipdrift.diagnose.walk import float_islands
from chipdrift.graph.program import program_of


def without_quantizer(data: bytes, node: str) -> bytes:
    """The model with the Quantize and Dequantize nodes behind ``node`` taken out."""
    proto = onnx.load_from_string(data)
    made = next(n for n in proto.graph.node if n.name == node).output[0]
    quantize = next(
        n for n in proto.graph.node if n.op_type == "QuantizeLinear" and n.input[0] == made
    )
    dequantize = next(n for n in proto.graph.node if quantize.output[0] in n.input)
    for reader in proto.graph.node:
        for index, name in enumerate(reader.input):
            if name == dequantize.output[0]:
                reader.input[index] = made
    proto.graph.node.remove(quantize)
    proto.graph.node.remove(dequantize)
    return bytes(proto.SerializeToString())


def test_planted_island(exam_of: Exams, demo: DemoPaths) -> None:
    healthy = exam_of(
        demo.model, demo.data, "ort:cpu", "float", scheme="w8a8", calibration=demo.calibration
    )
    assert looked(healthy, "float-island") == []
    broken = without_quantizer(healthy.case.model, "block2/pointwise")
    exam = exam_of(broken, demo.data, "sim:ort-mlas", "ort:cpu")
    (finding,) = looked(exam, "float-island")
    assert finding.nodes == ("block2/pointwise", "block3/depthwise")
    assert finding.severity == "warning"
    assert "at 2 places" in finding.words
    assert "block2/depthwise -> block2/pointwise, block3/depthwise -> block3/pointwise" in (
        finding.words
    )
    # Both are in float on the engine, too: it says so of the same nodes.
    placement = exam.diagnosis.a.placement
    assert placement is not None
    assert {place.node for place in placement.fallback} == set(finding.nodes)


def relu_behind() -> onnx.ModelProto:
    return conv_model(act=("Relu",)).model()


def float_ends() -> onnx.ModelProto:
    """A quantized convolution with a float op before the first and behind the last quantizer."""
    model = conv_stack(False)
    proto = model.model()
    helper = onnx.helper
    scale, zero = "ends_scale", "ends_zero"
    proto.graph.initializer.append(
        onnx.numpy_helper.from_array(model.constants["x_d_scale"], scale)
    )
    proto.graph.initializer.append(onnx.numpy_helper.from_array(model.constants["x_d_zero"], zero))
    proto.graph.input[0].CopyFrom(
        helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, model.inputs["x"])
    )
    proto.graph.node.insert(0, helper.make_node("Sqrt", ["image"], ["root"], "root"))
    proto.graph.node.insert(
        1, helper.make_node("QuantizeLinear", ["root", scale, zero], ["x"], "q")
    )
    last = proto.graph.output[-1].name
    proto.graph.node.append(helper.make_node("DequantizeLinear", [last, scale, zero], ["f"], "d"))
    proto.graph.node.append(helper.make_node("Exp", ["f"], ["e"], "exp"))
    proto.graph.output.append(helper.make_tensor_value_info("e", onnx.TensorProto.FLOAT, None))
    return proto


def moved() -> onnx.ModelProto:
    """A Transpose without quantizers of its own, which onnxruntime moves them across."""
    b = Qdq(4)
    x = b.input("x", (1, 5, 11, 9))
    y = b.add("Transpose", [x], "turned", perm=[0, 1, 3, 2])
    b.output(b.conv(y, 0.0123, (4, 5, 3, 3), "y"), 0.3, 120)
    return b.model()


@pytest.mark.parametrize("make", [relu_behind, float_ends, moved])
def test_what_is_no_island(make) -> None:
    assert float_islands(program_of(make())) == []


def test_an_op_in_parts_is_one_island() -> None:
    """Gelu as x * sigmoid(1.7 x), with quantizers around it and none inside."""
    b = Qdq(4)
    x = b.conv(b.input("x", (1, 5, 11, 9)), 0.0123, (4, 5, 3, 3), "c")
    x = b.rounded(x, 0.3, 120)
    y = b.add("Sigmoid", [b.add("Mul", [x, b.constant("k", 1.7, "float32")], "scaled")], "gate")
    y = b.rounded(b.add("Mul", [x, y], "gelu"), 0.3, 20)
    b.output(b.conv(y, 0.3, (4, 4, 1, 1), "y"), 0.3, 120)
    assert float_islands(program_of(b.model())) == [("n_scaled", "n_gate", "n_gelu")]

"""The TFLite file itself: its constants, its operators, and what is refused instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from ai_edge_litert import schema_py_generated as schema
from onnx import TensorProto, helper
from qdq_models import IMAGE, NONE, SAME, Qdq, conv_model, conv_stack, in_place, matmul, of
from tflite_files import operators, parse

from chipdrift.tflite import UnwritableError, to_tflite


def test_integers_scales_and_zero_points_are_the_same() -> None:
    model = conv_stack(per_channel=True)
    tensors = {}
    parsed = parse(to_tflite(model.model()).data)
    for tensor in parsed.subgraphs[0].tensors:
        tensors[tensor.name.decode()] = tensor
    for name in ("stem", "wide", "point"):
        values = model.constants[f"{name}_w"]
        scales = model.constants[f"{name}_w_d_scale"]
        tensor = tensors[f"{name}_w_real"]
        stored = np.frombuffer(bytes(parsed.buffers[tensor.buffer].data), np.int8)
        shape = tuple(tensor.shape)
        order = (1, 2, 3, 0) if name == "wide" else (0, 2, 3, 1)
        assert np.array_equal(stored.reshape(shape), values.transpose(order))
        assert tensor.quantization.quantizedDimension == (3 if name == "wide" else 0)
        assert np.array_equal(tensor.quantization.scale, scales)
        assert not np.any(tensor.quantization.zeroPoint)
        bias = tensors[f"n_{name}/bias"]
        stored = np.frombuffer(bytes(parsed.buffers[bias.buffer].data), np.int32)
        assert np.array_equal(stored, model.constants[f"{name}_b"])
        assert np.array_equal(bias.quantization.scale, model.constants[f"{name}_b_d_scale"])
    out = tensors["stem_quant"]
    assert out.quantization.scale[0] == np.float32(0.06)
    assert out.quantization.zeroPoint[0] == 131 - 128


def test_weights_of_four_bits_are_stored_in_eight() -> None:
    model = conv_model()
    values = np.clip(model.constants["y_w"], -8, 7)
    model.constants["y_w"] = values.astype(ml_dtypes.int4)
    model.constants["y_w_d_zero"] = np.asarray(0, ml_dtypes.int4)
    parsed = parse(to_tflite(model.model(21)).data)
    [weight] = [t for t in parsed.subgraphs[0].tensors if t.name == b"y_w_real"]
    stored = np.frombuffer(bytes(parsed.buffers[weight.buffer].data), np.int8)
    assert np.array_equal(stored.reshape(tuple(weight.shape)), values.transpose(0, 2, 3, 1))


def test_constants_may_be_nodes() -> None:
    model = in_place("Reshape", [of(11, 10)], SAME)
    expected = to_tflite(model.model()).data
    shape = model.constants.pop("k0").tolist()
    model.nodes.insert(0, helper.make_node("Constant", [], ["k0"], "k", value_ints=shape))
    assert to_tflite(model.model()).data == expected


def test_constants_lie_on_16_bytes() -> None:
    data = to_tflite(conv_stack(per_channel=False).model()).data
    model = schema.Model.GetRootAs(data, 0)
    buffers = [model.Buffers(i) for i in range(model.BuffersLength())]
    places = [
        buffer._tab.Vector(buffer._tab.Offset(4)) for buffer in buffers if buffer.DataLength()
    ]
    assert len(places) > 8
    assert all(place % 16 == 0 for place in places)


def test_layouts_change_at_the_borders_alone() -> None:
    b = conv_stack(per_channel=False)
    b.outputs = b.outputs[-1:]
    expected = ["TRANSPOSE", "CONV_2D", "PAD", "DEPTHWISE_CONV_2D", "CONV_2D", "TRANSPOSE"]
    assert operators(b) == [*expected, "FULLY_CONNECTED"]


@pytest.mark.parametrize(
    ("act", "out", "expected"),
    [
        (("Relu",), (0.4, 130), ["CONV_2D"]),
        (("Clip", 0.0, 6.0), (0.031, 9), ["CONV_2D"]),
        # 255 steps of 0.02 end below 6: the clamp is the integers' own.
        (("Clip", 0.0, 6.0), (0.02, 0), ["CONV_2D"]),
        (("Clip", -1.1, 2.3), (0.031, 99), ["CONV_2D", "MAXIMUM", "MINIMUM"]),
    ],
)
def test_clamps_are_fused_where_tflite_has_them(act: Any, out: Any, expected: list[str]) -> None:
    assert operators(conv_model(act=act, out=out))[1:-1] == expected


def test_pads_are_same_where_tflite_means_these() -> None:
    assert "PAD" not in operators(conv_model(pads=[1, 1, 1, 1]))
    # Of 10 columns, with stride 2: TFLite pads 0 before and 1 behind.
    assert "PAD" in operators(conv_model(pads=[1, 1, 1, 1], strides=[2, 2]))
    assert "PAD" not in operators(conv_model(pads=[1, 0, 1, 1], strides=[2, 2]))


def test_a_bias_of_another_scale_is_rounded_to_the_sums_unit() -> None:
    model = conv_model()
    scale = model.constants["y_b_d_scale"]
    exact = model.constants["y_b"].astype(np.float64)
    model.constants["y_b_d_scale"] = scale * np.float32(0.7)
    converted = to_tflite(model.model())
    parsed = parse(converted.data)
    [bias] = [t for t in parsed.subgraphs[0].tensors if t.name == b"n_y/bias"]
    stored = np.frombuffer(bytes(parsed.buffers[bias.buffer].data), np.int32)
    assert np.abs(stored - exact * 0.7).max() < 0.51
    assert any("bias" in note for note in converted.notes)


def replaced(model: Qdq, name: str, value: Any, dtype: Any) -> Qdq:
    model.constants[name] = np.asarray(value, dtype)
    return model


def sixteen_bits() -> Qdq:
    b = Qdq(1, np.uint16)
    b.output(b.add("Relu", [b.input("x", (1, 4), 0.01, 30000)], "y"), 0.01, 30000)
    return b


def unquantized() -> Qdq:
    b = Qdq(1)
    b.add("Sigmoid", [b.input("x", (1, 4))], "s")
    b.output(b.add("Tanh", ["s"], "y"), 1 / 128, 128)
    return b


def per_channel_activation() -> Qdq:
    b = Qdq(1)
    b.inputs["x"] = (1, 4)
    real = b.dequantized("x", np.float32([0.1, 0.2, 0.3, 0.4]), 3, axis=1)
    b.output(b.add("Relu", [real], "y"), 0.1, 3)
    return b


def reinterpreted() -> Qdq:
    b = Qdq(1)
    quant = b.quantized(b.add("Relu", [b.input("x", (1, 4))], "r"), 0.1, 3)
    b.output(b.add("Relu", [b.dequantized(quant, 0.2, 3)], "y"), 0.1, 3)
    return b


def asymmetric() -> Qdq:
    return replaced(conv_model(), "y_w_d_zero", 3, np.int8)


REFUSED: dict[str, tuple[Callable[[], Qdq], str]] = {
    "unknown op": (
        lambda: in_place("Erf", [], SAME),
        r"'n_y' \(Erf\): an op that this TFLite writer does not know",
    ),
    "16 bits": (sixteen_bits, r"'n_x_real' \(DequantizeLinear\): 16-bit activations"),
    "asymmetric weights": (asymmetric, r"'n_y' \(Conv\): weight 'y_w_real' is asymmetric .*3"),
    "no quantizer": (unquantized, r"'n_s' \(Sigmoid\): no QuantizeLinear follows on 's'"),
    "per channel": (per_channel_activation, r"\(DequantizeLinear\): activations are per tensor"),
    "other grid": (reinterpreted, r"\(DequantizeLinear\): it reads integers of scale 0.1 .*0.2"),
    "ceil": (
        lambda: in_place(
            "MaxPool", [], SAME, IMAGE, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1
        ),
        r"\(MaxPool\): ceil_mode: \(4, 5\) windows where TFLite has \(3, 5\)",
    ),
    "uncounted pads": (
        lambda: in_place(
            "AveragePool", [], SAME, IMAGE, kernel_shape=[3, 3], pads=[0, 0, 1, 1], strides=[1, 1]
        ),
        r"\(AveragePool\): pads .* not counted",
    ),
    "softmax axis": (
        lambda: in_place("Softmax", [], (1 / 256, 0), IMAGE, axis=2),
        r"\(Softmax\): over axis 2 of 4",
    ),
    "nearest": (
        lambda: in_place(
            "Resize",
            [NONE, np.array([1, 1, 2, 2], np.float32)],
            SAME,
            IMAGE,
            coordinate_transformation_mode="asymmetric",
            nearest_mode="ceil",
        ),
        r"\(Resize\): coordinates 'asymmetric' with 'ceil' pick other pixels",
    ),
    "backwards": (
        lambda: in_place("Slice", [of(-1), of(0), of(1), of(-1)], SAME),
        r"\(Slice\): steps \[-1\]",
    ),
    "edge": (
        lambda: in_place("Pad", [of(0, 1, 0, 0, 0, 0)], SAME, mode="edge"),
        r"\(Pad\): mode 'edge'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refusals_name_node_and_op(name: str) -> None:
    build, words = REFUSED[name]
    with pytest.raises(UnwritableError, match=words) as caught:
        to_tflite(build().model())
    assert "\n" not in str(caught.value)


def test_blockwise_and_open_shapes_are_refused() -> None:
    model = matmul(False).model(21)
    scale = helper.make_tensor("w_d_scale", TensorProto.FLOAT, (3, 9), np.ones(27))
    zero = helper.make_tensor("w_d_zero", TensorProto.INT8, (3, 9), [0] * 27)
    kept = [i for i in model.graph.initializer if i.name not in ("w_d_scale", "w_d_zero")]
    del model.graph.initializer[:]
    model.graph.initializer.extend([*kept, scale, zero])
    [node] = [n for n in model.graph.node if n.name == "n_w_real"]
    node.attribute.append(helper.make_attribute("block_size", 8))
    with pytest.raises(UnwritableError, match=r"'n_w_real' .*blockwise"):
        to_tflite(model)
    model = matmul(False).model()
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_param = "N"
    with pytest.raises(UnwritableError, match=r"shape of 'x' is not known or not fixed"):
        to_tflite(model)
    assert isinstance(model, onnx.ModelProto)

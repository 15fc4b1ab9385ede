"""Quantizers as a QDQ model states them; the reals are checked against onnx's own evaluator."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
from graph_models import graph_model, value
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from chipdrift.graph import border_quantizers, is_quantized, output_quantizers

node = helper.make_node


def qdq(
    scale: Any,
    zero: Any,
    after: list[onnx.NodeProto] | None = None,
    opset: int = 21,
    domain: str = "",
    **attributes: Any,
) -> onnx.ModelProto:
    """x -> Quantize -> q -> Dequantize -> d (-> after ->) y; x is (2, 3)."""
    names = ["s", "z"] if zero is not None else ["s"]
    out = "d" if after else "y"
    nodes = [
        node("QuantizeLinear", ["x", *names], ["q"], "quant", domain=domain, **attributes),
        node("DequantizeLinear", ["q", *names], [out], "dequant", domain=domain, **attributes),
        *(after or []),
    ]
    weights = {"s": np.asarray(scale, np.float32)}
    if zero is not None:
        weights["z"] = zero
    return graph_model(nodes, [value("x", [2, 3])], [value("y", None)], weights, opset, 10)


def check(model: onnx.ModelProto) -> None:
    """The quantizer's formula gives the reals that onnx's evaluator gives."""
    found = output_quantizers(model)["y"]
    x = (np.random.default_rng(0).standard_normal((2, 3)) * 3).astype(np.float32)
    tapped = onnx.ModelProto()
    tapped.CopyFrom(model)
    tapped.graph.output.append(value("q", [2, 3], getattr(TensorProto, found.dtype.upper())))
    y, q = ReferenceEvaluator(tapped).run(None, {"x": x})
    shape = [1, 1] if found.axis is None else [-1 if i == found.axis else 1 for i in range(2)]
    scale = np.array(found.scale).reshape(shape)
    zero = np.array(found.zero_point).reshape(shape)
    np.testing.assert_array_equal(((q.astype(np.int64) - zero) * scale).astype(np.float32), y)
    assert np.dtype(q.dtype).name == found.dtype


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16])
def test_per_tensor(dtype: Any) -> None:
    model = qdq(0.1, dtype(3))
    found = output_quantizers(model)["y"]
    assert (found.scale, found.zero_point) == ((float(np.float32(0.1)),), (3,))
    assert (found.dtype, found.axis) == (np.dtype(dtype).name, None)
    check(model)


@pytest.mark.parametrize("axis", [0, 1])
def test_per_axis(axis: int) -> None:
    size = (2, 3)[axis]
    model = qdq(np.arange(1, size + 1) / 8, np.arange(size, dtype=np.uint8), axis=axis)
    found = output_quantizers(model)["y"]
    assert found.axis == axis
    assert found.zero_point == tuple(range(size))
    check(model)


def test_the_default_axis_is_1() -> None:
    model = qdq([0.125, 0.25, 0.5], np.array([1, 2, 3], np.int8))
    assert output_quantizers(model)["y"].axis == 1
    check(model)


@pytest.mark.parametrize(
    "after",
    [
        [node("Reshape", ["d", "shape"], ["y"])],
        [node("Transpose", ["d"], ["y"], perm=[1, 0])],
        [node("Flatten", ["d"], ["m"]), node("Identity", ["m"], ["y"])],
    ],
)
def test_through_ops_that_move(after: list[onnx.NodeProto]) -> None:
    model = qdq(0.25, np.uint8(7), after)
    model.graph.initializer.append(numpy_helper.from_array(np.array([3, 2]), "shape"))
    assert output_quantizers(model)["y"].zero_point == (7,)
    per_axis = qdq([0.25, 0.5, 1], np.zeros(3, np.uint8), after)
    per_axis.graph.initializer.append(numpy_helper.from_array(np.array([3, 2]), "shape"))
    assert output_quantizers(per_axis) == {}, "the axis is lost on the way"


def test_not_through_ops_that_compute() -> None:
    assert output_quantizers(qdq(0.25, np.uint8(7), [node("Relu", ["d"], ["y"])])) == {}


def test_uint16_in_the_domain_of_microsoft() -> None:
    model = qdq(0.5, np.uint16(32768), opset=17, domain="com.microsoft")
    found = output_quantizers(model)["y"]
    assert (found.dtype, found.zero_point) == ("uint16", (32768,))
    assert border_quantizers(model) == {"quant", "dequant"}


@pytest.mark.parametrize(
    ("attributes", "dtype"), [({}, "uint8"), ({"output_dtype": TensorProto.INT8}, "int8")]
)
def test_no_zero_point(attributes: dict[str, int], dtype: str) -> None:
    """Then the type is the Quantize node's, uint8 unless it says otherwise."""
    model = qdq(0.5, None)
    model.graph.node[0].attribute.extend(helper.make_attribute(k, v) for k, v in attributes.items())
    found = output_quantizers(model)["y"]
    assert (found.dtype, found.zero_point) == (dtype, (0,))
    check(model)


def test_scales_from_constant_nodes() -> None:
    """Exporters write them as often as initializers."""
    model = qdq(0.5, np.int8(4))
    constants = [node("Constant", [], [init.name], value=init) for init in model.graph.initializer]
    del model.graph.initializer[:]
    nodes = [*constants, *model.graph.node]
    kept = [onnx.NodeProto.FromString(n.SerializeToString()) for n in nodes]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    found = output_quantizers(model)["y"]
    assert (found.dtype, found.zero_point) == ("int8", (4,))
    check(model)


def test_no_quantizer_and_blocks() -> None:
    plain = graph_model([node("Relu", ["x"], ["y"], "r")], [value("x", [2, 3])], [value("y", None)])
    assert output_quantizers(plain) == {}
    assert border_quantizers(plain) == frozenset()
    assert not is_quantized(plain)
    blocks = graph_model(
        [node("DequantizeLinear", ["w", "s"], ["y"], "dq", axis=0, block_size=2)],
        [value("x", [1])],
        [value("y", None)],
        {"w": np.ones((4, 3), ml_dtypes.int4), "s": np.ones((2, 3), np.float32)},
        21,
        10,
    )
    assert output_quantizers(blocks) == {}
    assert is_quantized(blocks)


def test_border_quantizers_are_those_of_the_graph_s_own_tensors() -> None:
    nodes = [
        node("QuantizeLinear", ["x", "s", "z"], ["xq"], "in"),
        node("DequantizeLinear", ["xq", "s", "z"], ["xd"], "in_dq"),
        node("Relu", ["xd"], ["r"], "relu"),
        node("QuantizeLinear", ["r", "s", "z"], ["rq"], "out_q"),
        node("DequantizeLinear", ["rq", "s", "z"], ["y"], "out"),
    ]
    weights = {"s": np.float32(1), "z": np.uint8(0)}
    model = graph_model(nodes, [value("x", [2])], [value("y", None)], weights)
    assert border_quantizers(model) == {"in", "out"}

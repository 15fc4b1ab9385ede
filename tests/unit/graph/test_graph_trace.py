"""Tracing on graphs written by hand; fused ones are in ``unit/quantize/test_quantize_trace.py``."""

from __future__ import annotations

import onnx
from graph_models import graph_model, value
from onnx import helper

from chipdrift.graph import trace_nodes

node = helper.make_node


def model(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    return graph_model(list(nodes), [value("x", [1, 4])], [value("y", None)])


FLOAT = model(
    node("MatMul", ["x", "w"], ["m"], "matmul"),
    node("Add", ["m", "b"], ["a"], "bias"),
    node("Relu", ["a"], ["r"], "relu"),
    node("Neg", ["r"], ["y"], "neg"),
)


def test_the_same_graph_traces_to_itself() -> None:
    traced = trace_nodes(FLOAT, FLOAT)
    assert traced == {name: (name,) for name in ("matmul", "bias", "relu", "neg")}


def test_a_fused_node_stands_for_all_it_took_in() -> None:
    derived = model(node("Gemm", ["x", "w", "b"], ["r"], "fused"), node("Neg", ["r"], ["y"], "neg"))
    assert trace_nodes(FLOAT, derived) == {
        "fused": ("matmul", "bias", "relu"),
        "neg": ("neg",),
    }


def test_quantizers_between_hide_nothing_and_are_left_out() -> None:
    derived = model(
        node("QuantizeLinear", ["x", "s"], ["x_QuantizeLinear_Output"], "xq"),
        node("DequantizeLinear", ["x_QuantizeLinear_Output", "s"], ["x_DequantizeLinear_Output"]),
        node("Gemm", ["x_DequantizeLinear_Output", "w", "b"], ["r"], "fused"),
        node("QuantizeLinear", ["r", "s"], ["r_QuantizeLinear_Output"], "rq"),
        node("DequantizeLinear", ["r_QuantizeLinear_Output", "s"], ["r_DequantizeLinear_Output"]),
        node("Neg", ["r_DequantizeLinear_Output"], ["y_QuantizeLinear_Input"], "neg"),
        node("QuantizeLinear", ["y_QuantizeLinear_Input", "s"], ["y_QuantizeLinear_Output"]),
        node("DequantizeLinear", ["y_QuantizeLinear_Output", "s"], ["y"], "out"),
    )
    assert trace_nodes(FLOAT, derived) == {
        "fused": ("matmul", "bias", "relu"),
        "neg": ("neg",),
    }


def test_what_a_conversion_adds_stands_for_nothing() -> None:
    derived = model(
        node("Cast", ["x"], ["x16"], "cast_in", to=10),
        node("Reshape", ["x16", "s"], ["xr"], "reshape_in"),
        node("Gemm", ["xr", "w", "b"], ["gr"], "gemm"),
        node("Reshape", ["gr", "s"], ["a"], "reshape_out"),
        node("Relu", ["a"], ["r"], "relu"),
        node("Neg", ["r"], ["y16"], "neg"),
        node("Cast", ["y16"], ["y"], "cast_out", to=1),
    )
    assert trace_nodes(FLOAT, derived) == {
        "cast_in": (),
        "reshape_in": (),
        "gemm": ("matmul", "bias"),
        "reshape_out": (),
        "relu": ("relu",),
        "neg": ("neg",),
        "cast_out": (),
    }


def test_a_cast_of_the_float_model_is_a_node_like_any_other() -> None:
    source = model(
        node("Cast", ["x"], ["c"], "cast", to=10), node("Cast", ["c"], ["y"], "back", to=1)
    )
    assert trace_nodes(source, source) == {"cast": ("cast",), "back": ("back",)}

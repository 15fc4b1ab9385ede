"""Multiply-accumulates by hand, and the borders of a group of nodes."""

from __future__ import annotations

import onnx
from onnx import helper
from qdq_models import conv_stack

from chipdrift.diagnose.walk import borders_of, multiply_accumulates, share
from chipdrift.graph.program import program_of


def test_work_of_a_stack_of_convolutions() -> None:
    program = program_of(conv_stack(False).model())
    assert multiply_accumulates(program) == {
        "n_stem": 12 * 11 * 9 * 5 * 9,
        "n_wide": 12 * 5 * 4 * 15,
        "n_point": 7 * 5 * 4 * 12,
        "n_last": 7 * 5 * 6 * 4,
    }
    total = sum(multiply_accumulates(program).values())
    assert share(program, ["n_stem"]) == 12 * 11 * 9 * 5 * 9 / total


def test_work_of_matrix_products_and_transposed_convolutions() -> None:
    def value(name: str, *shape: int) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)

    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["ab"], "both"),
        helper.make_node("Gemm", ["g", "h"], ["gh"], "turned", transA=1, transB=1),
        helper.make_node("ConvTranspose", ["x", "w"], ["y"], "up", strides=[2, 2]),
    ]
    graph = helper.make_graph(
        nodes,
        "products",
        [
            *(value("a", 2, 3, 5, 7), value("b", 2, 3, 7, 4), value("g", 6, 8), value("h", 9, 6)),
            *(value("x", 1, 4, 5, 5), value("w", 4, 3, 2, 2)),
        ],
        [value("ab", 2, 3, 5, 4), value("gh", 8, 9), value("y", 1, 3, 10, 10)],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    assert multiply_accumulates(program_of(model)) == {
        "both": 6 * 5 * 4 * 7,
        "turned": 8 * 9 * 6,
        "up": 4 * 25 * 3 * 4,
    }


def test_borders_look_through_conversions() -> None:
    program = program_of(conv_stack(False).model())
    found = borders_of(program, ["n_wide", "n_point"])
    assert found.into == (("n_stem", "n_wide"),)
    assert found.out == (("n_point", "n_relu"),)
    assert found.count == 2
    assert borders_of(program, [step.name for step in program.steps]).count == 0

"""Units and edges of quantized models, against those written down by hand."""

from __future__ import annotations

import numpy as np
from graph_models import graph_model, value
from onnx import helper

from chipdrift.demo import paths
from chipdrift.graph import load_model
from chipdrift.graph.units import Edge, Unit, find_units
from chipdrift.quantize import apply_scheme
from chipdrift.schemes import get_scheme

Plain = dict[str, tuple[str | None, set[str], set[str], bool]]


def plain(units: tuple[Unit, ...], edges: tuple[Edge, ...]) -> Plain:
    """Edges by tensor: writer's name, readers' names, what lies between, whether it is final."""
    assert len({edge.tensor for edge in edges}) == len(edges)
    for edge in edges:
        assert edge.readers == tuple(sorted(set(edge.readers)))
    return {
        edge.tensor: (
            None if edge.writer is None else units[edge.writer].name,
            {units[i].name for i in edge.readers},
            set(edge.nodes),
            edge.final,
        )
        for edge in edges
    }


def own_trace(*names: str) -> dict[str, tuple[str, ...]]:
    return {name: (name,) for name in names}


def made(nodes: list[tuple[str, list[str], list[str], str]], inputs: str, outputs: str) -> bytes:
    """A graph in which only names and op types matter; ``w...`` are constants."""
    used = {name for _, ins, _, _ in nodes for name in ins}
    weights = {name: np.ones(1, np.float32) for name in used if name.startswith("w")}
    return graph_model(
        [helper.make_node(op, ins, outs, name) for op, ins, outs, name in nodes],
        [value(name, [1]) for name in inputs.split()],
        [value(name, None) for name in outputs.split()],
        weights,
    ).SerializeToString()


def test_a_residual_add_a_pool_a_reshape_two_outputs_and_an_input_read_twice() -> None:
    quant = [
        ("QuantizeLinear", ["x", "ws"], ["xq"], "q_x"),
        ("DequantizeLinear", ["xq", "ws"], ["xd"], "d_x"),
        ("DequantizeLinear", ["wq", "ws"], ["k"], "d_k"),  # a weight
    ]
    nodes = [
        ("Conv", ["xd", "k"], ["c1"], "conv1"),
        ("QuantizeLinear", ["c1", "ws"], ["c1q"], "q_c1"),
        ("DequantizeLinear", ["c1q", "ws"], ["c1d"], "d_c1"),
        ("MaxPool", ["c1d"], ["m"], "pool"),
        ("QuantizeLinear", ["m", "ws"], ["mq"], "q_m"),
        ("DequantizeLinear", ["mq", "ws"], ["md"], "d_m"),
        ("Conv", ["md", "k"], ["c2"], "conv2"),
        ("Add", ["c2", "md"], ["s"], "residual"),
        ("Reshape", ["s", "wshape"], ["r"], "reshape"),
        ("Transpose", ["r"], ["t"], "transpose"),
        ("MatMul", ["t", "k"], ["y"], "matmul"),
        ("Sigmoid", ["xd"], ["z"], "gate"),
    ]
    data = made(quant + nodes, "x", "y s2 z")
    trace = own_trace(*(name for _, _, _, name in nodes if name[1] != "_"))
    found = plain(*find_units(data, trace))
    assert found == {
        "x": (None, {"conv1", "gate"}, set(), False),
        "c1": ("conv1", {"conv2", "residual"}, {"pool"}, False),
        "c2": ("conv2", {"residual"}, set(), False),
        "s": ("residual", {"matmul"}, {"reshape", "transpose"}, False),
        "y": ("matmul", set(), set(), True),
        "z": ("gate", set(), set(), True),
    }


def test_a_tensor_that_is_read_and_is_an_output_is_final_behind_moves_too() -> None:
    nodes = [
        ("Relu", ["x"], ["a"], "first"),
        ("Flatten", ["a"], ["f"], "flat"),
        ("Relu", ["a"], ["y"], "second"),
    ]
    found = plain(*find_units(made(nodes, "x", "y f"), own_trace("first", "flat", "second")))
    assert found["a"] == ("first", {"second"}, {"flat"}, True)
    assert found["y"] == ("second", set(), set(), True)


def test_what_the_quantizer_made_is_passed_and_named_nowhere() -> None:
    """A conversion between types: Quantize and Dequantize once more, and a node of nobody's."""
    nodes = [
        ("Relu", ["x"], ["a"], "first"),
        ("QuantizeLinear", ["a", "ws"], ["aq"], "q8"),
        ("DequantizeLinear", ["aq", "ws"], ["ad"], "d8"),
        ("Compress", ["ad", "w"], ["fence"], "made_by_us"),
        ("QuantizeLinear", ["fence", "ws"], ["aq2"], "q16"),
        ("DequantizeLinear", ["aq2", "ws"], ["ad2"], "d16"),
        ("Relu", ["ad2"], ["y"], "second"),
    ]
    found = plain(*find_units(made(nodes, "x", "y"), own_trace("first", "second")))
    assert found["a"] == ("first", {"second"}, set(), False)


def test_what_is_fused_is_one_unit_with_the_nodes_that_went_into_it() -> None:
    data = made([("Conv", ["x", "w"], ["y"], "conv")], "x", "y")
    units, edges = find_units(data, {"conv": ("conv", "batchnorm", "relu")})
    assert units == (Unit("conv", "Conv", ("conv", "batchnorm", "relu")),)
    assert [edge.tensor for edge in edges] == ["x", "y"]


def test_what_derives_from_weights_alone_is_no_unit() -> None:
    nodes = [
        ("DequantizeLinear", ["wq", "ws"], ["k"], "d_k"),
        ("Mul", ["k", "wb"], ["kk"], "scale"),
        ("MatMul", ["x", "k"], ["y"], "matmul"),
    ]
    units, _ = find_units(made(nodes, "x", "y"), own_trace("scale", "matmul"))
    assert [unit.name for unit in units] == ["matmul"]


def test_an_output_that_is_left_out_is_not_what_a_left_out_input_reads() -> None:
    """Both are the empty name: MaxPool's indices, and what a Clip does not bound."""
    nodes = [
        ("Relu", ["x"], ["a"], "first"),
        ("MaxPool", ["a"], ["m", ""], "pool"),
        ("Relu", ["m"], ["b"], "second"),
        ("Clip", ["b", "", "whigh"], ["y"], "clip"),
    ]
    names = own_trace("first", "pool", "second", "clip")
    found = plain(*find_units(made(nodes, "x", "y"), names))
    assert found["a"] == ("first", {"second"}, {"pool"}, False)
    assert found["b"] == ("second", {"clip"}, set(), False)


def test_a_node_that_reads_a_tensor_twice_is_one_reader() -> None:
    nodes = [("Relu", ["x"], ["a"], "first"), ("Mul", ["a", "a"], ["y"], "square")]
    _, edges = find_units(made(nodes, "x", "y"), own_trace("first", "square"))
    assert edges[1] == Edge("a", 0, (1,), (), False)


def test_pieces_of_a_split_are_one_edge_each_where_something_reads_them() -> None:
    nodes = [
        ("Relu", ["x"], ["a"], "first"),
        ("Split", ["a"], ["p", "q"], "split"),
        ("Relu", ["p"], ["y"], "upper"),
        ("Relu", ["q"], ["z"], "lower"),
        ("Concat", ["y", "z"], ["o"], "join"),
    ]
    names = own_trace("first", "split", "upper", "lower", "join")
    found = plain(*find_units(made(nodes, "x", "o"), names))
    assert found == {
        "x": (None, {"first"}, set(), False),
        "a": ("first", {"upper", "lower"}, {"split"}, False),
        "y": ("upper", set(), {"join"}, True),
        "z": ("lower", set(), {"join"}, True),
    }


def test_the_demo_has_the_edges_of_its_layers() -> None:
    demo = paths()
    model = load_model(demo.model)
    rows = np.load(demo.calibration)["image"][:8]
    made = apply_scheme(model, get_scheme("w8a8"), [{"image": row[None]} for row in rows])
    units, edges = find_units(made.data, made.trace)
    convs = ["stem/conv", *(f"block{i}/{k}wise" for i in range(1, 6) for k in ("depth", "point"))]
    assert [set(unit.nodes) for unit in units] == [
        *({name, f"{name}/relu6"} for name in convs),
        {"head/pool"},
        {"head/linear"},
    ]
    last = len(units) - 1
    assert [(edge.writer, edge.readers) for edge in edges] == [
        (None, (0,)),
        *((i, (i + 1,)) for i in range(last)),
        (last, ()),
    ]
    assert [edge.final for edge in edges] == [False] * (last + 1) + [True]
    assert [edge.nodes for edge in edges] == [()] * last + [("head/flatten",), ()]

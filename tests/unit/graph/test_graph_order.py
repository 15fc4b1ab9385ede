"""Sorting: only what must move moves."""

from __future__ import annotations

import itertools

import onnx
from graph_models import graph_model, value
from onnx import helper

from chipdrift.graph import sort_nodes

node = helper.make_node


def order(nodes: list[onnx.NodeProto]) -> list[str]:
    model = graph_model(nodes, [value("x", [1])], [value("y", None)])
    sort_nodes(model.graph)
    return [n.name for n in model.graph.node]


def test_every_permutation_of_a_diamond_is_put_in_order() -> None:
    diamond = [
        node("Neg", ["x"], ["a"], "a"),
        node("Abs", ["a"], ["b"], "b"),
        node("Exp", ["a"], ["c"], "c"),
        node("Add", ["b", "c"], ["y"], "y"),
    ]
    for mixed in itertools.permutations(diamond):
        names = [n.name for n in mixed]
        found = order(list(mixed))
        assert sorted(found) == sorted(names)
        assert found[0] == "a"
        assert found[3] == "y"
        if names in (["a", "b", "c", "y"], ["a", "c", "b", "y"]):
            assert found == names, "what is in order stays"


def test_a_subgraph_reads_as_well() -> None:
    branch = helper.make_graph([node("Neg", ["late"], ["n"])], "b", [], [value("n", [1])])
    nodes = [
        node("If", ["flag"], ["y"], "if", then_branch=branch, else_branch=branch),
        node("Exp", ["x"], ["late"], "late"),
    ]
    assert order(nodes) == ["late", "if"]


def test_a_cycle_is_left_to_the_runtime() -> None:
    nodes = [
        node("Add", ["x", "b"], ["a"], "a"),
        node("Neg", ["a"], ["b"], "b"),
        node("Abs", ["x"], ["y"], "y"),
    ]
    assert order(nodes) == ["y", "a", "b"]

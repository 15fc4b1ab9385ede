"""From a runtime's list of nodes to what ran where."""

from __future__ import annotations

import random

from chipdrift.records import NodePlace, Placement
from chipdrift.targets import summarize

NODES = [
    ("npu", "conv", "Conv"),
    ("npu", "conv_q", "QuantizeLinear"),
    ("cpu", "in_q", "QuantizeLinear"),
    ("cpu", "out_dq", "DequantizeLinear"),
    ("cpu", "mid_dq", "DequantizeLinear"),
    ("cpu", "soft", "Softmax"),
    ("cpu", "erf2", "Erf"),
    ("cpu", "erf1", "Erf"),
]
BORDER = {"in_q", "out_dq", "conv_q", "soft"}
FELL = tuple(
    NodePlace(node=n, op=o) for n, o in [("erf1", "Erf"), ("erf2", "Erf"), ("soft", "Softmax")]
)


def test_counts_on_a_target_with_an_npu() -> None:
    wanted = Placement(npu=1, cpu=3, graph_io=2, conversions=1, fallback=FELL)
    assert summarize(NODES, BORDER, True) == wanted
    mixed = list(NODES)
    random.Random(1).shuffle(mixed)
    assert summarize(iter(mixed), BORDER, True) == wanted, "the order of nodes is no matter"


def test_without_an_npu_nothing_falls_back() -> None:
    cpu = [("cpu", node, op) for _, node, op in NODES]
    wanted = Placement(npu=0, cpu=4, graph_io=3, conversions=1)
    assert summarize(cpu, BORDER, False) == wanted


def test_nothing_on_the_border_and_nothing_at_all() -> None:
    assert summarize(NODES, (), True).conversions == 3
    assert summarize([], BORDER, True) == Placement(npu=0, cpu=0)


def test_an_op_that_onnxruntime_expanded_counts_once() -> None:
    """Its pieces on the CPU have no name; the op itself is missing from the list."""
    pieces = [("cpu", "", "Erf"), ("cpu", "", "Mul"), ("cpu", "", "Add")]
    found = summarize([("npu", "conv", "Conv"), *pieces], (), True, {"gelu": "Gelu"})
    assert (found.npu, found.cpu) == (1, 1)
    assert [(place.node, place.op) for place in found.fallback] == [("gelu", "Gelu")]
    assert "expanded" in (found.fallback[0].reason or "")
    there = summarize([("npu", "gelu", "Gelu"), *pieces], (), True, {"gelu": "Gelu"})
    assert (there.npu, there.cpu) == (1, 3)
    assert {place.node for place in there.fallback} == {"(unnamed)"}
    assert summarize([("npu", "conv", "Conv")], (), True, {"gelu": "Gelu"}).cpu == 0

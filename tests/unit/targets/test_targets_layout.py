"""Placement after onnxruntime's layout step has renamed what it touched."""

from __future__ import annotations

from chipdrift.targets import summarize

NODES = [
    ("cpu", "x_QuantizeLinear", "QuantizeLinear"),
    ("npu", "Transpose_token_3", "Transpose"),
    ("npu", "conv_token_1", "Conv"),
    ("npu", "shuffle", "Transpose"),
    ("cpu", "erf_token_7", "Erf"),
    ("cpu", "DequantizeLinear_token_10", "DequantizeLinear"),
    ("cpu", "Transpose_token_11", "Transpose"),
]


def test_renamed_nodes_get_their_names_back() -> None:
    border = frozenset({"x_QuantizeLinear", "y_DequantizeLinear"})
    found = summarize(NODES, border, True, known={"conv", "shuffle", "erf"})
    assert (found.npu, found.cpu, found.graph_io, found.conversions) == (2, 1, 2, 0)
    assert [place.node for place in found.fallback] == ["erf"]


def test_without_the_models_nodes_nothing_is_renamed() -> None:
    found = summarize(NODES, frozenset({"x_QuantizeLinear"}), True)
    assert (found.npu, found.graph_io, found.conversions) == (3, 1, 1)
    assert {place.node for place in found.fallback} == {"erf_token_7", "Transpose_token_11"}

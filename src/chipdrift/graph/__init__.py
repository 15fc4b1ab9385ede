"""ONNX files: load and pin them, read their quantizers, tap activations, trace nodes."""

from chipdrift.graph.anatomy import Anatomy, computing_only, dissect, ending_in, float_twins
from chipdrift.graph.cut import Cut, Piece, cut_pieces
from chipdrift.graph.faults import wrong_in_float16
from chipdrift.graph.load import LoadedModel, load_model
from chipdrift.graph.names import name_nodes
from chipdrift.graph.order import sort_nodes
from chipdrift.graph.quantizers import (
    border_quantizers,
    expandable_nodes,
    is_quantized,
    output_quantizers,
)
from chipdrift.graph.taps import tap_activations
from chipdrift.graph.trace import float_name, trace_nodes

__all__ = [
    "Anatomy",
    "Cut",
    "LoadedModel",
    "Piece",
    "border_quantizers",
    "computing_only",
    "cut_pieces",
    "dissect",
    "ending_in",
    "expandable_nodes",
    "float_name",
    "float_twins",
    "is_quantized",
    "load_model",
    "name_nodes",
    "output_quantizers",
    "sort_nodes",
    "tap_activations",
    "trace_nodes",
    "wrong_in_float16",
]

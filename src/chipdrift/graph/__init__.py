"""ONNX files: load and pin them, read their quantizers, tap activations, trace nodes."""

from chipdrift.graph.load import LoadedModel, load_model
from chipdrift.graph.quantizers import (
    border_quantizers,
    expandable_nodes,
    is_quantized,
    output_quantizers,
)
from chipdrift.graph.taps import tap_activations
from chipdrift.graph.trace import trace_nodes

__all__ = [
    "LoadedModel",
    "border_quantizers",
    "expandable_nodes",
    "is_quantized",
    "load_model",
    "output_quantizers",
    "tap_activations",
    "trace_nodes",
]

"""Functions of one number: Sigmoid, Tanh, HardSwish, LeakyRelu, Gelu, Elu; Relu and Clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import onnx

from chipdrift.tflite.source import Grid, attributes
from chipdrift.tflite.writer import Writer

# What TFLite's kernels insist on, whatever the model says.
LOGISTIC_GRID = Grid(1 / 256, -128, 0)
TANH_GRID = Grid(1 / 128, 0, 0)


def unary(op: str, grid: Grid | None, options: Callable[[dict[str, Any]], dict[str, Any]]) -> Any:
    """A writer of TFLite's ``op``, whose output is on ``grid`` (None: on any)."""

    def write(writer: Writer, node: onnx.NodeProto) -> None:
        x = writer.activation(node, 0)
        sink = writer.sink(node)
        wanted = writer.grid_of(node, sink)
        out = writer.fresh(f"{node.name}/{op.lower()}", x.shape, grid or wanted, x.layout)
        writer.flat.operator(
            op, [writer.form(x, x.layout)], [out.forms[x.layout]], **options(attributes(node))
        )
        writer.finish(node, sink, out)

    return write


def clamp(writer: Writer, node: onnx.NodeProto) -> None:
    """A Relu or Clip of a quantized value: rescaled where it must be, then clamped."""
    x = writer.activation(node, 0)
    low, high = writer.clip_limits(node)
    sink = writer.sink(node)
    narrowed = type(sink)(
        sink.grid,
        sink.names,
        min(max(low, sink.low), sink.high),
        max(min(high, sink.high), sink.low),
    )
    writer.finish(node, narrowed, x)


OPS = {
    "Sigmoid": unary("LOGISTIC", LOGISTIC_GRID, lambda _: {}),
    "Tanh": unary("TANH", TANH_GRID, lambda _: {}),
    "HardSwish": unary("HARD_SWISH", None, lambda _: {"table": "HardSwishOptions"}),
    "LeakyRelu": unary(
        "LEAKY_RELU",
        None,
        lambda given: {"table": "LeakyReluOptions", "alpha": float(given.get("alpha", 0.01))},
    ),
    "Gelu": unary(
        "GELU",
        None,
        lambda given: {
            "table": "GeluOptions",
            "approximate": given.get("approximate", "none") == "tanh",
        },
    ),
    "Relu": clamp,
    "Clip": clamp,
}

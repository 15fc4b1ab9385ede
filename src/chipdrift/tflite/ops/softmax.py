"""Softmax, over the last axis of the layout that the kernel sees."""

from __future__ import annotations

import math

import onnx

from chipdrift.tflite.source import Grid, attributes
from chipdrift.tflite.writer import Layout, Value, Writer

# What TFLite's kernels insist on.
SOFTMAX_GRID = Grid(1 / 256, -128, 0)


def softmax(writer: Writer, node: onnx.NodeProto) -> None:
    """SOFTMAX; before opset 13 over all axes from ``axis`` on, as one."""
    x = writer.activation(node, 0)
    rank = len(x.shape)
    axis = int(attributes(node).get("axis", 1 if writer.source.opset < 13 else -1)) % rank
    sink = writer.sink(node)
    writer.grid_of(node, sink)
    if writer.source.opset < 13:
        flat = (math.prod(x.shape[:axis]), math.prod(x.shape[axis:]))
        found = _over_last(writer, node, writer.reshaped(x, flat), "plain")
        writer.finish(node, sink, writer.reshaped(found, x.shape))
        return
    if rank == 4 and axis == 1:
        writer.finish(node, sink, _over_last(writer, node, x, "nhwc"))
        return
    if axis == rank - 1:
        writer.finish(node, sink, _over_last(writer, node, x, "plain"))
        return
    raise writer.error(
        node, f"over axis {axis} of {rank}; TFLite takes the last one (or channels of images)"
    )


def _over_last(writer: Writer, node: onnx.NodeProto, x: Value, layout: Layout) -> Value:
    out = writer.fresh(f"{node.name}/softmax", x.shape, SOFTMAX_GRID, layout)
    writer.flat.operator(
        "SOFTMAX",
        [writer.form(x, layout)],
        [out.forms[layout]],
        table="SoftmaxOptions",
        beta=1.0,
    )
    return out


OPS = {"Softmax": softmax}

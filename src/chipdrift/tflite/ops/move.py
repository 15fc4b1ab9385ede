"""Ops that move integers and change none: reshapes, Transpose, Concat, Pad, Slice, Split."""

from __future__ import annotations

import numpy as np
import onnx

from chipdrift.tflite.source import attributes
from chipdrift.tflite.writer import NHWC_AXIS, Value, Writer


def identity(writer: Writer, node: onnx.NodeProto) -> None:
    """Identity and Dropout: the same value."""
    writer.finish(node, writer.sink(node), writer.activation(node, 0))


def reshape(writer: Writer, node: onnx.NodeProto) -> None:
    """Reshape, Flatten, Squeeze, Unsqueeze: RESHAPE of the order that ONNX has."""
    x = writer.activation(node, 0)
    shape = writer.result_shape(node)
    sink = writer.sink(node)
    if x.data is not None:
        out = Value(sink.names[0], x.grid, shape, data=x.data.reshape(shape))
    else:
        out = x if shape == x.shape else writer.reshaped(x, shape)
    writer.finish(node, sink, out)


def transpose(writer: Writer, node: onnx.NodeProto) -> None:
    """TRANSPOSE of the order that ONNX has."""
    x = writer.activation(node, 0)
    rank = len(x.shape)
    order = list(attributes(node).get("perm") or range(rank)[::-1])
    sink = writer.sink(node)
    if x.data is not None:
        data = np.ascontiguousarray(x.data.transpose(order))
        writer.finish(node, sink, Value(sink.names[0], x.grid, data.shape, data=data))
        return
    shape = tuple(x.shape[i] for i in order)
    out = writer.fresh(f"{node.name}/transposed", shape, x.grid, "plain")
    writer.flat.operator(
        "TRANSPOSE",
        [writer.form(x, "plain"), writer.numbers(f"{node.name}/perm", order)],
        [out.forms["plain"]],
        table="TransposeOptions",
    )
    writer.finish(node, sink, out)


def concat(writer: Writer, node: onnx.NodeProto) -> None:
    """CONCATENATION; inputs of another scale than the output's are rescaled first."""
    values = [writer.activation(node, i) for i in range(len(node.input))]
    sink = writer.sink(node)
    grid = sink.grid if sink.grid is not None else values[0].grid
    values = [writer.requantized(node, value, grid) for value in values]
    shape = writer.result_shape(node)
    layout = writer.common_layout(values, len(shape))
    axis = int(attributes(node)["axis"]) % len(shape)
    out = writer.fresh(sink.names[-1], shape, grid, layout)
    writer.flat.operator(
        "CONCATENATION",
        [writer.form(value, layout) for value in values],
        [out.forms[layout]],
        table="ConcatenationOptions",
        axis=NHWC_AXIS[axis] if layout == "nhwc" else axis,
    )
    writer.finish(node, sink, out)


def pad(writer: Writer, node: onnx.NodeProto) -> None:
    """Mode constant (PAD, PADV2) and reflect (MIRROR_PAD); no negative pads."""
    x = writer.activation(node, 0)
    given = attributes(node)
    mode, rank = given.get("mode", "constant"), len(x.shape)
    if mode not in ("constant", "reflect"):
        raise writer.error(node, f"mode {mode!r}; TFLite has constant and reflect")
    pads = list(given.get("pads") or writer.integers(node, 1) or [])
    axes = [axis % rank for axis in writer.integers(node, 3) or range(rank)]
    if min(pads, default=0) < 0:
        raise writer.error(node, f"negative pads {pads}")
    amounts = np.zeros((rank, 2), np.int32)
    amounts[axes] = np.reshape(pads, (2, -1)).T
    sink = writer.sink(node)
    fill = writer.number(node, 2, float(given.get("value", 0.0)))
    if mode == "constant" and fill != 0 and sink.grid is not None:
        # The value is rounded to the grid of the result, once.
        x = writer.requantized(node, x, sink.grid)
    layout = writer.common_layout([x], rank)
    shape = tuple(int(v) for v in np.add(x.shape, amounts.sum(axis=1)))
    out = writer.fresh(f"{node.name}/padded", shape, x.grid, layout)
    stored = amounts[[0, 2, 3, 1]] if layout == "nhwc" else amounts
    inputs = [writer.form(x, layout), writer.numbers(f"{node.name}/amounts", stored)]
    op, options = "MIRROR_PAD", "MirrorPadOptions"
    if mode == "constant":
        integer = x.grid.integer(fill)
        op, options = "PAD", "PadOptions"
        if integer != x.grid.zero_point:
            data = np.array([integer], np.int8)
            inputs.append(writer.tensor(f"{node.name}/fill", (1,), x.grid, data))
            op, options = "PADV2", "PadV2Options"
    writer.flat.operator(op, inputs, [out.forms[layout]], table=options)
    writer.finish(node, sink, out)


def slice_(writer: Writer, node: onnx.NodeProto) -> None:
    """STRIDED_SLICE with steps forward."""
    x = writer.activation(node, 0)
    rank = len(x.shape)
    given = attributes(node)
    starts = given.get("starts") or writer.integers(node, 1) or []
    ends = given.get("ends") or writer.integers(node, 2) or []
    axes = given.get("axes") or writer.integers(node, 3) or range(len(starts))
    steps = writer.integers(node, 4) or [1] * len(starts)
    if min(steps) < 1:
        raise writer.error(node, f"steps {steps}; this writer slices forward only")
    ranges = [(0, size, 1) for size in x.shape]
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        first, last, _ = slice(start, end, step).indices(x.shape[axis])
        ranges[axis % rank] = (first, last, step)
    sink = writer.sink(node)
    out = writer.sliced(f"{node.name}/sliced", x, ranges, writer.common_layout([x], rank))
    writer.finish(node, sink, out)


def split(writer: Writer, node: onnx.NodeProto) -> None:
    """One STRIDED_SLICE per output."""
    x = writer.activation(node, 0)
    rank = len(x.shape)
    axis = int(attributes(node).get("axis", 0)) % rank
    layout, first = writer.common_layout([x], rank), 0
    for index in range(len(node.output)):
        size = writer.result_shape(node, index)[axis]
        ranges = [(0, length, 1) for length in x.shape]
        ranges[axis] = (first, first + size, 1)
        first += size
        out = writer.sliced(f"{node.name}/part{index}", x, ranges, layout)
        writer.finish(node, writer.sink(node, index), out)


OPS = {
    "Concat": concat,
    "Dropout": identity,
    "Flatten": reshape,
    "Identity": identity,
    "Pad": pad,
    "Reshape": reshape,
    "Slice": slice_,
    "Split": split,
    "Squeeze": reshape,
    "Transpose": transpose,
    "Unsqueeze": reshape,
}

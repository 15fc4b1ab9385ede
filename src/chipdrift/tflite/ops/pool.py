"""AveragePool and MaxPool, whose TFLite kernels keep the input's scale; global pools as MEAN."""

from __future__ import annotations

import onnx

from chipdrift.tflite.source import attributes
from chipdrift.tflite.windows import VALID, Window, padded, window
from chipdrift.tflite.writer import Value, Writer


def pool(writer: Writer, node: onnx.NodeProto) -> None:
    """AVERAGE_POOL_2D or MAX_POOL_2D."""
    x = writer.activation(node, 0)
    given = attributes(node)
    kernel = tuple(given["kernel_shape"])
    if len(x.shape) != 4 or len(kernel) != 2:
        raise writer.error(node, f"an input of {len(x.shape)} dimensions; TFLite pools images")
    view = window(writer, node, (kernel[0], kernel[1]), x)
    if view.dilations != (1, 1):
        raise writer.error(node, "a dilated pool, which TFLite does not have")
    if len(node.output) > 1 and node.output[1]:
        raise writer.error(node, "an output of indices, which TFLite's pool does not have")
    average = node.op_type == "AveragePool"
    source, padding = _padded(writer, node, x, view, average)
    sink = writer.sink(node)
    out = writer.fresh(f"{node.name}/pooled", (*x.shape[:2], *view.result), x.grid, "nhwc")
    writer.flat.operator(
        "AVERAGE_POOL_2D" if average else "MAX_POOL_2D",
        [source],
        [out.forms["nhwc"]],
        table="Pool2DOptions",
        padding=padding,
        strideH=view.strides[0],
        strideW=view.strides[1],
        filterHeight=view.kernel[0],
        filterWidth=view.kernel[1],
    )
    writer.finish(node, sink, out)


def _padded(
    writer: Writer, node: onnx.NodeProto, x: Value, view: Window, average: bool
) -> tuple[int, int]:
    """The pool's input and TFLite padding. TFLite's average counts no pads, as ONNX's default."""
    counted = average and attributes(node).get("count_include_pad", 0)
    padding = view.padding
    if padding == VALID or (padding is not None and not counted):
        return writer.form(x, "nhwc"), padding
    if average and not counted:
        raise writer.error(
            node, f"pads {view.pads} that are not counted, and are not what TFLite calls SAME"
        )
    return padded(writer, x, view.pads, x.grid.zero_point if average else -128), VALID


def mean(writer: Writer, node: onnx.NodeProto) -> None:
    """GlobalAveragePool and ReduceMean: MEAN, which rescales in one step."""
    x = writer.activation(node, 0)
    rank = len(x.shape)
    given = attributes(node)
    if node.op_type == "GlobalAveragePool":
        axes, keep = list(range(2, rank)), True
    else:
        wanted = given.get("axes") or writer.integers(node, 1) or list(range(rank))
        axes, keep = sorted(axis % rank for axis in wanted), bool(given.get("keepdims", 1))
    sink = writer.sink(node)
    grid = writer.grid_of(node, sink)
    shape = tuple(1 if i in axes else size for i, size in enumerate(x.shape))
    in_nhwc = rank == 4 and axes == [2, 3]
    layout = writer.common_layout([x], rank) if in_nhwc else "plain"
    # Without height and width, NHWC and NCHW are the same order.
    out_layout = layout if keep else "plain"
    if not keep:
        shape = tuple(size for i, size in enumerate(x.shape) if i not in axes)
    out = writer.fresh(sink.names[-1], shape, grid, out_layout)
    numbers = [1, 2] if layout == "nhwc" else axes
    writer.flat.operator(
        "MEAN",
        [writer.form(x, layout), writer.numbers(f"{node.name}/axes", numbers)],
        [out.forms[out_layout]],
        table="ReducerOptions",
        keepDims=keep,
    )
    writer.finish(node, sink, out)


OPS = {"AveragePool": pool, "MaxPool": pool, "GlobalAveragePool": mean, "ReduceMean": mean}

"""Add, Sub and Mul of two tensors, with broadcasting."""

from __future__ import annotations

import onnx

from chipdrift.tflite.writer import Writer

_TABLES = {"Add": "AddOptions", "Sub": "SubOptions", "Mul": "MulOptions"}


def binary(writer: Writer, node: onnx.NodeProto) -> None:
    """The op of the same name."""
    a, b = writer.activation(node, 0), writer.activation(node, 1)
    sink = writer.sink(node)
    grid = writer.grid_of(node, sink)
    shape = writer.result_shape(node)
    layout = writer.common_layout([a, b], len(shape))
    fused, number = writer.fused(sink, grid)
    out = writer.fresh(sink.names[-1], shape, grid, layout)
    rank = 4 if layout == "nhwc" else None
    writer.flat.operator(
        node.op_type.upper(),
        [writer.form(a, layout, rank), writer.form(b, layout, rank)],
        [out.forms[layout]],
        table=_TABLES[node.op_type],
        fusedActivationFunction=number,
    )
    writer.finish(node, sink, out, fused)


OPS = dict.fromkeys(_TABLES, binary)

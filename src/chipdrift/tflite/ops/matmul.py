"""Gemm and MatMul: FULLY_CONNECTED with a constant weight, BATCH_MATMUL of two activations."""

from __future__ import annotations

import onnx

from chipdrift.tflite.ops.conv import bias_tensor, weight_tensor
from chipdrift.tflite.source import attributes
from chipdrift.tflite.writer import Writer


def gemm(writer: Writer, node: onnx.NodeProto) -> None:
    """x W + b, or x W' + b with ``transB``; no other factor or transposition."""
    given = attributes(node)
    if given.get("transA") or given.get("alpha", 1.0) != 1 or given.get("beta", 1.0) != 1:
        raise writer.error(node, "transA, alpha or beta, which FULLY_CONNECTED does not have")
    fully_connected(writer, node, bool(given.get("transB")))


def matmul(writer: Writer, node: onnx.NodeProto) -> None:
    """By its second input: a matrix of weights, or anything."""
    if writer.is_constant(node, 1) and writer.weights[node.input[1]].values.ndim == 2:
        fully_connected(writer, node, False)
        return
    a, b = writer.activation(node, 0), writer.activation(node, 1)
    if min(len(a.shape), len(b.shape)) < 2:
        raise writer.error(node, "an input of one dimension; TFLite multiplies matrices")
    sink = writer.sink(node)
    out = writer.fresh(
        sink.names[-1], writer.result_shape(node), writer.grid_of(node, sink), "plain"
    )
    writer.flat.operator(
        "BATCH_MATMUL",
        [writer.form(a, "plain"), writer.form(b, "plain")],
        [out.forms["plain"]],
        table="BatchMatMulOptions",
    )
    writer.finish(node, sink, out)


def fully_connected(writer: Writer, node: onnx.NodeProto, transposed: bool) -> None:
    """FULLY_CONNECTED; ``transposed`` weights have a row per output, as TFLite's do."""
    x = writer.activation(node, 0)
    weight = writer.symmetric_weight(node, 1)
    rows = weight.values if transposed else weight.values.T
    if weight.axis not in (None, 0 if transposed else 1):
        raise writer.error(node, f"scales along axis {weight.axis} of its weight, its inputs")
    sink = writer.sink(node)
    grid = writer.grid_of(node, sink)
    fused, number = writer.fused(sink, grid)
    out = writer.fresh(sink.names[-1], (*x.shape[:-1], rows.shape[0]), grid, "plain")
    writer.flat.operator(
        "FULLY_CONNECTED",
        [
            writer.form(x, "plain"),
            weight_tensor(writer, node, rows, weight, 0),
            bias_tensor(writer, node, 2, x, weight, rows.shape[0]),
        ],
        [out.forms["plain"]],
        table="FullyConnectedOptions",
        fusedActivationFunction=number,
        keepNumDims=True,
    )
    writer.finish(node, sink, out, fused)


OPS = {"Gemm": gemm, "MatMul": matmul}

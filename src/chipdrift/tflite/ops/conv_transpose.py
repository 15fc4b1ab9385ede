"""ConvTranspose of images: TRANSPOSE_CONV of all pixels, of which pads cut the rim."""

from __future__ import annotations

import onnx

from chipdrift.tflite.ops.conv import bias_tensor, weight_tensor
from chipdrift.tflite.source import attributes
from chipdrift.tflite.windows import VALID
from chipdrift.tflite.writer import Writer


def conv_transpose(writer: Writer, node: onnx.NodeProto) -> None:
    """No groups and no dilation, which TRANSPOSE_CONV does not have."""
    x = writer.activation(node, 0)
    weight = writer.symmetric_weight(node, 1)
    given = attributes(node)
    if len(x.shape) != 4:
        raise writer.error(node, f"an input of {len(x.shape)} dimensions; TFLite takes images")
    if given.get("group", 1) != 1 or set(given.get("dilations", [1])) != {1}:
        raise writer.error(node, "groups or dilations, which TRANSPOSE_CONV does not have")
    if weight.axis not in (None, 1):
        raise writer.error(node, f"scales along axis {weight.axis} of its weight, its inputs")
    if given.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID") or given.get("output_shape"):
        raise writer.error(node, "auto_pad or output_shape; give its pads as numbers")
    strides = tuple(given.get("strides") or (1, 1))
    kernel = weight.values.shape[2:]
    full = [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel, strict=True)]
    top, left = (given.get("pads") or [0, 0, 0, 0])[:2]
    shape = writer.result_shape(node)
    if top + shape[2] > full[0] or left + shape[3] > full[1]:
        raise writer.error(node, "output_padding beyond what the kernel reaches")
    sink = writer.sink(node)
    grid = writer.grid_of(node, sink)
    whole = (x.shape[0], shape[1], full[0], full[1])
    out = writer.fresh(f"{node.name}/whole", whole, grid, "nhwc")
    stored = (whole[0], full[0], full[1], whole[1])
    writer.flat.operator(
        "TRANSPOSE_CONV",
        [
            writer.numbers(f"{node.name}/shape", stored),
            weight_tensor(writer, node, weight.values.transpose(1, 2, 3, 0), weight, 0),
            writer.form(x, "nhwc"),
            bias_tensor(writer, node, 2, x, weight, shape[1]),
        ],
        [out.forms["nhwc"]],
        table="TransposeConvOptions",
        padding=VALID,
        strideH=strides[0],
        strideW=strides[1],
    )
    if out.shape != shape:
        rim = [(0, n, 1) for n in shape]
        rim[2] = (top, top + shape[2], 1)
        rim[3] = (left, left + shape[3], 1)
        out = writer.sliced(f"{node.name}/cut", out, rim, "nhwc")
    writer.finish(node, sink, out)


OPS = {"ConvTranspose": conv_transpose}

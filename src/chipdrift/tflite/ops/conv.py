"""Conv: plain, grouped and depthwise, over images and over sequences."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from chipdrift.tflite.source import ConstantIntegers, attributes
from chipdrift.tflite.windows import VALID, padded, window
from chipdrift.tflite.writer import Value, Writer

Array = np.ndarray[Any, Any]


def conv(writer: Writer, node: onnx.NodeProto) -> None:
    """CONV_2D or DEPTHWISE_CONV_2D. A sequence (N, C, L) is an image of height 1."""
    x = writer.activation(node, 0)
    weight = writer.symmetric_weight(node, 1)
    values = weight.values
    if len(x.shape) not in (3, 4):
        raise writer.error(node, f"an input of {len(x.shape)} dimensions; TFLite convolves images")
    is_sequence = len(x.shape) == 3
    if is_sequence:
        x = writer.reshaped(x, (*x.shape[:2], 1, x.shape[2]))
        values = values[:, :, np.newaxis]
    if weight.axis not in (None, 0):
        raise writer.error(node, f"scales along axis {weight.axis} of its weight; TFLite needs 0")
    groups = int(attributes(node).get("group", 1))
    view = window(writer, node, (values.shape[2], values.shape[3]), x)
    sink = writer.sink(node)
    grid = writer.grid_of(node, sink)
    padding = view.padding
    source = (
        writer.form(x, "nhwc")
        if padding is not None
        else padded(writer, x, view.pads, x.grid.zero_point)
    )
    shape = (x.shape[0], values.shape[0], *view.result)
    out = writer.fresh(sink.names[-1], shape, grid, "nhwc")
    fused, number = writer.fused(sink, grid)
    options: dict[str, Any] = {
        "padding": VALID if padding is None else padding,
        "strideH": view.strides[0],
        "strideW": view.strides[1],
        "dilationHFactor": view.dilations[0],
        "dilationWFactor": view.dilations[1],
        "fusedActivationFunction": number,
    }
    if groups > 1 and groups == x.shape[1]:
        op, axis = "DEPTHWISE_CONV_2D", 3
        filters = values.transpose(1, 2, 3, 0)
        options.update(
            table="DepthwiseConv2DOptions", depthMultiplier=values.shape[0] // x.shape[1]
        )
    else:
        op, axis = "CONV_2D", 0
        filters = values.transpose(0, 2, 3, 1)
        options.update(table="Conv2DOptions")
    inputs = [source, weight_tensor(writer, node, filters, weight, axis)]
    inputs.append(bias_tensor(writer, node, 2, x, weight, values.shape[0]))
    writer.flat.operator(op, inputs, [out.forms["nhwc"]], **options)
    if is_sequence:
        out = writer.reshaped(out, (shape[0], shape[1], shape[3]))
    writer.finish(node, sink, out, fused)


def weight_tensor(
    writer: Writer, node: onnx.NodeProto, values: Array, weight: ConstantIntegers, axis: int
) -> int:
    """The weight as a constant, its channels (if it has a scale for each) along ``axis``."""
    return writer.flat.tensor(
        node.input[1],
        values.shape,
        np.int8,
        scale=weight.scale,
        zero_point=np.zeros(weight.scale.size, np.int64),
        axis=axis if weight.axis is not None else 0,
        data=np.ascontiguousarray(values),
    )


def bias_tensor(
    writer: Writer,
    node: onnx.NodeProto,
    index: int,
    x: Value,
    weight: ConstantIntegers,
    channels: int,
) -> int:
    """The bias as int32 in units of input scale times weight scale; zeros where there is none.

    Integers of another scale, and floats, are rounded half to even to that unit.
    """
    unit = np.float64(x.grid.scale) * weight.scale.astype(np.float64)
    name = node.input[index] if index < len(node.input) else ""
    found = writer.weights.get(name)
    if not name:
        exact = np.zeros(channels)
    elif found is not None:
        real = found.values.astype(np.float64) - found.zero_point
        ratio = found.scale.astype(np.float64) / unit
        # A float32 product is off by less than one part in 2^23: the integers are meant as they are
        near = np.allclose(ratio, 1, rtol=2.0**-22, atol=0)
        exact = real.reshape(-1) * (1 if near else ratio)
        if not near:
            writer.notes.append(
                f"node {node.name!r} ({node.op_type}): bias {name!r} was rounded from its own "
                "scale to input scale times weight scale"
            )
    elif name in writer.source.constants:
        exact = writer.source.constants[name].astype(np.float64).reshape(-1) / unit
        writer.notes.append(
            f"node {node.name!r} ({node.op_type}): float bias {name!r} was rounded to int32"
        )
    else:
        raise writer.error(node, f"bias {name!r} is not a constant")
    if exact.size not in (1, channels):
        raise writer.error(node, f"bias {name!r} has {exact.size} entries for {channels} channels")
    rounded = np.broadcast_to(np.rint(exact), channels)
    if np.any(np.abs(rounded) > np.iinfo(np.int32).max):
        raise writer.error(node, f"bias {name!r} does not fit 32 bits in units of {unit.min():.3g}")
    return writer.flat.tensor(
        f"{node.name}/bias",
        (channels,),
        np.int32,
        scale=unit,
        zero_point=np.zeros(unit.size, np.int64),
        data=rounded.astype(np.int32),
    )


OPS = {"Conv": conv}

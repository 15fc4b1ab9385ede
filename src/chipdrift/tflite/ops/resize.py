"""Resize of height and width: nearest where the picked pixels are the same ones, and bilinear."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx

from chipdrift.tflite.source import attributes
from chipdrift.tflite.writer import Writer

Array = np.ndarray[Any, Any]

# ONNX's coordinate modes that TFLite has: (align_corners, half_pixel_centers).
_FLAGS = {
    "asymmetric": (False, False),
    "align_corners": (True, False),
    "half_pixel": (False, True),
    "pytorch_half_pixel": (False, True),
}


def resize(writer: Writer, node: onnx.NodeProto) -> None:
    """RESIZE_NEAREST_NEIGHBOR or RESIZE_BILINEAR, in the input's scale."""
    x = writer.activation(node, 0)
    given = attributes(node)
    shape = writer.result_shape(node)
    if len(x.shape) != 4 or shape[:2] != x.shape[:2]:
        raise writer.error(node, "TFLite resizes height and width of images only")
    legacy = node.op_type == "Upsample" or writer.source.opset < 11
    modes = given.get("coordinate_transformation_mode", "half_pixel")
    mode = "asymmetric" if legacy else modes
    how = given.get("mode", "nearest")
    if how == "nearest":
        flags = _nearest_flags(writer, node, x.shape, shape, mode, legacy)
    elif how == "linear":
        flags = _linear_flags(writer, node, x.shape, shape, mode)
    else:
        raise writer.error(node, f"mode {how!r}; TFLite has nearest and linear")
    sink = writer.sink(node)
    out = writer.fresh(f"{node.name}/resized", shape, x.grid, "nhwc")
    bilinear = how == "linear"
    writer.flat.operator(
        "RESIZE_BILINEAR" if bilinear else "RESIZE_NEAREST_NEIGHBOR",
        [writer.form(x, "nhwc"), writer.numbers(f"{node.name}/size", shape[2:])],
        [out.forms["nhwc"]],
        table="ResizeBilinearOptions" if bilinear else "ResizeNearestNeighborOptions",
        alignCorners=flags[0],
        halfPixelCenters=flags[1],
    )
    writer.finish(node, sink, out)


def _linear_flags(
    writer: Writer,
    node: onnx.NodeProto,
    before: tuple[int, ...],
    after: tuple[int, ...],
    mode: str,
) -> tuple[bool, bool]:
    alone = mode == "pytorch_half_pixel" and 1 in after[2:]
    if mode not in _FLAGS or alone or attributes(node).get("antialias"):
        raise writer.error(node, f"coordinates {mode!r}, which RESIZE_BILINEAR does not have")
    _check_scales(writer, node, before, after)
    return _FLAGS[mode]


def _check_scales(
    writer: Writer, node: onnx.NodeProto, before: tuple[int, ...], after: tuple[int, ...]
) -> Array:
    """ONNX's scales of height and width; TFLite knows sizes only, so they must be their ratio."""
    ratio = np.array(after[2:], np.float64) / before[2:]
    index = 1 if writer.source.opset < 11 else 2
    name = node.input[index] if index < len(node.input) else ""
    scales = writer.source.constants.get(name)
    if scales is None or scales.size == 0:
        return ratio
    found = scales.astype(np.float64).reshape(-1)[-2:]
    if not np.allclose(found, ratio, rtol=1e-6):
        raise writer.error(node, f"scales {found} that are not the sizes' ratio {ratio}")
    return found


def _nearest_flags(
    writer: Writer,
    node: onnx.NodeProto,
    before: tuple[int, ...],
    after: tuple[int, ...],
    mode: str,
    legacy: bool,
) -> tuple[bool, bool]:
    """The flags under which TFLite picks the very pixels that ONNX picks."""
    rounding = "floor" if legacy else attributes(node).get("nearest_mode", "round_prefer_floor")
    scales = _check_scales(writer, node, before, after)
    for flags in ((False, True), (False, False), (True, False)):
        if all(
            np.array_equal(
                _onnx_picks(size, count, scale, mode, rounding), _tflite_picks(size, count, *flags)
            )
            for size, count, scale in zip(before[2:], after[2:], scales, strict=True)
        ):
            return flags
    raise writer.error(
        node, f"coordinates {mode!r} with {rounding!r} pick other pixels than TFLite can"
    )


def _onnx_picks(size: int, count: int, scale: float, mode: str, rounding: str) -> Array:
    """Index of the input pixel for each output pixel along one axis, as ONNX defines it."""
    i = np.arange(count, dtype=np.float64)
    if mode == "asymmetric":
        at = i / scale
    elif mode == "align_corners":
        at = i * (size - 1) / (count - 1) if count > 1 else i * 0
    elif mode == "pytorch_half_pixel" and count == 1:
        at = i * 0
    else:
        at = (i + 0.5) / scale - 0.5
    rounded = {
        "round_prefer_floor": np.ceil(at - 0.5),
        "round_prefer_ceil": np.floor(at + 0.5),
        "floor": np.floor(at),
        "ceil": np.ceil(at),
    }[rounding]
    return np.asarray(np.clip(rounded, 0, size - 1))


def _tflite_picks(size: int, count: int, align_corners: bool, half_pixel: bool) -> Array:
    """The same for TFLite's kernel, in float32 as there."""
    i = np.arange(count, dtype=np.float32)
    if align_corners and count > 1:
        at = np.floor(i * np.float32((size - 1) / (count - 1)) + np.float32(0.5))
    else:
        offset = np.float32(0.5 if half_pixel else 0)
        at = np.floor((i + offset) * (np.float32(size) / np.float32(count)))
    return np.asarray(np.clip(at, 0, size - 1))


OPS = {"Resize": resize, "Upsample": resize}

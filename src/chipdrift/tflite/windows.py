"""Kernels that slide over height and width: ONNX's explicit pads as TFLite's VALID, SAME or PAD."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx

from chipdrift.tflite.source import attributes
from chipdrift.tflite.writer import Value, Writer

SAME, VALID = 0, 1


@dataclass(frozen=True)
class Window:
    """Sizes along height and width; ``pads`` are (before, after) along each."""

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    pads: tuple[tuple[int, int], tuple[int, int]]
    image: tuple[int, int]
    result: tuple[int, int]

    @property
    def padding(self) -> int | None:
        """VALID or SAME where TFLite's means these pads; None where a PAD is needed."""
        if self.pads == ((0, 0), (0, 0)):
            return VALID
        for size, count, kernel, stride, dilation, pads in zip(
            self.image,
            self.result,
            self.kernel,
            self.strides,
            self.dilations,
            self.pads,
            strict=True,
        ):
            reach = (kernel - 1) * dilation + 1
            total = max((count - 1) * stride + reach - size, 0)
            # Pads that no window reaches do not matter; TFLite puts the odd one at the end.
            if count != -(-size // stride) or pads[0] != total // 2 or sum(pads) < total:
                return None
        return SAME


def window(writer: Writer, node: onnx.NodeProto, kernel: tuple[int, int], x: Value) -> Window:
    """The window of a convolution or pool over NCHW ``x``; refuses what rounds sizes up."""
    given = attributes(node)
    strides = _two(given.get("strides"))
    dilations = _two(given.get("dilations"))
    image = (x.shape[2], x.shape[3])
    pads = _pads(writer, node, image, kernel, strides, dilations)
    counts = tuple(
        (size + sum(pad) - (k - 1) * d - 1) // s + 1
        for size, pad, k, d, s in zip(image, pads, kernel, dilations, strides, strict=True)
    )
    result = writer.result_shape(node)[-2:]
    if len(writer.result_shape(node)) == 3:
        result = (1, result[-1])
    if counts != tuple(result):
        raise writer.error(node, f"ceil_mode: {tuple(result)} windows where TFLite has {counts}")
    return Window(kernel, strides, dilations, pads, image, (counts[0], counts[1]))


def _two(values: list[int] | None) -> tuple[int, int]:
    if not values:
        return 1, 1
    return (1, values[0]) if len(values) == 1 else (values[0], values[1])


def _pads(
    writer: Writer,
    node: onnx.NodeProto,
    image: tuple[int, int],
    kernel: tuple[int, int],
    strides: tuple[int, int],
    dilations: tuple[int, int],
) -> tuple[tuple[int, int], tuple[int, int]]:
    given = attributes(node)
    auto = given.get("auto_pad", "NOTSET")
    found = []
    if auto in ("SAME_UPPER", "SAME_LOWER"):
        for size, k, s, d in zip(image, kernel, strides, dilations, strict=True):
            total = max((-(-size // s) - 1) * s + (k - 1) * d + 1 - size, 0)
            small, large = total // 2, total - total // 2
            found.append((small, large) if auto == "SAME_UPPER" else (large, small))
    elif auto == "VALID" or not given.get("pads"):
        found = [(0, 0), (0, 0)]
    else:
        pads = list(given["pads"])
        if len(pads) == 2:
            pads = [0, pads[0], 0, pads[1]]
        found = [(pads[0], pads[2]), (pads[1], pads[3])]
    if min(min(pair) for pair in found) < 0:
        raise writer.error(node, f"negative pads {found}")
    return found[0], found[1]


def padded(writer: Writer, x: Value, pads: tuple[tuple[int, int], tuple[int, int]], q: int) -> int:
    """The NHWC tensor of ``x`` with integer ``q`` around it."""
    (top, bottom), (left, right) = pads
    n, c, h, w = x.shape
    shape = (n, c, h + top + bottom, w + left + right)
    found = writer.fresh(f"{x.name}/padded", shape, x.grid, "nhwc")
    amounts = writer.numbers(
        f"{found.name}/amounts", np.array([(0, 0), (top, bottom), (left, right), (0, 0)])
    )
    inputs = [writer.form(x, "nhwc"), amounts]
    if q == x.grid.zero_point:
        writer.flat.operator("PAD", inputs, [found.forms["nhwc"]], table="PadOptions")
    else:
        fill = writer.tensor(f"{found.name}/fill", (1,), x.grid, np.array([q], np.int8))
        writer.flat.operator("PADV2", [*inputs, fill], [found.forms["nhwc"]], table="PadV2Options")
    return found.forms["nhwc"]

"""QDQ models written node by node, with integer inputs and outputs: what is tested is all there."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]

# Scale and zero point of what a model reads; nothing is round, so nothing ties by design.
X_SCALE, X_ZERO = 0.0123, 117
# Sizes differ along every axis, and none divides another: a wrong layout shows.
IMAGE = (1, 6, 7, 10)

SAME, OTHER = (0.4, 130), (0.27, 101)
NONE = np.array([], np.float32)


def of(*values: int) -> Array:
    return np.array(values, np.int64)


class Qdq:
    """Nodes and constants in the order they are added; a node is named after its output."""

    def __init__(self, seed: int = 0, dtype: Any = np.uint8) -> None:
        self.rng = np.random.default_rng(seed)
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self.inputs: dict[str, tuple[int, ...]] = {}
        self.outputs: list[str] = []

    def constant(self, name: str, value: Any, dtype: Any = None) -> str:
        self.constants[name] = np.asarray(value, dtype)
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], f"n_{output}", **attributes))
        return output

    def _parameters(self, name: str, scale: Any, zero: Any, dtype: Any) -> list[str]:
        zeros = np.broadcast_to(np.asarray(zero, dtype), np.shape(scale)).copy()
        return [
            self.constant(f"{name}_scale", scale, np.float32),
            self.constant(f"{name}_zero", zeros),
        ]

    def dequantized(
        self, name: str, scale: Any, zero: Any, dtype: Any = None, axis: int | None = None
    ) -> str:
        kind = self.dtype if dtype is None else dtype
        options = {} if axis is None else {"axis": axis}
        parameters = self._parameters(f"{name}_d", scale, zero, kind)
        return self.add("DequantizeLinear", [name, *parameters], f"{name}_real", **options)

    def quantized(self, name: str, scale: float, zero: int) -> str:
        parameters = self._parameters(f"{name}_q", scale, zero, self.dtype)
        return self.add("QuantizeLinear", [name, *parameters], f"{name}_quant")

    def input(
        self, name: str, shape: tuple[int, ...], scale: float = X_SCALE, zero: int = X_ZERO
    ) -> str:
        self.inputs[name] = shape
        return self.dequantized(name, scale, zero)

    def rounded(self, name: str, scale: float, zero: int) -> str:
        """The tensor on a grid, as a float again."""
        return self.dequantized(self.quantized(name, scale, zero), scale, zero)

    def output(self, name: str, scale: float, zero: int) -> None:
        self.outputs.append(self.quantized(name, scale, zero))

    def weight(self, name: str, shape: tuple[int, ...], axis: int | None = None) -> tuple[str, Any]:
        """Random int8 integers, and their scale or scales."""
        self.constant(name, self.rng.integers(-127, 128, shape), np.int8)
        count = () if axis is None else shape[axis]
        scale = np.asarray(self.rng.uniform(0.002, 0.01, count), np.float32)
        return self.dequantized(name, scale, 0, np.int8, axis), scale

    def bias(self, name: str, count: int, scale: Any) -> str:
        self.constant(name, self.rng.integers(-20000, 20000, count), np.int32)
        return self.dequantized(name, scale, 0, np.int32, None if np.ndim(scale) == 0 else 0)

    def conv(
        self,
        x: str,
        x_scale: float,
        shape: tuple[int, ...],
        output: str,
        *,
        per_channel: bool = False,
        **attributes: Any,
    ) -> str:
        weight, scale = self.weight(f"{output}_w", shape, 0 if per_channel else None)
        bias = self.bias(f"{output}_b", shape[0], np.float32(x_scale) * scale)
        return self.add("Conv", [x, weight, bias], output, **attributes)

    def model(self, opset: int = 18) -> onnx.ModelProto:
        kind = helper.np_dtype_to_tensor_dtype(np.dtype(self.dtype))
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(k, kind, v) for k, v in self.inputs.items()],
            [helper.make_tensor_value_info(name, kind, None) for name in self.outputs],
            [numpy_helper.from_array(v, k) for k, v in self.constants.items()],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )

    def save(self, folder: Path, opset: int = 18) -> str:
        path = folder / "model.onnx"
        onnx.save(self.model(opset), path)
        return str(path)

    def feed(self, seed: int = 5) -> Feed:
        rng = np.random.default_rng(seed)
        limits = np.iinfo(self.dtype)
        return {
            name: rng.integers(limits.min, limits.max + 1, shape).astype(self.dtype)
            for name, shape in self.inputs.items()
        }


def conv_model(
    shape: tuple[int, ...] = (12, 6, 3, 3),
    image: tuple[int, ...] = IMAGE,
    act: tuple[Any, ...] = (),
    per_channel: bool = False,
    out: tuple[float, int] = (0.4, 130),
    **attributes: Any,
) -> Qdq:
    b = Qdq(1)
    y = b.conv(b.input("x", image), X_SCALE, shape, "y", per_channel=per_channel, **attributes)
    if act:
        limits = [b.constant(f"limit{i}", np.float32(v)) for i, v in enumerate(act[1:])]
        y = b.add(act[0], [y, *limits], "act")
    b.output(y, *out)
    return b


def matmul(per_channel: bool) -> Qdq:
    b = Qdq(5)
    weight, _ = b.weight("w", (24, 9), 1 if per_channel else None)
    b.output(b.add("MatMul", [b.input("x", (2, 7, 24)), weight], "y"), 0.1, 120)
    return b


def in_image(op: str, inputs: list[Any], out: tuple[float, int], **attributes: Any) -> Qdq:
    """``op`` on what a convolution made, so that it stands in NHWC: 6 channels of 5 x 4."""
    b = Qdq(8)
    x = b.conv(b.input("x", IMAGE), X_SCALE, (6, 6, 3, 3), "c", strides=[1, 2])
    return finished(b, op, b.rounded(x, 0.4, 130), inputs, out, attributes)


def in_place(
    op: str,
    inputs: list[Any],
    out: tuple[float, int],
    shape: tuple[int, ...] = (2, 5, 11),
    **attributes: Any,
) -> Qdq:
    """``op`` on an input of ``shape``, as ONNX has it."""
    b = Qdq(9)
    return finished(b, op, b.input("x", shape, 0.4, 130), inputs, out, attributes)


def finished(
    b: Qdq, op: str, x: str, inputs: list[Any], out: tuple[float, int], attributes: dict[str, Any]
) -> Qdq:
    names = [b.constant(f"k{i}", value) for i, value in enumerate(inputs)]
    b.output(b.add(op, [x, *names], "y", **attributes), *out)
    return b


def conv_stack(per_channel: bool, dtype: Any = np.uint8, seed: int = 3) -> Qdq:
    """Conv, depthwise with stride, pointwise with Relu, MatMul; every integer is an output.

    Input ``x`` (1, 5, 11, 9).
    """
    b = Qdq(seed, dtype)
    middle = 0 if dtype == np.uint8 else -128
    x = b.input("x", (1, 5, 11, 9), X_SCALE, X_ZERO + middle)
    steps = [
        ("stem", (12, 5, 3, 3), 0.06, 131, {"pads": [1, 1, 1, 1]}),
        ("wide", (12, 1, 3, 5), 0.12, 131, {"pads": [1, 2, 0, 1], "strides": [2, 2], "group": 12}),
        ("point", (7, 12, 1, 1), 0.11, 17, {}),
    ]
    scale = X_SCALE
    for name, shape, out_scale, zero, attributes in steps:
        y = b.conv(x, scale, shape, name, per_channel=per_channel, **attributes)
        if name == "point":
            y = b.add("Relu", [y], "relu")
        quantized = b.quantized(y, out_scale, zero + middle)
        b.outputs.append(quantized)
        x, scale = b.dequantized(quantized, out_scale, zero + middle), out_scale
    weight, _ = b.weight("last_w", (4, 6), 1 if per_channel else None)
    b.output(b.add("MatMul", [x, weight], "last"), 0.1, 120 + middle)
    return b

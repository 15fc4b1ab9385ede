"""QDQ models of one op, made from integers and quantizers: what a probe asks a target."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
OPSET = 21
_TYPES = {
    "int4": TensorProto.INT4,
    "uint4": TensorProto.UINT4,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "int16": TensorProto.INT16,
    "uint16": TensorProto.UINT16,
    "int32": TensorProto.INT32,
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
}


@dataclass(frozen=True, eq=False)
class Side:
    """One tensor of a one-op model.

    ``integers`` are given for a constant, ``shape`` for what is fed. ``scale`` (float32, () or
    (C,)), ``zero_point`` and ``dtype`` are its quantizer; ``dtype`` float32 or float16 has none.
    """

    dtype: str
    scale: Any = 1.0
    zero_point: Any = 0
    axis: int | None = None
    shape: tuple[int, ...] = ()
    integers: Array | None = None


@dataclass(frozen=True, eq=False)
class OneOp:
    """An op with its inputs and its one output; ``after`` is a Relu or Clip before the output."""

    op: str
    inputs: Sequence[Side]
    output: Side
    attributes: Mapping[str, Any] = field(default_factory=dict)
    after: str | None = None
    domain: str = ""
    plain: Mapping[int, Array] = field(default_factory=dict)


def one_op_model(one: OneOp) -> bytes:
    """The model, serialized: float inputs x0, x1, ..., float output y.

    Every quantized input is fed as float32 and quantized by the graph: feed :func:`real` values,
    which give back exactly the integers that were meant. ``plain`` holds constants without a
    quantizer by their input's position (axes, shapes).
    """
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    fed: list[onnx.ValueInfoProto] = []
    names: list[str] = []

    def constant(name: str, array: Array, dtype: str) -> str:
        if dtype in ("int4", "uint4"):
            tensor = helper.make_tensor(
                name, _TYPES[dtype], array.shape, array.reshape(-1).tolist()
            )
        else:
            tensor = numpy_helper.from_array(np.asarray(array, dtype, order="C"), name)
        constants.append(tensor)
        return name

    def quantizer(name: str, side: Side) -> list[str]:
        scale = constant(f"{name}_scale", np.asarray(side.scale, np.float32), "float32")
        zero = np.asarray(side.zero_point)
        return [scale, constant(f"{name}_zero", zero, side.dtype)]

    def axis(side: Side) -> dict[str, Any]:
        return {} if side.axis is None else {"axis": side.axis}

    for index, side in enumerate(one.inputs):
        name = f"x{index}"
        floating = side.dtype.startswith("float")
        if side.integers is not None:
            held = constant(f"{name}_held", side.integers, side.dtype)
            if floating:
                names.append(held)
                continue
            inputs = [held, *quantizer(name, side)]
            nodes.append(
                helper.make_node(
                    "DequantizeLinear", inputs, [f"{name}_real"], f"{name}_dq", **axis(side)
                )
            )
            names.append(f"{name}_real")
            continue
        kind = side.dtype if floating else "float32"
        fed.append(helper.make_tensor_value_info(name, _TYPES[kind], list(side.shape)))
        if floating:
            names.append(name)
            continue
        quant = quantizer(name, side)
        nodes.append(
            helper.make_node("QuantizeLinear", [name, *quant], [f"{name}_int"], f"{name}_q")
        )
        nodes.append(
            helper.make_node(
                "DequantizeLinear", [f"{name}_int", *quant], [f"{name}_real"], f"{name}_dq"
            )
        )
        names.append(f"{name}_real")
    for position, array in sorted(one.plain.items()):
        while len(names) < position:
            names.append("")
        names.insert(position, constant(f"plain{position}", array, str(array.dtype)))
    nodes.append(
        helper.make_node(one.op, names, ["made"], "op", domain=one.domain, **dict(one.attributes))
    )
    last = "made"
    if one.after == "Relu":
        nodes.append(helper.make_node("Relu", ["made"], ["clamped"], "after"))
        last = "clamped"
    kind = one.output.dtype if one.output.dtype.startswith("float") else "float32"
    if one.output.dtype.startswith("float"):
        nodes[-1].output[0] = "y"
    else:
        quant = quantizer("y", one.output)
        nodes.append(helper.make_node("QuantizeLinear", [last, *quant], ["y_int"], "y_q"))
        nodes.append(helper.make_node("DequantizeLinear", ["y_int", *quant], ["y"], "y_dq"))
    out = helper.make_tensor_value_info("y", _TYPES[kind], list(one.output.shape))
    graph = helper.make_graph(nodes, "probe", fed, [out], constants)
    opsets = [helper.make_opsetid("", OPSET)]
    if one.domain:
        opsets.append(helper.make_opsetid(one.domain, 1))
    model = helper.make_model(graph, opset_imports=opsets, producer_name="chipdrift probe")
    model.ir_version = 10
    return bytes(model.SerializeToString(deterministic=True))


def real(integers: Array, side: Side) -> Array:
    """The float32 values that a quantizer of ``side`` turns into exactly ``integers``."""
    steps = integers.astype(np.int64) - np.asarray(side.zero_point, np.int64)
    return steps.astype(np.float32) * np.float32(side.scale)


def integers(values: Array, side: Side) -> Array:
    """The integers behind what a DequantizeLinear of ``side`` answered, int64."""
    steps = np.rint(values.astype(np.float64) / np.float64(np.float32(side.scale)))
    return steps.astype(np.int64) + int(side.zero_point)

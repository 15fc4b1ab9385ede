"""Nodes in float16 in a model of integers, between Casts."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from chipdrift.errors import ChipdriftError
from chipdrift.graph import float_name
from chipdrift.quantize.surgery import Border, Surgery

# Inputs that ONNX wants in float32 whatever the others are.
_FLOAT32_SLOTS = {"Resize": (2,)}


def halve(surgery: Surgery, names: Collection[str]) -> list[Border]:
    """Compute the named nodes in float16; returns the tensors that go in and out.

    Raises ChipdriftError where a constant has no float16 value.
    """
    nodes = surgery.nodes(names)
    inner = {float_name(out): f"{float_name(out)}/inner" for node in nodes for out in node.output}
    inner = {name: half for name, half in inner.items() if name in surgery.reals}
    weights = {
        node.output[0]
        for node in surgery.graph.node
        if node.op_type == "DequantizeLinear" and node.input[0] in surgery.constants
    }
    entered: dict[str, str] = {}
    borders: list[Border] = []
    for node in nodes:
        for slot, name in enumerate(node.input):
            tensor = _plain(float_name(name), surgery)
            if slot in _FLOAT32_SLOTS.get(node.op_type, ()):
                continue
            if name in surgery.constants:
                node.input[slot] = _constant(surgery, node, name)
            elif tensor in inner:
                node.input[slot] = inner[tensor]
            elif tensor in surgery.reals:
                if tensor not in entered:
                    entered[tensor] = _enter(surgery, name)
                    borders += surgery.border_in(name, "float16")
                node.input[slot] = entered[tensor]
            elif name in weights:  # of a node that joined: its weights are integers already
                if tensor not in entered:
                    weight = f"{tensor}/half"
                    entered[tensor] = surgery.add("Cast", [name], weight, to=TensorProto.FLOAT16)
                node.input[slot] = entered[tensor]
    for node in nodes:
        for slot, out in enumerate(node.output):
            half = inner.get(float_name(out))
            if half is None:
                continue
            node.output[slot] = half
            readers = surgery.readers(out, names)
            if readers or surgery.is_end(out):
                surgery.add("Cast", [half], out, to=TensorProto.FLOAT)
            borders += surgery.border_out(out, readers, "float16")
    return borders


def _plain(tensor: str, surgery: Surgery) -> str:
    """Its own name: the quantizer calls what it brings from one type to another ``_convert``."""
    return tensor if tensor in surgery.reals else tensor.removesuffix("_convert")


def _enter(surgery: Surgery, name: str) -> str:
    source, quantize = surgery.origin(name, on_npu=True)
    tensor = float_name(name)
    if quantize is not None:
        source = surgery.dequantize(source, quantize, f"{tensor}/half_dq")
    return surgery.add("Cast", [source], f"{tensor}/half", to=TensorProto.FLOAT16)


def _constant(surgery: Surgery, node: onnx.NodeProto, name: str) -> str:
    init = surgery.constants[name]
    if init.data_type != TensorProto.FLOAT:
        return name
    with np.errstate(over="ignore"):
        values = numpy_helper.to_array(init).astype(np.float16)
    if not np.isfinite(values).all():
        raise ChipdriftError(
            f"Node {node.name}: its constant {name} holds values beyond 65504, and float16 has "
            'none. Give it kind = "float32", or leave it in integers.'
        )
    return surgery.constant(f"{name}/half", values)

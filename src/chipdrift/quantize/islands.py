"""Nodes that a scheme keeps in float32 on the CPU: islands in a model of integers.

A node in float32 between quantizers is not left alone. onnxruntime quantizes its weights all the
same (1.31, its WeightBiasQuantization), makes an integer op of a Softmax or an Add, and the QNN
provider takes what is float32 to the NPU and computes it in FP16 there. No option of a session
keeps single nodes off the NPU: onnxruntime's layer annotations break its partitioner (docs/
decisions/012). So the graph itself says it: QNN takes no tensor of unknown shape. What enters an
island goes through a Compress that drops nothing, behind which the batch is of unknown size; what
leaves it is reshaped to the size it always had. No value changes, on any runtime.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
import onnx

from chipdrift.errors import ChipdriftError
from chipdrift.graph import float_name, sort_nodes
from chipdrift.quantize.halves import halve
from chipdrift.quantize.surgery import Border, Surgery, renamed, typed

_OPEN, _PINNED = "/open", "/pinned"


@dataclass(frozen=True)
class Islands:
    """``kept`` and ``half`` name nodes in float32 on the CPU and in float16, ``fence`` the nodes
    around the former; ``borders`` are (tensor, from, to) where a value goes into or out of either.
    """

    kept: frozenset[str] = frozenset()
    half: frozenset[str] = frozenset()
    fence: frozenset[str] = frozenset()
    borders: tuple[Border, ...] = ()


def make_islands(
    proto: onnx.ModelProto,
    source: onnx.ModelProto,
    float32: Collection[str],
    float16: Collection[str],
) -> Islands:
    """Cut the named nodes out of the quantized ``proto``, in place; ``source`` is its float model.

    Nodes between an island and the next quantizer, which the quantizer left in float, join it.
    Raises ChipdriftError where a node cannot be held on the CPU or has no float16 form.
    """
    if not float32 and not float16:
        return Islands()
    surgery = Surgery(proto, source)
    half = surgery.grown(float16, float32)
    kept = surgery.grown(float32, half)
    for node in surgery.nodes(kept | half):
        surgery.raw.update({float_name(out): out for out in node.output})
    borders = halve(surgery, half) + _fence(surgery, kept)
    surgery.finish()
    _keep_open(surgery, kept)
    _unpin(surgery)
    surgery.finish()
    left = {node.name for node in proto.graph.node}
    return Islands(
        frozenset(kept & left),
        frozenset(half & left),
        frozenset(surgery.fence & left),
        tuple(borders),
    )


def _fence(surgery: Surgery, kept: Collection[str]) -> list[Border]:
    """Bring the nodes behind a fence; returns the tensors that cross it."""
    nodes = surgery.nodes(kept)
    own = {float_name(out) for node in nodes for out in node.output}
    entered: dict[str, str] = {}
    borders: list[Border] = []
    for node in nodes:
        for slot, name in enumerate(node.input):
            tensor = float_name(name)
            if not name or name in surgery.constants:
                continue
            if tensor in own:
                node.input[slot] = surgery.raw[tensor]
                continue
            if tensor not in entered:
                entered[tensor] = _enter(surgery, name)
                borders += surgery.border_in(name, "float32")
            node.input[slot] = entered[tensor]
    for node in nodes:
        for out in node.output:
            readers = surgery.readers(out, kept)
            borders += surgery.border_out(out, readers, "float32")
            if readers:
                _leave(surgery, out, readers)
    return borders


def _enter(surgery: Surgery, name: str) -> str:
    """Integers cross, and become real numbers on the other side: the NPU's own conversion to
    float32 is some units in the last place off. The second Compress keeps onnxruntime from seeing
    an op between quantizers, which it would make an integer op of.
    """
    source, quantize = surgery.origin(name)
    tensor = float_name(name)
    shape = surgery.shapes.get(tensor)
    if quantize is not None:
        source = _compress(surgery, source, f"{tensor}/kept_q", shape)
        source = surgery.dequantize(source, quantize, f"{tensor}/kept_dq")
        surgery.fence.add(source)
    return _compress(surgery, source, f"{tensor}/kept", shape)


def _compress(surgery: Surgery, source: str, output: str, shape: tuple[int, ...] | None) -> str:
    if not shape:
        return source  # a scalar has no axis whose size could be unknown
    every = surgery.constant(f"kept_all_{shape[0]}", np.ones(shape[0], np.bool_))
    surgery.fence.add(output)
    return surgery.add("Compress", [source, every], output, axis=0)


def _leave(surgery: Surgery, out: str, readers: list[onnx.NodeProto]) -> None:
    """Give what leaves its shape back: to the integers, where it is quantized first."""
    tensor = float_name(out)
    shape = surgery.shapes.get(tensor)
    if shape is None:
        raise ChipdriftError(
            f"Tensor {tensor}: its shape is not known before the model runs, so what makes it "
            "cannot be kept in float32 on the CPU. Name its node in no [[layer]] of that kind."
        )
    name = f"kept_shape_{'x'.join(map(str, shape)) or 'scalar'}"
    size = surgery.constant(name, np.array(shape, np.int64))
    pinned = ""
    for reader in readers:
        if reader.op_type == "QuantizeLinear":
            integers = reader.output[0]
            reader.output[0] = integers + _OPEN
            surgery.fence.update({reader.name, integers + _PINNED})
            surgery.add("Reshape", [reader.output[0], size], integers)
            surgery.graph.node[-1].name = integers + _PINNED
        elif not pinned:
            pinned = surgery.add("Reshape", [out, size], tensor + _PINNED)
            surgery.fence.add(pinned)
        if reader.op_type != "QuantizeLinear":
            renamed(reader, {out: pinned})


def _keep_open(surgery: Surgery, kept: Collection[str]) -> None:
    """Every kept node must read a tensor of unknown shape: behind a Reshape, say, it is known."""
    while True:
        shapes = {name: shape for name, _, shape in typed(surgery.proto)}
        closed = next(
            (
                n
                for n in surgery.nodes(kept)
                if all(shapes.get(i) is not None for i in _live(surgery, n))
            ),
            None,
        )
        if closed is None:
            return
        name = next((n for n in _live(surgery, closed) if shapes[n]), None)
        opened = f"{closed.name}/kept_open"
        if name is None or opened in surgery.fence:
            raise ChipdriftError(
                f"Node {closed.name} ({closed.op_type}) reads only scalars and constants, so it "
                "cannot be kept in float32 on the CPU. Name it in no [[layer]] of that kind."
            )
        renamed(closed, {name: _compress(surgery, name, opened, shapes[name])})
        surgery.fence.add(opened)
        sort_nodes(surgery.graph)


def _unpin(surgery: Surgery) -> None:
    """Take out what pins a shape that is known already, behind a Reshape of the model's own.

    The NPU would take it, as integers that mean nothing, and refuse what reads these.
    """
    shapes = {name: shape for name, _, shape in typed(surgery.proto)}
    for pin in surgery.nodes([name for name in surgery.fence if name.endswith(_PINNED)]):
        source, output = pin.input[0], pin.output[0]
        if shapes.get(source) is None:
            continue
        for node in list(surgery.graph.node):
            if source.endswith(_OPEN):
                node.output[:] = [output if name == source else name for name in node.output]
            else:
                renamed(node, {output: source})
        surgery.graph.node.remove(pin)


def _live(surgery: Surgery, node: onnx.NodeProto) -> list[str]:
    return [name for name in node.input if name and name not in surgery.constants]

"""Weights with one scale per block along the axis that is summed over.

onnxruntime's static quantizer has no blocks. ONNX has them since opset 21: DequantizeLinear with
``block_size`` takes a scale of the weight's shape with the blocked axis divided by the block size.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

_INT4_MAX = 7


def reduced_axis(node: onnx.NodeProto, weights: Mapping[str, onnx.TensorProto]) -> int | None:
    """The weight's axis that the op sums over (0 or 1), or None where input 1 is no such weight.

    Conv (O, I, ...) sums over 1, ConvTranspose (I, O, ...) over 0, MatMul (K, N) over 0, Gemm over
    0, or over 1 with ``transB``. The output channels lie along the other of the two axes.
    """
    if len(node.input) < 2 or node.input[1] not in weights:
        return None
    rank = len(weights[node.input[1]].dims)
    if node.op_type == "Conv":
        return 1
    if node.op_type == "ConvTranspose":
        return 0
    if node.op_type == "MatMul" and rank == 2:
        return 0
    if node.op_type == "Gemm":
        return 1 if any(a.name == "transB" and a.i for a in node.attribute) else 0
    return None


def unshare_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """Give every node that sums over a weight its own copy of the weight and the bias.

    Two nodes may sum over different axes of one weight, or be an Embedding and a MatMul; and
    onnxruntime cannot build a session where two MatMul share an int8 weight's scale (1.31).
    """
    model = onnx.ModelProto()
    model.CopyFrom(proto)
    inits = {init.name: init for init in model.graph.initializer}
    users = Counter(name for node in model.graph.node for name in node.input)
    for index, node in enumerate(model.graph.node):
        if reduced_axis(node, inits) is None:
            continue
        for slot, name in enumerate(node.input):
            if slot and name in inits and users[name] > 1:
                users[name] -= 1
                copy = model.graph.initializer.add()
                copy.CopyFrom(inits[name])
                copy.name = node.input[slot] = f"{name}_of_{index}"
    return model


def blocked_nodes(source: onnx.ModelProto, sizes: Mapping[str, int]) -> set[str]:
    """Of the nodes in ``sizes`` (with their block sizes) those whose weights take blocks."""
    floats = {init.name: init for init in source.graph.initializer}
    found = set()
    for node in source.graph.node:
        axis = reduced_axis(node, floats)
        if axis is None or node.name not in sizes or node.op_type == "ConvTranspose":
            continue
        dims = floats[node.input[1]].dims
        if math.prod(dims[2:]) == 1 and dims[axis] % sizes[node.name] == 0:
            found.add(node.name)
    return found


def block_weights(
    quantized: onnx.ModelProto,
    source: onnx.ModelProto,
    block_size: int,
    notes: list[str],
    nodes: Collection[str],
) -> onnx.ModelProto:
    """Requantize the int4 weights of ``nodes`` from their floats in ``source``, block by block.

    A weight whose reduced axis the block size does not divide keeps its scale per channel, and so
    does one of a convolution larger than 1x1 or of a ConvTranspose: no chip of the simulator takes
    blocks there (onnxruntime-qnn 2.7.0: no session, or a fallback). ``notes`` says which.
    """
    floats = {init.name: init for init in source.graph.initializer}
    inits = {init.name: init for init in quantized.graph.initializer}
    dequantizers = {out: n for n in quantized.graph.node for out in n.output}
    axes = {
        node.input[1]: (reduced_axis(node, floats), node)
        for node in source.graph.node
        if reduced_axis(node, floats) is not None and node.name in nodes
    }
    done: set[str] = set()
    left: list[str] = []
    refused: list[str] = []
    for node in quantized.graph.node:
        if len(node.input) < 2:
            continue
        dq = dequantizers.get(node.input[1])
        if dq is None or dq.op_type != "DequantizeLinear" or dq.input[0] not in inits:
            continue
        name = dq.input[0].removesuffix("_quantized")
        if name not in axes or name in done or name not in floats:
            continue
        done.add(name)
        axis, user = axes[name]
        weight = numpy_helper.to_array(floats[name])
        assert axis is not None
        if user.op_type == "ConvTranspose" or math.prod(weight.shape[2:]) > 1:
            refused.append(user.name)
            continue
        if weight.shape[axis] % block_size:
            left.append(f"{user.name} ({weight.shape[axis]})")
            continue
        integers, scale = quantize_blocks(weight, axis, block_size)
        inits[dq.input[0]].CopyFrom(
            numpy_helper.from_array(integers.astype(ml_dtypes.int4), dq.input[0])
        )
        inits[dq.input[1]].CopyFrom(numpy_helper.from_array(scale, dq.input[1]))
        zeros = np.zeros(scale.shape, ml_dtypes.int4)
        inits[dq.input[2]].CopyFrom(numpy_helper.from_array(zeros, dq.input[2]))
        del dq.attribute[:]
        dq.attribute.extend(
            [
                helper.make_attribute("axis", axis),
                helper.make_attribute("block_size", block_size),
            ]
        )
    if left:
        notes.append(
            f"{len(left)} of {len(done)} weights keep one scale per channel: blocks of "
            f"{block_size} do not divide what they sum over: {', '.join(left)}"
        )
    if refused:
        notes.append(
            f"{len(refused)} of {len(done)} weights keep one scale per channel: no simulated chip "
            f"takes blocks in a convolution larger than 1x1: {', '.join(refused)}"
        )
    return quantized


def quantize_blocks(
    weight: np.ndarray[Any, Any], axis: int, block_size: int
) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Symmetric 4-bit integers in -7..7 (int8 array) and float32 scales, ``max|w| / 7`` per block.

    ``weight`` has any rank; ``scale`` has its shape with ``axis`` divided by ``block_size``. A
    block of zeros has scale 1.
    """
    blocks = weight.shape[axis] // block_size
    split = (*weight.shape[:axis], blocks, block_size, *weight.shape[axis + 1 :])
    grouped = weight.astype(np.float32).reshape(split)
    peak = np.abs(grouped).max(axis=axis + 1, keepdims=True)
    scale = np.where(peak > 0, peak / np.float32(_INT4_MAX), np.float32(1)).astype(np.float32)
    integers = np.clip(np.rint(grouped / scale), -_INT4_MAX, _INT4_MAX).astype(np.int8)
    return integers.reshape(weight.shape), scale.squeeze(axis + 1)

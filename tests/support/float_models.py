"""Small float models for the tests of checks, with samples that fit them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]


def serialized(
    nodes: Sequence[onnx.NodeProto],
    shape: Sequence[int | str],
    constants: dict[str, Array],
    outputs: Sequence[str] = ("y",),
) -> bytes:
    """A model of one float32 input ``x``; the outputs' shapes are inferred."""
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, list(shape))],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(onnx.shape_inference.infer_shapes(model).SerializeToString())


def image_net(bias: float = 0.0) -> bytes:
    """Conv, Conv, mean, Gemm: x (1, 3, 6, 8) to y (1, 10). ``bias`` shifts the first Conv."""
    rng = np.random.default_rng(7)
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "w0", "b0"], ["c0"], "first", pads=[1, 1, 1, 1]),
        make("Relu", ["c0"], ["r0"], "relu"),
        make("Conv", ["r0", "w1", "b1"], ["c1"], "second", pads=[1, 1, 1, 1]),
        make("GlobalAveragePool", ["c1"], ["p"], "pool"),
        make("Flatten", ["p"], ["f"], "flat"),
        make("Gemm", ["f", "w2", "b2"], ["y"], "last", transB=1),
    ]
    shapes = {"w0": (5, 3, 3, 3), "w1": (7, 5, 3, 3), "w2": (10, 7)}
    constants = {k: rng.normal(0, 0.3, shape).astype(np.float32) for k, shape in shapes.items()}
    constants |= {
        f"b{i}": rng.normal(0, 0.1, n).astype(np.float32) for i, n in enumerate((5, 7, 10))
    }
    constants["b0"] = (constants["b0"] + bias).astype(np.float32)
    return serialized(nodes, (1, 3, 6, 8), constants)


def images(count: int = 8, low: float = -1.0, high: float = 1.0, seed: int = 1) -> list[Feed]:
    """Samples for :func:`image_net`, evenly spread from ``low`` to ``high``."""
    rng = np.random.default_rng(seed)
    return [{"x": rng.uniform(low, high, (1, 3, 6, 8)).astype(np.float32)} for _ in range(count)]


def dense_net(blocks: bool = False, width: int = 64) -> bytes:
    """MatMul, Relu, MatMul: x (1, width) to y (1, 10).

    With ``blocks``, the weights of every second block of 32 inputs are 20 times as small: what one
    scale per channel leaves of those is little.
    """
    rng = np.random.default_rng(11)
    make = helper.make_node
    w0 = rng.normal(0, 0.2, (width, 48)).astype(np.float32)
    if blocks:
        w0[:32] *= np.float32(0.05)
    nodes = [
        make("MatMul", ["x", "w0"], ["h"], "first"),
        make("Relu", ["h"], ["r"], "relu"),
        make("MatMul", ["r", "w1"], ["y"], "last"),
    ]
    return serialized(
        nodes, (1, width), {"w0": w0, "w1": rng.normal(0, 0.2, (48, 10)).astype(np.float32)}
    )


def rows(count: int = 6, width: int = 64, seed: int = 2, big: bool = False) -> list[Feed]:
    """Samples for :func:`dense_net`; with ``big`` the first 32 inputs are 20 times as large."""
    rng = np.random.default_rng(seed)
    made = [rng.normal(0, 1, (1, width)).astype(np.float32) for _ in range(count)]
    for array in made:
        array[:, :32] *= 20.0 if big else 1.0
    return [{"x": array} for array in made]


def attention_net(mask: float = 0.0, keys: int = 8) -> bytes:
    """Scores (1, 4, keys) plus a mask of ``mask`` on every second key, Softmax, a product.

    Input x (1, 4, 6).
    """
    rng = np.random.default_rng(3)
    make = helper.make_node
    hidden = np.where(np.arange(keys) % 2, np.float32(mask), np.float32(0)).reshape(1, 1, keys)
    nodes = [
        make("MatMul", ["x", "k"], ["scores"], "scores"),
        make("Add", ["scores", "mask"], ["masked"], "mask_add"),
        make("Softmax", ["masked"], ["p"], "softmax", axis=-1),
        make("MatMul", ["p", "v"], ["y"], "values"),
    ]
    constants = {
        "k": rng.normal(0, 1, (6, keys)).astype(np.float32),
        "mask": hidden.astype(np.float32),
        "v": rng.normal(0, 1, (keys, 5)).astype(np.float32),
    }
    return serialized(nodes, (1, 4, 6), constants)


def tokens(count: int = 4, size: float = 1.0) -> list[Feed]:
    """Samples for :func:`attention_net`."""
    rng = np.random.default_rng(4)
    return [{"x": rng.normal(0, size, (1, 4, 6)).astype(np.float32)} for _ in range(count)]

"""A transformer of two layers with seeded weights, small enough to diagnose in seconds."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

Array = np.ndarray[Any, Any]
WIDTH, HEADS, LENGTH, CLASSES = 32, 2, 8, 10


class _Builder:
    def __init__(self) -> None:
        self.rng = np.random.default_rng(7)
        self.nodes: list[onnx.NodeProto] = []
        self.held: list[onnx.TensorProto] = []

    def constant(self, name: str, values: Array) -> str:
        self.held.append(numpy_helper.from_array(values, name))
        return name

    def op(self, kind: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(kind, list(inputs), [f"{name}/y"], name, **attributes))
        return f"{name}/y"

    def linear(self, name: str, x: str, width_in: int, width_out: int) -> str:
        weights = self.rng.standard_normal((width_in, width_out)) / np.sqrt(width_in)
        bias = self.rng.standard_normal(width_out) / 10
        y = self.op("MatMul", name, x, self.constant(f"{name}/w", weights.astype(np.float32)))
        return self.op(
            "Add", f"{name}/bias", y, self.constant(f"{name}/b", bias.astype(np.float32))
        )

    def norm(self, name: str, x: str) -> str:
        scale = (1 + self.rng.standard_normal(WIDTH) / 10).astype(np.float32)
        shift = (self.rng.standard_normal(WIDTH) / 10).astype(np.float32)
        names = self.constant(f"{name}/scale", scale), self.constant(f"{name}/shift", shift)
        return self.op("LayerNormalization", name, x, *names, axis=-1)

    def heads(self, name: str, x: str, perm: list[int]) -> str:
        shape = self.constant(f"{name}/shape", np.array([1, LENGTH, HEADS, WIDTH // HEADS]))
        return self.op("Transpose", f"{name}/turn", self.op("Reshape", name, x, shape), perm=perm)

    def attention(self, name: str, x: str) -> str:
        q, k, v = (
            self.heads(f"{name}/{part}/heads", self.linear(f"{name}/{part}", x, WIDTH, WIDTH), perm)
            for part, perm in (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3]))
        )
        scores = self.op("MatMul", f"{name}/scores", q, k)
        root = self.constant(f"{name}/root", np.float32((WIDTH // HEADS) ** -0.5))
        weights = self.op(
            "Softmax", f"{name}/softmax", self.op("Mul", f"{name}/scale", scores, root)
        )
        mixed = self.op("MatMul", f"{name}/mixed", weights, v)
        back = self.op("Transpose", f"{name}/back", mixed, perm=[0, 2, 1, 3])
        shape = self.constant(f"{name}/whole", np.array([1, LENGTH, WIDTH]))
        return self.linear(
            f"{name}/out", self.op("Reshape", f"{name}/join", back, shape), WIDTH, WIDTH
        )


def transformer() -> onnx.ModelProto:
    """``x`` (1, 8, 32) float32 to ``logits`` (1, 10): attention, Gelu, LayerNorm, residuals."""
    b = _Builder()
    x = "x"
    for layer in range(2):
        name = f"layer{layer}"
        x = b.norm(
            f"{name}/norm1", b.op("Add", f"{name}/add1", x, b.attention(f"{name}/attention", x))
        )
        up = b.op("Gelu", f"{name}/gelu", b.linear(f"{name}/up", x, WIDTH, 2 * WIDTH))
        down = b.linear(f"{name}/down", up, 2 * WIDTH, WIDTH)
        x = b.norm(f"{name}/norm2", b.op("Add", f"{name}/add2", x, down))
    axes = b.constant("axes", np.array([1]))
    x = b.linear("head", b.op("ReduceMean", "pool", x, axes, keepdims=0), WIDTH, CLASSES)
    b.nodes.append(helper.make_node("Identity", [x], ["logits"], "end"))
    graph = helper.make_graph(
        b.nodes,
        "transformer",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, LENGTH, WIDTH])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, CLASSES])],
        b.held,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    model.ir_version = 9
    return model


def write(folder: Path) -> tuple[Path, Path, Path]:
    """The model, evaluation samples (with labels that the float model gives) and calibration."""
    model, data, calibration = (folder / n for n in ("model.onnx", "eval.npz", "calibration.npz"))
    onnx.save(transformer(), model)
    rng = np.random.default_rng(3)
    np.savez(data, x=rng.standard_normal((40, LENGTH, WIDTH)).astype(np.float32))
    np.savez(calibration, x=rng.standard_normal((32, LENGTH, WIDTH)).astype(np.float32))
    return model, data, calibration

"""A network of MobileNetV2's size and shape at 96x96 with seeded random weights, and data for it.

Random weights exaggerate drift between chips; they cost what trained ones cost.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

# MobileNetV2 (Sandler et al. 2018), table 2: expansion, channels, repeats, stride.
BLOCKS = [
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
]


class Builder:
    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def weight(self, name: str, shape: tuple[int, ...], fan_in: int) -> str:
        values = self.rng.standard_normal(shape) * np.sqrt(2 / fan_in)
        self.weights.append(numpy_helper.from_array(values.astype(np.float32), name))
        return name

    def conv(
        self, name: str, x: str, cin: int, cout: int, size: int, stride: int, group: int, act: bool
    ) -> str:
        fan_in = cin // group * size * size
        inputs = [
            x,
            self.weight(f"{name}/w", (cout, cin // group, size, size), fan_in),
            self.weight(f"{name}/b", (cout,), 100 * fan_in),
        ]
        pad = size // 2
        self.nodes.append(
            helper.make_node(
                "Conv",
                inputs,
                [f"{name}/y"],
                name,
                strides=[stride] * 2,
                pads=[pad] * 4,
                group=group,
                kernel_shape=[size] * 2,
            )
        )
        if not act:
            return f"{name}/y"
        self.nodes.append(
            helper.make_node("Clip", [f"{name}/y", "zero", "six"], [f"{name}/a"], f"{name}/relu6")
        )
        return f"{name}/a"


def build(path: Path, classes: int = 1000, size: int = 96) -> None:
    b = Builder(seed=1)
    for name, value in (("zero", 0.0), ("six", 6.0)):
        b.weights.append(numpy_helper.from_array(np.float32(value), name))
    x, channels = b.conv("stem", "image", 3, 32, 3, 2, 1, True), 32
    for number, (expand, out, repeats, first_stride) in enumerate(BLOCKS):
        for turn in range(repeats):
            name, stride = f"block{number}.{turn}", first_stride if turn == 0 else 1
            inner, y = channels * expand, x
            if expand > 1:
                y = b.conv(f"{name}/expand", y, channels, inner, 1, 1, 1, True)
            y = b.conv(f"{name}/depthwise", y, inner, inner, 3, stride, inner, True)
            y = b.conv(f"{name}/project", y, inner, out, 1, 1, 1, False)
            if stride == 1 and channels == out:
                b.nodes.append(helper.make_node("Add", [x, y], [f"{name}/sum"], f"{name}/add"))
                y = f"{name}/sum"
            x, channels = y, out
    x = b.conv("head", x, channels, 1280, 1, 1, 1, True)
    b.nodes += [
        helper.make_node("GlobalAveragePool", [x], ["pooled"], "pool"),
        helper.make_node("Flatten", ["pooled"], ["flat"], "flatten"),
        helper.make_node(
            "Gemm",
            ["flat", b.weight("fc/w", (1280, classes), 1280), b.weight("fc/b", (classes,), 10000)],
            ["logits"],
            "fc",
        ),
    ]
    graph = helper.make_graph(
        b.nodes,
        "mobilenetv2_like",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, size, size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, classes])],
        b.weights,
    )
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path
    )


def prepare(folder: Path, samples: int) -> tuple[Path, Path, Path]:
    """Model, evaluation and calibration files in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    model, data, calibration = (folder / n for n in ("model.onnx", "eval.npz", "cal.npz"))
    build(model)
    rng = np.random.default_rng(2)

    def images(count: int) -> np.ndarray:
        coarse = rng.standard_normal((count, 3, 12, 12))
        return np.kron(coarse, np.ones((8, 8))).astype(np.float32)

    np.savez(data, image=images(samples), labels=rng.integers(0, 1000, samples))
    np.savez(calibration, image=images(16))
    return model, data, calibration

"""A small network with an op that no NPU takes, and logs made of other logs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

DATA = Path(__file__).parents[2] / "data" / "logs"


def save_erf_model(path: Path) -> Path:
    """Conv, Relu, Conv, Clip, Erf, Mul, pool, Gemm: input ``x`` (1, 3, 16, 16)."""
    rng = np.random.default_rng(3)
    weights = {
        "cw": rng.standard_normal((8, 3, 3, 3)) * 0.3,
        "cb": rng.standard_normal(8) * 0.1,
        "cw2": rng.standard_normal((8, 8, 3, 3)) * 0.3,
        "lo": np.float32(0),
        "hi": np.float32(6),
        "gw": rng.standard_normal((8, 4)),
        "gb": rng.standard_normal(4),
    }
    nodes = [
        helper.make_node("Conv", ["x", "cw", "cb"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("Conv", ["r", "cw2", "cb"], ["c2"], "conv2", pads=[1, 1, 1, 1]),
        helper.make_node("Clip", ["c2", "lo", "hi"], ["r2_"], "clip2"),
        helper.make_node("Erf", ["r2_"], ["e"], "erf"),
        helper.make_node("Mul", ["e", "r2_"], ["m"], "mul"),
        helper.make_node("GlobalAveragePool", ["m"], ["p"], "pool"),
        helper.make_node("Flatten", ["p"], ["f"], "flatten"),
        helper.make_node("Gemm", ["f", "gw", "gb"], ["y"], "gemm"),
    ]
    graph = helper.make_graph(
        nodes,
        "erf",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 16, 16])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(np.asarray(v, np.float32), k) for k, v in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def as_logcat(text: bytes, pid: int, tid: int, start: int = 0) -> list[bytes]:
    """Each line of ``text`` as logcat's threadtime prints it, blank ones left out."""
    lines = [line for line in text.split(b"\n") if line.strip()]
    return [
        b"01-05 10:%02d:%02d.%03d %5d %5d V onnxruntime: %s"
        % ((start + i) // 60000 % 60, (start + i) // 1000 % 60, (start + i) % 1000, pid, tid, line)
        for i, line in enumerate(lines)
    ]

"""Small float models in which layers follow each other, and what they answer."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from chipdrift.graph import LoadedModel, load_model
from chipdrift.numerics.profiles import get_profile
from chipdrift.plan.calibrate import Engine
from chipdrift.plan.calibrate.bench import Bench
from chipdrift.schemes import get_scheme

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]


class Chain:
    """Nodes one after the other; ``uneven`` makes channels of very different size."""

    def __init__(self, seed: int, uneven: float = 0.0) -> None:
        self.rng, self.uneven = np.random.default_rng(seed), uneven
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}
        self.last = "x"

    def add(self, op: str, *constants: tuple[str, Array], **attributes: Any) -> Chain:
        name = f"n{len(self.nodes)}"
        for key, value in constants:
            self.weights[f"{name}/{key}"] = np.asarray(value, np.float32)
        inputs = [self.last, *(f"{name}/{key}" for key, _ in constants)]
        self.nodes.append(helper.make_node(op, inputs, [f"{name}/out"], name, **attributes))
        self.last = f"{name}/out"
        return self

    def conv(self, cin: int, cout: int, size: int = 1, groups: int = 1, bias: bool = True) -> Chain:
        weight = self.rng.standard_normal((cout, cin // groups, size, size))
        weight *= np.sqrt(2 / (cin // groups * size * size))
        weight *= np.exp(self.uneven * self.rng.standard_normal((cout, 1, 1, 1)))
        constants = [("w", weight)]
        if bias:
            constants.append(("b", self.rng.standard_normal(cout) * 0.2))
        return self.add("Conv", *constants, group=groups, pads=[size // 2] * 4)

    def gemm(self, cin: int, cout: int, turned: bool = False) -> Chain:
        weight = self.rng.standard_normal((cin, cout)) / np.sqrt(cin)
        weight *= np.exp(self.uneven * self.rng.standard_normal((1, cout)))
        bias = self.rng.standard_normal(cout) * 0.2
        return self.add(
            "Gemm", ("w", weight.T if turned else weight), ("b", bias), transB=int(turned)
        )

    def load(self, shape: list[int]) -> LoadedModel:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(self.last, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(v, k) for k, v in self.weights.items()],
        )
        proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "net.onnx")
            onnx.save(proto, path)
            return load_model(path)


def feeds(model: LoadedModel, count: int, seed: int) -> list[Feed]:
    rng = np.random.default_rng(seed)
    return [
        {s.name: rng.standard_normal(s.shape).astype(np.float32) for s in model.info.inputs}
        for _ in range(count)
    ]


def bench(
    model: LoadedModel, profile: str, scheme: str = "w8a8", tune: int = 24, **changes: Any
) -> Bench:
    base = get_scheme(scheme).model_copy(update=changes)
    engine = Engine(get_profile(profile))
    return Bench(engine, model, base, feeds(model, 30, 1), feeds(model, tune, 2))


def run(data: bytes, inputs: list[Feed]) -> list[list[Array]]:
    """What onnxruntime answers, without its graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    return [session.run(None, feed) for feed in inputs]


def sqnr(found: list[list[Array]], wanted: list[list[Array]]) -> float:
    """In dB, over all samples of the first output."""
    one = np.concatenate([row[0].reshape(-1) for row in found]).astype(np.float64)
    two = np.concatenate([row[0].reshape(-1) for row in wanted]).astype(np.float64)
    return float(10 * np.log10((two**2).sum() / ((one - two) ** 2).sum()))

"""Five small float models, and samples for them. Weights are random, shapes are what matters."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

from chipdrift.graph import LoadedModel, load_model
from chipdrift.quantize import QuantizedModel, apply_scheme
from chipdrift.schemes import Scheme, get_scheme

Array = np.ndarray[Any, Any]
Feed = dict[str, Array]


class Builder:
    """Nodes and weights in the order they are added; every node is named after its output."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, Array] = {}

    def weight(self, name: str, *shape: int, scale: float = 0.3) -> str:
        self.weights[name] = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        return name

    def constant(self, name: str, value: Any, dtype: Any = np.float32) -> str:
        self.weights[name] = np.asarray(value, dtype)
        return name

    def add(self, op: str, inputs: list[str], output: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(op, inputs, [output], f"n_{output}", **attributes))
        return output

    def batch_norm(self, x: str, channels: int, output: str) -> str:
        names = [f"{output}_{part}" for part in ("gain", "shift", "mean", "var")]
        for name in names[:3]:
            self.weight(name, channels)
        self.weights[names[0]] += 1
        self.weights[names[3]] = self.rng.uniform(0.5, 2, channels).astype(np.float32)
        return self.add("BatchNormalization", [x, *names], output)

    def layer_norm(self, x: str, width: int, output: str) -> str:
        """As exporters of opset 13 wrote it: nine primitive ops."""
        name = output
        self.constant(f"{name}_two", 2.0)
        self.constant(f"{name}_eps", 1e-5)
        self.weight(f"{name}_gain", width)
        self.weights[f"{name}_gain"] += 1
        self.weight(f"{name}_shift", width)
        self.add("ReduceMean", [x], f"{name}_m", axes=[-1])
        self.add("Sub", [x, f"{name}_m"], f"{name}_d")
        self.add("Pow", [f"{name}_d", f"{name}_two"], f"{name}_p")
        self.add("ReduceMean", [f"{name}_p"], f"{name}_v", axes=[-1])
        self.add("Add", [f"{name}_v", f"{name}_eps"], f"{name}_e")
        self.add("Sqrt", [f"{name}_e"], f"{name}_s")
        self.add("Div", [f"{name}_d", f"{name}_s"], f"{name}_q")
        self.add("Mul", [f"{name}_q", f"{name}_gain"], f"{name}_g")
        return self.add("Add", [f"{name}_g", f"{name}_shift"], output)

    def gelu(self, x: str, output: str) -> str:
        """x * (1 + erf(x / sqrt 2)) / 2 in primitive ops."""
        self.constant(f"{output}_root", np.sqrt(2.0))
        self.constant(f"{output}_one", 1.0)
        self.constant(f"{output}_half", 0.5)
        self.add("Div", [x, f"{output}_root"], f"{output}_d")
        self.add("Erf", [f"{output}_d"], f"{output}_e")
        self.add("Add", [f"{output}_e", f"{output}_one"], f"{output}_a")
        self.add("Mul", [x, f"{output}_a"], f"{output}_x")
        return self.add("Mul", [f"{output}_x", f"{output}_half"], output)

    def model(
        self,
        inputs: dict[str, list[int]],
        outputs: list[str],
        opset: int,
        dtype: int = TensorProto.FLOAT,
    ) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info(k, dtype, v) for k, v in inputs.items()],
            [helper.make_tensor_value_info(name, dtype, None) for name in outputs],
            [numpy_helper.from_array(v, k) for k, v in self.weights.items()],
        )
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8
        )


def cnn() -> onnx.ModelProto:
    """Conv + BatchNorm, depthwise, Clip, pointwise, ConvTranspose, Gemm; opset 17."""
    b = Builder(1)
    b.add("Conv", ["x", b.weight("w1", 32, 3, 3, 3)], "c1", pads=[1, 1, 1, 1], strides=[2, 2])
    b.add("Relu", [b.batch_norm("c1", 32, "b1")], "r1")
    b.add("Conv", ["r1", b.weight("w2", 32, 1, 3, 3), b.weight("bias2", 32)], "c2", group=32)
    b.constant("zero", 0.0)
    b.constant("six", 6.0)
    b.add("Clip", [b.batch_norm("c2", 32, "b2"), "zero", "six"], "k2")
    b.add("Conv", ["k2", b.weight("w3", 32, 32, 1, 1, scale=0.1), b.weight("bias3", 32)], "c3")
    b.add("Relu", ["c3"], "r3")
    b.add("ConvTranspose", ["r3", b.weight("w4", 32, 12, 2, 2)], "c4", strides=[2, 2])
    b.add("GlobalAveragePool", ["c4"], "p")
    b.add("Flatten", ["p"], "f")
    b.add("Gemm", ["f", b.weight("w5", 5, 12, scale=1), b.weight("bias5", 5)], "y", transB=1)
    return b.model({"x": [1, 3, 12, 12]}, ["y"], 17)


def attention() -> onnx.ModelProto:
    """One transformer block with primitive LayerNorm and Erf-Gelu; opset 13."""
    b = Builder(2)
    b.layer_norm("x", 32, "ln1")
    for name in "qkv":
        b.add("MatMul", ["ln1", b.weight(f"w{name}", 32, 32)], f"{name}0")
        b.add("Add", [f"{name}0", b.weight(f"b{name}", 32)], name)
    b.add("Transpose", ["k"], "kt", perm=[0, 2, 1])
    b.add("MatMul", ["q", "kt"], "qk")
    b.add("Mul", ["qk", b.constant("scale", 32**-0.5)], "scores")
    b.add("Softmax", ["scores"], "probs", axis=-1)
    b.add("MatMul", ["probs", "v"], "mixed")
    b.add("MatMul", ["mixed", b.weight("wo", 32, 32)], "o")
    b.add("Add", ["x", "o"], "res1")
    b.layer_norm("res1", 32, "ln2")
    b.add("MatMul", ["ln2", b.weight("w_up", 32, 64, scale=0.2)], "up")
    b.gelu("up", "act")
    b.add("MatMul", ["act", b.weight("w_down", 64, 32, scale=0.2)], "down")
    b.add("Add", ["res1", "down"], "y")
    return b.model({"x": [1, 6, 32]}, ["y"], 13)


def opset11() -> onnx.ModelProto:
    """Convolutions, MaxPool, ReduceMean with its axes an attribute; opset 11."""
    b = Builder(3)
    b.add("Conv", ["x", b.weight("w1", 8, 3, 3, 3), b.weight("bias1", 8)], "c1")
    b.add("Relu", ["c1"], "r1")
    b.add("MaxPool", ["r1"], "m", kernel_shape=[2, 2], strides=[2, 2])
    b.add("Conv", ["m", b.weight("w2", 6, 8, 2, 2)], "c2")
    b.add("Clip", ["c2", b.constant("low", 0.0), b.constant("high", 6.0)], "k")
    b.add("ReduceMean", ["k"], "f", axes=[2, 3], keepdims=0)
    b.add("Gemm", ["f", b.weight("w3", 6, 4, scale=1), b.weight("bias3", 4)], "y")
    return b.model({"x": [1, 3, 10, 10]}, ["y"], 11)


def half() -> onnx.ModelProto:
    """A float16 model with float16 input and output; opset 17."""
    b = Builder(4)
    b.add("Conv", ["x", b.weight("w1", 8, 3, 3, 3), b.weight("bias1", 8)], "c1")
    b.add("Relu", ["c1"], "r1")
    b.add("GlobalAveragePool", ["r1"], "p")
    b.add("Flatten", ["p"], "f")
    b.add("Gemm", ["f", b.weight("w2", 8, 4, scale=1), b.weight("bias2", 4)], "y")
    b.weights = {k: v.astype(np.float16) for k, v in b.weights.items()}
    return b.model({"x": [1, 3, 8, 8]}, ["y"], 17, TensorProto.FLOAT16)


def two() -> onnx.ModelProto:
    """Two inputs, two outputs of which one feeds the other; opset 18."""
    b = Builder(5)
    b.add("MatMul", ["a", b.weight("w1", 16, 8)], "h1")
    b.add("Gemm", ["b", b.weight("w2", 10, 8), b.weight("bias2", 8)], "h2")
    b.add("Add", ["h1", "h2"], "mid")
    b.add("Sigmoid", ["mid"], "s")
    b.add("MatMul", ["s", b.weight("w3", 8, 3, scale=1)], "y")
    return b.model({"a": [1, 16], "b": [1, 10]}, ["mid", "y"], 18)


MODELS: dict[str, Callable[[], onnx.ModelProto]] = {
    "cnn": cnn,
    "attention": attention,
    "opset11": opset11,
    "half": half,
    "two": two,
}


def load(proto: onnx.ModelProto, name: str = "net") -> LoadedModel:
    """What ``load_model`` makes of the proto's file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"{name}.onnx")
        onnx.save(proto, path)
        return load_model(path)


@functools.cache
def loaded(name: str) -> LoadedModel:
    return load(MODELS[name](), name)


def feeds(model: LoadedModel, count: int, seed: int = 9) -> list[Feed]:
    rng = np.random.default_rng(seed)
    return [
        {s.name: rng.standard_normal(s.shape).astype(s.dtype) for s in model.info.inputs}
        for _ in range(count)
    ]


@functools.cache
def quantized(name: str, scheme: str) -> QuantizedModel:
    """A built-in scheme on one of the models, calibrated on ten samples."""
    return apply_scheme(loaded(name), get_scheme(scheme), feeds(loaded(name), 10))


def custom(**fields: Any) -> Scheme:
    return Scheme(**{"name": "mine", "kind": "qdq", **fields})


def run(data: bytes, feed: Feed, plain: bool = False) -> list[Array]:
    """Outputs from onnxruntime; ``plain`` without its graph optimizations."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.x64quantprecision", "1")
    if plain:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, feed)
    return found

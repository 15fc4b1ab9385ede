"""Small ONNX models for the runner: all dtypes, odd names, a model that never ends."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

Array = np.ndarray[Any, Any]
DTYPES = {
    name: getattr(TensorProto, {"float32": "FLOAT", "float64": "DOUBLE"}.get(name, name.upper()))
    for name in (
        *("float16", "float32", "float64", "bool", "int8", "int16", "int32", "int64"),
        *("uint8", "uint16", "uint32", "uint64"),
    )
}
ODD_NAMES = (
    "a b",
    "tab\there",
    "new\nline",
    "x=y=z",
    "=",
    "back\\slash\\",
    "\\t",
    "quo\"te's",
    "\x01\x1f\x7f\r",
    "größe/名前\U0001f600",
    "{}[],:",
    " ",
)
"""Names that a line, a field or a JSON string could trip over; one for each of DTYPES."""


def save(path: Path, graph: onnx.GraphProto) -> Path:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, str(path))
    return path


def port(name: str, dtype: str, shape: Any) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, DTYPES[dtype], shape)


def every_dtype(path: Path) -> Path:
    """Twelve inputs of unknown rank, one of each dtype, under odd names; each is an output, too."""
    nodes, inputs, outputs = [], [], []
    for name, dtype in zip(ODD_NAMES, DTYPES, strict=True):
        nodes.append(helper.make_node("Identity", [name], [f"{name}!"], name=f"node {name}"))
        inputs.append(port(name, dtype, None))
        outputs.append(port(f"{name}!", dtype, None))
    return save(path, helper.make_graph(nodes, "dtypes", inputs, outputs))


def every_feed(shape: tuple[int, ...], seed: int) -> dict[str, Array]:
    """Random bytes of each dtype, NaN and infinities among them."""
    rng = np.random.default_rng(seed)
    feed = {}
    for name, dtype in zip(ODD_NAMES, map(np.dtype, DTYPES), strict=True):
        count = int(np.prod(shape))
        high = 2 if dtype.kind == "b" else 256
        raw = rng.integers(0, high, count * dtype.itemsize, dtype=np.uint8)
        feed[name] = raw.view(dtype).reshape(shape)
    return feed


def product(path: Path) -> Path:
    """a (N, 3) times b (3, M) and its Relu: two inputs, two outputs, dimensions with names."""
    nodes = [
        helper.make_node("MatMul", ["a", "b"], ["c"], name="mat mul"),
        helper.make_node("Relu", ["c"], ["d"], name='"relu"'),
    ]
    inputs = [port("a", "float32", ["N", 3]), port("b", "float32", [3, None])]
    outputs = [port("d", "float32", ["N", None]), port("c", "float32", None)]
    return save(path, helper.make_graph(nodes, "product", inputs, outputs))


def identity(path: Path, dtype: str = "float32") -> Path:
    node = helper.make_node("Identity", ["x"], ["y"], name="same")
    graph = helper.make_graph([node], "same", [port("x", dtype, None)], [port("y", dtype, None)])
    return save(path, graph)


def unknown_op(path: Path) -> Path:
    node = helper.make_node("Frobnicate", ["x"], ["y"], name="odd")
    ports = [port("x", "float32", [1])], [port("y", "float32", [1])]
    return save(path, helper.make_graph([node], "odd", *ports))


def string_output(path: Path) -> Path:
    """Its output is of a type that npy files here do not hold."""
    node = helper.make_node("Cast", ["x"], ["y"], to=TensorProto.STRING, name="words")
    outputs = [helper.make_tensor_value_info("y", TensorProto.STRING, None)]
    return save(path, helper.make_graph([node], "words", [port("x", "float32", None)], outputs))


def endless(path: Path) -> Path:
    """Adds x to itself 2**62 times, where ``go`` is true; else it ends at once."""
    body = helper.make_graph(
        [
            helper.make_node("Add", ["v", "v"], ["v2"]),
            helper.make_node("Identity", ["on"], ["on2"]),
        ],
        "body",
        [port("i", "int64", []), port("on", "bool", []), port("v", "float32", None)],
        [port("on2", "bool", []), port("v2", "float32", None)],
    )
    times = helper.make_tensor("times", TensorProto.INT64, [], [2**62])
    loop = helper.make_node("Loop", ["times", "go", "x"], ["y"], body=body, name="loop")
    inputs = [port("go", "bool", []), port("x", "float32", None)]
    graph = helper.make_graph([loop], "endless", inputs, [port("y", "float32", None)], [times])
    return save(path, graph)

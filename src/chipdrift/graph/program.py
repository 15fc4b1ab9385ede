"""A model as plain values: what walks over a graph without knowing ONNX's protobuf reads this."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import numpy_helper

from chipdrift.graph.order import sort_nodes
from chipdrift.graph.scopes import inlined
from chipdrift.records import TensorSpec

Array = np.ndarray[Any, Any]
_SMALL = 4096  # bytes: longer constants are no shapes


@dataclass(frozen=True, eq=False)
class Step:
    """One node. ``inputs`` holds "" where an optional one is absent; ``data`` is its protobuf."""

    name: str
    op: str
    domain: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any]
    data: bytes


@dataclass(frozen=True, eq=False)
class Program:
    """A graph in order.

    ``constants`` are initializers and Constant nodes; 4-bit integers lie in 8-bit arrays.
    ``dtypes`` names the element type of every tensor whose type the model tells (``int4``).
    ``opsets`` maps a domain to its version.
    """

    steps: tuple[Step, ...]
    constants: Mapping[str, Array]
    dtypes: Mapping[str, str]
    shapes: Mapping[str, tuple[int | None, ...]]
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    opsets: Mapping[str, int]


def read_program(path: str | Path) -> Program:
    """The program of an ONNX file, shapes inferred where they can be."""
    return _consume(onnx.load(str(path)))


def parse_program(data: bytes) -> Program:
    """The program of a serialized model."""
    return _consume(onnx.load_from_string(data))


def program_of(proto: onnx.ModelProto) -> Program:
    """The program of a model in memory; every node gets a name of its own."""
    copy = onnx.ModelProto()
    copy.CopyFrom(proto)
    return _consume(copy)


def _consume(proto: onnx.ModelProto) -> Program:
    """The program of a model that nobody else needs: large constants leave it on the way.

    What infers shapes copies the model several times and reads small constants only.
    """
    proto = inlined(proto)
    constants: dict[str, Array] = {}
    dtypes: dict[str, str] = {}
    shapes: dict[str, tuple[int | None, ...]] = {}
    for tensor in proto.graph.initializer:
        constants[tensor.name] = _array(tensor)
        dtypes[tensor.name] = _dtype(tensor.data_type)
        if len(tensor.raw_data) > _SMALL:
            tensor.ClearField("raw_data")
    with suppress(Exception):  # what cannot be inferred is not known, and is not needed
        proto = onnx.shape_inference.infer_shapes(proto)
    sort_nodes(proto.graph)
    for value in [*proto.graph.input, *proto.graph.value_info, *proto.graph.output]:
        kind = value.type.tensor_type
        if kind.elem_type:
            dtypes[value.name] = _dtype(kind.elem_type)
        if kind.HasField("shape"):
            shapes[value.name] = tuple(
                d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim
            )
    steps = []
    for index, node in enumerate(proto.graph.node):
        if node.op_type == "Constant":
            value = _attributes(node)
            if "value" in value:
                constants[node.output[0]] = value["value"]
                kind = next(a.t.data_type for a in node.attribute if a.name == "value")
                dtypes[node.output[0]] = _dtype(kind)
                continue
            plain = {
                key: np.asarray(entry, np.float32 if "float" in key else np.int64)
                for key, entry in value.items()
                if key in ("value_float", "value_floats", "value_int", "value_ints")
            }
            if plain:
                constants[node.output[0]] = next(iter(plain.values()))
                continue
        steps.append(
            Step(
                name=node.name or f"{node.op_type}_{index}",
                op=node.op_type,
                domain="" if node.domain == "ai.onnx" else node.domain,
                inputs=tuple(node.input),
                outputs=tuple(node.output),
                attributes=_attributes(node),
                data=node.SerializeToString(),
            )
        )
    names = {tensor.name for tensor in proto.graph.initializer}
    return Program(
        steps=tuple(steps),
        constants=constants,
        dtypes=dtypes,
        shapes=shapes,
        inputs=tuple(
            TensorSpec(name=v.name, dtype=dtypes[v.name], shape=shapes.get(v.name, ()))
            for v in proto.graph.input
            if v.name not in names
        ),
        outputs=tuple(v.name for v in proto.graph.output),
        opsets={e.domain if e.domain != "ai.onnx" else "": e.version for e in proto.opset_import},
    )


def single_node_model(
    step: Step,
    opsets: Mapping[str, int],
    inputs: Mapping[str, tuple[str, int]],
    constants: Mapping[str, Array],
) -> bytes:
    """A model of ``step`` alone, serialized.

    ``inputs`` maps the names fed at run time to their NumPy type and rank; ``constants`` are the
    others. Output types are left for the runtime to infer.
    """
    node = onnx.NodeProto.FromString(step.data)
    graph = onnx.helper.make_graph(
        [node],
        "node",
        [
            onnx.helper.make_tensor_value_info(
                name, onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)), [None] * rank
            )
            for name, (dtype, rank) in inputs.items()
        ],
        [onnx.ValueInfoProto(name=name) for name in step.outputs if name],
        [numpy_helper.from_array(array, name) for name, array in constants.items()],
    )
    model = onnx.helper.make_model(
        graph, opset_imports=[onnx.helper.make_opsetid(d, v) for d, v in opsets.items()]
    )
    model.ir_version = 10
    return bytes(model.SerializeToString())


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for attribute in node.attribute:
        value = onnx.helper.get_attribute_value(attribute)
        if isinstance(value, bytes):
            value = value.decode("utf-8", errors="replace")
        elif isinstance(value, onnx.TensorProto):
            value = _array(value)
        found[attribute.name] = value
    return found


def _array(tensor: onnx.TensorProto) -> Array:
    array = numpy_helper.to_array(tensor)
    if tensor.data_type in (onnx.TensorProto.INT4, onnx.TensorProto.INT2):
        return array.astype(np.int8)
    if tensor.data_type in (onnx.TensorProto.UINT4, onnx.TensorProto.UINT2):
        return array.astype(np.uint8)
    return array


def _dtype(kind: int) -> str:
    name = str(onnx.TensorProto.DataType.Name(kind)).lower()
    return {"float": "float32", "double": "float64"}.get(name, name)

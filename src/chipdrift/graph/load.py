"""Read an ONNX file, pin its shapes, name its nodes, and refuse what cannot be run."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from google.protobuf.message import DecodeError
from onnx import external_data_helper, shape_inference

from chipdrift.errors import ModelError
from chipdrift.graph.names import name_nodes
from chipdrift.graph.order import sort_nodes
from chipdrift.records import ModelInfo, TensorSpec

MIN_OPSET = 11
_KNOWN_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})


@dataclass(frozen=True)
class LoadedModel:
    """A checked model with fixed input shapes and unique node names.

    ``proto`` holds all weights in memory; ``data`` is its serialized form; ``info.sha256`` is the
    hash of the file as found (and of its external data), before anything was pinned or named.
    """

    path: Path
    proto: onnx.ModelProto
    info: ModelInfo

    @property
    def data(self) -> bytes:
        """The serialized model, deterministic for the same file and pins."""
        return bytes(self.proto.SerializeToString(deterministic=True))

    @property
    def is_float16(self) -> bool:
        """Whether weights are stored as float16."""
        return any(
            init.data_type == onnx.TensorProto.FLOAT16 for init in self.proto.graph.initializer
        )


def load_model(path: str | Path, shapes: Mapping[str, Sequence[int]] | None = None) -> LoadedModel:
    """Load ``path`` and pin the inputs named in ``shapes`` (input name to all its dimensions).

    Raises :class:`ModelError` with one sentence where the file is no ONNX model, is cut off, is
    older than opset 11, holds an op of an unknown domain, or leaves a dimension open.
    """
    path = Path(path)
    try:
        proto = _parse(path)
        _check_graph(path, proto)
        _drop_initializer_inputs(proto)
        _pin(path, proto, dict(shapes or {}))
        sort_nodes(proto.graph)
        name_nodes(proto.graph)
        proto = _infer(path, proto)
        return LoadedModel(path, proto, _info(path, proto))
    except ModelError:
        raise
    # A damaged file can hold anything: names that are no text, types that do not exist.
    except Exception as error:
        raise ModelError(
            f"Model {path}: cannot be read as ONNX ({type(error).__name__}: "
            f"{_first_line(error)[:200]}). The file is damaged, or a --shape is out of range."
        ) from error


def _parse(path: Path) -> onnx.ModelProto:
    if not path.exists():
        raise ModelError(f"Model {path}: no such file. Give the path of an ONNX file.")
    if path.is_dir():
        raise ModelError(f"Model {path}: this is a folder. Give the path of an ONNX file.")
    try:
        proto = onnx.load(path, load_external_data=False)
    except (DecodeError, ValueError, UnicodeDecodeError) as error:
        raise ModelError(
            f"Model {path}: not an ONNX file, or cut off ({path.stat().st_size:,} bytes, which do "
            "not parse). Export it again, or copy it again if it came over a network."
        ) from error
    except OSError as error:
        raise ModelError(f"Model {path}: cannot be read ({error.strerror}).") from error
    if not proto.ir_version or not proto.graph.node:
        raise ModelError(
            f"Model {path}: not an ONNX file, or cut off: it holds no graph with nodes. "
            "Export it again."
        )
    try:
        external_data_helper.load_external_data_for_model(proto, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(
            f"Model {path}: its external data cannot be read ({_first_line(error)}). "
            "Keep the data files beside the .onnx file."
        ) from error
    _check_weights(path, proto)
    return proto


def _check_weights(path: Path, proto: onnx.ModelProto) -> None:
    for init in proto.graph.initializer:
        if not init.HasField("raw_data") or init.data_type == onnx.TensorProto.STRING:
            continue
        try:
            onnx.numpy_helper.to_array(init)
        except (ValueError, TypeError) as error:
            raise ModelError(
                f"Model {path}: weight {init.name!r} is damaged ({_first_line(error)}). "
                "The file or its external data is cut off; copy it again."
            ) from error


def _check_graph(path: Path, proto: onnx.ModelProto) -> None:
    for what, values in (("inputs", proto.graph.input), ("outputs", proto.graph.output)):
        names = [value.name for value in values]
        if not names:
            raise ModelError(
                f"Model {path}: the graph has no {what}, so there is nothing to "
                f"{'feed' if what == 'inputs' else 'compare'}. Export it with {what}."
            )
        if len(set(names)) < len(names):
            raise ModelError(f"Model {path}: two {what} share a name: {', '.join(names)}.")
    opsets = {entry.domain: entry.version for entry in proto.opset_import}
    opset = opsets.get("", opsets.get("ai.onnx", 0))
    if opset < MIN_OPSET:
        raise ModelError(
            f"Model {path}: opset {opset}, and chipdrift reads opset {MIN_OPSET} and up. "
            "Export it again, or convert it with onnx.version_converter."
        )
    functions = {(f.domain, f.name) for f in proto.functions}
    for node in proto.graph.node:
        if (node.domain, node.op_type) in functions:
            continue
        label = f"node {node.name!r} ({node.op_type})" if node.name else f"a {node.op_type} node"
        if node.domain not in _KNOWN_DOMAINS:
            raise ModelError(
                f"Model {path}: {label} is of the unknown domain {node.domain!r}. No target can "
                "run it; replace it by ONNX ops or export it as a model function."
            )
        if node.domain in ("", "ai.onnx") and not onnx.defs.has(node.op_type, opset):
            raise ModelError(
                f"Model {path}: {label} is not an op of ONNX opset {opset}. "
                "Check the exporter; a custom op needs its own domain and a model function."
            )


def _drop_initializer_inputs(proto: onnx.ModelProto) -> None:
    weights = {init.name for init in proto.graph.initializer}
    kept = [value for value in proto.graph.input if value.name not in weights]
    del proto.graph.input[:]
    proto.graph.input.extend(kept)


def _pin(path: Path, proto: onnx.ModelProto, shapes: dict[str, Sequence[int]]) -> None:
    names = [value.name for value in proto.graph.input]
    for name in shapes:
        if name not in names:
            near = difflib.get_close_matches(name, names, n=3)
            raise ModelError(
                f"--shape {name}: model {path.name} has no input of that name"
                f"{', near: ' + ', '.join(near) if near else ''}. Inputs: {', '.join(names)}."
            )
    for value in proto.graph.input:
        if not value.type.HasField("tensor_type"):
            raise ModelError(
                f"Model {path}: input {value.name!r} is a {value.type.WhichOneof('value')}; "
                "chipdrift feeds tensors only. Export the model with tensor inputs."
            )
        dims = value.type.tensor_type.shape.dim
        wanted = shapes.get(value.name)
        shown = [d.dim_value if d.HasField("dim_value") else (d.dim_param or "?") for d in dims]
        if wanted is not None:
            if len(wanted) != len(dims) and value.type.tensor_type.HasField("shape"):
                raise ModelError(
                    f"--shape {value.name}={_join(wanted)}: {len(wanted)} dimensions, but the "
                    f"input has {len(dims)}: {shown}."
                )
            for given, dim in zip(wanted, dims, strict=False):
                fixed = dim.HasField("dim_value") and dim.dim_value > 0
                if given < 1 or (fixed and dim.dim_value != given):
                    raise ModelError(
                        f"--shape {value.name}={_join(wanted)}: the input's shape is {shown}; "
                        "only open dimensions can be pinned, to 1 or more."
                    )
            del dims[:]
            for given in wanted:
                dims.add().dim_value = given
        elif not value.type.tensor_type.HasField("shape") or any(
            not d.HasField("dim_value") or d.dim_value < 1 for d in dims
        ):
            example = ",".join(
                str(v) if isinstance(v, int) and v > 0 else ("1" if i == 0 else "N")
                for i, v in enumerate(shown)
            )
            raise ModelError(
                f"Model {path}: input {value.name!r} has open dimensions, shape {shown}. "
                f"A phone's NPU needs fixed ones: pin them with --shape {value.name}={example}."
            )


def _infer(path: Path, proto: onnx.ModelProto) -> onnx.ModelProto:
    """Infer shapes anew from the pinned inputs; stale symbolic shapes go first."""
    del proto.graph.value_info[:]
    for value in proto.graph.output:
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.ClearField("shape")
    try:
        return shape_inference.infer_shapes(proto, data_prop=True)
    except (ValueError, RuntimeError) as error:
        raise ModelError(
            f"Model {path}: shapes do not fit together ({_first_line(error)}). "
            "Check the --shape pins and the exporter."
        ) from error


def _info(path: Path, proto: onnx.ModelProto) -> ModelInfo:
    digest = hashlib.sha256()
    for part in [path, *_external_files(path)]:
        with part.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    opset = max(e.version for e in proto.opset_import if e.domain in ("", "ai.onnx"))
    return ModelInfo(
        name=path.stem,
        sha256=digest.hexdigest(),
        opset=opset,
        nodes=len(proto.graph.node),
        inputs=tuple(tensor_spec(v) for v in proto.graph.input),
        outputs=tuple(tensor_spec(v) for v in proto.graph.output),
    )


def _external_files(path: Path) -> list[Path]:
    proto = onnx.load(path, load_external_data=False)
    names = {
        entry.value
        for tensor in _tensors(proto.graph)
        if external_data_helper.uses_external_data(tensor)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    return [path.parent / name for name in sorted(names)]


def _tensors(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    """Every weight, and every tensor that a node (of a subgraph, too) holds as an attribute."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from [attribute.t, *attribute.tensors]
            for inner in [attribute.g, *attribute.graphs]:
                yield from _tensors(inner)


def tensor_spec(value: onnx.ValueInfoProto) -> TensorSpec:
    """The name, NumPy dtype and shape of a graph's input or output."""
    tensor = value.type.tensor_type
    try:
        dtype = np.dtype(onnx.helper.tensor_dtype_to_np_dtype(tensor.elem_type)).name
    except KeyError:
        dtype = onnx.TensorProto.DataType.Name(tensor.elem_type).lower()
    return TensorSpec(
        name=value.name,
        dtype=dtype,
        shape=tuple(d.dim_value if d.HasField("dim_value") else None for d in tensor.shape.dim),
    )


def _join(dims: Sequence[int]) -> str:
    return ",".join(map(str, dims))


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]

"""Models that a provider compiled: one EPContext node, which names a file of the vendor's.

onnxruntime's documentation of the EP context cache gives the node's attributes: ``embed_mode`` 0
says that ``ep_cache_context`` is the file's name, beside the model; ``ep_sdk_version`` is the
vendor's. The QNN provider leaves the quantization of the graph's own inputs and outputs to the CPU
and names the compiled graph's tensors after those: ``io_name_overrides`` holds pairs
``tensor=name inside;`` (read from what onnxruntime-qnn 2.7.0 writes).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path
from typing import final

import onnx
from onnx import helper

from chipdrift.errors import ModelError

_QDQ = frozenset({"QuantizeLinear", "DequantizeLinear"})
_FIT = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@final
@dataclass(frozen=True)
class ContextTensor:
    """An input or output of the compiled part: ``inside`` is what the vendor's file calls it."""

    name: str
    inside: str
    dtype: str
    shape: tuple[int, ...]


@final
@dataclass(frozen=True)
class ContextModel:
    """What was compiled, ``binary``, and what is left before and behind it.

    ``before`` and ``after`` are ONNX models of Quantize and Dequantize nodes, None where there are
    none; ``sdk`` is the release that compiled, "" where it is not told.
    """

    binary: Path
    sdk: str
    inputs: tuple[ContextTensor, ...]
    outputs: tuple[ContextTensor, ...]
    before: bytes | None
    after: bytes | None


def read_context(path: Path) -> ContextModel:
    """Read a model with one EPContext node between the quantization of its inputs and outputs.

    Raises ModelError where it has none or several, or anything else beside them.
    """
    graph = (proto := onnx.load(path)).graph
    contexts = [node for node in graph.node if node.op_type == "EPContext"]
    others = [node for node in graph.node if node.op_type not in _QDQ | {"EPContext"}]
    if len(contexts) != 1 or others:
        raise ModelError(
            f"the NPU takes it in {len(contexts)} parts"
            + (f", and leaves out {_listed(others)}" if others else "")
        )
    context = contexts[0]
    behind = _behind(graph.node, context)
    ends = {value.name for value in graph.output}
    before = [node for node in graph.node if node is not context and node.output[0] not in behind]
    after = [node for node in graph.node if node is not context and node.output[0] in behind]
    stray = [node for node in before if ends.intersection(node.output)]
    if stray:
        raise ModelError(f"outputs of the model do not come from the NPU: {_listed(stray)}")
    told = {attribute.name: attribute for attribute in context.attribute}
    inside = _overrides(told["io_name_overrides"].s.decode()) if "io_name_overrides" in told else {}
    known = {v.name: v for v in (*graph.input, *graph.output, *graph.value_info)}
    made = {name for node in before for name in node.output}
    return ContextModel(
        binary=path.with_name(Path(told["ep_cache_context"].s.decode()).name),
        sdk=told["ep_sdk_version"].s.decode() if "ep_sdk_version" in told else "",
        inputs=tuple(_tensor(known[name], inside) for name in context.input),
        outputs=tuple(_tensor(known[name], inside) for name in context.output),
        before=_part(
            proto, before, graph.input, [known[name] for name in context.input if name in made]
        ),
        after=_part(
            proto,
            after,
            [known[name] for name in context.output],
            [value for value in graph.output if value.name in behind],
        ),
    )


@final
@dataclass(frozen=True)
class Fitted:
    """A model whose border is named as in C: ``data`` is None where it was before.

    ``inputs`` maps the model's own names to the new ones, ``outputs`` are the new ones in order.
    """

    data: bytes | None
    inputs: dict[str, str]
    outputs: tuple[str, ...]


def fit_names(path: Path) -> Fitted:
    """Name the tensors around the model's border as in C, and leave all others.

    Tools make other characters in a file's name fit, each in its own way.
    """
    graph = (proto := onnx.load(path)).graph
    border = [value.name for value in (*graph.input, *graph.output)]
    for node in graph.node:
        if node.op_type in _QDQ and {node.input[0], node.output[0]}.intersection(border):
            border += [node.input[0], node.output[0]]
    taken = {name for node in graph.node for name in (*node.input, *node.output)} | set(border)
    fresh: dict[str, str] = {}
    for name in dict.fromkeys(border):
        if _FIT.fullmatch(name):
            continue
        plain = f"_{re.sub(r'[^A-Za-z0-9]+', '_', name).strip('_')}"
        names = chain([plain], (f"{plain}_{number}" for number in count(2)))
        found = next(name for name in names if name not in taken)
        taken.add(found)
        fresh[name] = found
    made = {init.name for init in graph.initializer}
    inputs = {v.name: fresh.get(v.name, v.name) for v in graph.input if v.name not in made}
    outputs = tuple(fresh.get(value.name, value.name) for value in graph.output)
    if not fresh:
        return Fitted(None, inputs, outputs)
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = fresh.get(value.name, value.name)
    for node in graph.node:
        node.input[:] = [fresh.get(name, name) for name in node.input]
        node.output[:] = [fresh.get(name, name) for name in node.output]
    return Fitted(bytes(proto.SerializeToString(deterministic=True)), inputs, outputs)


def _behind(nodes: Iterable[onnx.NodeProto], context: onnx.NodeProto) -> set[str]:
    """Every tensor that the context's answers are in; nodes stand in order."""
    found = set(context.output)
    for node in nodes:
        if found.intersection(node.input):
            found.update(node.output)
    return found


def _overrides(words: str) -> dict[str, str]:
    pairs = (pair.split("=") for pair in words.split(";") if pair)
    return {pair[0]: pair[1] for pair in pairs if len(pair) == 2}


def _tensor(value: onnx.ValueInfoProto, inside: dict[str, str]) -> ContextTensor:
    kind = value.type.tensor_type
    shape = tuple(int(dim.dim_value) for dim in kind.shape.dim)
    dtype = helper.tensor_dtype_to_np_dtype(kind.elem_type).name
    return ContextTensor(value.name, inside.get(value.name, value.name), dtype, shape)


def _part(
    proto: onnx.ModelProto,
    nodes: list[onnx.NodeProto],
    inputs: Iterable[onnx.ValueInfoProto],
    outputs: Iterable[onnx.ValueInfoProto],
) -> bytes | None:
    """These nodes alone as a model, with the inputs that they read."""
    if not nodes:
        return None
    read = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "border",
        [value for value in inputs if value.name in read],
        list(outputs),
        [init for init in proto.graph.initializer if init.name in read],
    )
    model = helper.make_model(
        graph,
        opset_imports=[entry for entry in proto.opset_import if entry.domain in ("", "ai.onnx")],
        ir_version=proto.ir_version,
    )
    return bytes(model.SerializeToString(deterministic=True))


def _listed(nodes: list[onnx.NodeProto]) -> str:
    named = ", ".join(f"{node.op_type} {node.name!r}" for node in nodes[:4])
    return named + (f" and {len(nodes) - 4} more" if len(nodes) > 4 else "")

"""Which ``[[layer]]`` table holds for which node of the model that is quantized."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from fnmatch import fnmatchcase

import onnx

from chipdrift.errors import ChipdriftError
from chipdrift.graph import trace_nodes
from chipdrift.quantize.blockwise import reduced_axis
from chipdrift.schemes import Scheme, Setting

# What the quantizer takes into the node before it: the range of integers clamps as well.
CLAMPS = frozenset({"Relu", "Clip"})
_MOST = 8


def layer_settings(
    model: onnx.ModelProto, source: onnx.ModelProto, scheme: Scheme, notes: list[str]
) -> dict[str, Setting]:
    """Node of ``source`` to its setting: ``source`` is ``model`` as it was preprocessed.

    A pattern is matched against the names of both. The last table that names a node holds for it,
    and for what is fused with it. Raises ChipdriftError for a pattern that names nothing, for one
    whose nodes are all folded away, and for weights where there are none.
    """
    constant = _constant(model)
    floats = {node.name: node.op_type for node in model.graph.node}
    ops = {node.name: node.op_type for node in source.graph.node}
    origins = trace_nodes(model, source)
    matched = [
        _matched(f"Scheme {scheme.name}, [[layer]] {number}", layer.nodes, layer.ops, floats, ops)
        for number, layer in enumerate(scheme.layer, 1)
    ]
    last: dict[str, int] = {}
    for node in source.graph.node:
        # What only prepares a weight is no layer: ops = ["Transpose"] is not every product.
        members = {node.name, *origins.get(node.name, ())} - constant
        last[node.name] = max((i for i, names in enumerate(matched) if members & names), default=-1)
        rivals = {
            max((i for i, names in enumerate(matched) if member in names), default=-1)
            for member in members & set(floats)
        } - {-1}
        if len(rivals) > 1:
            notes.append(
                f"{node.name}: [[layer]] {last[node.name] + 1} holds for all that is fused into it"
            )
    _join_made(model, source, origins, last)
    for node, clamp in clamped(source):
        last[node] = last[clamp] = max(last[node], last[clamp])
    _check_effect(scheme, matched, last, origins, constant)
    _check_weights(scheme, source, last)
    tables = (*(scheme.setting(layer) for layer in scheme.layer), scheme.setting())
    return {node: tables[index] for node, index in last.items()}


def _join_made(
    model: onnx.ModelProto,
    source: onnx.ModelProto,
    origins: Mapping[str, Sequence[str]],
    last: dict[str, int],
) -> None:
    """What preprocessing put around a node (Reshapes around a Gemm) goes with that node."""
    floats = {out for node in model.graph.node for out in node.output}
    floats |= {value.name for value in model.graph.input}
    makers = {out: node.name for node in source.graph.node for out in node.output}
    for node in source.graph.node:
        if origins.get(node.name) or last[node.name] >= 0:
            continue
        inner = node.input[0] if node.input else ""
        if inner in makers and inner not in floats:
            last[node.name] = last[makers[inner]]
        elif node.output[0] not in floats:
            around = {last[r.name] for r in source.graph.node if node.output[0] in r.input}
            last[node.name] = around.pop() if len(around) == 1 else -1


def clamped(source: onnx.ModelProto) -> list[tuple[str, str]]:
    """(node, its Relu or Clip) wherever the clamp alone reads the node: the two are one layer."""
    makers = {out: node for node in source.graph.node for out in node.output}
    readers: dict[str, int] = {value.name: 1 for value in source.graph.output}
    for node in source.graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    return [
        (makers[node.input[0]].name, node.name)
        for node in source.graph.node
        if node.op_type in CLAMPS and node.input[0] in makers and readers[node.input[0]] == 1
    ]


def _constant(model: onnx.ModelProto) -> set[str]:
    """The nodes of a sorted graph that depend on none of its inputs."""
    varying = {value.name for value in model.graph.input}
    found = set()
    for node in model.graph.node:
        # A node without inputs may draw at random; one with a body may read from around it.
        alone = not node.input and node.op_type != "Constant"
        if alone or _has_body(node) or any(name in varying for name in node.input):
            varying.update(node.output)
        else:
            found.add(node.name)
    return found


def _has_body(node: onnx.NodeProto) -> bool:
    return any(a.HasField("g") or a.graphs for a in node.attribute)


def _matched(
    where: str,
    patterns: Sequence[str],
    wanted_ops: Sequence[str],
    floats: Mapping[str, str],
    ops: Mapping[str, str],
) -> set[str]:
    found: set[str] = set()
    known = {**ops, **floats}
    for pattern in patterns:
        names = {n for n in known if n == pattern or fnmatchcase(n, pattern)}
        if not names:
            raise ChipdriftError(
                f"{where}: nodes = {pattern!r} names no node of the model."
                f"{_near(pattern.strip('*'), known)} Patterns are globs on the names of the float "
                "model's nodes."
            )
        found |= names
    for op in wanted_ops:
        names = {n for part in (floats, ops) for n, kind in part.items() if kind == op}
        if not names:
            kinds = {*floats.values(), *ops.values()}
            raise ChipdriftError(
                f"{where}: the model holds no op {op!r}.{_near(op, kinds)} "
                f"Its ops: {', '.join(sorted(kinds))}."
            )
        found |= names
    return found


def _near(name: str, known: Collection[str]) -> str:
    lower = {entry.lower(): entry for entry in known}
    close = difflib.get_close_matches(name.lower(), list(lower), n=4, cutoff=0.5)
    within = [entry for key, entry in lower.items() if name and name.lower() in key][:4]
    shown = list(dict.fromkeys([lower[key] for key in close] + within)) or sorted(known)[:_MOST]
    return f" {'Near names' if close or within else 'Names'}: {', '.join(shown)}."


def _check_effect(
    scheme: Scheme,
    matched: Sequence[set[str]],
    last: Mapping[str, int],
    origins: Mapping[str, Sequence[str]],
    constant: set[str],
) -> None:
    """A table must name something that is left; what a later table takes over is its user's."""
    left = {name for node in last for name in (node, *origins.get(node, ()))} - constant
    for number, names in enumerate(matched, 1):
        if not names & left:
            raise ChipdriftError(
                f"Scheme {scheme.name}, [[layer]] {number}: nothing is left of "
                f"{', '.join(sorted(names)[:_MOST])} once constants are folded. Name a node that "
                "computes something, or set preprocess = false."
            )


def _check_weights(scheme: Scheme, source: onnx.ModelProto, last: Mapping[str, int]) -> None:
    weights = {init.name: init for init in source.graph.initializer}
    summing = {
        last[node.name] for node in source.graph.node if reduced_axis(node, weights) is not None
    }
    base = scheme.setting()
    for index, layer in enumerate(scheme.layer):
        holds = index in last.values()
        changes = layer.kind == "qdq" and scheme.setting(layer).weights_differ(base)
        if changes and holds and index not in summing:
            raise ChipdriftError(
                f"Scheme {scheme.name}, [[layer]] {index + 1}: it sets weights, and none of its "
                "nodes is a Conv, ConvTranspose, Gemm or MatMul that sums over a constant. "
                "Leave weights, granularity and block_size out."
            )

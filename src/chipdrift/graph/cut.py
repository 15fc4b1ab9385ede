"""Cut a model into the pieces between its quantizers, each alone, all side by side in one model.

What an op adds to the error is seen when it is fed the same integers on two targets. A session for
every op would cost more than the ops: the pieces stand in one graph, with nothing between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

import onnx
from onnx import helper, shape_inference

from chipdrift.graph.names import name_nodes
from chipdrift.graph.order import sort_nodes
from chipdrift.graph.scopes import outer_reads

_Q, _DQ = "QuantizeLinear", "DequantizeLinear"


@dataclass(frozen=True)
class Piece:
    """What lies between quantizers: the nodes, what feeds them, what they make.

    ``nodes`` are (name, op type) without the quantizers, empty where a quantizer stands alone;
    ``inputs`` and ``outputs`` are tensors of the model: the integers of QuantizeLinear nodes, and
    the floats that no quantizer stands before or behind. ``fed`` and ``made`` are their names in
    :attr:`Cut.model`.
    """

    name: str
    op: str
    nodes: tuple[tuple[str, str], ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    fed: tuple[str, ...]
    made: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Cut:
    """A model's pieces in order, and the model (serialized) in which they stand side by side.

    Nodes keep their names there; a DequantizeLinear in front of a piece is a copy.
    """

    model: bytes
    pieces: tuple[Piece, ...]


def cut_pieces(
    data: bytes, only: Iterable[str] | None = None, joined: Sequence[Sequence[str]] = ()
) -> Cut:
    """All pieces of a model (serialized), or those called ``only``.

    In a model without quantizers every node is a piece. Pieces whose names stand together in
    ``joined`` are one, with the quantizers between them inside; it is called as the first of them
    in the model is. A node that takes part in no piece (one that derives from weights alone) is in
    the model as it was.
    """
    wanted = None if only is None else frozenset(only)
    return _cutter(data).cut(wanted, joined)


@lru_cache(maxsize=2)
def _cutter(data: bytes) -> _Cutter:
    """The model read once: a diagnosis cuts the same one many times."""
    proto = shape_inference.infer_shapes(onnx.load_from_string(data))
    name_nodes(proto.graph)
    sort_nodes(proto.graph)
    return _Cutter(proto)


class _Cutter:
    def __init__(self, proto: onnx.ModelProto) -> None:
        self.proto, graph = proto, proto.graph
        self.types = {v.name: v for v in (*graph.input, *graph.value_info, *graph.output)}
        self.makers = {out: node for node in graph.node for out in node.output if out}
        held = {init.name for init in graph.initializer}
        self.varying = {value.name for value in graph.input} - held
        self.live: list[onnx.NodeProto] = []
        self.fixed: list[onnx.NodeProto] = []
        for node in graph.node:
            reads = {*node.input, *_outer(node)}
            if reads & self.varying:
                self.varying.update(out for out in node.output if out)
                self.live.append(node)
            else:
                self.fixed.append(node)
        self.quantized = any(node.op_type == _Q for node in self.live)
        self.final = {value.name for value in graph.output}

    def cut(self, only: frozenset[str] | None, joined: Sequence[Sequence[str]]) -> Cut:
        pieces: list[Piece] = []
        nodes: list[onnx.NodeProto] = list(self.fixed)
        inputs: dict[str, onnx.ValueInfoProto] = {}
        outputs: list[onnx.ValueInfoProto] = []
        groups = self._groups()
        leaving = {out for group in groups for out in self._ends(group)}
        for members in self._together(groups, joined):
            inner = [(n.name, n.op_type) for n in members if n.op_type not in (_Q, _DQ)]
            lead = _lead(members)
            if only is not None and lead.name not in only:
                continue
            prefix = f"p{len(pieces)}/"
            made = {out for node in members for out in node.output if out}
            reads = [
                name
                for node in members
                for name in (*node.input, *_outer(node))
                if name in self.varying and name not in made
            ]
            reads = list(dict.fromkeys(reads))
            # What left a piece that is joined still does: it can be looked at.
            ends = [out for node in members for out in node.output if out in leaving]
            change = {name: prefix + name for name in (*made, *reads)}
            fed = []
            for name in reads:
                maker = self.makers.get(name)
                if maker is not None and maker.op_type == _DQ:
                    source = maker.input[0]
                    change[source] = prefix + source
                    copy = _renamed(maker, change, prefix + maker.name)
                    nodes.append(copy)
                    name = source
                if name in made:
                    continue
                if prefix + name not in inputs:
                    inputs[prefix + name] = self._value(name, prefix)
                    fed.append(name)
            for node in members:
                copy = _renamed(node, change, node.name)
                nodes.append(copy)
            outputs += [self._value(name, prefix) for name in ends]
            pieces.append(
                Piece(
                    name=lead.name,
                    op=lead.op_type,
                    nodes=tuple(inner),
                    inputs=tuple(fed),
                    outputs=tuple(ends),
                    fed=tuple(prefix + name for name in fed),
                    made=tuple(prefix + name for name in ends),
                )
            )
        return Cut(self._model(nodes, list(inputs.values()), outputs), tuple(pieces))

    def _groups(self) -> list[list[onnx.NodeProto]]:
        """Live nodes that share a float tensor, in order; every node alone without quantizers."""
        inner = [node for node in self.live if node.op_type != _DQ]
        if not self.quantized:
            return [[node] for node in self.live]
        root = {node.name: node.name for node in inner}

        def find(name: str) -> str:
            while root[name] != name:
                root[name] = root[root[name]]
                name = root[name]
            return name

        for node in inner:
            for name in (*node.input, *_outer(node)):
                maker = self.makers.get(name)
                if maker is not None and maker.name in root and maker.op_type != _Q:
                    root[find(node.name)] = find(maker.name)
        groups: dict[str, list[onnx.NodeProto]] = {}
        for node in inner:
            groups.setdefault(find(node.name), []).append(node)
        return list(groups.values())

    def _together(
        self, groups: list[list[onnx.NodeProto]], joined: Sequence[Sequence[str]]
    ) -> list[list[onnx.NodeProto]]:
        """The groups, those whose names stand together in ``joined`` made one."""
        order = {node.name: index for index, node in enumerate(self.live)}
        for names in joined:
            merged: list[list[onnx.NodeProto]] = []
            whole: list[onnx.NodeProto] = []
            for group in groups:
                if _lead(group).name not in names:
                    merged.append(group)
                    continue
                if not whole:
                    merged.append(whole)
                whole += group
            whole.sort(key=lambda node: order[node.name])
            groups = merged
        return groups

    def _ends(self, members: Sequence[onnx.NodeProto]) -> list[str]:
        """What leaves a piece: quantized integers, graph outputs, what other pieces read."""
        inside = {node.name for node in members}
        ends = []
        for node in members:
            for out in filter(None, node.output):
                readers = [n for n in self.live if out in n.input or out in _outer(n)]
                outside = any(n.name not in inside for n in readers)
                if node.op_type == _Q or out in self.final or outside:
                    ends.append(out)
        return ends

    def _value(self, name: str, prefix: str) -> onnx.ValueInfoProto:
        value = onnx.ValueInfoProto()
        if name in self.types:
            value.CopyFrom(self.types[name])
        value.name = prefix + name
        return value

    def _model(
        self,
        nodes: list[onnx.NodeProto],
        inputs: list[onnx.ValueInfoProto],
        outputs: list[onnx.ValueInfoProto],
    ) -> bytes:
        used = {name for node in nodes for name in (*node.input, *_outer(node))}
        fixed = [n for n in nodes if n.name not in {f.name for f in self.fixed}]
        kept = _needed(self.fixed, {name for n in fixed for name in (*n.input, *_outer(n))})
        graph = helper.make_graph(
            [*kept, *fixed],
            "pieces",
            inputs,
            outputs,
            [init for init in self.proto.graph.initializer if init.name in used],
        )
        model = helper.make_model(graph, opset_imports=list(self.proto.opset_import))
        model.ir_version = self.proto.ir_version
        model.functions.extend(self.proto.functions)
        return bytes(model.SerializeToString(deterministic=True))


def _lead(members: Sequence[onnx.NodeProto]) -> onnx.NodeProto:
    """The node that a piece is called after."""
    return next((n for n in members if n.op_type not in (_Q, _DQ)), members[0])


def _needed(nodes: Sequence[onnx.NodeProto], wanted: set[str]) -> list[onnx.NodeProto]:
    """Of nodes in order, those that ``wanted`` rests on."""
    kept: list[onnx.NodeProto] = []
    wanted = set(wanted)
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted.update((*node.input, *_outer(node)))
    return kept[::-1]


def _renamed(node: onnx.NodeProto, change: Mapping[str, str], called: str) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    copy.name = called
    for index, name in enumerate(node.input):
        copy.input[index] = change.get(name, name)
    for index, name in enumerate(node.output):
        copy.output[index] = change.get(name, name)
    for attribute in copy.attribute:
        for body in (attribute.g, *attribute.graphs):
            for inner in body.node:
                for index, name in enumerate(inner.input):
                    inner.input[index] = change.get(name, name)
    return copy


def _outer(node: onnx.NodeProto) -> list[str]:
    """What a node's bodies read from around it."""
    bodies = {a.name: a.g for a in node.attribute if a.HasField("g")}
    return list(outer_reads(bodies)) if bodies else []

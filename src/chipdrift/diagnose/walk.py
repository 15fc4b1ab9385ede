"""A model's nodes as the checks count them: work, borders, and what has no quantizer."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from chipdrift.graph.program import Program, Step
from chipdrift.graph.scopes import outer_reads

_CONVERSIONS = frozenset({"QuantizeLinear", "DequantizeLinear"})
# onnxruntime moves quantizers across these: one on either side serves.
_MOVES = frozenset(
    {"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "MaxPool", "Identity"}
)
# What runtimes fuse into the product or sum before it, without a quantizer between.
_FUSED = frozenset({"Relu", "Clip", "BatchNormalization"})
_FUSES = frozenset({"Conv", "ConvTranspose", "MatMul", "Gemm", "Add", "Mul", "Sub"})
_FLOATS = frozenset({"float32", "float16", "bfloat16"})


def multiply_accumulates(program: Program) -> dict[str, int]:
    """The multiply-accumulates of every product in one run of the model, by node.

    Conv, ConvTranspose, MatMul and Gemm whose shapes the model tells; other nodes have none.
    """
    makers = {out: step for step in program.steps for out in step.outputs}
    found = {}
    for step in program.steps:
        count = _products(program, makers, step)
        if count:
            found[step.name] = count
    return found


def _products(program: Program, makers: dict[str, Step], step: Step) -> int:
    if step.op not in ("Conv", "ConvTranspose", "MatMul", "Gemm") or len(step.inputs) < 2:
        return 0
    shapes = [_shape(program, makers, name) for name in (*step.inputs[:2], step.outputs[0])]
    first, second, out = shapes
    if first is None or second is None or out is None:
        return 0
    if step.op == "Conv":
        return math.prod(out) * math.prod(second[1:])
    if step.op == "ConvTranspose":
        return math.prod(first) * math.prod(second[1:])
    turned = step.op == "Gemm" and step.attributes.get("transA", 0)
    return math.prod(out) * (first[0] if turned else first[-1])


def _shape(program: Program, makers: dict[str, Step], name: str) -> tuple[int, ...] | None:
    if name in program.constants:
        return tuple(program.constants[name].shape)
    known = program.shapes.get(name)
    if known is not None:
        return tuple(n or 1 for n in known)
    maker = makers.get(name)
    if maker is not None and maker.op in _CONVERSIONS:
        return _shape(program, makers, maker.inputs[0])
    return None


@dataclass(frozen=True)
class Borders:
    """What crosses between some nodes and the others, conversions left out.

    ``into`` and ``out`` are pairs (node, node) in the direction of the data, the graph's own inputs
    and outputs not among them: each is a conversion and a copy where the two run apart.
    """

    into: tuple[tuple[str, str], ...]
    out: tuple[tuple[str, str], ...]

    @property
    def count(self) -> int:
        """How often data crosses: once for each node that hands over, in either direction."""
        return len({source for source, _ in self.into}) + len({source for source, _ in self.out})


def borders_of(program: Program, nodes: Collection[str]) -> Borders:
    """The borders between ``nodes`` and the rest of the model."""
    members = frozenset(nodes)
    into, out = [], []
    for source, reader in _edges(program):
        if source in members and reader not in members:
            out.append((source, reader))
        elif reader in members and source not in members:
            into.append((source, reader))
    return Borders(tuple(dict.fromkeys(into)), tuple(dict.fromkeys(out)))


def _edges(program: Program) -> Iterator[tuple[str, str]]:
    """Pairs of nodes that hand on data that varies, conversions looked through."""
    makers = {out: step for step in program.steps for out in step.outputs if out}
    varying = _varying(program)
    for step in program.steps:
        if step.op in _CONVERSIONS:
            continue
        for name in (*step.inputs, *outer_reads(step.attributes)):
            maker = makers.get(name)
            while maker is not None and maker.op in _CONVERSIONS:
                name = maker.inputs[0]
                maker = makers.get(name)
            if maker is not None and name in varying:
                yield maker.name, step.name


def _varying(program: Program) -> set[str]:
    """The tensors that depend on the model's inputs."""
    varying = {spec.name for spec in program.inputs}
    for step in program.steps:
        if any(name in varying for name in (*step.inputs, *outer_reads(step.attributes))):
            varying.update(out for out in step.outputs if out)
    return varying


def float_islands(program: Program) -> list[tuple[str, ...]]:
    """Groups of nodes that compute in real numbers between integers, for want of quantizers.

    Each is joined by tensors that no quantizer stands on, reads integers from one side and feeds
    integers to the other. Nodes without a quantizer before the first or behind the last one of the
    model are no island. Nodes are in the model's order.
    """
    steps = {step.name: step for step in program.steps}
    position = {name: index for index, name in enumerate(steps)}
    makers = {out: step for step in program.steps for out in step.outputs if out}
    readers: dict[str, list[Step]] = {}
    for step in program.steps:
        for name in (*step.inputs, *outer_reads(step.attributes)):
            readers.setdefault(name, []).append(step)
    varying = _varying(program)
    joined: dict[str, set[str]] = {}
    for name in varying:
        if program.dtypes.get(name, "float32") not in _FLOATS:
            continue
        maker = makers.get(name)
        if maker is not None and maker.op in _CONVERSIONS:
            continue
        after = [r for r in readers.get(name, []) if r.op != "QuantizeLinear"]
        for reader in after:
            alone = len(readers[name]) == 1
            if maker is not None and (
                {maker.op, reader.op} & _MOVES
                or (maker.op in _FUSES and reader.op in _FUSED and alone)
            ):
                continue
            mine = joined.setdefault(reader.name, set())
            if maker is not None:
                mine.add(maker.name)
                joined.setdefault(maker.name, set()).add(reader.name)
    found, seen = [], set[str]()
    for start in joined:
        if start in seen:
            continue
        group, pending = set[str](), [start]
        while pending:
            name = pending.pop()
            if name not in group:
                group.add(name)
                pending += joined[name]
        seen |= group
        if _between_integers(group, steps, makers, readers, varying):
            found.append(tuple(sorted(group, key=position.__getitem__)))
    return sorted(found, key=lambda names: position[names[0]])


def _between_integers(
    group: set[str],
    steps: dict[str, Step],
    makers: dict[str, Step],
    readers: dict[str, list[Step]],
    varying: set[str],
) -> bool:
    before = after = False
    for step in (steps[name] for name in group):
        for name in step.inputs:
            maker = makers.get(name)
            if maker is not None and maker.op == "DequantizeLinear" and name in varying:
                before = True
        for name in step.outputs:
            after |= any(reader.op == "QuantizeLinear" for reader in readers.get(name, []))
    return before and after


def share(program: Program, nodes: Collection[str]) -> float | None:
    """The part of the model's multiply-accumulates in ``nodes``; None where it has none."""
    work = multiply_accumulates(program)
    total = sum(work.values())
    return None if total == 0 else sum(work.get(name, 0) for name in nodes) / total

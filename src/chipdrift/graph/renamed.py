"""Give the inputs and outputs of a compiled model the names that they had before."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

_OVERRIDES = "io_name_overrides"


def restore_names(path: Path, names: Mapping[str, str]) -> None:
    """Rename the tensors of the model in ``path``, which holds an EPContext node; in place.

    ``names`` maps a name in the file to the one that it shall have. The vendor's file keeps its own
    names: the node is told which is which, as :mod:`chipdrift.graph.context` describes.
    """
    names = {old: new for old, new in names.items() if old != new}
    if not names:
        return
    graph = (proto := onnx.load(path)).graph
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = names.get(value.name, value.name)
    for node in graph.node:
        if node.op_type == "EPContext":
            _tell(node, names)
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]
    path.write_bytes(proto.SerializeToString(deterministic=True))


def _tell(node: onnx.NodeProto, names: Mapping[str, str]) -> None:
    """Write into the node what the vendor's file calls a tensor that gets another name."""
    told = next((a for a in node.attribute if a.name == _OVERRIDES), None)
    pairs = dict(p.split("=", 1) for p in told.s.decode().split(";") if p) if told else {}
    for name in (*node.input, *node.output):
        if name in names:
            pairs[names[name]] = pairs.pop(name, name)
    if not pairs:
        return
    if told is not None:
        node.attribute.remove(told)
    words = "".join(f"{name}={inside};" for name, inside in pairs.items())
    node.attribute.append(onnx.helper.make_attribute(_OVERRIDES, words))

"""Any mixture of layers gives a model that holds what was asked, node by node."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import numpy_helper

sys.path.insert(0, str(Path(__file__).parents[2] / "unit" / "quantize"))

from quantize_models import feeds, loaded
from test_quantize_layers import apply, run_plainly

from chipdrift.schemes import Layer

KINDS = ("uint8", "uint16", "float32", "float16")


def layer(node: str, kind: str) -> Layer:
    if kind.startswith("uint"):
        return Layer.model_validate({"nodes": [node], "activations": kind})
    return Layer.model_validate({"nodes": [node], "kind": kind})


@st.composite
def mixtures(draw: st.DrawFn, names: tuple[str, ...]) -> tuple[str, str, tuple[Layer, ...]]:
    name = draw(st.sampled_from(names))
    nodes = [node.name for node in loaded(name).proto.graph.node]
    chosen = draw(st.lists(st.tuples(st.sampled_from(nodes), st.sampled_from(KINDS)), max_size=6))
    base = draw(st.sampled_from(["w8a8", "w8a8_pc", "w8a16"]))
    return name, base, tuple(layer(node, kind) for node, kind in chosen)


@settings(max_examples=60, deadline=None)
@given(mixtures(("cnn", "two", "opset11", "attention")))
def test_every_node_has_the_type_that_its_last_table_says(
    case: tuple[str, str, tuple[Layer, ...]],
) -> None:
    holds_what_was_asked(*case)


@settings(max_examples=30, deadline=None)
@given(mixtures(("attention",)))
def test_every_mixture_of_an_attention_is_a_sound_model(
    case: tuple[str, str, tuple[Layer, ...]],
) -> None:
    name, base, layers = case
    model = loaded(name)
    made = apply(model, base, *layers, samples=3)
    onnx.checker.check_model(onnx.load_from_string(made.data), full_check=True)
    feed: dict[str, Any] = feeds(model, 1, seed=8)[0]
    assert all(np.isfinite(values).all() for values in run_plainly(made.data, feed))


def holds_what_was_asked(name: str, base: str, layers: tuple[Layer, ...]) -> None:
    model = loaded(name)
    made = apply(model, base, *layers, samples=3)
    proto = onnx.load_from_string(made.data)
    onnx.checker.check_model(proto, full_check=True)
    words = dict(made.mixed.layers) if made.mixed is not None else {}
    makers = {out: node for node in proto.graph.node for out in node.output}
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in proto.graph.node:
        for tensor in node.input:
            readers.setdefault(tensor, []).append(node)
    held = {init.name: numpy_helper.to_array(init) for init in proto.graph.initializer}
    default = "uint16" if base == "w8a16" else "uint8"
    for node in proto.graph.node:
        if "Linear" in node.op_type or node.name in made.fence or not made.trace.get(node.name):
            continue
        said = {words.get(origin, "") for origin in made.trace[node.name]}
        if node.name in made.kept or node.op_type == "Cast" or said & {"computed in float16"}:
            assert not any(w.endswith("activations") for w in said), (node.name, said)
            continue
        wanted = next((w.split()[0] for w in said if w.endswith("activations")), default)
        around = [makers[n] for n in node.input if n in makers and n not in held]
        around += [r for out in node.output for r in readers.get(out, [])]
        types = {
            str(held[n.input[2]].dtype)
            for n in around
            if "Linear" in n.op_type and n.input[0] not in held
        }
        assert types <= {wanted}, (node.name, types, wanted)
    feed: dict[str, Any] = feeds(model, 1, seed=8)[0]
    assert all(np.isfinite(values).all() for values in run_plainly(made.data, feed))

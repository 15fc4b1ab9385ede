"""Nodes in float in a model of integers: what computes them, and what stands around them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from quantize_models import MODELS, Builder, feeds, load, loaded
from test_quantize_layers import apply, constants, graph, run_plainly

from chipdrift.errors import ChipdriftError
from chipdrift.graph import LoadedModel
from chipdrift.quantize import QuantizedModel
from chipdrift.schemes import Layer

Array = np.ndarray[Any, Any]
QUANTIZERS = ("QuantizeLinear", "DequantizeLinear")


def run_optimized(data: bytes, feed: dict[str, Array]) -> list[Array]:
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, feed)
    return found


def kept(*nodes: str) -> Layer:
    return Layer(nodes=nodes, kind="float32")


def open_tensors(made: QuantizedModel) -> set[str]:
    """What has a dimension that onnx cannot tell."""
    inferred = onnx.shape_inference.infer_shapes(onnx.load_from_string(made.data), data_prop=True)
    return {
        value.name
        for value in inferred.graph.value_info
        if any(not d.HasField("dim_value") for d in value.type.tensor_type.shape.dim)
    }


def check(made: QuantizedModel) -> None:
    """The model is valid, its shapes are known outside of islands and unknown inside."""
    model = onnx.load_from_string(made.data)
    onnx.checker.check_model(model, full_check=True)
    unknown = open_tensors(made)
    makers = {out: node for node in model.graph.node for out in node.output}
    for node in model.graph.node:
        around = node.name in made.kept or node.name in made.fence
        if node.name in made.kept:
            assert set(node.input) & unknown, node.name
            # Behind a Dequantize onnxruntime would make an integer op of it.
            assert not any(makers[n].op_type in QUANTIZERS for n in node.input if n in makers)
        elif not around:
            assert not set(node.input) & unknown, node.name
            assert not set(node.output) & unknown, node.name
    read = {name for node in model.graph.node for name in node.input}
    assert {init.name for init in model.graph.initializer} <= read


@pytest.mark.parametrize(
    ("name", "nodes"),
    [
        ("cnn", ("n_c2",)),
        ("cnn", ("n_c1", "n_c4")),
        ("cnn", ("n_y",)),
        ("cnn", ("n_p", "n_f", "n_y")),
        ("attention", ("n_probs",)),
        ("attention", ("n_kt", "n_qk")),
        ("attention", ("n_ln1*",)),
        ("attention", ("n_res1", "n_y")),
        ("attention", ("n_act*", "n_up")),
        ("opset11", ("n_m",)),
        ("opset11", ("n_f",)),
        ("two", ("n_mid",)),
        ("two", ("n_s",)),
        ("two", ("n_h1", "n_y")),
        *((name, ("n_*",)) for name in MODELS),
    ],
)
def test_an_island_is_computed_in_float32(name: str, nodes: tuple[str, ...]) -> None:
    """In the whole model, optimized, as alone and untouched: the same integers come out."""
    model = loaded(name)
    made = apply(model, "w8a8", kept(*nodes))
    assert made.kept
    check(made)
    inside = [node for node in graph(made).node if node.name in made.kept]
    held = constants(made)
    for node in inside:
        weights = [held[n] for n in node.input if n in held]
        assert all(values.dtype in (np.float32, np.int64) for values in weights), node.name
    entries, exits = borders(made)
    whole = onnx.load_from_string(made.data)
    own = {value.name for value in (*whole.graph.input, *whole.graph.output)}
    taps = [n for n in (*entries, *exits) if n not in own]
    whole.graph.output.extend(onnx.ValueInfoProto(name=n) for n in taps)
    names = [value.name for value in whole.graph.output]
    typed = onnx.shape_inference.infer_shapes(onnx.load_from_string(made.data))
    alone = onnx.utils.Extractor(typed).extract_model(entries, exits)
    for feed in feeds(model, 3, seed=5):
        seen = {
            **feed,
            **dict(zip(names, run_optimized(whole.SerializeToString(), feed), strict=True)),
        }
        inputs = {n: seen[n] for n in entries}
        for n, wanted in zip(exits, run_plainly(alone.SerializeToString(), inputs), strict=True):
            if wanted.dtype.kind == "u":
                np.testing.assert_array_equal(seen[n], wanted, err_msg=n)
            else:  # the optimizer may add real numbers in another order
                np.testing.assert_allclose(seen[n], wanted, atol=2e-6 * np.abs(wanted).max())


def borders(made: QuantizedModel) -> tuple[list[str], list[str]]:
    """The tensors outside of islands that go in, and those that come out."""
    nodes = [n for n in graph(made).node if n.name in made.kept or n.name in made.fence]
    inside = {out for node in nodes for out in node.output}
    held = constants(made)
    entries = {n for node in nodes for n in node.input if n and n not in inside | held.keys()}
    ends = {value.name for value in graph(made).output}
    others = [n for n in graph(made).node if n not in nodes]
    read = {n for node in others for n in node.input}
    return sorted(entries), sorted(inside & (read | ends))


def test_all_in_float32_is_the_float_model() -> None:
    for name in ("cnn", "attention", "opset11", "two"):
        model = loaded(name)
        made = apply(model, "w8a8", kept("*"))
        assert not [node for node in graph(made).node if node.op_type in QUANTIZERS]
        for feed in feeds(model, 3, seed=5):
            wanted = run_plainly(model.data, feed)
            for a, b in zip(wanted, run_plainly(made.data, feed), strict=True):
                np.testing.assert_allclose(b, a, rtol=1e-4, atol=1e-4 * np.abs(a).max())


def by_hand() -> LoadedModel:
    b = Builder(31)
    b.add("MatMul", ["x", b.weight("w1", 6, 5)], "h")
    b.add("Softmax", ["h"], "p", axis=-1)
    b.add("MatMul", ["p", b.weight("w2", 5, 4)], "y")
    return load(b.model({"x": [1, 6]}, ["y"], 21))


def test_the_island_reads_exact_integers_and_writes_exact_integers() -> None:
    """Softmax in float32 between products in integers, by NumPy."""
    made = apply(by_hand(), "w8a8", kept("n_p"))
    held = constants(made)
    model = onnx.load_from_string(made.data)
    names = ["h_QuantizeLinear_Output", "p_QuantizeLinear_Output"]
    for name in names:
        model.graph.output.append(onnx.ValueInfoProto(name=name))
    for feed in feeds(by_hand(), 20, seed=2):
        _, h, p = run_optimized(model.SerializeToString(), feed)
        real = (h.astype(np.float32) - held["h_zero_point"]) * held["h_scale"]
        shifted = np.exp(real.astype(np.float64) - real.max())
        wanted = shifted / shifted.sum() / np.float64(held["p_scale"]) + held["p_zero_point"]
        far = np.abs(wanted - np.floor(wanted) - 0.5) > 1e-3  # no tie in float32's reach
        np.testing.assert_array_equal(p[far], np.clip(np.rint(wanted), 0, 255)[far])
    assert made.mixed is not None
    assert made.mixed.borders == (("h", "integers", "float32"), ("p", "float32", "integers"))
    assert made.mixed.layers == (("n_p", "kept in float32 on the CPU"),)
    assert made.trace["n_p"] == ("n_p",)
    assert all(made.trace.get(name, ()) == () for name in made.fence)


def test_neither_the_graphs_inputs_nor_its_outputs_are_rounded_for_an_island() -> None:
    model = by_hand()
    made = apply(model, "w8a8", kept("n_h"))
    (product,) = [node for node in graph(made).node if node.name == "n_h"]
    (fence,) = [node for node in graph(made).node if node.output[0] == product.input[0]]
    assert (fence.op_type, fence.input[0]) == ("Compress", "x")
    assert made.mixed is not None
    assert made.mixed.borders == (("h", "float32", "integers"),)
    made = apply(model, "w8a8", kept("n_y"))
    assert made.quantizers == {}
    assert made.mixed is not None
    assert made.mixed.borders == (("p", "integers", "float32"),)


def test_a_reshape_in_an_island_does_not_let_the_npu_in() -> None:
    b = Builder(32)
    b.add("MatMul", ["x", b.weight("w1", 6, 6)], "h")
    b.add("Reshape", ["h", b.constant("shape", [2, 3], np.int64)], "r")
    b.add("Softmax", ["r"], "p", axis=-1)
    b.add("MatMul", ["p", b.weight("w2", 3, 4)], "y")
    made = apply(load(b.model({"x": [1, 6]}, ["y"], 21)), "w8a8", kept("n_r", "n_p"))
    check(made)
    assert "n_p/kept_open" in made.fence
    made = apply(load(b.model({"x": [1, 6]}, ["y"], 21)), "w8a8", kept("n_r"))
    check(made)
    # Its result has a known shape: pinned once more it would go to the NPU as bare integers.
    assert not [name for name in made.fence if name.endswith("/pinned")]


def test_what_the_quantizer_leaves_in_float_behind_an_island_joins_it() -> None:
    """It quantizes a Transpose only behind what is quantized."""
    b = Builder(33)
    b.add("MatMul", ["x", b.weight("w1", 6, 6)], "h")
    b.add("Sigmoid", ["h"], "s")
    b.add("Transpose", ["s"], "t", perm=[1, 0])
    b.add("MatMul", ["t", b.weight("w2", 1, 4)], "y")
    made = apply(load(b.model({"x": [1, 6]}, ["y"], 21)), "w8a8", kept("n_s"))
    assert made.kept == {"n_s", "n_t"}
    check(made)
    assert made.mixed is not None
    assert dict(made.mixed.layers).keys() == {"n_s", "n_t"}


def test_what_cannot_be_kept_is_said() -> None:
    b = Builder(34)
    b.add("ReduceMean", ["x"], "m", keepdims=0)
    b.add("Sqrt", ["m"], "q")
    b.add("Mul", ["x", "q"], "y")
    model = load(b.model({"x": [2, 6]}, ["y"], 21))
    with pytest.raises(ChipdriftError, match=r"n_q \(Sqrt\) reads only scalars and constants"):
        apply(model, "w8a8", kept("n_q"))


@pytest.mark.parametrize(
    "nodes", [("n_c2",), ("n_probs",), ("n_ln1*",), ("n_res1", "n_y"), ("n_*",)]
)
def test_a_layer_in_float16_lies_between_casts(nodes: tuple[str, ...]) -> None:
    name = "cnn" if nodes == ("n_c2",) else "attention"
    model = loaded(name)
    made = apply(model, "w8a8", Layer(nodes=nodes, kind="float16"))
    assert made.kept == made.fence == frozenset()
    model_proto = onnx.load_from_string(made.data)
    onnx.checker.check_model(model_proto, full_check=True)
    inferred = onnx.shape_inference.infer_shapes(model_proto, strict_mode=True)
    types = {v.name: v.type.tensor_type.elem_type for v in inferred.graph.value_info}
    assert made.mixed is not None
    halves = {node for node, words in made.mixed.layers if words == "computed in float16"}
    for node in model_proto.graph.node:
        if node.op_type == "Cast" or not halves & set(made.trace.get(node.name, ())):
            continue
        inputs = [types[n] for n in node.input if n in types]
        assert set(inputs) <= {onnx.TensorProto.FLOAT16, onnx.TensorProto.INT64}, node.name
    for init in model_proto.graph.initializer:
        assert np.isfinite(numpy_helper.to_array(init).astype(np.float64)).all()
    signal = noise = 0.0
    for feed in feeds(model, 5, seed=5):
        wanted, found = run_plainly(model.data, feed)[0], run_plainly(made.data, feed)[0]
        signal += float((wanted.astype(np.float64) ** 2).sum())
        noise += float(((wanted.astype(np.float64) - found) ** 2).sum())
    # All in float16: 11 bits of significand. Else what w8a8 gives these models (test_schemes).
    assert 10 * np.log10(signal / noise) > (50 if nodes == ("n_*",) else 22)


def test_an_input_goes_to_the_npu_once() -> None:
    """As integers: as real numbers beside them, the simulator cannot run the graph (error 6004)."""
    b = Builder(36)
    b.add("MatMul", ["x", b.weight("w1", 6, 5)], "a")
    b.add("MatMul", ["x", b.weight("w2", 6, 5)], "b")
    b.add("Mul", ["a", "b"], "y")
    model = load(b.model({"x": [1, 6]}, ["y"], 21))
    made = apply(model, "w8a8", Layer(nodes=("n_b",), kind="float16"))
    readers = [n.op_type for n in graph(made).node if "x" in n.input]
    assert readers == ["QuantizeLinear"]
    alone = apply(model, "w8a8", Layer(nodes=("n_a", "n_b"), kind="float16"))
    assert {n.op_type for n in graph(alone).node if "x" in n.input} == {"Cast"}


def test_from_island_to_island_nothing_is_rounded_to_integers() -> None:
    """Although another reader has 8 bits."""
    b = Builder(37)
    b.add("MatMul", ["x", b.weight("w1", 6, 6)], "h")
    b.add("Sigmoid", ["h"], "s")
    b.add("MatMul", ["s", b.weight("w2", 6, 4)], "t")
    b.add("MatMul", ["s", b.weight("w3", 6, 4)], "u")
    b.add("Mul", ["t", "u"], "y")
    model = load(b.model({"x": [1, 6]}, ["y"], 21))
    made = apply(model, "w8a8", kept("n_s"), Layer(nodes=("n_t",), kind="float16"))
    check(made)
    makers = {out: node for node in graph(made).node for out in node.output}
    nodes = {node.name: node for node in graph(made).node}
    cast = makers[nodes["n_t"].input[0]]
    pin = makers[cast.input[0]]
    assert (cast.op_type, pin.op_type) == ("Cast", "Reshape")
    assert makers[pin.input[0]].name == "n_s"
    assert makers[nodes["n_u"].input[0]].op_type == "DequantizeLinear"


def test_what_float16_has_no_value_for_is_said() -> None:
    b = Builder(35)
    b.add("MatMul", ["x", b.weight("w1", 6, 6)], "h")
    b.add("Mul", ["h", b.constant("large", 1e6)], "y")
    model = load(b.model({"x": [1, 6]}, ["y"], 21))
    with pytest.raises(ChipdriftError, match=r"n_y: its constant large.* beyond 65504"):
        apply(model, "w8a8", Layer(nodes=("n_y",), kind="float16"))


def test_all_three_beside_each_other() -> None:
    model = loaded("cnn")
    made = apply(
        model,
        "w8a8",
        Layer(nodes=("n_c1",), kind="float16"),
        Layer(nodes=("n_c2",), kind="float32"),
        Layer(nodes=("n_c3",), activations="uint16"),
    )
    check(made)
    assert made.mixed is not None
    kinds = {(a, b) for _, a, b in made.mixed.borders}
    assert kinds == {
        ("float16", "another float"),
        ("float32", "integers"),
        ("uint16", "uint8"),
    }
    for feed in feeds(model, 3, seed=5):
        assert np.isfinite(run_plainly(made.data, feed)[0]).all()

"""``[[layer]]`` tables on models: which nodes they name, and what the integers then are."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import numpy_helper
from quantize_models import MODELS, Builder, feeds, load, loaded, quantized
from transformer import transformer

from chipdrift.errors import ChipdriftError
from chipdrift.graph import LoadedModel
from chipdrift.quantize import QuantizedModel, apply_scheme
from chipdrift.schemes import Layer, Scheme, get_scheme

Array = np.ndarray[Any, Any]
UINT16 = Layer(nodes=("*",), activations="uint16")


def mixed(base: str, *layers: Layer) -> Scheme:
    return get_scheme(base).model_copy(update={"name": "mine", "layer": layers})


def apply(model: LoadedModel, base: str, *layers: Layer, samples: int = 12) -> QuantizedModel:
    return apply_scheme(model, mixed(base, *layers), feeds(model, samples))


def graph(made: QuantizedModel) -> onnx.GraphProto:
    return onnx.load_from_string(made.data).graph


def constants(made: QuantizedModel) -> dict[str, Array]:
    return {init.name: numpy_helper.to_array(init) for init in graph(made).initializer}


def run_plainly(data: bytes, feed: dict[str, Array]) -> list[Array]:
    """As the file says it: no optimizer makes one op of another."""
    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 3
    session = onnxruntime.InferenceSession(data, settings, providers=["CPUExecutionProvider"])
    found: list[Array] = session.run(None, feed)
    return found


def chain() -> LoadedModel:
    """Two products with nothing else: small enough to be computed by hand."""
    b = Builder(21)
    b.add("MatMul", ["x", b.weight("w1", 6, 5)], "h")
    b.add("MatMul", ["h", b.weight("w2", 5, 4)], "y")
    return load(b.model({"x": [1, 6]}, ["y"], 21))


def spoilt(beside: str = "first") -> LoadedModel:
    """One channel is a thousand times the others; a sum with ``beside``; a classifier."""
    b = Builder(22)
    big = np.ones((1, 16), np.float32)
    big[0, 3] = 1000
    b.add("MatMul", ["x", b.weight("w1", 16, 16)], "first")
    b.add("Mul", ["first", b.constant("big", big)], "scaled")
    b.add("Mul", ["scaled", b.constant("small", 1 / big)], "back")
    b.add("Add", ["back", beside], "sum")
    b.weight("little", 1, 16)
    b.add("Relu", ["sum"], "positive")
    b.add("MatMul", ["positive", b.weight("w2", 16, 10, scale=1)], "y")
    return load(b.model({"x": [1, 16]}, ["y"], 21))


# What a table names.


def test_a_pattern_that_names_nothing_is_told_with_near_names() -> None:
    model = loaded("cnn")
    with pytest.raises(
        ChipdriftError, match=r"\[\[layer\]\] 2: nodes = 'n_c9\*' names no node"
    ) as e:
        apply(model, "w8a8", UINT16, Layer(nodes=("n_c1", "n_c9*"), activations="uint16"))
    assert "Near names: " in str(e.value)
    assert "n_c1" in str(e.value)
    with pytest.raises(ChipdriftError, match=r"no op 'Softmaxx'.*Its ops: .*Conv, ConvTranspose"):
        apply(model, "w8a8", Layer(ops=("Softmaxx",), activations="uint16"))
    with pytest.raises(ChipdriftError, match=r"Near names: Conv"):
        apply(model, "w8a8", Layer(ops=("conv",), activations="uint16"))
    with pytest.raises(ChipdriftError, match=r"Names: n_"):
        apply(model, "w8a8", Layer(nodes=("zzzzzz",), activations="uint16"))


def test_weights_are_set_only_where_there_are_some() -> None:
    with pytest.raises(ChipdriftError, match=r"\[\[layer\]\] 1: it sets weights, and none of its"):
        apply(loaded("cnn"), "w8a8", Layer(ops=("GlobalAveragePool",), weights="int4"))
    with pytest.raises(ChipdriftError, match="it sets weights"):
        apply(loaded("attention"), "w8a8", Layer(ops=("Softmax",), granularity="channel"))


def test_what_is_folded_away_cannot_be_named() -> None:
    b = Builder(3)
    b.add("Mul", [b.weight("w", 4, 4), b.constant("two", 2.0)], "twice")
    b.add("MatMul", ["x", "twice"], "y")
    model = load(b.model({"x": [1, 4]}, ["y"], 21))
    with pytest.raises(ChipdriftError, match=r"nothing is left of n_twice once constants are"):
        apply(model, "w8a8", Layer(nodes=("n_twice",), activations="uint16"))
    made = apply(model, "w8a8", Layer(nodes=("n_*",), activations="uint16"))
    assert made.mixed is not None


def test_the_last_table_holds_alone() -> None:
    model = loaded("two")
    once = apply(model, "w8a8", Layer(nodes=("n_h1",), activations="uint16", granularity="channel"))
    twice = apply(
        model,
        "w8a8",
        Layer(nodes=("n_*",), activations="uint16", granularity="channel"),
        Layer(nodes=("n_h2", "n_s", "n_y")),
    )
    assert twice.data == once.data
    other_way = apply(
        model,
        "w8a8",
        Layer(nodes=("n_h1",)),
        Layer(nodes=("n_*",), activations="uint16", granularity="channel"),
    )
    assert other_way.data != once.data


def test_what_is_fused_is_one_layer() -> None:
    """A Gelu and a LayerNorm in primitive ops; a Relu behind a convolution."""
    model = loaded("attention")
    part = apply(model, "w8a8", Layer(nodes=("n_act_e",), activations="uint16"))
    whole = apply(model, "w8a8", Layer(nodes=("n_act*",), activations="uint16"))
    assert part.data == whole.data
    assert part.mixed is not None
    assert {node for node, _ in part.mixed.layers} == {
        *("n_act", "n_act_a", "n_act_d", "n_act_e", "n_act_x")
    }
    cnn = loaded("cnn")
    conv = apply(cnn, "w8a8", Layer(nodes=("n_c3",), activations="uint16"))
    relu = apply(cnn, "w8a8", Layer(nodes=("n_r3",), activations="uint16"))
    assert conv.data == relu.data
    rivals = apply(
        model,
        "w8a8",
        Layer(nodes=("n_act_e",)),
        Layer(nodes=("n_act_a",), activations="uint16"),
    )
    assert any("holds for all that is fused into it" in note for note in rivals.notes)


def test_what_preprocessing_puts_around_a_node_goes_with_it() -> None:
    """A product with a bias becomes Reshape, Gemm, Reshape: one layer, and no border inside."""
    model = load(transformer())
    made = apply(model, "w8a8", Layer(nodes=("layer0/*",), activations="uint16"))
    assert made.mixed is not None
    assert made.mixed.borders == (("layer0/norm2/y", "uint16", "uint8"),)
    assert "Reshape" in {n.op_type for n in graph(made).node if n.name.startswith("gemm_")}


def test_names_may_hold_what_globs_are_made_of() -> None:
    b = Builder(4)
    b.add("MatMul", ["x", b.weight("w", 4, 4)], "y")
    proto = b.model({"x": [1, 4]}, ["y"], 21)
    proto.graph.node[0].name = "net[0]/dense"
    made = apply(load(proto), "w8a8", Layer(nodes=("net[0]/dense",), activations="uint16"))
    assert made.mixed is not None
    assert made.mixed.layers == (("net[0]/dense", "uint16 activations"),)


# What the integers are.


@pytest.mark.parametrize("base", ["w8a8", "w8a8_pc", "w8a16", "w8a16_pc", "w4a16_pc", "w4a16_b32"])
@pytest.mark.parametrize("name", list(MODELS))
def test_tables_that_say_the_default_change_no_byte(name: str, base: str) -> None:
    scheme = get_scheme(base)
    said = Layer(
        nodes=("*",),
        weights=scheme.weights,
        activations=scheme.activations,
        granularity=scheme.granularity,
        block_size=scheme.block_size,
    )
    plain = apply_scheme(loaded(name), scheme, feeds(loaded(name), 12))
    made = apply(loaded(name), base, said, Layer(nodes=("*",)))
    assert made.data == plain.data
    assert made.mixed is None


@pytest.mark.parametrize(
    ("low", "high"), [("w8a8", "w8a16"), ("w8a8_pc", "w8a16_pc"), ("w8a16", "w8a8")]
)
@pytest.mark.parametrize("name", list(MODELS))
def test_all_layers_raised_are_the_higher_scheme(name: str, low: str, high: str) -> None:
    model = loaded(name)
    raised = apply(model, low, Layer(nodes=("*",), activations=get_scheme(high).activations))
    wanted = apply_scheme(model, get_scheme(high), feeds(model, 12))
    found, known = constants(raised), constants(wanted)
    assert found.keys() == known.keys()
    for key, values in known.items():
        assert found[key].dtype == values.dtype, key
        np.testing.assert_array_equal(found[key], values, err_msg=key)
    for feed in feeds(model, 3, seed=1):
        for a, b in zip(
            run_plainly(raised.data, feed), run_plainly(wanted.data, feed), strict=True
        ):
            np.testing.assert_array_equal(a, b)
    assert raised.mixed is not None
    assert raised.mixed.borders == ()


def quantizer(low: Any, high: Any, levels: int) -> tuple[np.float32, int]:
    """Scale and zero point of a range, as everybody computes them: zero is a value."""
    low, high = min(np.float32(low), np.float32(0)), max(np.float32(high), np.float32(0))
    scale = np.float32((np.float64(high) - np.float64(low)) / (levels - 1))
    return scale, int(np.rint(-np.float64(low) / np.float64(scale)))


def to_integers(x: Array, scale: np.float32, zero: int, levels: int) -> Array:
    return np.clip(np.rint(x / scale) + zero, 0, levels - 1)


def to_reals(q: Array, scale: np.float32, zero: int) -> Array:
    return ((q - zero) * scale).astype(np.float32)


def test_a_mixed_model_computes_what_numpy_does_by_hand() -> None:
    """x, uint8 -> product -> h, uint8 -> uint16 -> product -> y, uint16."""
    model = chain()
    made = apply(model, "w8a8_pc", Layer(nodes=("n_y",), activations="uint16"))
    floats = {i.name: numpy_helper.to_array(i) for i in model.proto.graph.initializer}
    seen: dict[str, list[Array]] = {"x": [], "h": [], "y": []}
    for feed in feeds(model, 12):
        h = feed["x"] @ floats["w1"]
        for name, values in (("x", feed["x"]), ("h", h), ("y", h @ floats["w2"])):
            seen[name].append(values)
    ranges = {name: (np.min(v), np.max(v)) for name, v in seen.items()}
    x8, h8 = quantizer(*ranges["x"], 256), quantizer(*ranges["h"], 256)
    h16, y16 = quantizer(*ranges["h"], 65536), quantizer(*ranges["y"], 65536)
    held = constants(made)
    for scale_name, zero_name, (scale, zero), kind in (
        ("x_scale", "x_zero_point", x8, np.uint8),
        ("h_scale", "h_zero_point", h8, np.uint8),
        ("h_scale_convert", "h_zero_point_convert", h16, np.uint16),
        ("y_scale", "y_zero_point", y16, np.uint16),
    ):
        np.testing.assert_allclose(held[scale_name], scale, rtol=1e-6)  # the range is float32
        assert held[zero_name].dtype == kind
        assert held[zero_name] == zero
    weights = {}
    for name in ("w1", "w2"):
        scale = np.abs(floats[name]).max(axis=0) / np.float32(127)
        np.testing.assert_allclose(held[f"{name}_scale"], scale, rtol=1e-2)
        scale = held[f"{name}_scale"]
        integers = np.clip(np.rint(floats[name] / scale), -128, 127)
        np.testing.assert_array_equal(held[f"{name}_quantized"], integers)
        weights[name] = (integers * scale).astype(np.float32)
    exact = {k: (held[f"{k}_scale{s}"], int(held[f"{k}_zero_point{s}"])) for k, s in (("x", ""),)}
    exact["h8"] = (held["h_scale"], int(held["h_zero_point"]))
    exact["h16"] = (held["h_scale_convert"], int(held["h_zero_point_convert"]))
    exact["y"] = (held["y_scale"], int(held["y_zero_point"]))
    for feed in feeds(model, 20, seed=4):
        x = to_reals(to_integers(feed["x"], *exact["x"], 256), *exact["x"])
        h = to_reals(to_integers(x @ weights["w1"], *exact["h8"], 256), *exact["h8"])
        h = to_reals(to_integers(h, *exact["h16"], 65536), *exact["h16"])
        y = to_integers(h @ weights["w2"], *exact["y"], 65536)
        found = run_plainly(made.data, feed)[0]
        np.testing.assert_array_equal(np.rint(found / exact["y"][0]) + exact["y"][1], y)
    assert made.mixed is not None
    assert made.mixed.borders == (("h", "uint8", "uint16"),)
    assert made.mixed.words == "1 node uint16 activations; 1 border between types"


def test_a_tensor_read_by_layers_of_two_types_goes_to_each_in_its_own() -> None:
    """first is read by n_scaled (16 bits) and by n_sum (8 bits), which adds n_back's 16 bits."""
    made = apply(spoilt(), "w8a8", Layer(nodes=("n_scaled", "n_back"), activations="uint16"))
    held, nodes = constants(made), {node.name: node for node in graph(made).node}
    makers = {out: node for node in graph(made).node for out in node.output}

    def types(node: str) -> list[str]:
        return [str(held[makers[name].input[2]].dtype) for name in nodes[node].input]

    assert types("n_scaled") == ["uint16", "uint16"]
    assert types("n_back") == ["uint16", "uint16"]
    assert types("n_sum") == ["uint8", "uint8"]
    assert made.mixed is not None
    assert made.mixed.borders == (("back", "uint16", "uint8"), ("first", "uint8", "uint16"))


def test_a_relu_is_still_taken_into_what_it_clamps_where_types_meet() -> None:
    """onnxruntime's quantizer leaves it there, with one more rounding over twice the range."""
    made = apply(spoilt(), "w8a8", Layer(nodes=("n_y",), activations="uint16"))
    assert [node.op_type for node in graph(made).node if node.op_type == "Relu"] == []
    assert made.trace["n_sum"] == ("n_sum", "n_positive")
    held = constants(made)
    assert (held["positive_zero_point"], held["positive_zero_point_convert"]) == (0, 0)
    assert (held["positive_zero_point"].dtype, held["positive_scale_convert"].dtype) == (
        np.uint8,
        np.float32,
    )


def test_what_comes_from_outside_has_the_widest_type_of_its_readers() -> None:
    b = Builder(23)
    b.add("MatMul", ["x", b.weight("w1", 6, 5)], "a")
    b.add("MatMul", ["x", b.weight("w2", 6, 5)], "b")
    b.add("Mul", ["a", "b"], "y")
    model = load(b.model({"x": [1, 6]}, ["y"], 21))
    made = apply(model, "w8a8", Layer(nodes=("n_b",), activations="uint16"))
    held = constants(made)
    assert held["x_zero_point"].dtype == np.uint16
    assert held["x_zero_point_convert"].dtype == np.uint8
    assert made.mixed is not None
    assert set(made.mixed.borders) == {("x", "uint16", "uint8"), ("b", "uint16", "uint8")}


def test_ops_that_keep_their_inputs_quantizer_keep_the_one_of_their_type() -> None:
    """A Transpose and a MaxPool in 16 bits between layers of 8."""
    model = loaded("attention")
    made = apply(model, "w8a8", Layer(ops=("Transpose",), activations="uint16"))
    nodes = {node.name: node for node in graph(made).node}
    makers = {out: node for node in graph(made).node for out in node.output}
    (turn,) = [node for node in nodes.values() if node.op_type == "Transpose"]
    before = makers[turn.input[0]]
    after = next(
        n for n in nodes.values() if n.op_type == "QuantizeLinear" and turn.output[0] in n.input
    )
    assert list(before.input[1:]) == list(after.input[1:])
    assert constants(made)[after.input[2]].dtype == np.uint16


def test_weights_of_single_layers() -> None:
    model = loaded("attention")
    made = apply(
        model,
        "w8a8",
        Layer(nodes=("n_q*",), granularity="channel"),
        Layer(nodes=("n_up",), weights="int4", granularity="channel"),
        Layer(nodes=("n_down",), weights="int4", granularity="block", block_size=16),
    )
    held = constants(made)
    assert held["wq_scale"].shape == (32,)
    assert held["wk_scale"].shape == ()
    assert held["w_up_scale"].shape == (64,)
    assert held["w_up_quantized"].dtype.name == "int4"
    assert held["w_down_scale"].shape == (4, 32)
    whole = constants(quantized("attention", "w8a8"))
    np.testing.assert_array_equal(held["wk_quantized"], whole["wk_quantized"])


def test_mse_ranges_are_for_the_tensors_own_number_of_integers() -> None:
    model = chain()
    base = get_scheme("w8a8").model_copy(update={"calibration": "mse", "name": "mine"})
    high = base.model_copy(update={"activations": "uint16"})
    both = base.model_copy(update={"layer": (Layer(nodes=("n_y",), activations="uint16"),)})
    rng = np.random.default_rng(6)
    cal = [{"x": rng.standard_normal((1, 6)).astype(np.float32) ** 5} for _ in range(200)]
    low_, high_, both_ = (constants(apply_scheme(model, s, cal)) for s in (base, high, both))
    assert low_["y_scale"] * 255 < 0.99 * high_["y_scale"] * 65535, "they would differ"
    assert both_["y_scale"] == high_["y_scale"]
    assert both_["x_scale"] == low_["x_scale"]


def test_a_layer_can_have_coarser_weights_than_its_scheme() -> None:
    made = apply(
        loaded("attention"),
        "w8a8_pc",
        Layer(nodes=("n_up",), granularity="tensor"),
        Layer(nodes=("n_down",), weights="uint8", granularity="tensor"),
    )
    held = constants(made)
    assert held["wq_scale"].shape == (32,)
    assert held["w_up_scale"].shape == held["w_down_scale"].shape == ()
    assert held["w_up_quantized"].dtype == np.int8
    assert held["w_down_quantized"].dtype == np.uint8
    assert held["w_down_zero_point"] not in (0, 128)


# What it is for.


def agreement(model: LoadedModel, made: QuantizedModel) -> float:
    samples = feeds(model, 300, seed=7)
    same = [
        run_plainly(model.data, f)[0].argmax() == run_plainly(made.data, f)[0].argmax()
        for f in samples
    ]
    return float(np.mean(same))


def test_a_layer_that_ruins_the_model_is_mended_by_raising_it_alone() -> None:
    model = spoilt("little")
    assert agreement(model, apply(model, "w8a8", samples=100)) < 0.75
    culprit = ("n_scaled", "n_back")
    for layer in (
        Layer(nodes=culprit, activations="uint16"),
        Layer(nodes=culprit, kind="float32"),
        Layer(nodes=culprit, kind="float16"),
    ):
        assert agreement(model, apply(model, "w8a8", layer, samples=100)) > 0.93, layer
    others = Layer(nodes=("n_first", "n_sum", "n_y"), activations="uint16")
    assert agreement(model, apply(model, "w8a8", others, samples=100)) < 0.75

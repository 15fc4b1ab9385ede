"""``[ranges]``, ``[weight_ranges]`` and ``adjust``: what they make of a model's integers."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from quantize_models import Builder, custom, feeds, load, loaded, run

from chipdrift.errors import ChipdriftError
from chipdrift.graph import LoadedModel
from chipdrift.quantize import Preparation, QuantizedModel, apply_scheme
from chipdrift.schemes import Layer, Scheme, write_adjustment

Array = np.ndarray[Any, Any]


def apply(
    model: LoadedModel,
    arrays: dict[str, Array] | None = None,
    count: int = 8,
    preparation: Preparation | None = None,
    **fields: Any,
) -> QuantizedModel:
    if arrays is not None:
        fields |= {"adjust": "mine.npz", "adjustment": write_adjustment(arrays)}
    return apply_scheme(model, custom(**fields), feeds(model, count), preparation)


def constants(made: QuantizedModel) -> dict[str, Array]:
    graph = onnx.load_from_string(made.data).graph
    return {init.name: numpy_helper.to_array(init) for init in graph.initializer}


def plain_chain() -> LoadedModel:
    """A convolution without a bias, a Gemm without one, and a MatMul."""
    b = Builder(31)
    b.add("Conv", ["x", b.weight("w1", 4, 2, 1, 1)], "c")
    b.add("Flatten", ["c"], "f")
    b.add("Gemm", ["f", b.weight("w2", 36, 5)], "g")
    b.add("MatMul", ["g", b.weight("w3", 5, 3)], "y")
    return load(b.model({"x": [1, 2, 3, 3]}, ["y"], 21))


def test_a_range_given_is_the_range_and_the_others_are_measured() -> None:
    model = loaded("cnn")
    plain = constants(apply(model))
    made = constants(apply(model, ranges={"r3": (0.0, 51.0), "x": (-1.0, 1.55)}))
    assert made["r3_scale"] == np.float32(51.0 / 255)
    assert made["r3_zero_point"] == 0
    assert made["x_scale"] == pytest.approx(0.01, rel=1e-6)
    assert made["x_zero_point"] == 100
    same = {n for n in plain if n in made and np.array_equal(plain[n], made[n])}
    assert {"r1_scale", "k2_scale", "p_scale", "w3_quantized"} <= same
    # A bias has the scale of its input and weight: another where the input's range is given.
    assert np.array_equal(made["bias3_quantized_scale"], plain["bias3_quantized_scale"])
    assert made["w4_scale"] == plain["w4_scale"]


def test_the_range_of_a_raised_tensor_has_its_own_integers() -> None:
    fields: dict[str, Any] = {"ranges": {"r3": (0.0, 51.0)}}
    made = constants(
        apply(loaded("cnn"), layer=(Layer(nodes=("n_c3",), activations="uint16"),), **fields)
    )
    scales = [float(v) for n, v in made.items() if "scale" in n and v.ndim == 0]
    assert [s for s in scales if s == pytest.approx(51 / 65535)]
    assert [s for s in scales if s == pytest.approx(51 / 255)]


def test_a_range_beyond_a_clamp_ends_at_the_clamp() -> None:
    """The quantizer removes the Clip: were the range wider, values above six would pass."""
    model = loaded("cnn")
    made = apply(model, ranges={"k2": (-1.0, 12.0), "r1": (-3.0, 9.0), "r3": (0.0, 4.0)})
    held = constants(made)
    assert held["k2_scale"] == pytest.approx(6 / 255)
    assert (held["k2_zero_point"], held["r1_zero_point"]) == (0, 0)
    assert held["r1_scale"] == pytest.approx(9 / 255)
    (note,) = [n for n in made.notes if "go beyond" in n]
    assert note.startswith("2 of 3 ranges") and "k2, r1" in note
    with pytest.raises(ChipdriftError, match="'k2' lies between 0 and 6 by its clamp"):
        apply(model, ranges={"k2": (7.0, 12.0)})


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_a_weights_range_makes_its_integers_smaller(granularity: str) -> None:
    model = loaded("cnn")
    weight = numpy_helper.to_array(next(i for i in model.proto.graph.initializer if i.name == "w3"))
    peak = float(np.abs(weight).max())
    made = constants(apply(model, granularity=granularity, weight_ranges={"n_c3": 4 * peak}))
    integers = made["w3_quantized"].astype(np.int32)
    assert np.abs(integers).max() == 32  # 127 / 4
    scale = np.unique(made["w3_scale"])
    assert scale.shape == (1,)
    assert scale[0] == pytest.approx(4 * peak / 127, rel=1e-6)
    wanted = np.rint(weight.astype(np.float64) / np.float64(scale[0]))
    assert np.array_equal(integers, wanted)


def test_a_range_per_channel_of_convolution_gemm_and_transposed() -> None:
    for node, name, count, axis in (
        ("n_c3", "w3", 32, 0),
        ("n_c4", "w4", 12, 1),
        ("n_y", "w5", 5, 0),
    ):
        limits = tuple(float(v) for v in np.linspace(0.5, 2, count))
        made = constants(apply(loaded("cnn"), granularity="channel", weight_ranges={node: limits}))
        assert made[f"{name}_scale"] == pytest.approx(np.array(limits) / 127, rel=1e-6)
        held = made[f"{name}_quantized"]
        assert held.shape[axis] == count


def test_what_takes_no_blocks_takes_a_range() -> None:
    """A ConvTranspose keeps a scale per channel in a scheme of blocks; a 1x1 Conv has blocks."""
    fields: dict[str, Any] = {"weights": "int4", "granularity": "block", "block_size": 32}
    made = constants(apply(loaded("cnn"), weight_ranges={"n_c4": 1.5}, **fields))
    assert made["w4_scale"] == pytest.approx(np.full(12, 1.5 / 7.5))
    assert made["w3_scale"].shape == (32, 1, 1, 1)
    with pytest.raises(ChipdriftError, match="n_c3: its weights have a scale for each block"):
        apply(loaded("cnn"), weight_ranges={"n_c3": 1.5}, **fields)


def test_a_smaller_range_clips() -> None:
    made = constants(apply(loaded("cnn"), weight_ranges={"n_c3": 0.05}))
    assert np.mean(np.abs(made["w3_quantized"].astype(int)) == 127) > 0.3


def test_replaced_weights_and_appended_biases_are_in_the_model() -> None:
    model = plain_chain()
    rng = np.random.default_rng(1)
    arrays = {
        "n_c#1": rng.standard_normal((4, 2, 1, 1)).astype(np.float32),
        "n_c#2": np.array([1, -2, 3, -4], np.float32),
        "n_g#2": np.array([10, 20, 30, 40, 50], np.float32),
        "n_y#1": rng.standard_normal((5, 3)).astype(np.float32),
    }
    made = apply(model, arrays, count=40)
    weights = {i.name: numpy_helper.to_array(i) for i in model.proto.graph.initializer}
    for feed in feeds(model, 40)[:5]:
        x = feed["x"].astype(np.float64)
        c = np.einsum("oi,nihw->nohw", arrays["n_c#1"][..., 0, 0], x)
        c += arrays["n_c#2"][None, :, None, None]
        g = c.reshape(1, -1) @ weights["w2"] + arrays["n_g#2"]
        y = g @ arrays["n_y#1"]
        (found,) = run(made.data, feed, plain=True)
        assert np.abs(found - y).max() < 0.05 * np.abs(y).max()
    held = constants(made)
    assert held["n_c/bias_quantized"].dtype == np.int32
    assert held["n_c/bias_quantized"].shape == (4,)


def test_a_weight_that_two_nodes_share_is_replaced_for_the_one() -> None:
    b = Builder(33)
    b.weight("shift", 6)
    b.add("Add", ["x", "shift"], "a")
    b.add("Sigmoid", ["a"], "s")
    b.add("Add", ["s", "shift"], "y")
    model = load(b.model({"x": [1, 6]}, ["y"], 21))
    zero = np.zeros(6, np.float32)
    made = apply(model, {"n_y#1": zero}, count=30, preprocess=False)
    feed = feeds(model, 1)[0]
    (found,) = run(made.data, feed, plain=True)
    shift = numpy_helper.to_array(model.proto.graph.initializer[0])
    assert found == pytest.approx(1 / (1 + np.exp(-(feed["x"] + shift))), abs=0.02)


BAD_ARRAYS: list[tuple[dict[str, Array], str]] = [
    ({"n_q#1": np.zeros(3, np.float32)}, "no node 'n_q'.*n_c"),
    ({"n_c#1": np.zeros((4, 2), np.float32)}, r"shape \[4, 2\].*float of shape \[4, 2, 1, 1\]"),
    ({"n_c#0": np.zeros((1, 2, 3, 3), np.float32)}, "input 0 of n_c .Conv. is no constant"),
    ({"n_c#2": np.zeros(5, np.float32)}, r"bias of n_c has the\s+shape \[4\]"),
    ({"n_c#3": np.zeros(4, np.float32)}, "can be given a bias, as input 2"),
    ({"n_y#2": np.zeros(3, np.float32)}, "n_y .MatMul. has 2 inputs"),
]


@pytest.mark.parametrize(("arrays", "words"), BAD_ARRAYS)
def test_a_foreign_file_is_told_in_one_sentence(arrays: dict[str, Array], words: str) -> None:
    with pytest.raises(ChipdriftError, match=f"Scheme mine, mine.npz: .*{words}"):
        apply(plain_chain(), arrays)


BAD_FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"ranges": {"gone": (0.0, 1.0)}}, r"\[ranges\]: 'gone' is no activation.*Names: c, f"),
    ({"ranges": {"w1": (0.0, 1.0)}}, "'w1' is no activation"),
    ({"weight_ranges": {"n_f": 1.0}}, "n_f: it is a Flatten that sums over no constant"),
    ({"weight_ranges": {"n_d": 1.0}}, "no node 'n_d'"),
    ({"weight_ranges": {"n_c": (1.0, 2.0)}}, "2 numbers, and its weight has one scale for"),
    (
        {"weight_ranges": {"n_c": (1.0, 2.0)}, "granularity": "channel"},
        "2 numbers, and its weight has 4 output channels",
    ),
    (
        {
            "weight_ranges": {"n_y": 1.0},
            "granularity": "block",
            "weights": "int4",
            "block_size": 5,
        },
        "a scale for each block",
    ),
]


@pytest.mark.parametrize(("fields", "words"), BAD_FIELDS)
def test_names_that_are_not_there_are_told(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ChipdriftError, match=words):
        apply(plain_chain(), **fields)


def test_a_range_without_a_quantizer_is_noted() -> None:
    made = apply(loaded("cnn"), ranges={"c3": (0.0, 1.0), "r3": (0.0, 9.0)})
    assert [n for n in made.notes if n.startswith("1 of 2 ranges have no effect") and "c3" in n]


def test_what_a_preparation_keeps_changes_no_bit() -> None:
    """Schemes in any order, on two models and two sets of samples, with little room to keep."""
    raised = Layer(nodes=("*c3*",), activations="uint16")
    schemes = [
        custom(),
        custom(layer=(raised,)),
        custom(granularity="channel"),
        custom(calibration="mse", layer=(raised,)),
        custom(calibration="mse"),
        custom(calibration="percentile", percentile=99.0),
        custom(preprocess=False),
        custom(layer=(Layer(nodes=("*c3*",), kind="float32"),)),
        custom(ranges={"x": (-1.0, 1.0)}),
        custom(
            adjust="a.npz",
            adjustment=write_adjustment({"n_c3#2": np.ones(32, np.float32)}),
        ),
    ]
    model, samples = loaded("cnn"), feeds(loaded("cnn"), 6)
    other = [*samples[:-1], {"x": samples[-1]["x"] * 3}]
    roomy, narrow = Preparation(), Preparation(most=1)
    for scheme in [*schemes, *schemes[::-1]]:
        for cal in (samples, other):
            wanted = apply_scheme(model, scheme, cal)
            for preparation in (roomy, narrow):
                found = apply_scheme(model, scheme, cal, preparation)
                assert (found.sha256, found.notes) == (wanted.sha256, wanted.notes), scheme
    assert apply_scheme(model, schemes[0], samples).sha256 != (
        apply_scheme(model, schemes[0], other).sha256
    )


def test_ranges_are_measured_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from chipdrift.quantize import prepare

    count = 0
    real = prepare.measure_activations

    def counting(*given: Any, **fields: Any) -> Any:
        nonlocal count
        count += 1
        return real(*given, **fields)

    monkeypatch.setattr(prepare, "measure_activations", counting)
    preparation = Preparation()
    for index in (1, 2, 3):
        layer = Layer(nodes=(f"n_c{index}",), activations="uint16")
        apply(loaded("cnn"), preparation=preparation, layer=(layer,))
    assert count == 1


def test_a_scheme_with_arrays_needs_its_file() -> None:
    with pytest.raises(ValueError, match="read it by its path"):
        Scheme(name="a", kind="qdq", adjust="a.npz")


def test_all_ranges_given_is_as_if_they_were_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """New weights under given ranges: no measurement, and the bits that measuring would give."""
    from chipdrift.quantize import prepare

    model = loaded("cnn")
    arrays = {"n_c3#2": np.linspace(-1, 1, 32).astype(np.float32)}
    made = constants(apply(model, arrays))
    names = {n.removesuffix("_scale") for n in made if n.endswith("_scale")} & {
        *("x", "r1", "k2", "r3", "c4", "p", "f", "y")
    }
    spans: dict[str, tuple[float, float]] = {}
    for name in names:
        scale, zero = float(made[f"{name}_scale"]), int(made[f"{name}_zero_point"])
        spans[name] = (-zero * scale, (255 - zero) * scale)
    spans["f"] = spans["p"]  # a Flatten has its input's
    preparation = Preparation()
    apply(model, preparation=preparation)
    monkeypatch.setattr(prepare, "measure_activations", None)  # calling it would fail
    found = constants(apply(model, arrays, preparation=preparation, ranges=spans))
    for name in names:
        assert found[f"{name}_scale"] == pytest.approx(made[f"{name}_scale"], rel=1e-6)
    assert np.abs(found["bias3_quantized"] - made["bias3_quantized"]).max() <= 1


def test_a_range_without_zero_or_below_the_least_is_noted_as_it_is_quantized() -> None:
    made = apply(loaded("cnn"), ranges={"x": (3.0, 4.0), "r3": (0.0, 1e-6), "r1": (0.0, 2.0)})
    held = constants(made)
    # The quantizer's own doing: zero is taken in, and the least range is 0.0001.
    assert held["x_scale"] == pytest.approx(4 / 255)
    assert held["r3_scale"] == pytest.approx(1e-4 / 255)
    (widened,) = [n for n in made.notes if "widened" in n]
    assert widened.startswith("1 of 3 ranges do not hold 0") and "x (0 to 4)" in widened
    (raised,) = [n for n in made.notes if "raised" in n]
    assert raised.startswith("1 of 3 ranges are narrower than 0.0001") and ": r3" in raised
    calm = apply(loaded("cnn"), ranges={"x": (-3.0, 4.0), "r3": (0.0, 1e-4), "r1": (0.0, 2.0)})
    assert not [n for n in calm.notes if "widened" in n or "raised" in n]


@pytest.mark.parametrize("granularity", ["tensor", "channel"])
def test_a_weights_range_below_the_least_is_noted(granularity: str) -> None:
    made = apply(loaded("cnn"), granularity=granularity, weight_ranges={"n_c3": 1e-6, "n_y": 0.5})
    assert constants(made)["w3_scale"].max() > 5e-7
    (raised,) = [n for n in made.notes if "raised" in n]
    assert raised.startswith("1 of 2 weight ranges") and "n_c3" in raised

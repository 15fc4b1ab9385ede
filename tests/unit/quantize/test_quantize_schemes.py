"""Every built-in scheme on five models: what the integers are, and how near the floats."""

from __future__ import annotations

import hashlib
import itertools
import os
import subprocess
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from quantize_models import (
    MODELS,
    Builder,
    custom,
    feeds,
    load,
    loaded,
    quantized,
    run,
)

from chipdrift.errors import ChipdriftError, DataError
from chipdrift.quantize import QuantizedModel, apply_scheme
from chipdrift.quantize.blockwise import quantize_blocks
from chipdrift.schemes import builtin_schemes, get_scheme

QDQ = [name for name, scheme in builtin_schemes().items() if scheme.kind == "qdq"]
# Signal to noise in dB on the calibration samples, about 5 dB under what these random weights give:
# a step of 8 bits over the range of an activation, about 7 dB more than that per channel of weights
# at 16 bits, and 4-bit weights whose step is a seventh of the largest.
LEAST_DB = {
    "w8a8": 22.0,
    "w8a8_pc": 22.0,
    "w8a16": 30.0,
    "w8a16_pc": 32.0,
    "w4a16_pc": 8.0,
    "w4a16_b32": 8.0,
    # 11 bits of significand: a relative error of 2^-11 (66 dB) in every step.
    "fp16": 50.0,
    "fp32": 200.0,
    "asis": 200.0,
}
WEIGHTS = {
    "cnn": {"w1": 0, "w2": 0, "w3": 0, "w4": 1, "w5": 0},
    "attention": {"wq": 1, "wk": 1, "wv": 1, "wo": 1, "w_up": 1, "w_down": 1},
    "opset11": {"w1": 0, "w2": 0, "w3": 1},
    "half": {"w1": 0, "w2": 1},
    "two": {"w1": 1, "w2": 1, "w3": 1},
}
"""The axis of the output channels of every weight, by hand."""


def proto(made: QuantizedModel) -> onnx.ModelProto:
    return onnx.load_from_string(made.data)


def constants(model: onnx.ModelProto) -> dict[str, np.ndarray[Any, Any]]:
    return {i.name: numpy_helper.to_array(i) for i in model.graph.initializer}


def attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {a.name: helper.get_attribute_value(a) for a in node.attribute}


def weight_dequantizers(model: onnx.ModelProto) -> dict[str, onnx.NodeProto]:
    """The DequantizeLinear of every second input of a MatMul, Gemm or convolution, by weight."""
    makers = {out: node for node in model.graph.node for out in node.output}
    inits = constants(model)
    found = {}
    for node in model.graph.node:
        if node.op_type in ("MatMul", "Gemm", "Conv", "ConvTranspose"):
            dq = makers.get(node.input[1])
            if dq is not None and dq.input[0] in inits:
                found[dq.input[0].removesuffix("_quantized")] = dq
    return found


@pytest.mark.parametrize("scheme", list(builtin_schemes()))
@pytest.mark.parametrize("name", list(MODELS))
def test_it_runs_and_is_near_the_float(name: str, scheme: str) -> None:
    model, made = loaded(name), quantized(name, scheme)
    signal, noise = 0.0, 0.0
    for feed in feeds(model, 10):
        wanted, found = run(model.data, feed), run(made.data, feed)
        assert [(a.dtype, a.shape) for a in found] == [(a.dtype, a.shape) for a in wanted]
        for a, b in zip(wanted, found, strict=True):
            signal += float((a.astype(np.float64) ** 2).sum())
            noise += float(((a.astype(np.float64) - b) ** 2).sum())
    assert 10 * np.log10(signal / max(noise, 1e-30)) > LEAST_DB[scheme]


@pytest.mark.parametrize("scheme", list(builtin_schemes()))
@pytest.mark.parametrize("name", list(MODELS))
def test_the_face_of_the_model_is_kept(name: str, scheme: str) -> None:
    before, after = loaded(name).proto.graph, proto(quantized(name, scheme)).graph
    for one, two in ((before.input, after.input), (before.output, after.output)):
        assert [v.name for v in one] == [v.name for v in two]
        assert [v.type.tensor_type.elem_type for v in one] == [
            v.type.tensor_type.elem_type for v in two
        ]
    made = quantized(name, scheme)
    assert made.sha256 == hashlib.sha256(made.data).hexdigest()
    names = [node.name for node in after.node]
    assert all(names)
    assert len(set(names)) == len(names)
    onnx.checker.check_model(onnx.load_from_string(made.data))


@pytest.mark.parametrize("scheme", QDQ)
@pytest.mark.parametrize("name", list(MODELS))
def test_weights_have_the_type_and_granularity_that_was_asked(name: str, scheme: str) -> None:
    wanted, model = get_scheme(scheme), proto(quantized(name, scheme))
    inits = constants(model)
    found = weight_dequantizers(model)
    assert len(found) == len(WEIGHTS[name])
    opset = {o.domain: o.version for o in model.opset_import}[""]
    assert opset == 21
    kept = 0
    # Fused batch norms rename a weight: those that keep their name are all but the first two.
    for weight, dq in found.items():
        integers, scale, zero = (inits[name] for name in dq.input)
        assert integers.dtype.name == wanted.weights
        assert not zero.any(), "symmetric"
        axis, size = attributes(dq).get("axis"), attributes(dq).get("block_size", 0)
        if wanted.granularity == "tensor":
            assert scale.size == 1
            continue
        channel_axis = _channel_axis(name, weight, integers.shape)
        reduced = 1 - channel_axis
        # Blocks in MatMul, Gemm and 1x1 Conv alone; a ConvTranspose has its channels along axis 1.
        plain = integers.ndim == 2 or (channel_axis == 0 and integers.shape[2:] == (1, 1))
        if wanted.granularity == "block" and plain and integers.shape[reduced] % 32 == 0:
            assert (axis, size) == (reduced, 32)
            shape = list(integers.shape)
            shape[reduced] //= 32
            assert scale.shape == tuple(shape) == zero.shape
        else:
            assert (axis, size) == (channel_axis, 0)
            assert scale.shape == (integers.shape[channel_axis],)
            kept += 1
    notes = [note for note in quantized(name, scheme).notes if "one scale per channel" in note]
    told = sum(int(note.split()[0]) for note in notes)
    assert told == (kept if wanted.granularity == "block" else 0)


def _channel_axis(name: str, weight: str, shape: tuple[int, ...]) -> int:
    if weight in WEIGHTS[name]:
        return WEIGHTS[name][weight]
    assert len(shape) == 4, "a convolution with its batch norm folded in"
    return 0


@pytest.mark.parametrize("scheme", QDQ)
@pytest.mark.parametrize("name", list(MODELS))
def test_activations_have_the_type_that_was_asked(name: str, scheme: str) -> None:
    model = proto(quantized(name, scheme))
    inits = constants(model)
    kinds = {
        inits[node.input[2]].dtype.name
        for node in model.graph.node
        if node.op_type == "QuantizeLinear"
    }
    assert kinds == {get_scheme(scheme).activations}
    # No activation stays in float: every input of a computing node comes from a DequantizeLinear.
    makers = {out: node for node in model.graph.node for out in node.output}
    computing = {"Conv", "ConvTranspose", "Gemm", "MatMul", "Add", "Mul", "Softmax", "Sigmoid"}
    for node in model.graph.node:
        if node.op_type in computing | {"Gelu", "LayerNormalization", "MaxPool", "ReduceMean"}:
            first = makers[node.input[0]]
            assert first.op_type == "DequantizeLinear", f"{node.name}: {first.op_type}"


@pytest.mark.parametrize("scheme", QDQ)
@pytest.mark.parametrize("name", ["cnn", "attention", "opset11", "two"])
def test_quantizers_and_border(name: str, scheme: str) -> None:
    made = quantized(name, scheme)
    model = proto(made)
    outputs = [v.name for v in model.graph.output]
    assert list(made.quantizers) == outputs
    for feed in feeds(loaded(name), 2):
        for output, array in zip(outputs, run(made.data, feed), strict=True):
            quantizer = made.quantizers[output]
            assert quantizer.dtype == get_scheme(scheme).activations
            scale, zero = np.float32(quantizer.scale[0]), quantizer.zero_point[0]
            integers = np.rint(array / np.float64(scale)) + zero
            assert 0 <= integers.min() <= integers.max() <= np.iinfo(quantizer.dtype).max
            # The output is exactly integer times scale in float32, which is DequantizeLinear.
            np.testing.assert_array_equal((integers - zero).astype(np.float32) * scale, array)
    by_name = {node.name: node for node in model.graph.node}
    touched = {(by_name[n].op_type, (*by_name[n].input, *by_name[n].output)) for n in made.border}
    assert len(made.border) == len(outputs) + len(model.graph.input)
    for op, tensors in touched:
        own = outputs if op == "DequantizeLinear" else [v.name for v in model.graph.input]
        assert set(own) & set(tensors)


def exact(weight: np.float32, scale: np.float32, low: int, top: int) -> int:
    """round-half-even(weight / scale), clipped, in exact arithmetic."""
    ratio = Fraction(float(weight)) / Fraction(float(scale))
    return max(low, min(top, round(ratio)))


def float_quotient(weight: np.float32, scale: np.float32, low: int, top: int) -> int:
    """The same with the quotient rounded to float32 first, as every quantizer computes it."""
    return int(np.clip(np.rint(np.float32(weight) / np.float32(scale)), low, top))


@pytest.mark.parametrize("scheme", QDQ)
@pytest.mark.parametrize(
    ("name", "weight"), [("cnn", "w3"), ("attention", "w_down"), ("two", "w2")]
)
def test_integers_of_weights_are_the_exact_quotients(name: str, weight: str, scheme: str) -> None:
    model = proto(quantized(name, scheme))
    inits = constants(model)
    dq = weight_dequantizers(model)[weight]
    integers, scale = inits[dq.input[0]].astype(np.int64), inits[dq.input[1]]
    floats = constants(loaded(name).proto)[weight]
    axis, size = attributes(dq).get("axis", 1), attributes(dq).get("block_size", 0)
    if size:
        scales = np.repeat(scale, size, axis)
        moved = np.moveaxis(np.abs(floats), axis, -1)
        grouped = moved.reshape(*moved.shape[:-1], -1, size).max(-1)
        peaks = np.moveaxis(np.repeat(grouped, size, -1), -1, axis)
    elif scale.size > 1:
        scales = np.broadcast_to(
            scale.reshape([-1 if i == axis else 1 for i in range(floats.ndim)]), floats.shape
        )
        others = tuple(i for i in range(floats.ndim) if i != axis)
        peaks = np.broadcast_to(np.abs(floats).max(others, keepdims=True), floats.shape)
    else:
        peaks = np.abs(floats).max()
        scales = np.broadcast_to(scale.reshape([1] * floats.ndim), floats.shape)
    # onnxruntime's 4-bit integers go down to -8 at a step of 2 * peak / 15; blocks are symmetric.
    top = 7 if get_scheme(scheme).weights == "int4" else 127
    low = -7 if size else -top - 1
    step = peaks / ((2 * top + 1) / 2 if top == 7 and not size else top)
    triples = zip(floats.reshape(-1), scales.reshape(-1), integers.reshape(-1), strict=True)
    for w, s, q in triples:
        wanted = exact(w, s, low, top)
        assert q == wanted or (abs(q - wanted) == 1 and q == float_quotient(w, s, low, top))
    np.testing.assert_allclose(scales, step, rtol=1e-6)


def test_halves_go_to_the_even_integer_and_the_clip_is_symmetric() -> None:
    """Weights on exact ties: step 1 in the first block, step 2 in the second."""
    column = np.array([7, -7, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5], np.float32)
    weight = np.stack([np.concatenate([column, 2 * column]), np.zeros(16, np.float32)], axis=1)
    integers, scale = quantize_blocks(weight, 0, 8)
    np.testing.assert_array_equal(scale, [[1, 1], [2, 1]])
    ties = [7, -7, 0, 2, 2, 0, -2, -2]
    np.testing.assert_array_equal(integers[:, 0], ties * 2)
    assert not integers[:, 1].any()
    across, scale = quantize_blocks(weight.T.copy(), 1, 8)
    np.testing.assert_array_equal(across, integers.T)
    np.testing.assert_array_equal(scale, [[1, 2], [1, 1]])


def test_blocks_of_one_s_own_size_on_every_op(tmp_path: Path) -> None:
    """1x1 Conv over axis 1, Gemm with and without transB, MatMul: dequantized weights lie within
    half a step of the floats, and a step is a seventh of its block's peak. A larger Conv and a
    ConvTranspose keep a scale per channel."""
    b = Builder(8)
    b.add("Conv", ["x", b.weight("wk", 8, 8, 1, 1)], "k")
    b.add("Conv", ["k", b.weight("wc", 6, 8, 3, 3)], "c")
    b.add("ConvTranspose", ["c", b.weight("wt", 6, 4, 2, 2)], "t")
    b.add("GlobalAveragePool", ["t"], "p")
    b.add("Flatten", ["p"], "f")
    b.add("Gemm", ["f", b.weight("wg", 4, 12), b.weight("bg", 12)], "g")
    b.add("Gemm", ["g", b.weight("wh", 10, 12), b.weight("bh", 10)], "h", transB=1)
    b.add("MatMul", ["h", b.weight("wm", 10, 3)], "y")
    model = load(b.model({"x": [1, 8, 6, 6]}, ["y"], 21))
    scheme = custom(weights="int4", activations="uint16", granularity="block", block_size=2)
    made = proto(apply_scheme(model, scheme, feeds(model, 3)))
    found = weight_dequantizers(made)
    inits = constants(made)
    axes = {"wk": 1, "wg": 0, "wh": 1, "wm": 0}
    assert set(found) == {*axes, "wc", "wt"}
    assert attributes(found["wc"]) == {"axis": 0}
    assert attributes(found["wt"]) == {"axis": 1}
    for weight, axis in axes.items():
        dq = found[weight]
        assert attributes(dq) == {"axis": axis, "block_size": 2}
        scale = np.repeat(inits[dq.input[1]], 2, axis)
        real = inits[dq.input[0]].astype(np.float32) * scale
        # Half a step, and the rounding of the float32 quotient.
        assert (np.abs(real - b.weights[weight]) <= scale * 0.500001).all()
        moved = np.moveaxis(np.abs(b.weights[weight]), axis, 0)
        peak = np.maximum(moved[0::2], moved[1::2])
        np.testing.assert_array_equal(
            np.moveaxis(inits[dq.input[1]], axis, 0), peak / np.float32(7)
        )


def test_a_four_bit_scale_per_tensor() -> None:
    made = proto(
        apply_scheme(
            loaded("two"), custom(weights="int4", granularity="tensor"), feeds(loaded("two"), 3)
        )
    )
    inits = constants(made)
    for dq in weight_dequantizers(made).values():
        assert inits[dq.input[0]].dtype.name == "int4"
        assert inits[dq.input[1]].size == 1


@pytest.mark.parametrize("preprocess", [True, False])
@pytest.mark.parametrize("activations", ["uint8", "uint16"])
@pytest.mark.parametrize(
    ("weights", "granularity"),
    [*itertools.product(["int8", "uint8", "int4"], ["tensor", "channel"]), ("int4", "block")],
)
def test_every_recipe_one_can_write_gives_a_model_that_runs(
    weights: str, activations: str, granularity: str, preprocess: bool
) -> None:
    """At opset 11 and float16 above all: axes came with 13, blocks and 16 bits with 21."""
    scheme = custom(
        weights=weights,
        activations=activations,
        granularity=granularity,
        block_size=8 if granularity == "block" else None,
        preprocess=preprocess,
    )
    for name in ("opset11", "half", "two"):
        model = loaded(name)
        made = apply_scheme(model, scheme, feeds(model, 3))
        feed = feeds(model, 1)[0]
        wanted, found = run(model.data, feed)[-1], run(made.data, feed)[-1]
        # 4-bit weights: a seventh of the peak per weight, far less in a sum.
        limit = 0.5 if weights == "int4" else 0.1
        assert np.abs(found - wanted).max() <= limit * max(1.0, float(np.abs(wanted).max()))
        kinds = {a.dtype.name for a in constants(proto(made)).values()}
        assert weights in kinds


def test_a_weight_that_several_nodes_read() -> None:
    """Two MatMul, a Gemm that sums over the other axis, a Gather: each keeps its own answer."""
    b = Builder(6)
    b.constant("ids", [1, 5], np.int64)
    b.add("Gather", [b.weight("w", 8, 8), "ids"], "rows")
    b.add("MatMul", ["x", "w"], "a")
    b.add("Relu", ["a"], "r")
    b.add("Gemm", ["r", "w", b.weight("bias", 8)], "g", transB=1)
    b.add("Gemm", ["g", "w", "bias"], "h")
    b.add("Add", ["h", "rows"], "s")
    b.add("MatMul", ["s", "w"], "y")
    model = load(b.model({"x": [2, 8]}, ["y"], 17))
    samples = feeds(model, 6)
    for name in QDQ:
        made = apply_scheme(model, get_scheme(name), samples)
        wanted = np.stack([run(model.data, feed)[0] for feed in samples])
        found = np.stack([run(made.data, feed)[0] for feed in samples])
        ratio = (wanted**2).sum() / ((wanted - found) ** 2).sum()
        assert 10 * np.log10(ratio) > (12 if "w4" in name else 28), name
        dqs = weight_dequantizers(proto(made))
        if get_scheme(name).granularity != "tensor":
            axes = [attributes(dq).get("axis") for dq in dqs.values()]
            assert axes == [1, 0, 1, 1], "each MatMul along its own output channels"
        assert len({dq.input[0] for dq in dqs.values()}) == len(dqs) == 4


SCRIPT = """
import sys
sys.path.insert(0, {folder!r})
from quantize_models import MODELS, quantized
for name in MODELS:
    for scheme in ("fp16", "w8a8", "w4a16_b32"):
        made = quantized(name, scheme)
        print(name, scheme, made.sha256, made.notes, sorted(made.trace.items()))
"""


def test_the_same_bytes_in_every_process() -> None:
    script = SCRIPT.format(folder=str(Path(__file__).parent))
    told = {
        subprocess.run(
            [sys.executable, "-c", script],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("0", "1", "4242")
    }
    assert len(told) == 1
    assert quantized("attention", "w4a16_b32").sha256 in told.pop(), "and in this one"


def test_the_samples_count_and_the_ranges_are_of_all_of_them() -> None:
    model = loaded("cnn")
    few, many = feeds(model, 2), feeds(model, 20)
    one = apply_scheme(model, get_scheme("w8a8"), few)
    two = apply_scheme(model, get_scheme("w8a8"), many)
    assert two.quantizers["y"].scale[0] > one.quantizers["y"].scale[0]
    assert apply_scheme(model, get_scheme("w8a8"), many[::-1]).quantizers == two.quantizers


def test_fp16_stores_halves_and_keeps_the_face() -> None:
    for name in ("cnn", "attention", "two"):
        model, made = loaded(name), proto(quantized(name, "fp16"))
        assert {v.type.tensor_type.elem_type for v in made.graph.input} == {TensorProto.FLOAT}
        assert {v.type.tensor_type.elem_type for v in made.graph.output} == {TensorProto.FLOAT}
        halves, floats = constants(made), constants(model.proto)
        for weight in WEIGHTS[name]:
            assert halves[weight].dtype == np.float16
            np.testing.assert_array_equal(halves[weight], floats[weight].astype(np.float16))
    same = quantized("half", "fp16")
    assert same.data == loaded("half").proto.SerializeToString(deterministic=True)


def test_float32_and_asis_leave_the_bytes_alone() -> None:
    for name in MODELS:
        for scheme in ("fp32", "asis"):
            assert quantized(name, scheme).data == loaded(name).data
    assert "no Quantize nodes" in quantized("cnn", "asis").notes[0]
    qdq = load(proto(quantized("cnn", "w8a8")), "qdq")
    asis = apply_scheme(qdq, get_scheme("asis"))
    assert asis.notes == ()
    assert asis.quantizers == quantized("cnn", "w8a8").quantizers


def test_refusals() -> None:
    with pytest.raises(DataError, match="calibration"):
        apply_scheme(loaded("cnn"), get_scheme("w8a8"))
    qdq = load(proto(quantized("cnn", "w8a8")), "qdq")
    with pytest.raises(ChipdriftError, match="already quantized"):
        apply_scheme(qdq, get_scheme("w8a8"), feeds(loaded("cnn"), 1))
    wrong = [{"x": np.zeros((1, 3, 9, 9), np.float32)}]
    with pytest.raises(ChipdriftError, match="net cannot be quantized as w8a8"):
        apply_scheme(load(MODELS["cnn"]()), get_scheme("w8a8"), wrong)


def test_nothing_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    model = loaded("attention")
    apply_scheme(model, get_scheme("w8a16_pc"), feeds(model, 2))
    apply_scheme(model, get_scheme("fp16"))
    assert capfd.readouterr() == ("", "")

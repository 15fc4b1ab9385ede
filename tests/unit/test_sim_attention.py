"""An attention's Softmax at a precision of its own, with the quantizers in front kept or left out.

What is expected is NumPy's own float16 and float32, from the integers on.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from chipdrift.errors import ChipdriftError
from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Fusion, Profile, Requantize
from chipdrift.numerics.profiles import parse_profile
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]
F16, F32 = np.float16, np.float32
RNG = np.random.default_rng(11)
HEADS, TOKENS, DEPTH = 3, 12, 16
Q = RNG.integers(0, 256, (1, HEADS, TOKENS, DEPTH)).astype(np.uint8)
K = RNG.integers(0, 256, (1, HEADS, DEPTH, TOKENS)).astype(np.uint8)
V = RNG.integers(0, 256, (1, HEADS, TOKENS, DEPTH)).astype(np.uint8)
MASK = np.where(np.tri(TOKENS, dtype=bool), 255, 0).astype(np.uint8).reshape(1, 1, TOKENS, TOKENS)
# Scale and zero point of every tensor that has a quantizer.
QUANTS = {
    "q": (0.021, 130, "uint8"), "k": (0.017, 121, "uint8"), "v": (0.02, 128, "uint8"),
    "mask": (0.04, 255, "uint8"), "s": (0.013, 127, "uint8"), "d": (0.0033, 127, "uint8"),
    "a": (0.07, 250, "uint8"), "p": (1 / 65535, 0, "uint16"), "y": (0.01, 128, "uint8"),
}  # fmt: skip
_LEVELS = {"uint8": TensorProto.UINT8, "uint16": TensorProto.UINT16}


def _model(quantized: bool = True, scale: str = "Div", mask: bool = True) -> onnx.ModelProto:
    """MatMul -> scale -> mask -> Softmax -> MatMul; ``quantized``: with quantizers in between."""
    nodes: list[onnx.NodeProto] = []
    held = {"eight": F32(4.0)}
    for name, (step, zero, kind) in QUANTS.items():
        held[f"{name}_s"], held[f"{name}_z"] = F32(step), np.array(zero, kind)

    def node(op: str, ins: list[str], out: str, **more: Any) -> str:
        nodes.append(helper.make_node(op, ins, [out], name=out, **more))
        return out

    def real(name: str) -> str:
        return node("DequantizeLinear", [name, f"{name}_s", f"{name}_z"], f"{name}_r")

    def through(value: str, name: str, always: bool = False) -> str:
        if not (quantized or always):
            return value
        return real(node("QuantizeLinear", [value, f"{name}_s", f"{name}_z"], name))

    last = through(node("MatMul", [real("q"), real("k")], "scores"), "s")
    if scale:
        ins = ["eight", last] if scale == "Mul" else [last, "eight"]
        last = through(node(scale, ins, "scaled"), "d")
    if mask:
        last = through(node("Add", [last, real("mask")], "masked"), "a")
    last = through(node("Softmax", [last], "softmax", axis=-1), "p", always=True)
    node("MatMul", [last, real("v")], "made")
    node("QuantizeLinear", ["made", "y_s", "y_z"], "y")
    inputs = {"q": Q, "k": K, "v": V, "mask": MASK}
    graph = helper.make_graph(
        nodes,
        "attention",
        [
            helper.make_tensor_value_info(name, TensorProto.UINT8, array.shape)
            for name, array in inputs.items()
            if mask or name != "mask"
        ],
        [
            helper.make_tensor_value_info("p", TensorProto.UINT16, None),
            helper.make_tensor_value_info("y", TensorProto.UINT8, None),
        ],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in held.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def _run(model: onnx.ModelProto, fusion: dict[str, Any], **more: Any) -> tuple[Array, SimSession]:
    """The Softmax's integers; both engines give the same."""
    rules = Profile(name="p", fusion=Fusion(**fusion), requantize=Requantize(), **more)
    feed = {"q": Q, "k": K, "v": V, "mask": MASK}
    feed = {value.name: feed[value.name] for value in model.graph.input}
    slow, fast = (SimSession(program_of(model), rules, fast=f) for f in (False, True))
    answers = slow.run(feed)
    for mine, other in zip(answers, fast.run(feed), strict=True):
        np.testing.assert_array_equal(mine, other)
    return answers[0], slow


def _real(name: str, integers: Array, dtype: Any) -> Array:
    step, zero, _ = QUANTS[name]
    return ((integers.astype(F32) - F32(zero)) * F32(step)).astype(dtype)


def _integers(name: str, values: Array) -> Array:
    step, zero, kind = QUANTS[name]
    top = np.iinfo(kind).max
    return np.clip(np.rint(values.astype(F32) / F32(step)) + zero, 0, top).astype(np.int64)


def _softmax(x: Array) -> Array:
    """In x's own type, as NumPy has it."""
    grown = np.exp(x - x.max(axis=-1, keepdims=True))
    made: Array = grown / grown.sum(axis=-1, keepdims=True)
    return made


def _scores(dtype: Any, scale: str = "Div", mask: bool = True) -> Array:
    """The scores by NumPy, every step in ``dtype``."""
    left, right = (x.astype(np.int64) - QUANTS[n][1] for n, x in (("q", Q), ("k", K)))
    step = float(F32(QUANTS["q"][0])) * float(F32(QUANTS["k"][0]))
    with np.errstate(over="ignore"):
        x = ((left @ right) * step).astype(dtype)
        x = {"Div": x / dtype(4), "Mul": dtype(4) * x, "": x}[scale]
        return x + _real("mask", MASK, dtype) if mask else x


def _placed(session: SimSession) -> set[str]:
    opened = session.opened()
    assert opened.reasons == {}
    return {name for place, name, op in opened.nodes if place == "npu" and op != "QuantizeLinear"}


@pytest.mark.parametrize("scale", ["Div", "Mul", ""])
@pytest.mark.parametrize("mask", [True, False])
@pytest.mark.parametrize("dtype", [F16, F32])
@pytest.mark.parametrize("quantized", [True, False])
def test_fused_scores_are_numpys(scale: str, mask: bool, dtype: Any, quantized: bool) -> None:
    """No quantizer before the Softmax, whether the model writes one or not."""
    model = _model(quantized, scale, mask)
    kind = np.dtype(dtype).name
    fusion = {"attention_scores": "fused", "attention_softmax": {"arithmetic": kind}}
    made, session = _run(model, fusion)
    expected = _integers("p", _softmax(_scores(dtype, scale, mask)))
    gap = np.abs(made.astype(np.int64) - expected)
    # NumPy's exp and sum are off by an ulp now and then, ours are rounded once.
    ulp = 65535 * float(np.finfo(dtype).eps)
    assert gap.max() <= max(1, 4 * ulp), gap.max()
    assert (gap > 0).mean() < 0.01
    there = {"scores", "softmax", "made"} | ({"scaled"} if scale else set())
    assert _placed(session) == there | ({"masked"} if mask else set())


@pytest.mark.parametrize("dtype", [F16, F32])
def test_a_softmax_of_written_scores_has_the_precision_that_is_asked_for(dtype: Any) -> None:
    model = _model(quantized=True)
    made, _ = _run(model, {"attention_softmax": {"arithmetic": np.dtype(dtype).name}})
    outputs = [*model.graph.output, helper.make_tensor_value_info("a", TensorProto.UINT8, None)]
    model.graph.ClearField("output")
    model.graph.output.extend(outputs)
    feed = {"q": Q, "k": K, "v": V, "mask": MASK}
    scores = SimSession(program_of(model), Profile(name="p")).run(feed)[-1]
    x = _real("a", scores - scores.max(axis=-1, keepdims=True).astype(np.int64) + 250, dtype)
    grown = np.exp(x)
    expected = _integers("p", grown / grown.sum(axis=-1, keepdims=True))
    gap = np.abs(made.astype(np.int64) - expected)
    assert gap.max() <= max(1, 4 * 65535 * float(np.finfo(dtype).eps))
    assert (gap > 0).mean() < 0.05


def test_each_key_changes_the_answer_and_nothing_but_an_attention() -> None:
    model = _model()
    plain, _ = _run(model, {})
    half, _ = _run(model, {"attention_softmax": {"arithmetic": "float16"}})
    coarse, _ = _run(model, {"attention_softmax": {"arithmetic": "table", "entries": 16}})
    fused, _ = _run(model, {"attention_scores": "fused"})
    wrong, _ = _run(model, {"attention_softmax": {"relative_error": 0.3}})
    answers = [plain, half, coarse, fused, wrong]
    for i, one in enumerate(answers):
        for other in answers[i + 1 :]:
            assert (one != other).any()
    # A Softmax that feeds no MatMul is none of an attention.
    lone = _model()
    for node in lone.graph.node:
        if node.name == "made":
            node.op_type = "Add"
            node.input[1] = "p_r"
    for fusion in (
        {"attention_softmax": {"arithmetic": "float16"}}, {"attention_scores": "fused"}
    ):  # fmt: skip
        np.testing.assert_array_equal(_run(lone, fusion)[0], _run(lone, {})[0])


def test_scores_that_others_read_are_not_fused() -> None:
    model = _model()
    model.graph.node.append(
        helper.make_node("DequantizeLinear", ["s", "s_s", "s_z"], ["told"], name="told")
    )
    model.graph.output.append(helper.make_tensor_value_info("told", TensorProto.FLOAT, None))
    fused, _ = _run(model, {"attention_scores": "fused"})
    np.testing.assert_array_equal(fused, _run(_model(), {})[0])


def test_a_matmul_on_the_cpu_is_not_fused() -> None:
    fallback = {"ops": ["MatMul"]}
    made, session = _run(_model(), {"attention_scores": "fused"}, fallback=fallback)
    assert session.opened().reasons["scores"] == "the profile sends MatMul to the CPU"
    assert np.abs(made.astype(int) - _run(_model(), {}, fallback=fallback)[0]).max() == 0


def test_a_table_of_every_integer_is_the_function_itself() -> None:
    """N47: 256 entries for 8 bits; fewer are linear between."""
    fine, _ = _run(_model(), {"attention_softmax": {"arithmetic": "table", "entries": 256}})
    exact, _ = _run(_model(), {"attention_softmax": {"arithmetic": "exact"}})
    assert np.abs(fine.astype(int) - exact).max() <= 0
    rough, _ = _run(_model(), {"attention_softmax": {"arithmetic": "table", "entries": 8}})
    outputs = {"a": TensorProto.UINT8}
    model = _model()
    model.graph.ClearField("output")
    model.graph.output.extend(helper.make_tensor_value_info(n, k, None) for n, k in outputs.items())
    feed = {"q": Q, "k": K, "mask": MASK}
    (scores,) = SimSession(program_of(model), Profile(name="p")).run(feed)
    below = scores.max(axis=-1, keepdims=True).astype(np.int64) - scores
    step = float(F32(QUANTS["a"][0]))
    knots = np.exp(-np.arange(0, 257, 32) * step)
    grown = np.interp(below, np.arange(0, 257, 32), knots)
    share = grown / grown.sum(axis=-1, keepdims=True) / float(F32(1 / 65535))
    np.testing.assert_array_equal(rough, np.clip(np.rint(share), 0, 65535))


def test_a_profiles_file_says_it() -> None:
    text = '[fusion]\nattention_scores = "fused"\nattention_softmax = { arithmetic = "float16" }\n'
    rules = parse_profile(text, "mine", "Profile mine.toml")
    fused, _ = _run(_model(), rules.fusion.model_dump())
    assert (fused != _run(_model(), {})[0]).any()
    for more, line, words in (
        ('"table"', 1, 'contradicts attention_scores = "fused"'),
        ('"exact", entries = 12', 3, 'attention_softmax.entries needs arithmetic = "table"'),
        ('"float17"', 3, "attention_softmax.arithmetic: found 'float17'"),
        ('"exact", widht = 1', 3, "attention_softmax.widht: no such rule"),
    ):
        with pytest.raises(ChipdriftError) as caught:
            parse_profile(text.replace('"float16"', more), "mine", "Profile mine.toml")
        assert str(caught.value).startswith(f"Profile mine.toml, line {line}: ")
        assert words in str(caught.value)

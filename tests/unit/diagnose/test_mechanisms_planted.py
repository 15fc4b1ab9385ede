"""Mechanisms that no op shows alone, or that are not about integers: planted, and named.

B is a profile of which the diagnosis knows nothing, unless a test says so.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from exams import Exams, looked
from onnx import TensorProto, helper, numpy_helper
from qdq_models import Qdq

from chipdrift.diagnose.exam import Exam
from chipdrift.findings import Explanation
from support import transformer

Array = np.ndarray[Any, Any]
PLAIN = '[requantize]\nrounding = "HALF_EVEN"\n'


def profile(folder: Path, name: str, text: str) -> str:
    path = folder / f"{name}.toml"
    path.write_text(f'evidence = "hypothesis"\n{text}')
    return f"sim:{path}"


def told(exam: Exam) -> dict[str, set[str]]:
    """Each node's mechanisms; none may be left unexplained."""
    for explanation in exam.diagnosis.explanations:
        assert explanation.unexplained < 1e-9, explanation
    return {e.node: {m.mechanism for m in e.mechanisms} for e in exam.diagnosis.explanations}


def only(exam: Exam) -> Explanation:
    (found,) = exam.diagnosis.explanations
    return found


def stepwise(norm: bool = False) -> Qdq:
    """A convolution on a coarse grid, and a Relu behind it on a finer one."""
    b = Qdq(2)
    y = b.conv(b.input("x", (1, 6, 7, 10)), 0.0123, (12, 6, 3, 3), "y")
    if norm:
        rng = np.random.default_rng(4)
        names = [
            b.constant(name, rng.uniform(low, high, 12).astype(np.float32))
            for name, low, high in (("g", 0.5, 2), ("b", -1, 1), ("m", -1, 1), ("v", 0.5, 3))
        ]
        b.output(b.add("BatchNormalization", [y, *names], "norm"), 0.7, 120)
        return b
    b.output(b.add("Relu", [b.rounded(y, 1.1, 130)], "relu"), 0.4, 20)
    return b


def compared(exam_of: Exams, net: Qdq, a: str, b: str, known: bool = False) -> Exam:
    feeds = [net.feed(seed) for seed in range(4)]
    profiles = {} if known else {b: ""}
    return exam_of(net.model().SerializeToString(), feeds, a, b, profiles=profiles)


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("turned", [False, True])
def test_an_activation_fused_with_the_convolution(
    exam_of: Exams, tmp_path: Path, known: bool, turned: bool
) -> None:
    fused = profile(tmp_path, "fused", PLAIN + '[fusion]\nactivation = "fused"\n')
    plain = profile(tmp_path, "plain", PLAIN)
    a, b = (fused, plain) if turned else (plain, fused)
    exam = compared(exam_of, stepwise(), a, b, known)
    assert told(exam) == {"n_relu": {"fused_activation"}}
    own = exam.own("n_relu")
    assert own is not None and own.together == ("n_y",) and own.distance is not None
    assert own.distance.differing > 0.01
    (finding,) = looked(exam, "mechanism")
    assert finding.title == "An activation fused with the op before it in n_relu"
    assert finding.nodes == ("n_relu",) and "in one" in finding.words


def test_a_fused_activation_and_what_the_convolution_adds_itself(
    exam_of: Exams, tmp_path: Path
) -> None:
    both = '[requantize]\nrounding = "FLOOR"\n[fusion]\nactivation = "fused"\n'
    b = profile(tmp_path, "both", both)
    exam = compared(exam_of, stepwise(), profile(tmp_path, "plain", PLAIN), b)
    assert told(exam) == {"n_y": {"rounding"}, "n_relu": {"fused_activation"}}
    names = {part.mechanism for part in exam.diagnosis.attributions}
    assert names == {"rounding", "fused_activation"}
    assert exam.diagnosis.unexplained == pytest.approx(0)


def test_a_rare_overflow_in_the_last_sample(exam_of: Exams, tmp_path: Path) -> None:
    """Nodes are run alone on the samples that part, not on the first ones."""
    narrow = '[accumulator]\nwidth = 16\noverflow = "saturate"\n'
    net = stepwise()
    loud = net.feed(3)
    quiet = {name: np.full_like(values, 128) for name, values in loud.items()}
    a, b = profile(tmp_path, "plain", PLAIN), profile(tmp_path, "narrow", PLAIN + narrow)
    data = net.model().SerializeToString()
    exam = exam_of(data, [*[quiet] * 6, loud], a, b, samples=7, profiles={b: ""})
    assert told(exam) == {"n_y": {"accumulator_overflow"}}
    # Everything beside the tensors is in the same order.
    assert exam.asker_a is not None
    for feed, kept in zip(exam.feeds, exam.tensors_a, strict=False):
        (answer,) = exam.asker_a.ask_all(exam.anatomy.tapped, [feed])
        held = dict(zip(exam.anatomy.tensors, answer, strict=True))
        assert all(np.array_equal(held[name], values) for name, values in kept.items())


def test_layers_share_the_drift_as_mechanisms_do(exam_of: Exams, tmp_path: Path) -> None:
    both = '[requantize]\nrounding = "FLOOR"\n[fusion]\nactivation = "fused"\n'
    b = profile(tmp_path, "both", both)
    found = compared(exam_of, stepwise(), profile(tmp_path, "plain", PLAIN), b).diagnosis
    by_layer = {layer.nodes: layer.drift for layer in found.layers}
    by_name = {part.nodes: part.drift for part in found.attributions}
    # One mechanism at one node each, so that both games are the same.
    assert set(by_layer) == set(by_name) == {("n_y",), ("n_relu",)}
    for nodes, share in by_layer.items():
        assert share == pytest.approx(by_name[nodes])
    assert sum(by_layer.values()) == pytest.approx(1)


def test_a_batch_normalization_fused_into_the_convolution(exam_of: Exams, tmp_path: Path) -> None:
    b = profile(tmp_path, "fused", PLAIN + '[fusion]\nbatch_norm = "fused"\n')
    exam = compared(exam_of, stepwise(norm=True), profile(tmp_path, "plain", PLAIN), b)
    assert told(exam) == {"n_y": {"fused_norm"}}
    assert exam.diagnosis.unexplained == pytest.approx(0)


@pytest.fixture(scope="module")
def attention(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    return transformer.write(tmp_path_factory.mktemp("attention"))


@pytest.mark.parametrize(
    "fusion",
    [
        'attention_scores = "fused"',
        'attention_softmax = { arithmetic = "table", entries = 32 }',
        'attention_scores = "fused"\nattention_softmax = { arithmetic = "float16" }',
    ],
)
def test_an_attention_computed_in_one(
    exam_of: Exams, tmp_path: Path, attention: tuple[Path, Path, Path], fusion: str
) -> None:
    model, data, calibration = attention
    node = "layer1/attention/softmax"
    b = profile(tmp_path, "fused", f'{PLAIN}[[rule]]\nnodes = ["{node}"]\n[rule.fusion]\n{fusion}')
    exam = exam_of(
        model,
        data,
        profile(tmp_path, "plain", PLAIN),
        b,
        scheme="w8a8",
        calibration=calibration,
        profiles={b: ""},
    )
    found = told(exam)
    assert found == {node: {"fused_attention"}}
    (finding,) = looked(exam, "mechanism")
    assert finding.nodes == (node,)


WIDE = "w8a16_pc"


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ("", '[narrow]\narithmetic = "exact"\n'),
        ('[narrow]\narithmetic = "exact"\n', ""),
        (
            '[narrow]\narithmetic = "exact"\n',
            '[narrow]\narithmetic = "fixed_point"\nfraction = 3\n',
        ),
    ],
)
def test_a_second_activation_brought_to_8_bits(
    exam_of: Exams, tmp_path: Path, attention: tuple[Path, Path, Path], a: str, b: str
) -> None:
    model, data, calibration = attention
    names = [profile(tmp_path, name, PLAIN + text) for name, text in (("a", a), ("b", b))]
    exam = exam_of(
        model,
        data,
        *names,
        scheme=WIDE,
        calibration=calibration,
        profiles={names[1]: ""},
    )
    found = told(exam)
    products = {f"layer{i}/attention/{name}" for i in (0, 1) for name in ("scores", "mixed")}
    assert found and set(found) <= products
    assert all(names == {"narrowed_operand"} for names in found.values())


def halves(depth: int, scale: float, rows: int = 8) -> bytes:
    """``x`` (1, rows, depth) float16 times a constant, a Relu, and a product behind it."""
    rng = np.random.default_rng(3)
    w = (rng.standard_normal((depth, 24)) * scale).astype(np.float16)
    v = rng.standard_normal((24, 10)).astype(np.float16)
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "w"], ["h"], name="first"),
            helper.make_node("Relu", ["h"], ["r"], name="relu"),
            helper.make_node("MatMul", ["r", "v"], ["y"], name="second"),
        ],
        "halves",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT16, [1, rows, depth])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT16, [1, rows, 10])],
        [numpy_helper.from_array(a, n) for n, a in (("w", w), ("v", v))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])
    model.ir_version = 9
    return bytes(model.SerializeToString())


BASE = "[floats]\naccumulate = 32\n"
FLOATS: dict[str, tuple[str, str, float]] = {
    "blocks": ("float16_order", 'accumulate = 32\norder = "blocks"\nblock = 8\n', 1.0),
    "narrow": ("float16_order", "accumulate = 16\n", 1.0),
    "products": ("float16_order", 'accumulate = 32\nproducts = "float16"\n', 1.0),
    "cut": ("float16_order", 'accumulate = 32\noutput = "TOWARD_ZERO"\n', 1.0),
    "flush": ("float16_range", 'accumulate = 32\nsubnormals = "flush"\n', 2.0**-18),
    "clamp": ("float16_range", 'accumulate = 32\noverflow = "clamp"\n', 2.0**12),
}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("planted", FLOATS)
def test_float16_by_another_range_or_order(
    exam_of: Exams, tmp_path: Path, planted: str, known: bool
) -> None:
    mechanism, text, scale = FLOATS[planted]
    rng = np.random.default_rng(8)
    feeds = [{"x": rng.standard_normal((1, 8, 300)).astype(np.float16)} for _ in range(4)]
    a, b = profile(tmp_path, "a", BASE), profile(tmp_path, "b", f"[floats]\n{text}")
    exam = exam_of(halves(300, scale), feeds, a, b, profiles={} if known else {b: ""})
    found = told(exam)
    assert "first" in found
    assert all(names == {mechanism} for names in found.values())
    assert {finding.check for finding in looked(exam, "mechanism")} == {"mechanism"}


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("turned", [False, True])
@pytest.mark.parametrize("text", ["accumulate = 16\n", "accumulate = 32\n"])
def test_float16_by_rules_against_the_cpu(
    exam_of: Exams, tmp_path: Path, text: str, turned: bool, known: bool
) -> None:
    """One side says nothing of float16, so that onnxruntime's kernel computes it."""
    rng = np.random.default_rng(8)
    feeds = [{"x": rng.standard_normal((1, 8, 300)).astype(np.float16)} for _ in range(4)]
    rule = f'{PLAIN}[[rule]]\nnodes = ["first"]\n[rule.floats]\n{text}'
    names = [profile(tmp_path, "plain", PLAIN), profile(tmp_path, "floats", rule)]
    a, b = names[::-1] if turned else names
    exam = exam_of(halves(300, 1.0), feeds, a, b, profiles={} if known else {b: ""})
    assert told(exam) == {"first": {"fallback" if turned else "float16_order"}}
    if any(output.distance.differing for output in exam.diagnosis.outputs):
        assert exam.diagnosis.unexplained == pytest.approx(0)


@pytest.mark.htp
def test_two_chips_sum_float16_otherwise(exam_of: Exams) -> None:
    """v73 rounds the sum to float32 on the way, v69 does not: told where sums cancel."""
    pytest.importorskip("onnxruntime_qnn")
    rng = np.random.default_rng(8)
    # One sum in some thousands is next to a half of float16 by less than float32's last bit.
    feeds = [{"x": rng.standard_normal((1, 1024, 16)).astype(np.float16)} for _ in range(4)]
    exam = exam_of(halves(16, 1.0, 1024), feeds, "htp:sm8450", "htp:sm8550")
    found = told(exam)
    assert found and set(found) <= {"first", "second"}
    assert all(names == {"float16_order"} for names in found.values())
    (finding,) = looked(exam, "mechanism")
    assert "rounds to float32 on the way" in finding.words

"""Questions at the edges: the sums they ask for, and the rules that they tell apart."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from chipdrift.numerics.profile import PLAIN, Accumulator, Requantize
from chipdrift.numerics.requantize import channels, requantize, scales
from chipdrift.probe.edges import Draft, draft_of, edges, placed, sharpest
from chipdrift.probe.predict import Evidence, Pool
from chipdrift.probe.settings import Kind, Setting, Wish, evidence_of

KINDS: tuple[Kind, ...] = (
    "gemm",
    "matmul",
    "pointwise",
    "plain",
    "depthwise",
    "depthwise_stride2",
)


def made(entry: Evidence, rules: Requantize) -> Any:
    """The outputs by the reference."""
    factors = scales(entry.x_scale, entry.w_scale, entry.y_scale, rules.scale)
    constants = channels(factors, entry.bias, entry.x_scale, entry.w_scale, entry.zero_point, rules)
    return requantize(
        entry.products, entry.correction, constants, entry.zero_point, entry.low, entry.high,
        entry.accumulator, rules,
    )  # fmt: skip


def onnx_sums(setting: Setting) -> Any:
    """The sums of stored integers by onnx's own reference, (rows, channels)."""
    one = setting.one
    held = np.asarray(setting.w_side.integers, np.float64)
    op = "MatMul" if one.op == "Gemm" else one.op
    held = held.T if one.op == "Gemm" else held
    node = onnx.helper.make_node(
        op, ["x", "w"], ["y"], **({} if op == "MatMul" else one.attributes)
    )
    double = onnx.TensorProto.DOUBLE
    graph = onnx.helper.make_graph(
        [node],
        "sums",
        [onnx.helper.make_tensor_value_info(n, double, None) for n in ("x", "w")],
        [onnx.helper.make_tensor_value_info("y", double, None)],
    )
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 21)])
    (y,) = ReferenceEvaluator(model).run(None, {"x": setting.x.astype(np.float64), "w": held})
    return y if y.ndim == 2 else np.moveaxis(y, 1, -1).reshape(-1, y.shape[1])


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", KINDS)
def test_a_question_has_the_sums_it_was_made_for(kind: Kind, bits: int) -> None:
    rng = np.random.default_rng(7)
    draft = draft_of(rng, kind, bits, [Requantize()], PLAIN)
    low, high = draft.reach
    assert ((high - low) > 1_000).all()
    assert (high - low).max() > 200_000
    wanted = rng.integers(low, high + 1, (36, len(low)))
    wanted[0], wanted[1] = low, high
    setting = placed(rng, draft, wanted)
    sums = onnx_sums(setting)
    assert np.array_equal(sums, setting.sums)
    if kind == "depthwise":
        sums = sums.reshape(16, 16, -1)[::3, ::3].reshape(36, -1)
    elif kind == "depthwise_stride2":
        sums = sums.reshape(11, 11, -1)[::2, ::2].reshape(36, -1)
    assert np.array_equal(sums, wanted)
    assert setting.x.min() >= 0
    assert setting.x.max() < 1 << bits


RULES = (
    Requantize(),
    Requantize(multiplier="significand", bits=7, zero_point="accumulator", drop=4),
    Requantize(scale="float32", multiplier="float32", rounding="FLOOR"),
    Requantize(multiplier="significand", bits=31, steps="double", bias="float32"),
    Requantize(drop=8, parts="apart", keep=2, drop_rounding="MIDPOINT_NONZERO"),
)


@pytest.mark.parametrize("rules", RULES, ids=str)
def test_an_output_steps_at_an_edge(rules: Requantize) -> None:
    rng = np.random.default_rng(3)
    drafts = [draft_of(rng, "gemm", 8, [rules], PLAIN) for _ in range(6)]
    for draft, sums in zip(drafts, edges(rng, drafts, rules), strict=True):
        out = made(draft.evidence(sums), rules)
        below, above = np.split(sums, 2)
        step = np.diff(np.split(out, 2), axis=0)[0]
        ends = [made(draft.evidence(end[np.newaxis]), rules)[0] for end in draft.reach]
        one = ends[0] == ends[1]
        assert not one.all()
        assert (step[:, ~one] > 0).all()
        assert (above - below == 1)[:, ~one].all()


# Rules that answer almost alike, in either order, each with what tells them apart.
CLOSE: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "S next to where 11 bits turn": (
        {"scale": "float64", "multiplier": "significand", "bits": 11},
        {"scale": "float32", "multiplier": "significand", "bits": 11},
    ),
    "S next to where 11 bits turn, behind a drop": (
        {"scale": "exact", "multiplier": "significand", "bits": 11, "drop": 4},
        {"scale": "float32_max", "multiplier": "significand", "bits": 11, "drop": 4},
    ),
    "large sums": (
        {"scale": "float32", "multiplier": "fixed_point", "bits": 23},
        {"scale": "float32"},
    ),
    "large sums, rounded twice": (
        {"scale": "float32_max", "multiplier": "significand", "bits": 30, "steps": "double"},
        {"scale": "float32_max", "multiplier": "significand", "bits": 22, "steps": "double"},
    ),
    "the largest scale first": ({"scale": "float32_max"}, {"scale": "float32"}),
    "a ratio's ties": ({"scale": "exact"}, {"scale": "float64"}),
    "a ratio's ties, nearly": (
        {"multiplier": "float32", "keep": 3, "drop_rounding": "MIDPOINT", "rounding": "HALF_AWAY"},
        {"scale": "float32", "keep": 3, "drop_rounding": "MIDPOINT"},
    ),
    "ties below zero": ({"rounding": "HALF_UP"}, {"rounding": "HALF_AWAY"}),
    "sums near zero": (
        {"drop": 3, "drop_rounding": "MIDPOINT"},
        {"drop": 3, "drop_rounding": "MIDPOINT_NONZERO"},
    ),
    "large biases": ({"bias": "float32", "bias_rounding": "HALF_EVEN"}, {"bias": "exact"}),
    "large biases, rounded": (
        {"bias": "float32", "bias_rounding": "HALF_EVEN"},
        {"bias": "float32", "bias_rounding": "HALF_AWAY"},
    ),
    "the kept bits of small scales": ({"keep": 12}, {}),
    "powers of two": ({"keep": 3, "multiplier": "significand", "bits": 11}, {
        "keep": 3, "multiplier": "significand", "bits": 12
    }),
}  # fmt: skip


@pytest.mark.parametrize("name", CLOSE)
@pytest.mark.parametrize("turned", [False, True], ids=["", "turned"])
def test_close_rules_are_parted(name: str, turned: bool) -> None:
    rivals = [Requantize(**fields) for fields in CLOSE[name]]
    rivals = rivals[::-1] if turned else rivals
    rng = np.random.default_rng(11)
    # The probe gives up after three questions in a row that part nothing.
    questions = [sharpest(rng, "gemm", 8, rivals, PLAIN) for _ in range(3)]
    assert any(parted == 1 for _, parted in questions)
    for setting, parted in questions:
        entry = evidence_of(setting, np.zeros_like(setting.sums))
        differs = made(entry, rivals[0]) != made(entry, rivals[1])
        assert bool(differs.any()) == bool(parted)


def test_the_same_rules_are_not_parted() -> None:
    # A float32 scale has 24 bits: no multiplier of 24 or more loses any.
    rivals = [
        Requantize(scale="float32"),
        Requantize(scale="float32", multiplier="significand", bits=24),
        Requantize(scale="float32", multiplier="significand", bits=31),
    ]
    rng = np.random.default_rng(5)
    assert [sharpest(rng, "plain", 8, rivals, PLAIN)[1] for _ in range(4)] == [0] * 4


def test_a_tie_of_a_ratio_is_a_tie() -> None:
    # S = 1/6, which no sum of powers of two is; 3, 9, 15 ... times it are halves.
    sums = 3 * np.arange(-40, 40).reshape(-1, 1)
    draft = Draft(
        Wish(kind="matmul", channels=1), np.float32(1), 0, np.float32(1),
        np.array([[1, 127]]), None, np.float32(6), 100,
    )  # fmt: skip
    for rounding in ("HALF_EVEN", "HALF_UP", "HALF_AWAY", "FLOOR"):
        rules = Requantize(rounding=rounding)
        entry = draft.evidence(sums)
        made_quickly = Pool([entry], everything=True).predict(rules).reshape(-1, 1)
        assert np.array_equal(made_quickly, made(entry, rules))


@pytest.mark.parametrize("width", [16, 24])
def test_no_sum_overflows_a_narrow_accumulator(width: Any) -> None:
    rng = np.random.default_rng(2)
    for _ in range(8):
        draft = draft_of(rng, "gemm", 8, [Requantize()], Accumulator(width=width))
        low, high = draft.reach
        assert draft.bias is not None
        for sums in (low, high):
            total = sums - draft.x_zero * draft.w.sum(axis=1) + draft.bias
            assert (np.abs(total) < 1 << (width - 1)).all()

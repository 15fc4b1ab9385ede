"""STOCHASTIC rounding: samples draw for themselves, runs repeat, both engines draw the same."""

from __future__ import annotations

import hashlib
import struct
import zlib
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from single_op import Case, Q, feed_of, model_of

from chipdrift.graph.program import program_of
from chipdrift.numerics.profile import Profile
from chipdrift.targets.sim.session import SimSession

Array = np.ndarray[Any, Any]
_WORD = 2**64

CHANCE = Profile(
    name="chance",
    seed=7,
    input={"rounding": "STOCHASTIC"},
    requantize={"rounding": "STOCHASTIC"},
    elementwise={"rounding": "STOCHASTIC", "arithmetic": "exact"},
)


def _splitmix(state: int) -> int:
    """SplitMix64's output function, from its paper."""
    state = (state ^ (state >> 30)) * 0xBF58476D1CE4E5B9 % _WORD
    state = (state ^ (state >> 27)) * 0x94D049BB133111EB % _WORD
    return state ^ (state >> 31)


def _model() -> onnx.ModelProto:
    """Two inputs of one kind, each quantized and rescaled; a MatMul, an Add, a Sigmoid."""
    constants = {
        "s": np.float32(0.05), "z": np.uint8(120), "t": np.float32(0.11), "u": np.uint8(90),
        "w": np.random.default_rng(1).integers(-99, 99, (8, 8)).astype(np.int8),
        "ws": np.float32(0.01), "wz": np.int8(0), "one": np.float32(1 / 256), "none": np.uint8(0),
    }  # fmt: skip
    nodes = []

    def node(op: str, ins: str, out: str) -> None:
        nodes.append(helper.make_node(op, ins.split(), [out], name=out))

    for x in "ab":
        node("QuantizeLinear", f"{x} s z", f"{x}q")
        node("DequantizeLinear", f"{x}q s z", f"{x}r")
    node("DequantizeLinear", "w ws wz", "wr")
    node("MatMul", "ar wr", "m")
    node("QuantizeLinear", "m t u", "mq")
    node("DequantizeLinear", "mq t u", "mr")
    node("Add", "mr br", "sum")
    node("QuantizeLinear", "sum t u", "sumq")
    node("DequantizeLinear", "sumq t u", "sumr")
    node("Sigmoid", "sumr", "g")
    node("QuantizeLinear", "g one none", "y")
    floats = [helper.make_tensor_value_info(x, TensorProto.FLOAT, [4, 8]) for x in "ab"]
    names = {"aq": TensorProto.UINT8, "bq": TensorProto.UINT8, "mq": TensorProto.UINT8}
    outs = [helper.make_tensor_value_info(n, kind, None) for n, kind in names.items()]
    outs += [helper.make_tensor_value_info(n, TensorProto.UINT8, None) for n in ("sumq", "y")]
    held = [numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "g", floats, outs, held)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)])


def _samples() -> list[dict[str, Array]]:
    rng = np.random.default_rng(2)
    made = [rng.uniform(-5, 6, (4, 8)).astype(np.float32) for _ in range(3)]
    return [{"a": x, "b": x} for x in made]


def _answers(order: list[int], profile: Profile, fast: bool) -> dict[int, list[Array]]:
    session = SimSession(program_of(_model()), profile, fast=fast)
    samples = _samples()
    return {index: session.run(samples[index]) for index in order}


def test_an_answer_is_its_samples_whatever_was_run_before_it() -> None:
    """Both engines, in any order, twice: a run that was stopped goes on in the middle."""
    first = _answers([0, 1, 2], CHANCE, fast=False)
    for order, fast in (([2, 0, 1], False), ([0, 1, 2], True), ([1], True), ([2, 2], True)):
        for index, outputs in _answers(order, CHANCE, fast).items():
            for mine, theirs in zip(outputs, first[index], strict=True):
                np.testing.assert_array_equal(mine, theirs)


def test_samples_nodes_and_seeds_draw_each_for_themselves() -> None:
    """Shifted by whole steps a sample has the same fractions: only the noise is another."""
    x = np.linspace(-1, 1, 400, dtype=np.float64).reshape(50, 8)
    samples = [{"a": (x + k * 0.05).astype(np.float32), "b": x.astype(np.float32)} for k in (0, 1)]
    session = SimSession(program_of(_model()), CHANCE)
    (aq, bq, *_), (shifted, again, *_) = (session.run(sample) for sample in samples)
    up = aq != np.floor(x / float(np.float32(0.05))) + 120
    assert (aq != bq).mean() > 0.2, "two quantizers of the same numbers"
    assert (bq != again).mean() > 0.2, "the same numbers in another sample"
    assert ((shifted - 1) != aq).mean() > 0.2
    other = SimSession(program_of(_model()), CHANCE.model_copy(update={"seed": 8}))
    assert (other.run(samples[0])[0] != aq).mean() > 0.2, "another seed"
    assert 0.3 < up.mean() < 0.7


def test_the_noise_is_splitmix_over_seed_sample_node_and_place() -> None:
    """N6 by hand, for an op between quantizers."""
    values = np.arange(200) % 251
    case = Case("Neg", [Q("uint8", 0.05, 0, values)], Q("int8", 0.4, 5))
    made = SimSession(program_of(model_of(case)), CHANCE, fast=True).run(feed_of(case))[0]
    (begin,) = struct.unpack("<Q", hashlib.sha256(values.astype(np.uint8).tobytes()).digest()[:8])
    stream = zlib.crc32(b"the_node")
    for i, value in enumerate(values.tolist()):
        start = (7 + begin) * 0xD1342543DE82EF95 + stream * 0xAF251AF3B0F025B5
        noise = _splitmix((start + i * 0x9E3779B97F4A7C15) % _WORD) >> 32
        ratio = float(np.float32(0.05)) / float(np.float32(0.4)) * -value
        floor = int(np.floor(ratio))
        assert made[i] == max(-128, floor + (noise < (ratio - floor) * 2**32) + 5)


def test_both_engines_agree_where_only_some_ops_round_by_chance() -> None:
    for table in ("requantize", "elementwise", "input"):
        rules = Profile(name="p", seed=3, **{table: {"rounding": "STOCHASTIC"}})
        expected = _answers([0, 1], rules, fast=False)
        for index, outputs in _answers([0, 1], rules, fast=True).items():
            for mine, theirs in zip(outputs, expected[index], strict=True):
                np.testing.assert_array_equal(mine, theirs)

"""Names through fusion: every float node is found again, under the node that took it in."""

from __future__ import annotations

import onnx
import pytest
from quantize_models import MODELS, loaded, quantized

from chipdrift.graph import tap_activations
from chipdrift.schemes import builtin_schemes

GELU = ("n_act_d", "n_act_e", "n_act_a", "n_act_x", "n_act")
NORM = tuple(f"_{part}" for part in "mdpvesqg")


def by_op(name: str, scheme: str) -> dict[str, list[tuple[str, ...]]]:
    made = quantized(name, scheme)
    ops: dict[str, list[tuple[str, ...]]] = {}
    for node in onnx.load_from_string(made.data).graph.node:
        if node.name in made.trace:
            ops.setdefault(node.op_type, []).append(made.trace[node.name])
    return ops


@pytest.mark.parametrize("scheme", list(builtin_schemes()))
@pytest.mark.parametrize("name", list(MODELS))
def test_no_float_node_is_lost_or_taken_twice(name: str, scheme: str) -> None:
    made = quantized(name, scheme)
    nodes = onnx.load_from_string(made.data).graph.node
    kept = {n.name for n in nodes if n.op_type not in ("QuantizeLinear", "DequantizeLinear")}
    assert set(made.trace) == kept
    traced = [source for sources in made.trace.values() for source in sources]
    assert sorted(traced) == sorted(node.name for node in loaded(name).proto.graph.node)
    # What stands for nothing only moves or widens.
    wrappers = {n.name for n in nodes if n.op_type in ("Cast", "Reshape", "Constant")}
    assert {node for node, sources in made.trace.items() if not sources} <= wrappers


def test_conv_batch_norm_and_activation() -> None:
    assert by_op("cnn", "w8a8") == {
        "Conv": [("n_c1", "n_b1", "n_r1"), ("n_c2", "n_b2", "n_k2"), ("n_c3", "n_r3")],
        "ConvTranspose": [("n_c4",)],
        "GlobalAveragePool": [("n_p",)],
        "Flatten": [("n_f",)],
        "Gemm": [("n_y",)],
    }


@pytest.mark.parametrize("scheme", ["w8a8", "w8a16_pc"])
def test_gelu_layernorm_and_matmul_with_bias(scheme: str) -> None:
    ops = by_op("attention", scheme)
    assert [sorted(t) for t in ops["Gelu"]] == [sorted(GELU)]
    assert [sorted(t) for t in ops["LayerNormalization"]] == [
        sorted(("n_ln1", *(f"n_ln1{part}" for part in NORM))),
        sorted(("n_ln2", *(f"n_ln2{part}" for part in NORM))),
    ]
    assert sorted(ops["Gemm"]) == [("n_k0", "n_k"), ("n_q0", "n_q"), ("n_v0", "n_v")]
    assert set(ops["Reshape"]) == {()}


def test_float16_activations_are_tapped() -> None:
    """What an audit compares: every activation of the converted model, not its output alone."""
    tapped = onnx.load_from_string(tap_activations(quantized("cnn", "fp16").data))
    found = {v.name for v in tapped.graph.output}
    assert {"y", "b1", "r1", "k2", "r3", "c4", "p", "f"} <= found


def test_through_float16() -> None:
    made = quantized("cnn", "fp16")
    for node in loaded("cnn").proto.graph.node:
        assert made.trace[node.name] == (node.name,)
    assert {sources for node, sources in made.trace.items() if "cast" in node} == {()}
    widened = quantized("half", "w8a8").trace
    assert widened["n_c1"] == ("n_c1", "n_r1")
    assert widened["x_cast"] == widened["y_cast"] == ()

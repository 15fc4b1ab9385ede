"""Logs that onnxruntime-qnn 2.7.0 wrote, shortened: what they say, as read by hand."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from logs_models import DATA, as_logcat

from chipdrift.logs import read_log, read_text


def test_an_op_that_the_npu_lacks() -> None:
    found = read_log(DATA / "ort_qnn_w8a8_sm8450.log")
    (fall,) = found.fallbacks
    assert (fall.node, fall.op, fall.processor) == ("erf", "Erf", "cpu")
    assert fall.reason is not None
    assert fall.reason.startswith("Operators of type `Erf` are not supported by QNN EP.")
    assert (found.graph_io, found.conversions) == (2, 2)
    npu = {p.node for p in found.placements if p.processor == "npu" and "Linear" not in str(p.op)}
    assert npu == {"conv", "conv2", "mul", "pool", "flatten", "gemm"}
    assert {(c.field, c.value) for c in found.chips} >= {("soc", "SM8450"), ("soc_model", "36")}
    scales = {t.tensor: t.quantizer for t in found.quantizers}
    assert scales["y_QuantizeLinear_Output"].scale == (0.024024,)
    assert scales["y_QuantizeLinear_Output"].zero_point == (161,)
    assert found.damage == ()


def test_a_chip_without_fp16() -> None:
    """The provider says "Failed to add node."; the backend's error before it says why."""
    found = read_log(DATA / "ort_qnn_fp16_sm7550.log")
    causes = {fall.node: fall.causes for fall in found.fallbacks}
    assert set(causes) >= {"conv", "relu", "conv2", "clip2", "mul", "pool", "flatten", "gemm"}
    for node, cause in causes.items():
        if node != "erf":
            assert "The SocModel doesn't support FP16" in cause, node
    assert causes["erf"] == ()
    (error,) = [t for t in found.troubles if t.source == "onnxruntime" and t.severity == "error"]
    assert error.node == "conv_token_1"
    assert "NHWC" in error.text


def test_a_node_that_is_refused_at_first_and_then_taken() -> None:
    found = read_log(DATA / "ort_qnn_fused_sm8550.log")
    assert [f.node for f in found.fallbacks] == ["/out/Mod"]
    assert "/hs/HardSigmoid" in {r.node for r in found.refusals}
    (place,) = [p for p in found.placements if p.node == "/hs/HardSigmoid"]
    assert (place.processor, place.how) == ("npu", "validated")
    fused = {fusion.name: fusion.nodes for fusion in found.fusions}
    assert fused["GeluFusion"] == (
        "/gelu/Div",
        "/gelu/Erf",
        "/gelu/Add",
        "/gelu/Mul",
        "/gelu/Mul_1",
    )
    assert fused["LayerNormFusionL1"] == ()
    assert "/mm/MatMul/MatMulAddFusion" in fused["ReshapeGemmFusionGroup"]


def test_every_reason_of_the_file_is_found() -> None:
    for name in ("ort_qnn_w8a8_sm8450", "ort_qnn_fp16_sm7550", "ort_qnn_fused_sm8550"):
        text = (DATA / f"{name}.log").read_text(encoding="utf-8")
        found = read_log(DATA / f"{name}.log")
        reasons = re.findall(r"REASON : (.*)", text)
        assert sum(r.count for r in found.refusals) == len(reasons)
        assert {r.reason for r in found.refusals} == {reason.strip() for reason in reasons}
        names = set(re.findall(r"Node name: (\S+) Node index", text))
        said = {p.node for p in found.placements}
        for node in names:
            plain = re.sub(r"(_token_\d+|/duplicated)$", "", node)
            assert {node, plain} & said or plain == "Transpose", node


def test_two_processes_interleaved_in_logcat(tmp_path: Path) -> None:
    """Each process's lines are put together by themselves: the same as the logs alone."""
    first = as_logcat((DATA / "ort_qnn_w8a8_sm8450.log").read_bytes(), 4100, 4123)
    second = as_logcat((DATA / "ort_qnn_fp16_sm7550.log").read_bytes(), 5200, 5200)
    mixed = [line for pair in zip(first, second, strict=False) for line in pair]
    mixed += first[len(second) :] + second[len(first) :]
    path = tmp_path / "logcat.txt"
    path.write_bytes(b"--------- beginning of main\n" + b"\n".join(mixed) + b"\n")
    found = read_log(path)
    alone = [read_log(DATA / f"ort_qnn_{n}.log") for n in ("w8a8_sm8450", "fp16_sm7550")]
    assert found.damage == ()
    said = {(f.node, f.reason, f.causes) for f in found.fallbacks}
    assert said == {(f.node, f.reason, f.causes) for a in alone for f in a.fallbacks}
    assert found.graph_io == 2
    assert len(found.quantizers) == len({t.tensor for a in alone for t in a.quantizers})


def test_processes_that_cannot_be_told_apart_are_said_so(tmp_path: Path) -> None:
    text = [
        (DATA / f"ort_qnn_{n}.log").read_bytes().split(b"\n")
        for n in ("w8a8_sm8450", "fp16_sm7550")
    ]
    mixed = [line for pair in zip(*text, strict=False) for line in pair]
    path = tmp_path / "mixed.log"
    path.write_bytes(b"\n".join(mixed))
    whats = " ".join(d.what for d in read_log(path).damage)
    assert "lost some of its lines" in whats


@pytest.mark.parametrize("runs", [2, 5])
def test_the_same_session_again_counts_and_changes_nothing(runs: int, tmp_path: Path) -> None:
    text = (DATA / "ort_qnn_w8a8_sm8450.log").read_bytes()
    path = tmp_path / "runs.log"
    path.write_bytes(text * runs)
    once, often = read_log(DATA / "ort_qnn_w8a8_sm8450.log"), read_log(path)
    assert [f.node for f in often.fallbacks] == ["erf"]
    assert often.fallbacks[0].count == runs * once.fallbacks[0].count
    assert often.lines == runs * once.lines
    assert often.read == runs * once.read
    assert [t.tensor for t in often.quantizers] == [t.tensor for t in once.quantizers]
    assert all(t.differing == 0 for t in often.quantizers)


def test_a_run_that_fell_is_not_hidden_by_a_later_one_that_did_not(tmp_path: Path) -> None:
    bad = (DATA / "ort_qnn_fp16_sm7550.log").read_bytes()
    good = (DATA / "ort_qnn_w8a8_sm8450.log").read_bytes()
    path = tmp_path / "both.log"
    path.write_bytes(bad + good)
    found = read_log(path)
    conv = [p for p in found.placements if p.node == "conv"]
    assert {p.processor for p in conv} == {"cpu", "npu"}
    assert "conv" in {f.node for f in found.fallbacks}


def test_three_sessions_as_they_were_written() -> None:
    """The logs without cuts, one after the other, packed."""
    found = read_log(DATA / "ort_qnn_whole.log.gz")
    said = {(f.node, f.reason, f.causes) for f in found.fallbacks}
    for name in ("w8a8_sm8450", "fp16_sm7550", "fused_sm8550"):
        alone = read_log(DATA / f"ort_qnn_{name}.log").fallbacks
        assert {(f.node, f.reason, f.causes) for f in alone} <= said
    assert {c.value for c in found.chips if c.field == "soc_model"} == {"36", "43", "64"}
    assert found.damage == ()
    assert found.unknown_lines < 0.15 * found.lines


def test_text_in_memory_says_what_its_file_says() -> None:
    path = DATA / "ort_qnn_fp16_sm7550.log"
    assert read_text(path.read_bytes(), path.name) == read_log(path)
    assert read_text(b"").lines == 0
    assert read_text(b"hello\n").foreign == 1


NAMELESS = """\
[V:onnxruntime:, q.cc:1 LogNodeSupport] Validation FAILED for 1 nodes in NodeUnit (Erf) :
\tOperator type: Erf Node name:  Node index: 3
\tREASON : no Erf here
"""
PLACED = """\
[V:onnxruntime:, s.cc:1 VerifyEachNodeIsAssignedToAnEp]  Node(s) placed on [CPUExecutionProvider]. N
[V:onnxruntime:, s.cc:1 VerifyEachNodeIsAssignedToAnEp]   Erf ()
[V:onnxruntime:, s.cc:1 VerifyEachNodeIsAssignedToAnEp]   Erf ()
[V:onnxruntime:, s.cc:1 VerifyEachNodeIsAssignedToAnEp]   Pad ()
"""


def test_nodes_without_a_name_are_counted_by_their_op(tmp_path: Path) -> None:
    path = tmp_path / "nameless.log"
    path.write_text(NAMELESS + PLACED)
    falls = {(f.node, f.op, f.reason, f.count) for f in read_log(path).fallbacks}
    assert falls == {(None, "Erf", "no Erf here", 2), (None, "Pad", None, 1)}
    path.write_text(NAMELESS)
    (fall,) = read_log(path).fallbacks
    assert (fall.node, fall.op, fall.reason) == (None, "Erf", "no Erf here")


def test_on_the_cpu_alone_nothing_fell(tmp_path: Path) -> None:
    path = tmp_path / "cpu.log"
    path.write_text(PLACED + PLACED.replace("Erf ()", "Erf (erf)"))
    found = read_log(path)
    assert found.fallbacks == ()
    assert {(p.node, p.op, p.count) for p in found.placements} >= {("erf", "Erf", 1)}


def test_an_error_is_a_cause_of_what_follows_it_only(tmp_path: Path) -> None:
    error = "[V:onnxruntime:Default, m.cc:5 QnnLogging]  <E> {}\n"
    trying = (
        "[V:onnxruntime:, b.cc:40 AddToModelBuilder] QNN node builder is trying to add node. "
        "Onnx node name: [erf] onnx node type: [Erf].\n"
    )
    refusal = NAMELESS.replace("name:  Node", "name: erf Node")
    path = tmp_path / "causes.log"
    path.write_text(error.format("another's") + trying + error.format("mine") + refusal)
    (fall,) = read_log(path).fallbacks
    assert fall.causes == ("mine",)


def test_a_quantizer_that_changes_is_counted(tmp_path: Path) -> None:
    text = (DATA / "ort_qnn_w8a8_sm8450.log").read_bytes()
    path = tmp_path / "two.log"
    path.write_bytes(text + text.replace(b"scale=0.024024 offset=-161", b"scale=0.5 offset=-7"))
    found = {t.tensor: t for t in read_log(path).quantizers}
    changed = found["y_QuantizeLinear_Output"]
    assert changed.quantizer.scale == (0.024024,)
    assert changed.differing > 0
    changes = text.count(b"scale=0.024024 offset=-161")
    assert sum(t.differing for t in found.values()) == changes

"""What the reader sees first: failed sessions, sessions apart, a total fallback, the next step."""

from __future__ import annotations

import gzip
import io
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from logs_models import DATA, as_logcat, save_erf_model

from chipdrift.logs import LogError, read_log, read_stream

if TYPE_CHECKING:
    from conftest import Cli

ALL_CPU = (
    "[V:onnxruntime:, session_state.cc:1146 VerifyEachNodeIsAssignedToAnEp] Node placements\n"
    "[V:onnxruntime:, session_state.cc:1149 VerifyEachNodeIsAssignedToAnEp]  All nodes placed on "
    "[CPUExecutionProvider]. Number of nodes: 57\n"
)
START = "[I:onnxruntime:, inference_session.cc:1670 Initialize] Initializing session.\n"
READY = "[I:onnxruntime:, inference_session.cc:3296 operator()] Session successfully initialized.\n"
NNAPI = (
    "[V:onnxruntime:, nnapi_execution_provider.cc:159 GetCapability] number of partitions "
    "supported by NNAPI: 2 number of nodes in the graph: 66 number of nodes supported by NNAPI: "
    "61\n"
)
NAMED = (
    "[V:onnxruntime:, q.cc:1 LogNodeSupport] Validation PASSED for 1 nodes in NodeUnit (Conv) :\n"
    "\tOperator type: Conv Node name: conv Node index: 3\n"
    "[V:onnxruntime:, q.cc:1 LogNodeSupport] Validation FAILED for 1 nodes in NodeUnit (Erf) :\n"
    "\tOperator type: Erf Node name: erf Node index: 4\n"
    "\tREASON : no Erf here\n"
)
RAISED = "onnxruntime.Fail: [ONNXRuntimeError] : 1 : FAIL : the graph is odd\n"


class Shows:
    """The text of a log, white space squeezed."""

    def __init__(self, cli: Cli, folder: Path) -> None:
        self._cli = cli
        self._path = folder / "a.log"

    def __call__(self, content: str | Path, *words: object) -> str:
        path = content if isinstance(content, Path) else self._path
        if isinstance(content, str):
            path.write_text(content)
        code, out, err = self._cli("logs", path, *words)
        assert (code, err) == (0, "")
        return " ".join(out.split())


@pytest.fixture
def shows(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Shows:
    monkeypatch.setenv("COLUMNS", "120")
    return Shows(cli, tmp_path)


def second(out: str, head: str) -> None:
    """``head`` is what follows the line with the file's name."""
    assert re.match(rf"a\.log: \S+ lines?; [\w, -]*?{re.escape(head)}", out), out


def test_a_total_fallback_leads(shows: Shows) -> None:
    out = shows(ALL_CPU)
    second(out, "Nothing ran on an NPU: all 57 nodes on the CPU, any conversions counted (line 2)")
    assert "chipdrift checks silent-fallback" in out
    second(shows(NNAPI), "Not all is on the NPU 5 of 66 nodes are not with NNAPI (line 1)")


def test_a_total_fallback_of_named_nodes_leads(shows: Shows) -> None:
    placed = "[V:onnxruntime:, s.cc:1 VerifyEachNodeIsAssignedToAnEp] "
    listed = f"{placed} Node(s) placed on [CPUExecutionProvider]. Number of nodes: 1\n"
    refused = NAMED[NAMED.index("[V:onnxruntime:, q.cc:1 LogNodeSupport] Validation FAILED") :]
    out = shows(f"{refused}{listed}{placed}  Erf (erf)\n")
    second(out, "Nothing ran on an NPU: the 1 node is on the CPU (line 5)")
    assert "1 node left the NPU" in out
    # A refusal alone is no list: other nodes may be where they should.
    assert "Nothing ran" not in shows(refused)
    assert "Nothing ran" not in shows(DATA / "ort_qnn_w8a8_sm8450.log")


def test_a_session_that_only_counts_does_not_vanish(shows: Shows) -> None:
    out = shows(START + NAMED + START + ALL_CPU)
    second(out, "2 sessions; what follows adds them up Session 1 (line 1)")
    assert "Nothing ran on an NPU: all 57 nodes on the CPU (line 9), in session 2 of 2" in out
    assert "57 nodes with CPUExecutionProvider" in out
    assert "57 of 57 nodes with CPUExecutionProvider" in out
    assert "1 QNNExecutionProvider (node," in out


def test_what_an_exception_ended(shows: Shows) -> None:
    second(shows(START + NAMED + RAISED), "No session came to be: the graph is odd (line 7)")
    out = shows(START + NAMED + READY + RAISED)
    second(out, "An inference failed: the graph is odd (line 8)")
    assert "1 node left the NPU" in out
    second(shows(NAMED + RAISED), "A session or an inference failed: the graph is odd (line 6)")


def test_refused_nodes_ran_nowhere(shows: Shows, tmp_path: Path) -> None:
    out = shows(START + NAMED + RAISED)
    assert "1 node refused: worst first 1 Erf: erf no Erf here" in out
    assert "left the NPU" not in out
    assert "silent-fallback" not in out
    (fall,) = read_log(tmp_path / "a.log").fallbacks
    assert (fall.ran, fall.processor) == (False, "unknown")
    # What went wrong on the way to a session that came to be did not end it.
    error = "[E:onnxruntime:, m.cc:1 FinalizeGraphs] Failed to finalize QNN graph. Error code: 1\n"
    assert "No session came to be: Failed to finalize QNN graph" in shows(START + NAMED + error)
    out = shows(START + NAMED + error + READY)
    assert "No session came" not in out
    assert "1 node left the NPU" in out


@pytest.mark.parametrize(
    ("line", "head"),
    [
        ("[E:onnxruntime:, qnn_model.cc:167 F] Failed to finalize QNN graph. Error code: 1002",)
        * 2,
        ("QnnDsp <E> Failed to finalize graph (id: 1) with err 1002",) * 2,
        ("[ERROR] [Qnn ExecuTorch]: Fail to compile QNN graph",) * 2,
        (
            "[E:onnxruntime:, m.cc:2 E] NPU crashed. SSR detected. Caused QNN graph execute error.",
            "An inference failed: NPU crashed. SSR detected.",
        ),
    ],
    ids=["onnxruntime-qnn", "qnn", "executorch", "crash"],
)
def test_what_ends_a_session_is_said_first(line: str, head: str, shows: Shows) -> None:
    if head == line:
        said = re.sub(r".*?(?=Fail)", "", line, count=1)
        head = f"No session came to be: {said} (line 2)"
    second(shows("[V:onnxruntime:, a.cc:1 A] Initializing\n" + line + "\n"), head)


def test_next_steps_are_checks_that_there_are(shows: Shows, cli: Cli) -> None:
    out = shows(DATA / "ort_qnn_whole.log.gz")
    steps = re.findall(r"chipdrift checks ([\w-]+)", out)
    assert steps == ["fp16-not-on-chip", "silent-fallback"]
    for step in steps:
        assert cli("checks", step)[0] == 0


def test_sessions_are_told_apart(shows: Shows) -> None:
    out = shows(DATA / "ort_qnn_whole.log.gz")
    assert "Session 3 of 3 did not come to be: Node 'conv_token_1'" in out
    parts = re.split(r"Session (?=\d \(line)", out)
    first, next_, last = (part.split("12 nodes refused: worst")[0] for part in parts[1:])
    text = gzip.decompress((DATA / "ort_qnn_whole.log.gz").read_bytes()).split(b"\n")
    starts = [n for n, line in enumerate(text, 1) if b"] Initializing session." in line]
    for part, start, chip, soc_model in zip(
        (first, next_, last), starts, ("SM8450", "SM8550", "SM7550"), (36, 43, 64), strict=True
    ):
        assert f"(line {start:,})" in part
        # The chip is named before the session starts, and is no other's.
        assert re.findall(r"soc_model (\d+) \((\w+)\)", part) == [(str(soc_model), chip)]
    assert "1 node with CPUExecutionProvider, 6 nodes with QNNExecutionProvider" in first
    assert "did not come to be: 12 nodes refused" in last
    for name, part in (("w8a8_sm8450", first), ("fused_sm8550", next_)):
        (alone,) = read_log(DATA / f"ort_qnn_{name}.log").sessions
        for share in alone.shares:
            assert f"{share.nodes} node{'s' * (share.nodes != 1)} with {share.provider}" in part
    assert "sessions;" not in shows(DATA / "ort_qnn_w8a8_sm8450.log")


def test_sessions_of_two_processes_have_their_own_chip(tmp_path: Path) -> None:
    first = as_logcat((DATA / "ort_qnn_w8a8_sm8450.log").read_bytes(), 4100, 4123)
    other = as_logcat((DATA / "ort_qnn_fp16_sm7550.log").read_bytes(), 5200, 5200)
    mixed = [line for pair in zip(first, other, strict=False) for line in pair]
    mixed += first[len(other) :] + other[len(first) :]
    path = tmp_path / "logcat.txt"
    path.write_bytes(b"\n".join(mixed) + b"\n")
    sessions = read_log(path).sessions
    models = [{c.value for c in s.chips if c.field == "soc_model"} for s in sessions]
    assert models == [{"36"}, {"64"}]
    assert [s.failed is None for s in sessions] == [True, False]


def test_errors_are_counted_by_lines_and_kinds(shows: Shows) -> None:
    out = shows(DATA / "ort_qnn_whole.log.gz")
    section = out.split(" errors of ")[1].split(" warnings")[0]
    counts = [int(count) for count in re.findall(r"(\d+) x line", section)]
    assert f"{sum(counts)} errors of {len(counts)} kinds beside these" in out
    assert sum(counts) > len(counts) == 3


def test_the_detected_chip_is_no_default_where_it_is_the_chip(shows: Shows) -> None:
    detected = "QnnDsp <V> Detected Snapdragon SOC SM8650 with 2 SOCs\n"
    chosen = "QnnDsp <V> SoC model name is {}\n"
    assert "SM8650 (detected)" in shows(detected)
    out = shows(detected + chosen.format("SM8650"))
    assert "Chip: SM8650 " in out
    assert "default" not in out
    out = shows(detected + chosen.format("SM8450"))
    assert "Chip: SM8450 The simulator's default, SM8650, stood there until that was" in out


def test_unknown_forms_are_one_line_and_those_like_errors(shows: Shows) -> None:
    plain = "".join(f"QnnDsp <V> frobnicate {word}\n" for word in "abcdefg")
    out = shows(plain)
    assert (
        "7 of the 7 lines that these sources wrote have a form that chipdrift does not know (7"
        in out
    )
    assert "empty line" not in out
    out = shows(f"{plain}\n\nsomething else\nQnnDsp <V> SoC model name is SM8450\n")
    assert "7 of the 8 lines that these sources wrote have" in out
    # With these all lines of the file are told.
    assert "1 line of none of these sources 2 empty lines" in out and "a.log: 11 lines" in out
    assert "frobnicate" not in out
    assert "look like errors" not in out
    bad = "QnnDsp <V> the frob has failed\n01-05 10:00:00.001  410  412 E QnnDsp  : odd\n"
    out = shows(plain + bad)
    assert (
        "Those that look like errors: 1 x line 9 qnn: odd 1 x line 8 qnn: QnnDsp <V> the frob"
        in out
    )
    assert "frobnicate" not in out


def test_a_model_is_joined_as_far_as_the_log_goes(shows: Shows, tmp_path: Path) -> None:
    model = save_erf_model(tmp_path / "erf.onnx")
    out = shows(DATA / "qnn_profile_sm8450.csv", "--model", model)
    assert "relu, clip2 and erf are not in it: fused into others, or not on the NPU" in out
    out = shows(DATA / "ort_qnn_w8a8_sm8450.log", "--model", model)
    assert "relu and clip2 are not in it: fused into others, or renamed" in out
    out = shows(DATA / "ort_profile_sm8450.json", "--model", model)
    assert "are not in it: in a provider's subgraphs, or fused into others" in out
    out = shows(ALL_CPU, "--model", model)
    assert "Model erf.onnx: this log names no nodes, it only counts them" in out
    assert "0 of" not in out
    assert "names no nodes" in shows(DATA / "forms" / "perf_test.log", "--model", model)


class _Pipe:
    def __init__(self, content: bytes) -> None:
        self.buffer = io.BytesIO(content)


@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["plain", "gzip"])
def test_a_log_from_standard_input(
    pack: type[bytes], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (DATA / "ort_qnn_w8a8_sm8450.log").read_bytes()
    monkeypatch.setattr(sys, "stdin", _Pipe(pack(text)))
    code, out, err = cli("logs", "-", "--json")
    assert (code, err) == (0, "")
    wanted = read_log(DATA / "ort_qnn_w8a8_sm8450.log").model_copy(update={"file": "stdin"})
    assert out.strip() == wanted.model_dump_json(indent=1)


def test_nothing_from_standard_input(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", _Pipe(b""))
    code, out, err = cli("logs", "-")
    assert (code, out) == (2, "")
    assert err.startswith("Error: Log stdin: it is empty.")
    assert err.count("\n") == 1
    with pytest.raises(LogError, match=r"Log stdin: .*packed with zip"):
        read_stream(io.BytesIO(b"PK\x03\x04" + bytes(99)))

"""What the person at night sees: what fell back and why, first."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from logs_models import DATA

from chipdrift.logs import LogFindings

if TYPE_CHECKING:
    from conftest import Cli


def shown(cli: Cli, path: Path, monkeypatch: pytest.MonkeyPatch, columns: int = 100) -> str:
    monkeypatch.setenv("COLUMNS", str(columns))
    code, out, err = cli("logs", path)
    assert (code, err) == (0, "")
    return out


def test_the_worst_comes_first(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shown(cli, DATA / "ort_qnn_fp16_sm7550.log", monkeypatch)
    order = [
        "ort_qnn_fp16_sm7550.log",
        "No session came to be: Node 'conv_token_1' OpType:Conv",
        "was not selected by that EP. (line 624)",
        "12 nodes refused",
        "2 Conv, 1 Relu, 1 Clip",
        "Failed to add node.",
        "because: The SocModel doesn't support FP16",
        "chipdrift checks fp16-not-on-chip",
        "24 warnings",
        "Where nodes are",
        "12  nowhere: refused, and the session failed",
        "have a form that chipdrift does not know",
    ]
    out = " ".join(out.split()).replace("12 nowhere", "12  nowhere")
    places = [out.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)
    # What was refused ran nowhere, and the error at the head is no other one beside it.
    assert "left the NPU" not in out
    assert "beside these" not in out
    assert "CPUExecutionProvider (" not in out


def test_nothing_fell_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "all.log"
    path.write_text(
        "[V:onnxruntime:, q.cc:1 Log] Validation PASSED for 1 nodes in NodeUnit (Conv) :\n"
        "\tOperator type: Conv Node name: conv Node index: 3\n"
        "[V:onnxruntime:, s.cc:1 V] All nodes placed on [QNNExecutionProvider]. "
        "Number of nodes: 1\n"
    )
    out = shown(cli, path, monkeypatch)
    assert "No node left the NPU, as far as the log says." in out
    assert "cannot say" not in out


def npu_only(path: Path) -> Path:
    """onnxruntime's profile without the events of the CPU, as of a run in the NPU alone."""
    events = json.loads((DATA / "ort_profile_sm8450.json").read_bytes())
    kept = [e for e in events if e.get("args", {}).get("provider") != "CPUExecutionProvider"]
    assert len(kept) < len(events)
    path.write_text("[\n" + ",\n".join(json.dumps(e, separators=(",", ":")) for e in kept) + "\n]")
    return path


def test_what_lists_only_the_npu_does_not_say_that_nothing_fell(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    profile = npu_only(tmp_path / "profile.json")
    texts = DATA / "forms" / "qnn_profile.log"
    for path in (DATA / "qnn_profile_sm8450.csv", texts, profile):
        out = shown(cli, path, monkeypatch)
        assert "This kind of log lists only what the NPU ran: it cannot say what fell back" in out
        assert "No node left" not in out
    out = shown(cli, DATA / "forms" / "perf_test.log", monkeypatch)
    assert "The log does not say where nodes ran." in out
    assert "No node left" not in out


def test_the_slowest_first(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shown(cli, DATA / "qnn_profile_sm8450.csv", monkeypatch)
    assert "404,305 cycles  2 x  conv2_token_7" in out


def test_chip_by_its_number(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shown(cli, DATA / "ort_qnn_w8a8_sm8450.log", monkeypatch)
    assert "Chip: SM8450, QNN's soc_model 36 (SM8450), Hexagon v69" in out
    said = " ".join(out.split())
    assert "The simulator's default, SM8350, stood there until that was chosen." in said
    assert "SM8350" not in out[out.index("Chip:") : out.index("The simulator's default")]
    assert "QNN SDK v2.51.0" in out


@pytest.mark.parametrize("columns", [40, 80, 200])
@pytest.mark.parametrize("path", sorted(DATA.glob("*.*")), ids=lambda path: path.name)
def test_every_line_fits(
    path: Path, columns: int, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = shown(cli, path, monkeypatch, columns)
    assert max(len(line.rstrip()) for line in out.splitlines()) <= columns


@pytest.mark.parametrize("path", sorted(DATA.glob("*.*")), ids=lambda path: path.name)
def test_json_is_one_document_that_is_read_back(path: Path, cli: Cli) -> None:
    code, out, err = cli("logs", path, "--json")
    assert (code, err) == (0, "")
    found = LogFindings.model_validate_json(out)
    assert json.loads(found.model_dump_json()) == json.loads(out)
    total = found.read + found.unknown_lines + found.foreign
    assert total <= found.lines


WRONG = re.compile(
    r"(?<![\d.,])1 (?:of 1 |other |more )?"
    r"(?:samples|nodes|others|tensors|names|lines|errors|warnings|kinds|forms|conversions|groups)\b"
    r"|\b1  +(?:of 1 nodes|nodes with|conversions)"
)


@pytest.mark.parametrize("path", sorted(DATA.glob("*.*")), ids=lambda path: path.name)
def test_one_is_told_as_one(path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    assert not WRONG.search(shown(cli, path, monkeypatch, 400))


def test_one_node_of_one(cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    litert = (DATA / "forms" / "litert.log").read_text()
    few = re.sub(r"\b(470|476) nodes", "1 nodes", litert)
    few = re.sub(r"\b470 out of 476\b", "1 out of 1", few)
    path = tmp_path / "one.log"
    path.write_text(few)
    out = shown(cli, path, monkeypatch, 400)
    assert "1 of 1 node is with TfLiteXNNPackDelegate, on the CPU" in out
    assert not WRONG.search(out)


def test_a_name_of_thousands_of_characters_is_cut(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    long = "conv_token_" + "1" * 6000
    text = (DATA / "ort_qnn_fp16_sm7550.log").read_text(errors="replace")
    path = tmp_path / "long.log"
    path.write_text(re.sub(r"\bconv_token_1\b", long, text))
    out = shown(cli, path, monkeypatch)
    assert "conv_token_111" in out and "..." in out and "1" * 200 not in "".join(out.split())
    code, out, _ = cli("logs", path, "--json")
    assert code == 0 and long in out


def test_help_has_an_example(cli: Cli) -> None:
    code, out, _ = cli("logs", "--help")
    assert code == 0
    assert "Example: chipdrift logs" in out


def test_what_delegates_did_not_take_comes_first(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out = shown(cli, DATA / "forms" / "litert.log", monkeypatch)
    assert out.index("470 of 476 nodes are with TfLiteXNNPackDelegate, on the CPU") < out.index(
        "7 errors"
    )
    assert "5 of 175 nodes are not with LiteRT compiler plugin" in out
    path = tmp_path / "none.log"
    path.write_text("[I:onnxruntime:, q.cc:1 Get] Number of partitions supported by QNN EP: 0\n")
    out = shown(cli, path, monkeypatch)
    assert "QNNExecutionProvider took no node (line 1)" in out
    assert "No node left" not in out

"""What the person at night sees: what fell back and why, first."""

from __future__ import annotations

import json
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
        "12 nodes left the NPU",
        "2 Conv, 1 Relu, 1 Clip",
        "Failed to add node.",
        "because: The SocModel doesn't support FP16",
        "1 error beside these",
        "NHWC format",
        "warnings",
        "Where nodes are",
        "have a form that chipdrift does not know",
    ]
    places = [out.find(words) for words in order]
    assert -1 not in places, order[places.index(-1)]
    assert places == sorted(places)


def test_nothing_fell_is_said(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shown(cli, DATA / "qnn_profile_sm8450.csv", monkeypatch)
    assert "No node left the NPU, as far as the log says." in out
    assert "404,305 cycles  2 x  conv2_token_7" in out


def test_chip_by_its_number(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    out = shown(cli, DATA / "ort_qnn_w8a8_sm8450.log", monkeypatch)
    assert "Chip: SM8450, QNN's soc_model 36 (SM8450), Hexagon v69" in out
    assert "before the program chose one: SM8350" in out
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

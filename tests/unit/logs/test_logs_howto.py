"""What ``docs/howto/logs.md`` tells a reader to type works when typed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from documents import blocks, run_page_here

PAGE = Path(__file__).parents[3] / "docs" / "howto" / "logs.md"


def test_as_far_as_it_needs_no_chip(tmp_path: Path) -> None:
    page = tmp_path / "logs.md"
    page.write_text(PAGE.read_text(encoding="utf-8").split("## What fell back")[0], "utf-8")
    assert len(blocks(page)) == 3
    printed = run_page_here(page, tmp_path)[-1]
    assert "Model model.onnx: the log names" in printed
    assert "CPUExecutionProvider" in printed
    assert (tmp_path / "cpu.json").exists()


@pytest.mark.htp
def test_the_whole_page(tmp_path: Path) -> None:
    pytest.importorskip("onnxruntime_qnn")
    printed = run_page_here(PAGE, tmp_path)
    found = json.loads((tmp_path / "findings.json").read_text())
    assert [f["node"] for f in found["fallbacks"]] == ["erf"]
    assert "1 node left the NPU" in printed[3]
    assert "assigned to QNN EP" in " ".join(printed[3].split())
    assert printed[-1].startswith("erf Erf ")
    # What the page shows of it is what it prints, line breaks apart.
    shown = PAGE.read_text(encoding="utf-8").split("```text")[1].split("```")[0]
    assert " ".join(shown.split()) in " ".join(printed[3].split())

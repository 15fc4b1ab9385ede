"""Simulators against silicon, and phones, in Debian's Chromium: in the window, console empty."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "unit" / "report"))

from report_matrices import CPU, A, cell, matrix
from test_report_browser import chromium, widths
from test_report_phones import every_kind
from test_report_silicon import C, check, device

from chipdrift.records import Matrix
from chipdrift.report.page import render

pytestmark = pytest.mark.system


def silicon() -> Matrix:
    """Every kind of check, long names and long cautions among them."""
    path = f"import:/some/someone/{'abcdefghij' * 15}#phone"
    checks = (
        check(cautions=("nothing says that the silicon's NPU ran the model",) * 2),
        check("w8a16_pc", observed=0.8, p=1e-6, simulator_sdk="2.51.0", silicon_sdk="QNN 2.31"),
        check(real=path, cautions=("a caution of some length that fills a line or two",)),
        check(simulator=A, relation="other-generation", simulator_chip="SM8350"),
        check(real=path, simulator=A, relation="unknown", silicon_chip="a chip " * 30),
    )
    cells = (cell("w8a8", CPU), cell("w8a8", C), device(), device(target=path))
    return matrix(*cells, silicon=checks)


@pytest.fixture(params=[silicon, every_kind])
def report(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    found = request.param()
    file = tmp_path / "report.html"
    file.write_text(render(found, {}).replace("<details>", "<details open>"), encoding="utf-8")
    return file


@pytest.mark.parametrize("width", [1200, 390])
def test_the_section_is_no_wider_than_the_window(report: Path, tmp_path: Path, width: int) -> None:
    scroll, client, *_ = widths(report, tmp_path, width)
    assert scroll <= client == width


def test_the_console_stays_empty(report: Path, tmp_path: Path) -> None:
    shot = tmp_path / "shot.png"
    _, console = chromium(tmp_path / "profile", report, f"--screenshot={shot}")
    assert console == ""
    assert shot.stat().st_size > 10_000

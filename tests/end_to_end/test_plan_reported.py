"""``chipdrift report PLAN``: from a real plan to its page, and what it says of a damaged folder."""

from __future__ import annotations

import json
import re
import shutil
from html import unescape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from plan_runs import plan

if TYPE_CHECKING:
    from conftest import Cli


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, worker_pool: Any) -> Path:
    """The demo for the host and for an engine, by the command line; no vendor's library."""
    out = tmp_path_factory.mktemp("plans") / "plan"
    with worker_pool.lending():
        code, _, told = plan(
            *(out, "--chips", "ort:cpu,sim:hexagon-v73", "--budget", "top1 drop <= 20%"),
            *("--scheme", "w8a8_pc,w8a16_pc", "--limit", "40"),
        )
    assert code == 0, told
    return out


@pytest.fixture
def folder(planned: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(planned, tmp_path / "plan"))


def load(folder: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((folder / "plan.json").read_text())
    return document


def words(html: str) -> str:
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html.replace("<wbr>", ""))).split())


def section(html: str, name: str) -> str:
    found = re.search(rf'<section id="{name}">(.*?)</section>', html, re.DOTALL)
    assert found is not None
    return words(found[1])


def test_the_page_has_the_plans_figures_and_the_confirming_run(cli: Cli, folder: Path) -> None:
    code, out, err = cli("report", folder)
    assert code == 0, err
    assert "standing" in out
    assert f"Report: {folder / 'report.html'}" in err
    html = (folder / "report.html").read_text(encoding="utf-8")
    plan = load(folder)
    text = section(html, "choices")
    for choice in plan["choices"]:
        metric, loss, cost = choice["metric"], choice["loss"], choice["cost"]
        for value in (metric["value"], metric["low"], metric["high"]):
            assert f"{100 * value:.1f}" in text
        assert f"{-100 * loss['value']:+.1f}".replace("+0.0", "0").replace("-0.0", "0") in text
        assert f"{cost['value']:.2f} × w8a8" in text
        assert choice["why"] in text
        assert f"{choice['samples']} confirming samples" in text
    assert text.count("by the cost model; not measured") + text.count("typical error") == 2
    variants = section(html, "variants")
    for variant in plan["variants"]:
        size = (folder / variant["file"]).stat().st_size
        assert f"{variant['name']} " in variants
        assert f"{size:,} bytes" in variants
    frontier = section(html, "frontier")
    for score in plan["scores"]:
        assert score["scheme"] in frontier
        assert f"{score['sqnr_db']:.1f} dB" in frontier
    for sentence in plan["words"]:
        assert sentence in words(html)
    assert 'id="confirmed"' in html
    matrix = json.loads((folder / "confirm" / "matrix.json").read_text())
    for cell in matrix["cells"]:
        assert cell["target"] in section(html, "matrix")
    assert not re.search(r"<script|https?:", html)


def test_json_is_the_plan(cli: Cli, folder: Path) -> None:
    code, out, _ = cli("report", folder, "--json")
    assert code == 0
    assert json.loads(out) == load(folder)


def test_a_figure_changed_in_the_plan_changes_the_page(cli: Cli, folder: Path) -> None:
    plan = load(folder)
    plan["choices"][0]["metric"]["value"] = 0.1234
    plan["choices"][0]["standing"] = "missed"
    plan["choices"][0]["loss"]["value"] = 0.3456
    (folder / "plan.json").write_text(json.dumps(plan))
    assert cli("report", folder)[0] == 0
    html = (folder / "report.html").read_text(encoding="utf-8")
    text = section(html, "choices")
    assert "12.3 %" in text
    assert "-34.6 points" in text
    assert "✗ MISSED 14.6 points beyond the budget" in text
    assert "ort:cpu MISSES the budget by 14.6 points" in words(html)


def test_without_a_confirming_run_the_plan_stands_alone(cli: Cli, folder: Path) -> None:
    (folder / "confirm" / "matrix.json").unlink()
    assert cli("report", folder)[0] == 0
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert 'id="choices"' in html
    assert 'id="confirmed"' not in html
    assert 'id="matrix"' not in html


def test_a_damaged_confirming_run_is_said_and_the_plan_shown(cli: Cli, folder: Path) -> None:
    (folder / "confirm" / "matrix.json").write_text("{")
    assert cli("report", folder)[0] == 0
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "The confirming run cannot be shown." in html
    assert 'id="choices"' in html


def test_another_plans_confirming_run_is_not_shown_as_this_ones(cli: Cli, folder: Path) -> None:
    plan = load(folder)
    plan["data"]["sha256"] = "0" * 64
    (folder / "plan.json").write_text(json.dumps(plan))
    assert cli("report", folder)[0] == 0
    html = (folder / "report.html").read_text(encoding="utf-8")
    assert "its data is not this plan" in html
    assert 'id="matrix"' not in html


def test_a_damaged_plan_is_refused_in_one_sentence(cli: Cli, folder: Path) -> None:
    (folder / "plan.json").write_text('{"schema_version": 1}')
    (folder / "report.html").unlink()  # the plan's own
    code, _, err = cli("report", folder)
    assert code == 2
    assert "plan.json cannot be read" in err
    assert "Traceback" not in err
    assert not (folder / "report.html").exists()


def test_a_plan_that_was_only_begun_says_how_to_go_on(cli: Cli, folder: Path) -> None:
    (folder / "plan.json").unlink()
    code, _, err = cli("report", folder)
    assert code == 2
    assert "it was begun and not finished: run the same chipdrift plan command again" in err


def test_a_folder_that_cannot_be_written_is_said(cli: Cli, folder: Path) -> None:
    (folder / "report.html").unlink()
    (folder / "report.html").mkdir()
    code, _, err = cli("report", folder)
    assert code == 2
    assert "report.html: cannot be written" in err
    assert not list(folder.glob(".report*"))


def test_the_confirming_run_has_its_own_report_as_any_run(cli: Cli, folder: Path) -> None:
    code, out, _ = cli("report", folder / "confirm")
    assert code == 0
    assert "w8a8_pc" in out
    html = (folder / "confirm" / "report.html").read_text(encoding="utf-8")
    assert 'id="choices"' not in html

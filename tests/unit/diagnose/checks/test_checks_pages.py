"""Every check has its page and its test, and docs/checks.md is those pages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from exams import Exams
from float_models import image_net, images
from typer.testing import CliRunner

from chipdrift.cli.main import app
from chipdrift.diagnose import checks
from chipdrift.diagnose.checks import SECTIONS, Check, all_checks, checks_page

ROOT = Path(__file__).parents[4]
NAMES = sorted(all_checks())


def test_the_document_is_the_pages() -> None:
    held = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    assert held == checks_page(), (
        "docs/checks.md and the docstrings part: run chipdrift checks --markdown > docs/checks.md"
    )


@pytest.mark.parametrize("name", NAMES)
def test_a_page_has_its_sections(name: str) -> None:
    check = all_checks()[name]
    assert check.title, "the first line of the docstring is the title"
    assert tuple(check.sections) == SECTIONS
    assert all(len(words.split()) >= 4 for words in check.sections.values())


@pytest.mark.parametrize("name", NAMES)
def test_a_check_has_a_test(name: str) -> None:
    file = Path(__file__).with_name(f"test_{name.replace('-', '_')}.py")
    assert file.exists(), f"plant the fault that {name} finds, in {file.name}"
    assert "def test_" in file.read_text(encoding="utf-8")


def test_every_module_is_a_check() -> None:
    modules = {path.stem for path in Path(checks.__file__).parent.glob("*.py")} - {"__init__"}
    assert {name.replace("-", "_") for name in NAMES} == modules


def test_a_missing_section_is_seen() -> None:
    page = "Title.\n\nWhat it finds: one thing: another.\n\nIt goes on\nhere.\n\nFix: mend it."
    check = Check("some", "Title", page, lambda exam: iter(()))
    assert check.sections == {
        "What it finds": "one thing: another.\n\nIt goes on here.",
        "Fix": "mend it.",
    }


def test_checks_bear_a_model_that_no_target_ran(exam_of: Exams) -> None:
    """No tensors, no answers, nobody to ask: what needs them finds nothing."""
    exam = exam_of(image_net(), images(), scheme="w8a8")
    none = replace(
        exam, feeds=(), tensors_a=(), tensors_b=(), alone_a=(), alone_b=(),
        asker_a=None, asker_b=None,
    )  # fmt: skip
    assert [f.title for check in all_checks().values() for f in check.look(none)] == []


def test_the_command_prints_them() -> None:
    runner = CliRunner()
    printed = runner.invoke(app, ["checks", "--markdown"])
    assert printed.exit_code == 0 and printed.stdout == checks_page()
    one = runner.invoke(app, ["checks", "layout"])
    assert one.stdout.strip() == all_checks()["layout"].page.strip()
    listed = runner.invoke(app, ["checks"])
    assert [line.split()[0] for line in listed.stdout.splitlines()] == list(all_checks())
    wrong = runner.invoke(app, ["checks", "layout", "--markdown"])
    assert wrong.exit_code != 0 and "leave out" in str(wrong.exception)

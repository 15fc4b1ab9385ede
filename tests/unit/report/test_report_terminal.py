import io

import pytest
from report_matrices import CPU, A, cell, everything, matrix
from rich.console import Console

from chipdrift.records import Matrix
from chipdrift.report import print_matrix


def printed(found: Matrix, width: int, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    print_matrix(found, Console(file=stream, width=width, force_terminal=False))
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [40, 80, 140])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    for line in printed(everything(), width).splitlines():
        assert len(line) <= width


def test_every_mark_is_printed_and_explained() -> None:
    text = printed(everything(), 140)
    for mark in ("80.0±2.0*", "=80.0*", "90.0±2.0?", "* differs", "= shared", "- no result"):
        assert mark in text
    assert "! failed" in text
    assert "\x1b" not in text


def test_it_says_what_the_report_says() -> None:
    text = " ".join(printed(everything(), 100).split())
    for words in (
        "Float model, fp32 on ort:cpu: 90.0 % (85.0 to 94.0)",
        "w8a8 loses 10.0 points on htp:sm8350",
        "give the same bits under w8a8",
        "The pair that agrees least",
        "left the NPU",
        "not available: the simulator has no float32",
        "It is not silicon",
    ):
        assert words in text


def test_schemes_are_rows_where_they_fit_and_columns_where_only_that_does() -> None:
    targets = [CPU, *(f"htp:sm{8000 + i}" for i in range(11))]
    found = matrix(*(cell("w8a8", target) for target in targets))
    assert any(line.startswith("w8a8 ") for line in printed(found, 140).splitlines())
    assert any(line.startswith("htp:sm8005 ") for line in printed(found, 60).splitlines())


def test_many_columns_are_split_and_none_is_lost() -> None:
    schemes = [f"scheme_{i}" for i in range(9)]
    found = matrix(*(cell(s, t) for s in schemes for t in (CPU, A, "htp:a", "htp:b", "htp:c")))
    text = printed(found, 40)
    assert all(scheme in text for scheme in schemes)


def test_brackets_and_control_characters_in_names_are_harmless() -> None:
    text = printed(matrix(cell("[red]w8[/red]", "t\x1b[31m")), 80)
    assert "[red]w8[/red]" in text
    assert "\x1b" not in text


def test_a_terminal_without_the_sign_gets_another() -> None:
    text = printed(everything(), 80, "ascii")
    assert "80.0+-2.0*" in text

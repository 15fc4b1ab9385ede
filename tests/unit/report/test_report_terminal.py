import io

import pytest
from report_matrices import CPU, A, cell, engine, everything, matrix
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


@pytest.mark.parametrize("others", [1, 12], ids=["across", "down"])
def test_a_long_path_leaves_room_for_the_figures(others: int) -> None:
    path = "sim:/some/someone/a-long-folder/of_many_words/and.another/profile_of_sm8450.toml"
    targets = [path, *(f"htp:sm{8000 + i}" for i in range(others))]
    found = matrix(*(cell(s, t) for s in ("w8a8", "w8a16_pc") for t in targets))
    table = printed(found, 80).split("Float model")[0]
    assert table.count("90.0±2.0") == 2 * len(targets)
    assert "…" not in table
    for part in ("someone/", "a-long-", "folder/", "many_words/", "another/", "sm8450.toml"):
        assert part in table


def test_long_names_are_folded_in_the_head_before_the_table_is_turned() -> None:
    names = [f"sim:hypothesis-int{n}-accumulator" for n in (16, 24, 32)]
    text = printed(matrix(*(cell("w8a8", t) for t in (CPU, *names))), 80)
    assert any(line.startswith("w8a8 ") and line.count("90.0") == 4 for line in text.splitlines())
    assert text.count("accumulator\n") >= 1


def test_a_cell_on_unknown_rules_is_marked_and_explained() -> None:
    text = printed(engine(), 100)
    assert text.split("Float model")[0].count("90.0±2.0?") == 1
    assert "? see the caution below" in text
    assert "2 of 11 nodes rest on an unknown rule" in " ".join(text.split())


def test_brackets_and_control_characters_in_names_are_harmless() -> None:
    text = printed(matrix(cell("[red]w8[/red]", "t\x1b[31m")), 80)
    assert "[red]w8[/red]" in text
    assert "\x1b" not in text


def test_a_terminal_without_the_sign_gets_another() -> None:
    text = printed(everything(), 80, "ascii")
    assert "80.0+-2.0*" in text

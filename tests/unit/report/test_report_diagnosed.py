"""A diagnosis in the terminal."""

import io
import subprocess

import pytest
from report_diagnoses import FIX, against_float, diagnosis, parted
from report_matrices import A
from rich.console import Console

from chipdrift.findings import Diagnosis
from chipdrift.report.diagnosed import print_diagnosis
from chipdrift.report.printing import command_lines


def printed(found: Diagnosis, width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding)
    print_diagnosis(found, Console(file=stream, width=width, force_terminal=False))
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("make", [diagnosis, parted, against_float])
def test_no_line_is_wider_than_the_terminal(make: type[Diagnosis], width: int) -> None:
    for line in printed(make(), width).splitlines():
        assert len(line) <= width


def _copied(text: str) -> str:
    """The commands as someone copies them: from behind the "$" to the end of the last line."""
    lines = [line.strip() for line in text.splitlines()]
    start = next(i for i, line in enumerate(lines) if line.startswith("$ "))
    taken = [lines[start].removeprefix("$ ")]
    while taken[-1].endswith("\\"):
        taken.append(lines[start + len(taken)])
    return "\n".join(taken)


def _arguments(command: str) -> str:
    """What the shell makes of a command: its arguments, one a line."""
    script = "chipdrift() { printf '%s\\n' \"$@\"; }\n" + command
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_copied_command_is_the_command(width: int) -> None:
    copied = _copied(printed(parted(), width))
    assert _arguments(copied) == _arguments(FIX)
    assert (copied.count("\n") == 0) == (width == 200)


@pytest.mark.parametrize(
    ("command", "width", "lines"),
    [
        ("chipdrift diagnose run", 40, ["chipdrift diagnose run"]),
        ("tool --one 1 --two 2", 16, ["tool --one 1 \\", "--two 2"]),
        ("tool --name 'a b c d e f'", 16, ["tool --name \\", "'a b c d e f'"]),
        ("tool --name='a b c' --two", 16, ["tool \\", "--name='a b c' \\", "--two"]),
        ("tool it's", 5, ["tool it's"]),
        ("a-very-long-word-alone", 10, ["a-very-long-word-alone"]),
    ],
)
def test_commands_are_broken_between_words_only(command: str, width: int, lines: list[str]) -> None:
    assert command_lines(command, width) == lines


def test_the_worst_finding_comes_first_with_all_it_has() -> None:
    text = printed(parted())
    whole = " ".join(text.split())
    assert text.index("1. c4 (Conv) is wrong") < text.index("2. Another rounding in c2")
    for words in (
        "Verdict: no loss that 200 samples carry.",
        "Shown by: replayed c2 in the engine",
        "Fix: keep this node on the CPU",
        "More: chipdrift checks wrong-answers",
        "70 % another rounding (1 node)",
        "under 1 % another precision of the scale (2 nodes)",
        "30 % unexplained",
        "1 of 5 nodes left the NPU: sm",
        "Note: the extra outputs changed the final answer.",
    ):
        assert words in whole


def test_what_goes_on_hangs_under_its_beginning() -> None:
    lines = printed(parted(), 60).splitlines()
    start = next(i for i, line in enumerate(lines) if "Shown by: c4 cut out" in line)
    assert lines[start].startswith(" " * 9 + "Shown")
    assert lines[start + 1].startswith(" " * 11)
    assert lines[start + 1][11] != " "


@pytest.mark.parametrize("width", range(60, 90, 3))
def test_no_figure_is_parted_from_its_unit(width: int) -> None:
    for line in printed(parted(), width).splitlines():
        assert not line.lstrip().startswith(("%", "dB", "LSB"))


def test_a_healthy_pair_is_a_few_calm_lines() -> None:
    text = printed(diagnosis())
    assert "The two are identical" in text
    assert "No finding: nothing to mend." in text
    assert "Drift along the depth" not in text
    assert len(text.splitlines()) < 15


def test_a_table_row_has_the_figures_of_its_activation() -> None:
    rows = [line.split() for line in printed(parted(), 120).splitlines()]
    assert ["c4", "Conv", *["99.0", "%", "198.000", "200", "LSB", "2", "dB", "90.0", "%"]] in rows
    assert any(row[-2:] == ["not", "run"] for row in rows)


def test_the_float_model_is_no_chip() -> None:
    text = " ".join(printed(against_float()).split())
    assert "the float model's values, quantized" in text
    assert f"its inputs those of {A}" not in text


def test_brackets_and_control_characters_are_harmless() -> None:
    found = diagnosis(model="[red]m[/red]", notes=("a\x1b[31m note",))
    text = printed(found)
    assert "[red]m[/red]" in text
    assert "\x1b" not in text


def test_a_terminal_without_unicode_gets_it_all_the_same() -> None:
    assert "rounding" in printed(parted(), 80, "ascii")

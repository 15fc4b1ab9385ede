"""A diagnosis in the terminal."""

import io
import json
import re
import subprocess

import pytest
from report_diagnoses import (
    FIX,
    SAME,
    activation,
    against_float,
    diagnosis,
    distance,
    own,
    parted,
    side,
)
from report_matrices import EVIL, A
from rich.console import Console

from chipdrift.findings import Diagnosis
from chipdrift.report import briefly
from chipdrift.report.diagnosed import print_diagnosis
from chipdrift.report.printing import command_lines, shortened


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


def test_a_node_that_was_not_run_has_its_reason_below() -> None:
    text = " ".join(printed(parted(), 100).split())
    assert f"not run: {EVIL}: the session does not start." in text
    text = " ".join(printed(parted().model_copy(update={"own": parted().own[1:]}), 100).split())
    assert "not run: c1: it is no node of its own" in text


def test_against_the_float_model_own_noise_is_in_decibels() -> None:
    lines = printed(against_float()).splitlines()
    assert any(line.split()[-3:] == ["own", "own", "SQNR"] for line in lines)
    rows = [line.split() for line in lines]
    assert ["c2", "Conv", "100", "%", "0.1", "35", "dB", "30.0", "%", "41", "dB"] in rows
    assert "own SQNR" not in printed(parted())


def test_float_tensors_are_told_without_integers_and_steps() -> None:
    far = distance(0.3, 60.0, None)
    found = diagnosis(
        activations=(activation("c1", 0, far),), own=(own("c1", 0, far),),
        outputs=(activation("y", 1, far),), first_layer="c1", first_op="c1",
    )  # fmt: skip
    text = printed(found)
    assert "fed with the same values" in " ".join(text.split())
    assert not re.search("integers|LSB|quantizer|mean", text)
    assert "of A's signal" in " ".join(text.split())


def test_names_are_folded_between_words_and_ops_shortened() -> None:
    name = "encoder/layer_0/attention/self/query/MatMulAddFusion"
    ops = ("QuantizeLinear", "GlobalAveragePool", "LayerNormalization")
    found = parted().model_copy(
        update={
            "activations": tuple(
                activation(f"{name}.{op}", depth, distance(0.9876, -12.0, 60000.0), op)
                for depth, op in enumerate(ops)
            )
        }
    )
    table = printed(found).partition("Drift along the depth")[2].partition("differs, mean")[0]
    lines = [line for line in table.splitlines()[2:] if line.strip()]
    heads = [line for line in lines if "%" in line]
    assert len(heads) == len(ops)  # each op on the line of its figures
    assert {line.split()[0] for line in lines} <= set(pieces_of(name, *ops))
    assert all(len(line.split()) == 1 for line in lines if "%" not in line)


def pieces_of(name: str, *ops: str) -> list[str]:
    """All runs of whole words of the names, as a fold at ``/``, ``_`` or ``.`` may leave them."""
    found = []
    for op in ops:
        parts = re.findall(r"[^/_.]+[/_.]?", f"{name}.{op}")
        found += [
            "".join(parts[i:j]) for i in range(len(parts)) for j in range(i + 1, len(parts) + 1)
        ]
    return found


@pytest.mark.parametrize(
    ("op", "width", "short"),
    [
        ("Conv", 6, "Conv"),
        ("GlobalAveragePool", 12, "GlobAverPool"),
        ("MatMul", 4, "MaMu"),
        ("LSTM", 3, "LST"),
        ("a_custom_op", 6, "a_cust"),
    ],
)
def test_an_op_is_shortened_in_each_of_its_words(op: str, width: int, short: str) -> None:
    assert shortened(op, width) == short


def test_without_a_loss_it_says_so_before_the_notes_and_a_command_stands_once() -> None:
    _, second = parted().findings
    notes = tuple(
        second.model_copy(update={"severity": "note", "title": f"note {name}"}) for name in "xy"
    )
    text = printed(diagnosis(findings=notes))
    assert text.index("No action is needed for accuracy") < text.index("1. note x")
    assert text.count("No action") == 1
    assert text.count("$ chipdrift") == 1
    assert "Command: the same as for 1" in text
    assert "No action" not in printed(parted())
    # A profile that does not fit asks for something, whatever the accuracy.
    warning = notes[0].model_copy(update={"severity": "warning", "check": "profile-mismatch"})
    text = printed(diagnosis(findings=(warning, *notes)))
    assert "No action" not in text
    assert text.index("1. note x") < text.index("ask for nothing") < text.index("2. note x")


def test_a_name_of_thousands_of_characters_is_cut_and_names_stay_apart() -> None:
    """Exporters put the whole path into a name: people get its ends, the JSON all of it."""
    long = ["/".join([f"layer{i}"] * 400) + end for i, end in ((1, "/MatMul"), (1, "/Add"))]
    twin = long[0][:80] + "x" * 3000 + long[0][-80:]
    names = [*long, twin, "with spaces " * 300]
    first = parted().findings[0].model_copy(
        update={"title": f"{long[0]} is wrong", "words": f"{twin} too; ({long[1]}).",
                "nodes": tuple(names), "command": f"chipdrift chips {long[0]}"}
    )  # fmt: skip
    found = diagnosis(
        activations=tuple(activation(n, d, distance(0.5, 20.0)) for d, n in enumerate(names)),
        own=tuple(own(n, d, distance(0.5, 20.0)) for d, n in enumerate(names)),
        findings=(first,),
        first_layer=long[0],
        first_op=names[3],
    )
    assert json.loads(found.model_dump_json())["first_layer"] == long[0]
    text = printed(found, 100)
    plain = text.replace(long[0], "", 1)  # the command is whole
    assert plain != text and len(plain) < 6000
    made = briefly.shortened(found)
    cut = [a.node for a in made.activations]
    assert len(set(cut)) == 4 and max(map(len, cut)) < 130
    assert made.findings[0].nodes == tuple(cut) and made.findings[0].title == f"{cut[0]} is wrong"
    assert made.findings[0].words == f"{cut[2]} too; ({cut[1]})." and made.first_op == cut[3]
    assert briefly.shortened(parted()) == parted()


def test_targets_are_never_cut() -> None:
    path = "sim:/" + "a" * 500 + ".toml"
    found = diagnosis(a=side(path), activations=(activation("n" * 500, 0, SAME),))
    assert briefly.shortened(found).a.target == path


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

"""LiteRT's inference_diff: what is asked of it, and what it prints as its README has it."""

from __future__ import annotations

import pytest

from chipdrift.records import OutputDiff
from chipdrift.targets.adb_diff import diff_command, read_diffs

OUTPUTS = [("out/a", "float32"), ("logits", "int8")]
# The form is that of LiteRT's README of the tool, with the line of its XNNPACK delegate.
PRINTED = """\
INFO: Created TensorFlow Lite XNNPACK delegate for CPU.
INFO: Num evaluation runs: 50
INFO: Reference run latency: avg=84364.2(us), std_dev=12525(us)
INFO: Test run latency: avg=7281.64(us), std_dev=2089(us)
INFO: OutputDiff[0]: avg_error=1.96277e-05, std_dev=6.95767e-06
INFO: OutputDiff[1]: avg_error=0.25, std_dev=0
"""


def test_the_command_has_the_tool_s_flags() -> None:
    program, *flags = diff_command("KIT", "FILES/m").split()
    assert program == "KIT/inference_diff"
    assert dict(flag[2:].split("=") for flag in flags) == {
        "model_file": "FILES/m",
        "num_runs": "10",
        "num_interpreter_threads": "1",
        "use_xnnpack": "false",
    }


def test_each_output_has_its_distance() -> None:
    told = [OutputDiff(**fields) for fields in read_diffs(PRINTED, OUTPUTS)]
    assert told == [
        OutputDiff(
            output="out/a", dtype="float32", runs=50, mean=1.96277e-05, deviation=6.95767e-06
        ),
        OutputDiff(output="logits", dtype="int8", runs=50, mean=0.25, deviation=0),
    ]


@pytest.mark.parametrize(
    ("printed", "words"),
    [
        (PRINTED.partition("\n")[2], "without XNNPACK"),
        (PRINTED + "WARN: Unconsumed cmdline flags: --use_xnnpack=false\n", "without XNNPACK"),
        (PRINTED.replace("OutputDiff[1]", "OutputDiff[2]"), "output 2 0.25 and 0, where"),
        (PRINTED.rpartition("INFO")[0], "told of 1 output, and the model has 2"),
        (PRINTED.replace("Num evaluation runs", "Runs"), "told of 2 outputs"),
        (PRINTED.replace("0.25", "nan"), "nan and 0, where two numbers for 'logits' belong"),
        (PRINTED.replace("std_dev=0\n", "std_dev=inf\n"), "0.25 and inf, where"),
        (PRINTED.replace("0.25", "0..25"), r"0\.\.25 and 0, where"),
        ("", "without XNNPACK"),
    ],
)
def test_what_compared_nothing_is_told(printed: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read_diffs(printed, OUTPUTS)

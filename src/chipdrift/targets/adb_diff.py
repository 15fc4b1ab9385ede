"""LiteRT's inference_diff on a phone: how far XNNPACK's answers lie from the plain kernels'.

It is an optional file of the kit of ``adb:<serial>/litert``, run once when a cell's samples have
run: on random inputs of its own, so it says nothing of the data.

Read from LiteRT's source of the tool (its build calls it run_eval) and its README: it sets a
"test" interpreter, which options describe, against a "reference" and prints for each output
``OutputDiff[i]``, the mean of the absolute difference in raw values over all elements and runs, and
the deviation of the runs' means. The reference is said to be the plain kernels; in the source it
has LiteRT's default delegates, which is XNNPACK. So the test is asked to do without
(``--use_xnnpack=false``; ``--delegate=xnnpack`` would compute in FP16), and that XNNPACK was there
is seen by LiteRT's own line.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from chipdrift.counts import counted

PROGRAM = "inference_diff"
SECONDS = 120.0
_RUNS = 10  # of three inferences each, by both interpreters
_DIFF = re.compile(r"OutputDiff\[(\d+)\]: avg_error=([^\s,]+), std_dev=([^\s,]+)")
_COUNT = re.compile(r"Num evaluation runs: (\d+)")
_DELEGATE = re.compile(r"Created .*XNNPACK delegate")
_IGNORED = re.compile(r"Unconsumed cmdline flags:.*--use_xnnpack=")


def diff_command(kit: str, model: str) -> str:
    """The command line, with the phone's paths."""
    return (
        f"{kit}/{PROGRAM} --model_file={model} --num_runs={_RUNS} --num_interpreter_threads=1 "
        "--use_xnnpack=false"
    )


def read_diffs(printed: str, outputs: Sequence[tuple[str, str]]) -> list[dict[str, Any]]:
    """What :class:`chipdrift.records.OutputDiff` holds, for the model's (name, dtype) in order.

    Raises ValueError where the tool did not compare what it was asked for.
    """
    if _DELEGATE.search(printed) is None or _IGNORED.search(printed) is not None:
        raise ValueError(
            f"{PROGRAM} is built without XNNPACK, or without a choice of it: it set one way to "
            "compute against itself"
        )
    runs, found = _COUNT.search(printed), _DIFF.findall(printed)
    if runs is None or len(found) != len(outputs):
        raise ValueError(
            f"{PROGRAM} told of {counted(len(found), 'output')}, and the model has {len(outputs)}"
        )
    told: list[dict[str, Any]] = []
    for index, ((output, dtype), (number, *figures)) in enumerate(zip(outputs, found, strict=True)):
        try:
            mean, deviation = map(float, figures)
        except ValueError:
            mean = deviation = math.nan
        if int(number) != index or not math.isfinite(mean + deviation):
            raise ValueError(
                f"{PROGRAM} told of output {number} {' and '.join(figures)}, where two numbers for "
                f"{output!r} belong"
            )
        told.append(
            {
                "output": output,
                "dtype": dtype,
                "runs": int(runs[1]),
                "mean": mean,
                "deviation": deviation,
            }
        )
    return told

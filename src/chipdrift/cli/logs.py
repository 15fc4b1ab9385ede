"""``chipdrift logs``."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from chipdrift.cli.console import parse_shapes, print_json
from chipdrift.cli.options import Json, Shape


def logs(
    file: Annotated[
        Path,
        typer.Argument(
            help="A logcat, onnxruntime's log or profile, QNN's CSV; plain, gzip or UTF-16. "
            "- reads standard input."
        ),
    ],
    model: Annotated[
        Path | None, typer.Option("--model", help="The ONNX model: joins the log to its nodes.")
    ] = None,
    shape: Shape = None,
    json: Json = False,
) -> None:
    """Read a log: what fell back and why, placement, times, chip and SDK.

    Reads logcat with QNN, LiteRT, NNAPI or SNPE lines, onnxruntime's verbose log and profile,
    onnxruntime_perf_test's output, QNN's profile. Lines of an unknown form are counted and shown.

    Example: chipdrift logs logcat.txt.gz --model model.onnx

    Example: adb logcat -d | chipdrift logs -
    """
    from chipdrift.logs import join_model, read_log, read_stream

    findings = read_stream(sys.stdin.buffer) if str(file) == "-" else read_log(file)
    if model is not None:
        from chipdrift.graph import load_model

        loaded = load_model(model, parse_shapes(shape or []))
        nodes = {node.name: node.op_type for node in loaded.proto.graph.node}
        findings = join_model(findings, model.name, nodes)
    if json:
        print_json(findings)
        return
    from rich.console import Console

    from chipdrift.chips import all_chips
    from chipdrift.logs.terminal import print_findings

    chips: dict[int, str] = {}
    for chip in all_chips():
        if chip.soc_model is not None:
            known = chips.get(chip.soc_model)
            chips[chip.soc_model] = f"{known}, {chip.soc}" if known else chip.soc
    print_findings(findings, Console(highlight=False), chips)

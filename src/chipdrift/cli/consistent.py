"""``chipdrift consistency``."""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path
from typing import Annotated

import typer

from chipdrift.cli.console import MOST_SECONDS, parse_shapes, print_json, say, split
from chipdrift.cli.options import Json, Shape


def consistency(
    model: Annotated[Path, typer.Argument(help="ONNX model, float or already quantized.")],
    target: Annotated[
        list[str],
        typer.Option("--target", help="Two targets or more, comma-separated: chipdrift targets."),
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", help="Real samples on top: .npz, a folder of images, a function."),
    ] = None,
    scheme: Annotated[
        str | None,
        typer.Option("--scheme", help="Quantize by this scheme first. Default: the model as is."),
    ] = None,
    calibration: Annotated[
        str | None, typer.Option("--calibration", help="Samples that set a scheme's ranges.")
    ] = None,
    shape: Shape = None,
    samples: Annotated[
        int, typer.Option("--samples", min=1, help="How many real samples of --data.")
    ] = 4,
    timeout: Annotated[
        float,
        typer.Option(
            "--timeout", min=1, max=MOST_SECONDS, help="Seconds for one session or one input."
        ),
    ] = 600.0,
    json: Json = False,
) -> None:
    """Ask targets the same plain questions and compare their answers bit by bit.

    Zeros, ones, the lowest and highest values, a ramp, noise, and real samples if there are any.
    What parts by more than the rounding of this model explains is named, with the first node.

    Example: chipdrift consistency model.onnx --scheme w8a8 --calibration cal.npz
    --target ort:cpu,htp:sm8450,htp:sm8550 --data eval.npz

    Exit code 0: done, whatever was found. 2: misuse, or fewer than two targets answered.
    """
    from chipdrift.diagnose.consistency import check_consistency
    from chipdrift.report.consistent import print_consistency

    # What a user's own data function prints must not stand before the JSON document.
    with contextlib.redirect_stdout(sys.stderr):
        found = check_consistency(
            model,
            split(target),
            data=data,
            scheme=scheme,
            calibration=calibration,
            shapes=parse_shapes(shape or []),
            samples=samples,
            timeout=timeout,
            tell=lambda words: say(f"  {words}"),
        )
    if json:
        print_json(found)
        return
    from rich.console import Console

    print_consistency(found, Console())

"""``chipdrift quantize``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from chipdrift.cli.console import parse_shapes, print_json, say
from chipdrift.cli.options import Json, Shape
from chipdrift.errors import ChipdriftError


def quantize(
    model: Annotated[Path, typer.Argument(help="ONNX model, opset 11 or newer.")],
    scheme: Annotated[str, typer.Option("--scheme", help="A built-in scheme, or a TOML file.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The ONNX file to write.")],
    calibration: Annotated[
        str | None,
        typer.Option("--calibration", help="Samples that set the ranges: .npz, images, function."),
    ] = None,
    shape: Shape = None,
    limit: Annotated[
        int | None, typer.Option("--limit", min=1, help="Only the first N calibration samples.")
    ] = None,
    json: Json = False,
) -> None:
    """Write the model as a scheme makes it: the same file that the matrix runs on every target.

    Example: chipdrift quantize model.onnx --scheme w8a8_pc --calibration cal.npz -o w8a8_pc.onnx
    """
    from chipdrift.data import load_data
    from chipdrift.graph import load_model
    from chipdrift.quantize import apply_scheme
    from chipdrift.schemes import get_scheme

    for given in (model, Path(calibration or ""), Path(scheme)):
        if given.exists() and out.exists() and out.samefile(given):
            raise ChipdriftError(f"-o {out}: this is an input, it would be lost. Give another -o.")
    recipe = get_scheme(scheme)
    loaded = load_model(model, parse_shapes(shape or []))
    feeds = None
    if calibration is not None:
        feeds = load_data(calibration, loaded.info.inputs, limit).feeds()
    made = apply_scheme(loaded, recipe, feeds)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        partial = out.with_name(out.name + ".partial")
        partial.write_bytes(made.data)
        partial.replace(out)
    except OSError as error:
        raise ChipdriftError(f"{out}: cannot be written ({error.strerror}).") from error
    if made.mixed is not None:
        say(f"Mixed: {made.mixed.words}")
    for note in made.notes:
        say(f"Note: {note}")
    say(f"{recipe.name}: {len(made.data):,} bytes, sha256 {made.sha256[:12]}: {out}")
    if json:
        print_json(
            {
                "schema_version": 1,
                "file": str(out),
                "sha256": made.sha256,
                "scheme": recipe.model_dump(mode="json"),
                "model_sha256": loaded.info.sha256,
                "quantizers": {k: q.model_dump(mode="json") for k, q in made.quantizers.items()},
                "nodes": made.trace,
                "notes": made.notes,
                "mixed": made.mixed and made.mixed.model_dump(mode="json"),
            }
        )

"""``chipdrift report`` and ``chipdrift outputs``: what a run folder holds."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Annotated

import typer

from chipdrift.cli.console import print_json, say
from chipdrift.errors import ChipdriftError

_MARK = b"chipdrift outputs"
_Run = Annotated[Path, typer.Argument(help="A run folder that chipdrift matrix wrote.")]


def report(
    run: Annotated[
        Path, typer.Argument(help="A folder that chipdrift matrix or chipdrift plan wrote.")
    ],
    json: Annotated[
        bool, typer.Option("--json", help="The matrix (or the plan) as JSON on stdout.")
    ] = False,
) -> None:
    """Write report.html into a run's or a plan's folder anew, and print its table.

    Example: chipdrift report runs/first
    """
    from chipdrift.report import print_matrix, write_report
    from chipdrift.report.plan_page import is_plan

    if is_plan(run):
        _report_plan(run, json)
        return
    from chipdrift.matrix import read_matrix

    found = read_matrix(run)
    written = write_report(run)
    if json:
        print_json(found)
    else:
        from rich.console import Console

        print_matrix(found, Console())
    say(f"Report: {written}")


def _report_plan(folder: Path, json: bool) -> None:
    from chipdrift.cli.planning import print_plan
    from chipdrift.report import write_report
    from chipdrift.report.plan_page import read_known_plan

    found = read_known_plan(folder)
    written = write_report(folder)
    if json:
        print_json(found)
    else:
        from rich.console import Console

        print_plan(found, Console(highlight=False))
    say(f"Report: {written}")


def outputs(
    run: _Run,
    scheme: Annotated[str, typer.Option("--scheme", help="The cell's scheme.")],
    target: Annotated[str, typer.Option("--target", help="The cell's target.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="The .npz file to write.")],
    json: Annotated[bool, typer.Option("--json", help="What was written, as JSON.")] = False,
) -> None:
    """Write a cell's raw outputs: one array per model output, samples stacked in order.

    Example: chipdrift outputs runs/first --scheme w8a8 --target htp:sm8550 -o out.npz
    """
    import numpy as np

    from chipdrift.matrix import cell_outputs
    from chipdrift.targets import whole_name

    arrays, cell = cell_outputs(run, scheme, whole_name(target))
    if not out.name or out.is_dir():
        raise ChipdriftError(f"-o {out}: this is a folder. Give the .npz file to write.")
    path = out if out.suffix == ".npz" else out.with_name(out.name + ".npz")
    if path.exists() and not _ours(path):
        raise ChipdriftError(
            f"-o {path}: this file exists and chipdrift outputs did not write it. Remove it, or "
            "give another -o."
        )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # Not numpy.savez: it takes names as keywords, and an output may be called "file".
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.comment = _MARK
            for name, array in arrays.items():
                with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                    np.lib.format.write_array(member, array, allow_pickle=False)
    except OSError as error:
        raise ChipdriftError(f"{path}: cannot be written ({error.strerror}).") from error
    if cell.copied_from is not None:
        say(
            f"Note: {target} ran {cell.measured} of {cell.samples} samples itself; the rest are "
            f"{cell.copied_from}'s, to which it was identical in every activation on "
            f"{cell.audited} samples. --exhaustive runs them all."
        )
    shapes = {name: list(array.shape) for name, array in arrays.items()}
    if json:
        print_json(
            {
                "schema_version": 1,
                "file": str(path),
                "outputs": shapes,
                "measured": cell.measured,
                "copied_from": cell.copied_from,
            }
        )
    say(f"{path}: " + ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items()))


def _ours(path: Path) -> bool:
    """Whether an earlier ``chipdrift outputs`` wrote the file, so that it may be replaced."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return archive.comment == _MARK
